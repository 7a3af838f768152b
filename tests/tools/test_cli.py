"""Text of the config, of AWS and of callers, as commands print it."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Group, RenderableType
from rich.text import Text

from policy.rules import RULES
from policy.rules.model import Resource, Violation
from settings import UserError
from throttling.review import LimitFinding
from tools.__main__ import main
from tools.cli import code, console
from tools.doctor import Answer

HOSTILE = "\x1b[2J\x9b1m\u202e\u200e\u2066[red]x[/][/]"
PLAIN = r"\x1b[2J\x9b1m\u202e\u200e\u2066[red]x[/][/]"
Capture = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch


@pytest.mark.parametrize("wrap", [str, Text, lambda text: Group(Text(text))])
def test_the_console_escapes_what_a_terminal_would_obey(
    wrap: Callable[[str], RenderableType], capsys: Capture
) -> None:
    console().print(wrap(f"{HOSTILE}\nsecond line, caf\u00e9"), markup=False)

    assert capsys.readouterr().out == f"{PLAIN}\nsecond line, caf\u00e9\n"


def _status() -> dict[str, Any]:
    answer = {"layer": "plan", "subject": "x", "status": 200, "requests": 1}
    return {
        "stack": "dev",
        "apiUrl": "http://x",
        "page": "http://x",
        "pid": 1,
        "answers": [answer],
        "counted": {HOSTILE: 1},
        "refusedCalls": [{"calls": 1, "reason": HOSTILE}],
        "clients": [],
    }


def _raise(*_: object) -> None:
    raise UserError(HOSTILE)


RESOURCE = Resource(type="t", name=HOSTILE, urn="u", properties={}, dependencies=frozenset())
SOURCES: dict[str, object] = {
    "tools.review.findings_of": lambda *_: [
        LimitFinding(path=("waf", HOSTILE), message=HOSTILE, fix=HOSTILE)
    ],
    "tools.doctor.examine": lambda *_: [("VPCs", Answer("warning", HOSTILE, HOSTILE))],
    "tools.policy.command.violations_of": lambda _: [(RULES[0], Violation(RESOURCE, HOSTILE))],
    "tools.sandbox.commands.running": lambda *_: SimpleNamespace(
        status=_status,
        items=lambda: {"t": {"count": 1, "sample": [{"id": HOSTILE}]}},
    ),
    "tools.keys.load_stack": _raise,
}


@pytest.mark.parametrize(
    ("arguments", "source"),
    [
        (["review", "--stack", "dev"], "tools.review.findings_of"),
        (["doctor"], "tools.doctor.examine"),
        (["policy", "--stack", "dev"], "tools.policy.command.violations_of"),
        (["status"], "tools.sandbox.commands.running"),
        (["keys"], "tools.keys.load_stack"),
        (["simulate", "--profile", HOSTILE], None),
        (["simulate", "--client", f"basic/{HOSTILE}=1rps"], None),
        ([HOSTILE], None),
    ],
)
def test_hostile_text_reaches_no_terminal_as_it_is(
    project: Path, arguments: list[str], source: str | None, monkeypatch: Patch, capsys: Capture
) -> None:
    if source:
        monkeypatch.setattr(source, SOURCES[source])

    main(arguments)

    printed = "".join(capsys.readouterr())
    assert not {*printed} & {*"\x1b\x9b\u202e\u200e\u2066"}
    assert "1m" in printed
    assert "[red]x[/][/]" in printed


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("basic", "`basic`"),
        ("a`b``c", "``` a`b``c ```"),
        ("x\n# heading @team", r"`x\n# heading @team`"),
        ("\u202eevil\u009b", r"`\u202eevil\x9b`"),
    ],
)
def test_text_is_written_as_code_on_one_line(text: str, markdown: str) -> None:
    assert code(text) == markdown
