"""`python -m tools review`."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.edits import edit
from tests.stacks import PROJECT
from tools.__main__ import main

Capture = pytest.CaptureFixture[str]
pytestmark = pytest.mark.usefixtures("project")


def reviewed(capsys: Capture, *arguments: str) -> Any:  # noqa: ANN401  JSON
    assert main(["review", "--format", "json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_all_stacks_are_reviewed_unless_one_is_named(capsys: Capture) -> None:
    assert [one["stack"] for one in reviewed(capsys)] == ["dev", "prod"]
    assert [one["stack"] for one in reviewed(capsys, "--stack", "prod")] == ["prod"]


def test_each_finding_has_a_command_that_fixes_it(capsys: Capture) -> None:
    findings = reviewed(capsys, "--stack", "prod")[0]["findings"]

    assert [one for one in findings if one["key"] == f"{PROJECT}:waf.rateLimit"][-1] == {
        "level": "warning",
        "key": f"{PROJECT}:waf.rateLimit",
        "message": "2,000 requests per 300 s from one address are 6.7 a second, below the 500 of "
        "plan premium: a client at full rate on one address is blocked after about 4 s.",
        "fix": "150000",
        "command": f"pulumi config set --path {PROJECT}:waf.rateLimit 150000 --stack prod",
    }
    for finding in findings:
        words = shlex.split(finding["command"])
        assert words[:4] == ["pulumi", "config", "set", "--path"]
        assert words[4:] == [finding["key"], finding["fix"], "--stack", "prod"]


def test_the_text_has_level_key_message_and_command(capsys: Capture) -> None:
    assert main(["review"]) == 0
    lines = capsys.readouterr().out.splitlines()

    assert lines[0] == "Stack dev: fine"
    assert lines[1].startswith("Stack prod: ")
    at = lines.index(f"warning: {PROJECT}:waf.rateLimit")
    assert "is blocked after about 20 s." in lines[at + 1]
    assert lines[at + 2] == (
        f"  pulumi config set --path {PROJECT}:waf.rateLimit 30000 --stack prod"
    )


def test_warnings_fail_a_strict_review(project: Path) -> None:
    assert main(["review", "--strict"]) == 1
    assert main(["review", "--strict", "--stack", "dev"]) == 0
    edit(project / "Pulumi.dev.yaml", "burstLimit: 100\n", "burstLimit: 2000\n")
    assert main(["review", "--strict", "--stack", "dev"]) == 0, "worth knowing, and no warning"


def test_nothing_to_review_is_an_error(project: Path, capsys: Capture) -> None:
    assert main(["review", "--stack", "test"]) == 2
    for file in project.glob("Pulumi.*.yaml"):
        file.unlink()
    assert main(["review"]) == 2
    assert "There is no stack to review" in capsys.readouterr().err
