"""`python -m tools policy`."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from policy.rules import RULES
from routes import ROUTES
from tests.edits import edit
from tests.stacks import PROJECT
from tools.__main__ import main

ROOT = Path(__file__).parents[3]
Capture = pytest.CaptureFixture[str]

EDITS = {
    "methods-need-api-key": (
        "components/edge_protection/openapi.py",
        '"security": [{"apiKey": []}] if route.needs_key else [],',
        "",
    ),
    "stage-throttles": (
        "components/edge_protection/stage.py",
        '"throttling_rate_limit": bucket.rate_limit,',
        "",
    ),
    "plan-has-quota": (
        "components/edge_protection/usage_plans.py",
        'quota_settings={"limit": plan.quota.limit, "period": plan.quota.period.value},',
        "",
    ),
    "stage-has-web-acl": (
        "components/edge_protection/web_acl.py",
        "aws.wafv2.WebAclAssociation(\n",
        "(lambda *_, **__: acl)(\n",
    ),
    "log-groups-have-retention": (
        "components/compute.py",
        "retention_in_days=settings.monitoring.log_retention_days,",
        "",
    ),
    "no-wildcard-actions": (
        "components/iam.py",
        '_statement(actions, table_arn, Principal="*")',
        '_statement(["dynamodb:*"], table_arn, Principal="*")',
    ),
}
"""Edits of the program that open the API, by the rule that finds them."""


def test_edits_that_open_the_api_are_found_each_once_with_its_fix(project: Path) -> None:
    for name in ("__main__.py", "routes.py"):
        shutil.copy(ROOT / name, project)
    for name in ("components", "handler", "policy", "settings", "throttling", "tools"):
        ignored = shutil.ignore_patterns("__pycache__", ".venv")
        shutil.copytree(ROOT / name, project / name, ignore=ignored)
    for file, old, new in EDITS.values():
        edit(project / file, old, new)

    done = subprocess.run(
        [sys.executable, "-m", "tools", "policy", "--stack", "dev"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1, done.stdout + done.stderr
    *blocks, end = done.stdout.split("\n\n")
    for block in blocks:
        assert re.fullmatch(
            r"MANDATORY [a-z-]+, stack dev\n"
            r"  resource: \S+ \(\S+\)\n"
            r"  what: \S.*\n"
            r"  why:  \S.*\n"
            r"  see:  https://docs\.aws\.amazon\.com/\S+\n"
            r"  fix:  \S.*",
            block,
        )
        rule = block.split()[1].rstrip(",")
        assert EDITS[rule][0] in block.rpartition("fix:")[2]
    assert len(set(blocks)) == len(blocks) == len(EDITS) + len(ROUTES), (
        "each route without a key, and two plans without a quota"
    )
    assert {block.split()[1].rstrip(",") for block in blocks} == set(EDITS)
    assert end == f"{len(RULES)} rules on dev: {len(blocks)} mandatory, 0 advisory violations.\n"


def test_a_web_acl_turned_off_is_advised_against_in_dev_and_a_violation_in_prod(
    project: Path, capsys: Capture
) -> None:
    for stack in ("dev", "prod"):
        edit(
            project / f"Pulumi.{stack}.yaml", "waf:\n    enabled: true", "waf:\n    enabled: false"
        )

    assert main(["policy"]) == 1
    out = capsys.readouterr().out
    assert "ADVISORY web-acl-turned-off, stack dev" in out
    assert "MANDATORY stage-has-web-acl, stack prod" in out
    assert out.endswith("rules on dev, prod: 1 mandatory, 1 advisory violations.\n")


def test_an_advice_alone_does_not_fail_the_check(project: Path, capsys: Capture) -> None:
    edit(project / "Pulumi.dev.yaml", "reservedConcurrency: 25", "reservedConcurrency: none")

    assert main(["policy", "--stack", "dev", "--format", "json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["stack"], found["level"]) == ("dev", "advisory")
    assert found["rule"] == "function-reservation-turned-off"
    assert found["resource"] == f"{PROJECT}-function"


def test_what_cannot_be_checked_is_one_error_and_status_2(project: Path, capsys: Capture) -> None:
    assert main(["policy", "--stack", "test"]) == 2
    assert "There is no Pulumi.test.yaml" in capsys.readouterr().err
    edit(project / "Pulumi.dev.yaml", "rateLimit: 5\n", "rateLimit: 500\n")
    assert main(["policy"]) == 2
    assert "1 problem in the config of stack dev" in capsys.readouterr().err
    for file in project.glob("Pulumi.*.yaml"):
        file.unlink()
    assert main(["policy"]) == 2
    assert "There is no stack to check" in capsys.readouterr().err
