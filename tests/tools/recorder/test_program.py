"""Programs that fail, and what a run leaves for the next."""

import os
from pathlib import Path

import pytest

from settings import UserError
from tests.stacks import config
from tools.recorder import program
from tools.recorder.program import run_program


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("", "The program registers no resources."),
        ("import os\nos._exit(0)", "The program exits with 0 before its end."),
        ("import os\nos.execlp('true', 'true')", "/true' before its end."),
        ("import os\nos.execve('/bin/true', [''], {})", "exits with '/bin/true' before its end."),
        ("import sys\nsys.exit('why')", "The program exits with 'why' before its end."),
        ("import pulumi\nraise pulumi.RunError('why')", "why"),
        (
            "\n1 / 0",
            "The program failed: ZeroDivisionError: division by zero (__main__.py:2)",
        ),
        (
            "import json\njson.loads('{')",
            "The program failed: JSONDecodeError: Expecting property name enclosed in double "
            "quotes: line 1 column 2 (char 1) (__main__.py:2)",
        ),
        (
            "import pulumi_aws\npulumi_aws.get_billing_service_account()",
            "The program calls aws:index/getBillingServiceAccount",
        ),
    ],
)
def test_a_program_that_fails_is_one_clear_error_and_the_next_run_is_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, reason: str
) -> None:
    whole = run_program(config()).resources
    (tmp_path / "__main__.py").write_text(code)
    monkeypatch.setattr(program, "CODE", tmp_path)
    for end in ("_exit", "execv", "execve"):
        monkeypatch.setattr(os, end, pytest.fail)

    with pytest.raises(UserError) as raised:
        run_program(config())
    monkeypatch.undo()
    again = run_program(config()).resources

    assert reason in str(raised.value)
    assert again.exports == whole.exports
    assert {one.urn: one.outputs for one in again.items} == {
        one.urn: one.outputs for one in whole.items
    }
