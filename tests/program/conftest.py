"""The program, run as `pulumi up` and as `pulumi preview` run it; each run once a session."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import pytest

from settings.schema import Settings, parse_settings
from settings.files import project_name, read_stack
from tools.recorder.program import ROOT, Program, run_program
from tools.recorder.resources import Resource

BASE_URL = "https://api.example"
STACKS = ("dev", "prod")
REGION = "eu-central-1"
TABLE = "dynamodb/table:Table"
FUNCTION = "lambda/function:Function"
STAGE = "apigateway/stage:Stage"


class Deploy(Protocol):
    """Runs the program with a stack's config, in which some settings are changed."""

    def __call__(
        self,
        stack: str = "dev",
        *,
        preview: bool = False,
        anew: bool = False,
        **changes: Any,  # noqa: ANN401
    ) -> Program:
        """The run, made `anew` for a test that watches it being made.

        A mapping among `changes` goes into the mapping that the stack's config has.
        """
        ...


@pytest.fixture(scope="session", autouse=True)
def environment() -> Iterator[None]:
    """Nothing of the developer's own Pulumi or AWS, and no Output passes for a text unnoticed."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PULUMI_CONFIG", "PULUMI_CONFIG_SECRET_KEYS", "AWS_REGION", "AWS_PROFILE"):
            patch.delenv(name, raising=False)
        patch.setenv("PULUMI_ERROR_OUTPUT_STRING", "1")
        yield


def config(stack: str, changes: Mapping[str, Any]) -> dict[str, str]:
    """A stack's config with changes, as Pulumi's engine hands it over."""
    project = project_name(ROOT)
    handed = read_stack(ROOT, stack)
    for name, value in changes.items():
        if name == "aws":
            handed |= {f"aws:{key}": text for key, text in value.items()}
            continue
        key = f"{project}:{name}"
        if isinstance(value, dict):
            handed[key] = json.dumps(json.loads(handed[key]) | value)
        else:
            handed[key] = str(value).lower() if isinstance(value, bool) else str(value)
    return handed


def settings_of(stack: str, **changes: Any) -> Settings:  # noqa: ANN401
    """The settings that such a config becomes."""
    return parse_settings(config(stack, changes), project=project_name(ROOT), stack=stack)


@pytest.fixture(scope="session")
def deploy(environment: None) -> Deploy:
    """Run the program; the same run twice is made once."""
    made: dict[tuple[object, ...], Program] = {}

    def deploy(
        stack: str = "dev",
        *,
        preview: bool = False,
        anew: bool = False,
        **changes: Any,  # noqa: ANN401
    ) -> Program:
        handed = config(stack, changes)

        def run() -> Program:
            return run_program(
                handed, project=project_name(ROOT), stack=stack, base_url=BASE_URL, preview=preview
            )

        if anew:
            return run()
        key = (stack, preview, *sorted(handed.items()))
        if key not in made:
            made[key] = run()
        return made[key]

    return deploy


@pytest.fixture(params=[(stack, preview) for stack in STACKS for preview in (False, True)])
def program(request: pytest.FixtureRequest, deploy: Deploy) -> Program:
    """Each stack, once with all outputs known and once with none."""
    stack, preview = request.param
    return deploy(stack, preview=preview)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name the runs of `program` by what they are."""
    if isinstance(val, tuple) and len(val) == 2 and val[0] in STACKS:
        return f"{val[0]}, {'preview' if val[1] else 'update'}"
    return None


def find(program: Program, token: str, name: str | None = None) -> list[Resource]:
    """Resources of a type such as `aws:sns/topic:Topic`, or the end of one: `sns/topic:Topic`."""
    return [
        resource
        for resource in program.resources.items
        if resource.type in (token, f"aws:{token}")
        and (name is None or resource.name == f"throttled-api-{name}")
    ]


def only(program: Program, token: str, name: str | None = None) -> Resource:
    """The one resource of a type, or of a type and a name without the project's."""
    found = find(program, token, name)
    assert len(found) == 1, f"{len(found)} of {token} {name or ''}"
    return found[0]


def document(resource: Resource, name: str) -> Any:  # noqa: ANN401  JSON
    """A property that is JSON in a string."""
    return json.loads(resource.inputs[name])


def types(program: Program) -> Counter[str]:
    """How many resources there are of each type, components apart."""
    return Counter(resource.type for resource in program.resources.items if resource.custom)
