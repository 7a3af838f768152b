"""The API attacked by schemathesis from its own OpenAPI document, with every check on."""

import json
from typing import Any, Final

import pytest
import schemathesis
from openapi_schema_validator import OAS30Validator
from schemathesis import Case, HookContext, Response
from schemathesis.checks import CHECKS
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.engine import Status, StopReason, events, from_schema
from schemathesis.openapi.checks import UnsupportedMethodResponse

from routes import ROUTES
from tests.fuzzing import FUZZ
from tests.tools.sandbox.project import Project, keys_in

pytestmark = pytest.mark.hypothesis

ANSWERS: Final = {status for route in ROUTES for status in route.answers}
CONFIG: Final[dict[str, Any]] = {
    "continue-on-failure": True,
    "cache": {"enabled": False},
    "checks": {
        "enabled": True,
        "max_response_time": 29,  # seconds; API Gateway waits no longer
        # Stricter than schemathesis, which also accepts a 404 or a 5XX; but 413 is how this API
        # refuses what is too long.
        "positive_data_acceptance": {
            "expected-statuses": ["200", "403", *{"404"} & {str(one) for one in ANSWERS}]
        },
        "negative_data_rejection": {"expected-statuses": ["400", "403", "413", "415"]},
        "missing_required_header": {"expected-statuses": ["403"]},
    },
}


@pytest.fixture(scope="module")
def key(project: Project) -> str:
    """A key of a sandbox whose limits stop no one."""
    no_limit = {"rateLimit": 10_000, "burstLimit": 5000}
    project.edit("usagePlans", {"basic": {**no_limit, "quota": {"limit": 2_000_000_000}}})
    project.edit("throttle", no_limit)
    project.edit("waf.rateLimit", 2_000_000_000)
    return keys_in(project.up())["basic"]


# Besides some 60 examples that schemathesis derives from the document one by one.
@pytest.mark.parametrize(("with_key", "examples"), [(True, 50), (False, 5)])
def test_the_api_does_what_its_document_says(
    project: Project, key: str, with_key: bool, examples: int
) -> None:
    complaints, checks, statuses = attack(project, key if with_key else None, examples)

    assert not complaints, "\n\n\n".join([f"{len(complaints)} complaints", *complaints[:5]])
    assert checks == {*CHECKS.get_all_names(), "max_response_time"}
    keyless = {status for route in ROUTES if not route.needs_key for status in route.answers}
    if with_key:
        assert statuses == ANSWERS | {403, 404}
    else:
        assert {403, 404} <= statuses <= {403, 404} | keyless


def attack(
    project: Project, key: str | None, examples: int
) -> tuple[list[str], set[str], set[int]]:
    """Let schemathesis try what it derives from the document.

    Returns:
        Its complaints, the names of its checks, and the statuses of the answers.
    """
    (api,) = project.sandbox.resources().of_type("aws:apigateway/restApi:RestApi")
    generation = {"max-examples": examples * (FUZZ or 1), "deterministic": not FUZZ}
    config = schemathesis.Config.from_dict(
        CONFIG
        | {"base-url": project.data_url.removesuffix("/data"), "generation": generation}
        | ({"headers": {"x-api-key": key}} if key else {})
    )
    schema = schemathesis.openapi.from_dict(json.loads(api.inputs["body"]), config=config)
    schema.hook(filter_failure)
    complaints: list[str] = []
    checks: set[str] = set()
    statuses: set[int] = set()
    for event in from_schema(schema).execute():
        match event:
            case events.ScenarioFinished(recorder=recorder):
                for check in (check for found in recorder.checks.values() for check in found):
                    checks.add(check.name)
                    if info := check.failure_info:
                        complaints.append(f"{info.failure}\n\n{info.code_sample}")
                    elif check.status is not Status.SUCCESS:
                        complaints.append(f"{check.name} crashed")
                for interaction in recorder.interactions.values():
                    assert interaction.response, f"no answer to {interaction.request.uri}"
                    statuses.add(interaction.response.status_code)
            case events.NonFatalError() | events.FatalError():
                complaints.append(str(event))
            case events.EngineFinished(stop_reason=reason, failures=failures):
                complaints += map(str, failures)
                if reason is not StopReason.COMPLETED:
                    complaints.append(reason)
    return complaints, checks, statuses


def filter_failure(
    context: HookContext, failure: Failure, case: Case[Any], response: Response
) -> bool:
    """Whether a failure counts: not where OpenAPI cannot say what this API does."""
    match failure:
        case UnsupportedMethodResponse():
            # API Gateway looks up method and path together: its answer for both is 404, not 405.
            return (response.status_code, response.json()) != (404, {"message": "Not Found"})
        case AcceptedNegativeData():
            return not (response.status_code == 200 and may_be_stored(case))
    return True


def may_be_stored(case: Case[Any]) -> bool:
    """Whether a record only exceeds bounds that the document makes tighter than the API.

    The API bounds an id in bytes, while JSON Schema counts characters; and it stores numbers of 38
    digits, while many readers of documents or JSON are limited to 64 bits.
    """
    record = case.body
    if not isinstance(record, dict):
        return False
    within = dict(record)
    id_, year = record.get("id"), record.get("year")
    if isinstance(id_, str) and len(id_) > 512 and len(id_.encode()) <= 2048:
        within["id"] = "12"
    if type(year) is int and not -(2**63) <= year < 2**63 and abs(year) < 10**38:
        within["year"] = 2023
    schema = case.operation.schema.raw_schema["components"]["schemas"]["Record"]
    return within != record and OAS30Validator(schema).is_valid(within)
