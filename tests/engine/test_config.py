"""The config that the engine hands to a program is the one that the tools read from the files."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pulumi import automation
from pulumi.runtime.config import CONFIG, get_config_env

from settings import read_stack
from tests.engine.conftest import Engine
from tests.settings.configs import PROJECT
from tests.settings.test_files import VALUES
from tests.settings.test_paths import NOT_PATHS, REFUSED, SET

# fmt: off
WORDS = [
    *(written for written, _ in VALUES if written),
    "0x_1", "0_7", "1__0", "0b2", "5_", "-017", "+017", "-0o17", "00.5", "09.5", "12e03", "1e-4",
    "5e-324", "-0", "+0", "1.e3", ".e3", "-.5", "+.5", "3.14_15", "0xFF_FF", "1e18", "1e-7",
    "0x7fffffffffffffff", "-0x8000000000000000", "4611686018427387904", "-9.2e18", "10.1.0.0/16",
    "1,000", "1 000", "10%", "5s", "a b", "'a b'", '"a\\tb"', "'it''s'", "caf\u00e9", "[]", "{}",
    "[~, [no]]", "{a: {b: [1, {c: 0.5}]}}", "{no: yes}", "! 017", "nul", "!!str 017",
    "!!str 2024-01-02", "'017'", '"true"', "'~'", "'2024-01-02'", f"'{2**64}'", "a-b", "a.b",
    "2024-01-02x",
]
# fmt: on
NO_KEY = re.compile(r"[\[{].*|[-+0-9_]*[.eE][-+.0-9eE_]*")
"""Lists, mappings, and numbers with a point or an exponent, which the tools refuse as keys."""
Both = Callable[..., tuple[dict[str, Any], dict[str, Any]]]
Write = Callable[..., None]


@pytest.fixture(scope="module")
def stack(backend: Path) -> Engine:
    return Engine(backend, "dev")


@pytest.fixture(scope="module")
def write(stack: Engine) -> Write:
    """Writes the stack's file, which keeps its salt, and the end of the project's."""
    files = [stack.work / name for name in ("Pulumi.dev.yaml", "Pulumi.yaml")]
    before = [file.read_text() for file in files]

    def write(*added: str) -> None:
        for file, start, end in zip(files, before, added, strict=True):
            file.write_text(f"{start}\n{end}\n")

    return write


@pytest.fixture
def both(stack: Engine, write: Write) -> Both:
    """Returns the config that the engine hands to a program, and the one that we read."""

    def decoded(value: str) -> Any:  # noqa: ANN401  JSON
        # The engine writes 1e-7, and Python 1e-07.
        return json.loads(value) if re.match(r"[\[{]|-?[0-9.]+e-", value) else value

    def both(own: str, project: str = "") -> tuple[dict[str, Any], dict[str, Any]]:
        write(own, project)
        handed: dict[str, str] = {}
        stack.program = lambda: handed.update({**get_config_env(), **CONFIG.get()})
        stack.preview()
        engine, ours = (
            {key: decoded(value) for key, value in config.items()}
            for config in (handed, read_stack("dev", stack.work).values)
        )
        return engine, ours

    return both


def test_each_form_of_a_value_is_read_as_the_engine_reads_it(both: Both) -> None:
    lines = []
    for index, word in enumerate(WORDS):
        lines += [
            f"top{index}: &a{index} {word}",
            f"list{index}: [{word}]",
            f"map{index}: {{a: {word}, b: *a{index}, <<: {{c: 1, a: 2}}}}",
            f"other:config:name{index}: {word}",
        ]
        if not NO_KEY.fullmatch(word):
            lines.append(f"{PROJECT}:key{index}: {{{word}: 1}}")

    engine, ours = both("config:\n  " + "\n  ".join(lines))

    assert len(engine) > 400
    assert {key: value for key, value in ours.items() if value != engine.get(key)} == {}
    assert engine.keys() == ours.keys()


@pytest.mark.parametrize(
    "project",
    [
        "{stageName: live, aws:region: eu-south-1, list: [1, 2], throttle: {type: object}, "
        "fixture-api:waf: {value: {rateLimit: 10, on: no}}, aws:tags: {value: [1, {a: b}]}, "
        "a: {type: integer, default: 5}, b: {default: {c: [1]}}}",
        "{throttle: {value: {burstLimit: 1, rateLimit: 1}}, other: 2}",
    ],
)
def test_the_projects_config_is_read_as_the_engine_reads_it(both: Both, project: str) -> None:
    engine, ours = both("config: {throttle: {burstLimit: 7}, other: 1}", f"config: {project}")

    assert ours == engine


def test_paths_are_set_and_refused_as_the_cli_does(stack: Engine, write: Write) -> None:
    def config_set(there: str | None, path: str, value: str) -> str:
        structured = there is not None and there[0] in "[{" and there != "[broken"
        before = there if structured else json.dumps(there)
        write("" if there is None else f"config: {{{PROJECT}:a: {before}}}", "")
        stack.stack.set_config(path, automation.ConfigValue(value), path=True)
        return read_stack("dev", stack.work).values[f"{PROJECT}:a"]

    for there, path, value, after in SET:
        found = config_set(there, path, value)
        assert (json.loads(found) if isinstance(after, dict | list) else found) == after, path
    for there, path in [*REFUSED, *((None, path) for path in NOT_PATHS)]:
        with pytest.raises(automation.CommandError):
            config_set(there, path, "1")
