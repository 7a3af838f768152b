"""Edits that open the API, each made in a copy of the project: the check names rule and fix."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_SOURCES = (
    *("__main__.py", "Pulumi*.yaml"),
    *("components", "handler", "sandbox", "throttling", "policy"),
)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the project, to be edited."""
    for pattern in _SOURCES:
        for source in ROOT.glob(pattern):
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__", ".venv")
                shutil.copytree(source, tmp_path / source.name, ignore=ignored)
            else:
                shutil.copy(source, tmp_path)
    return tmp_path


def check(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`python -m tools.policy.check` in a copy of the project."""
    return subprocess.run(
        [sys.executable, "-m", "tools.policy.check", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def edit(file: Path, old: str, new: str) -> None:
    source = file.read_text()
    assert source.count(old) == 1, f"{old!r} is in {file.name} {source.count(old)} times"
    file.write_text(source.replace(old, new))


EDITS = {
    "the API key requirement": (
        "components/openapi.py",
        '"security": [{"apiKey": []}],',
        "",
        "methods-need-api-key",
        "components/openapi.py",
    ),
    "the method throttle": (
        "components/edge_protection/__init__.py",
        '"throttling_rate_limit": bucket.rate_limit,',
        "",
        "stage-throttles",
        "throttle.rateLimit",
    ),
    "a quota": (
        "components/edge_protection/__init__.py",
        'quota_settings={"limit": plan.quota.limit, "period": plan.quota.period.value},',
        "",
        "plan-has-quota",
        "usagePlans.<plan>.quota.limit",
    ),
    "the WAF association": (
        "components/edge_protection/__init__.py",
        "        aws.wafv2.WebAclAssociation(\n",
        "        (lambda *_, **__: None)(\n",
        "stage-has-web-acl",
        "EdgeProtection._web_acl",
    ),
    "the log retention": (
        "components/compute.py",
        "retention_in_days=args.log_retention_days, ",
        "",
        "log-groups-have-retention",
        "monitoring.logRetentionDays",
    ),
    "the endpoint policy": (
        "components/policies.py",
        '_allow(["dynamodb:PutItem"], table_arn, Principal="*")',
        '_allow(["*"], "*", Principal="*")',
        "no-wildcard-actions",
        "table_endpoint()",
    ),
}


@pytest.mark.parametrize(("path", "old", "new", "rule", "fix"), EDITS.values(), ids=list(EDITS))
def test_an_edit_that_opens_the_api_fails_the_check(
    copy: Path, path: str, old: str, new: str, rule: str, fix: str
) -> None:
    edit(copy / path, old, new)

    done = check(copy, "--stack", "dev")

    assert done.returncode == 1, done.stdout + done.stderr
    blocks = done.stdout.split("\n\n")
    block = next(block for block in blocks if block.startswith(f"MANDATORY {rule}, stack dev"))
    assert re.search(r"^  what: \S", block, re.MULTILINE)
    assert re.search(r"^  see:  https://docs\.aws\.amazon\.com/", block, re.MULTILINE)
    (told,) = re.findall(r"^  fix:  (.*)$", block, re.MULTILINE)
    assert fix in told
