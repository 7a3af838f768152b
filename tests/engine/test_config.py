"""The config that the engine hands to a program is the one that the tools read from the files."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pulumi import automation
from pulumi.runtime.config import CONFIG, get_config_env, get_config_secret_keys_env

from settings import UserError, read_stack
from tests.settings.configs import PROJECT
from tests.settings.test_files import VALUES
from tests.settings.test_paths import NOT_PATHS, REFUSED, SET

pytestmark = pytest.mark.timeout(300)

WORDS = [
    *(written for written, _ in VALUES if written),
    *("0x_1", "0_7", "1__0", "0b2", "5_", "-017", "+017", "-0o17", "00.5", "09.5", "12e03", "1e-4"),
    *("5e-324", "-0", "+0", "1.e3", ".e3", "-.5", "+.5", "3.14_15", "0xFF_FF", "1e18", "1e-7"),
    *("0x7fffffffffffffff", "-0x8000000000000000", "4611686018427387904", "-9.2e18"),
    *(
        "10.1.0.0/16",
        "1,000",
        "1 000",
        "10%",
        "5s",
        "a b",
        "'a b'",
        '"a\\tb"',
        "'it''s'",
        "caf\u00e9",
    ),
    *("[]", "{}", "[~, [no]]", "{a: {b: [1, {c: 0.5}]}}", "{no: yes}", "! 017", "nul"),
    *("!!str 017", "!!str 2024-01-02"),
    *("'017'", '"true"', "'~'", "'2024-01-02'", f"'{2**64}'", "a-b", "a.b", "2024-01-02x"),
]

NO_KEY = re.compile(r"[\[{].*|[-+0-9_]*[.eE][-+.0-9eE_]*")
"""Lists, mappings, and numbers with a point or an exponent, which the tools refuse as keys."""

Read = Callable[..., list[dict[str, Any]]]


class Stack:
    """A stack whose config the engine hands to a program that only notes it."""

    def __init__(self, backend: Path, folder: Path) -> None:
        settings = automation.ProjectSettings(
            name=PROJECT,
            runtime="python",
            backend=automation.ProjectBackend(url=f"file://{backend / 'state'}"),
        )
        options = automation.LocalWorkspaceOptions(
            project_settings=settings, pulumi_home=str(backend / "home"), work_dir=str(folder)
        )
        self.folder = folder
        self.found: dict[str, str] = {}
        self.stack = automation.create_or_select_stack(
            "dev", project_name=PROJECT, program=self._note, opts=options
        )
        self._project = (folder / "Pulumi.yaml").read_text()
        self._own = (folder / "Pulumi.dev.yaml").read_text()

    def _note(self) -> None:
        self.found = {**get_config_env(), **CONFIG.get()}
        self.found["secret"] = str(sorted(get_config_secret_keys_env()))

    def write(self, text: str, declared: str = "") -> None:
        """Write the stack's file, which keeps its salt, and the end of the project's."""
        (self.folder / "Pulumi.yaml").write_text(f"{self._project}\n{declared}\n")
        (self.folder / "Pulumi.dev.yaml").write_text(f"{self._own}\n{text}\n")


@pytest.fixture(scope="module")
def stack(backend: Path, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    return Stack(backend, tmp_path_factory.mktemp("config"))


@pytest.fixture
def handed(stack: Stack) -> Read:
    """Returns the config that the engine hands to a program, and the one that we read."""

    def read(text: str, declared: str = "") -> list[dict[str, Any]]:
        stack.write(text, declared)
        stack.stack.preview()
        ours = read_stack("dev", stack.folder)
        both = stack.found, {**ours.values, "secret": str(sorted(ours.secret_keys))}
        return [{key: _decoded(value) for key, value in config.items()} for config in both]

    return read


def _decoded(value: str) -> Any:  # noqa: ANN401  JSON
    try:
        return json.loads(value) if value[:1] in ("[", "{") or value[:1].isdigit() else value
    except ValueError:
        return value


def test_each_form_of_a_value_is_read_as_the_engine_reads_it(handed: Read) -> None:
    lines = [
        line
        for index, word in enumerate(WORDS)
        for line in (
            f"top{index}: &a{index} {word}",
            f"list{index}: [{word}]",
            f"map{index}: {{a: {word}, b: *a{index}, <<: {{c: 1, a: 2}}}}",
            f"other:config:name{index}: {word}",
            f"{PROJECT}:key{index}: {{{word}: 1}}" if not NO_KEY.fullmatch(word) else "",
        )
        if line
    ]

    engine, ours = handed("config:\n  " + "\n  ".join(lines))

    assert len(engine) > 400
    assert {key: value for key, value in ours.items() if value != engine.get(key)} == {}
    assert engine.keys() == ours.keys()


@pytest.mark.parametrize(
    "declared",
    [
        "{stageName: live, aws:region: eu-south-1, list: [1, 2]}",
        "{fixture-api:waf: {value: {rateLimit: 10, on: no}}, aws:tags: {value: [1, {a: b}]}}",
        "{a: {type: integer, default: 5}, b: {default: {c: [1]}}, throttle: {type: object}}",
        "{throttle: {value: {burstLimit: 1, rateLimit: 1}}, other: 2}",
    ],
)
def test_the_projects_config_is_read_as_the_engine_reads_it(handed: Read, declared: str) -> None:
    engine, ours = handed("config: {throttle: {burstLimit: 7}, other: 1}", f"config: {declared}")

    assert ours == engine


@pytest.mark.parametrize(
    ("text", "declared"),
    [
        *(
            (text, "")
            for text in ("config: {a: [.inf]}", "config: {a: .nan}", "config: {a:b:c: 1}")
        ),
        ("config: {a: {b: 1, b: 2}}", ""),
        ("config: {a: {<<: 5}}", ""),
        ("config: {a: {? [1] : 2}}", ""),
        ("", "config: {waf: {rateLimit: 10}}"),
        ("", "config: {waf: {type: integer}}"),
        ("", "config: [1]"),
    ],
)
def test_what_the_engine_refuses_is_refused(
    handed: Read, stack: Stack, text: str, declared: str
) -> None:
    with pytest.raises(automation.CommandError):
        handed(text, declared)
    with pytest.raises(UserError):
        read_stack("dev", stack.folder)


def config_set(stack: Stack, there: str | None, path: str, value: str) -> str:
    """Return a top-level value `a` after `pulumi config set --path`."""
    structured = there is not None and there[0] in "[{" and there != "[broken"
    before = there if structured else json.dumps(there)
    stack.write("" if there is None else f"config: {{{PROJECT}:a: {before}}}")
    stack.stack.set_config(path, automation.ConfigValue(value), path=True)
    return read_stack("dev", stack.folder).values[f"{PROJECT}:a"]


def test_paths_are_set_as_the_cli_sets_them(stack: Stack) -> None:
    for there, path, value, after in SET:
        found = config_set(stack, there, path, value)
        assert (json.loads(found) if isinstance(after, dict | list) else found) == after, path


@pytest.mark.parametrize(("there", "path"), [*REFUSED, *((None, path) for path in NOT_PATHS)])
def test_paths_are_refused_as_the_cli_refuses_them(
    stack: Stack, there: str | None, path: str
) -> None:
    with pytest.raises(automation.CommandError):
        config_set(stack, there, path, "1")
