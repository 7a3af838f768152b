"""The workflows: valid, pinned, with least permissions, and safe with pull requests from forks."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from settings import stack_names

ROOT = Path(__file__).parents[1]
GITHUB = ROOT / ".github"
WORKFLOWS = {path.stem: path.read_text("utf-8") for path in (GITHUB / "workflows").glob("*.yml")}
# BaseLoader, because YAML 1.1 reads the key `on` as true.
PARSED: dict[str, Any] = {
    name: yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506
    for name, text in WORKFLOWS.items()
}
ACTION = (GITHUB / "actions" / "pulumi" / "action.yml").read_text("utf-8")
LOCKS = [path.relative_to(ROOT) for path in ROOT.glob("requirements*.txt")] + [
    Path("policy/requirements.txt"),
    Path(".github/requirements.txt"),
]


def commands(job: dict[str, Any]) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


def test_actions_are_pinned_by_commit_with_their_version() -> None:
    uses = set(re.findall(r"uses: (.*)", "\n".join([*WORKFLOWS.values(), ACTION])))
    foreign = uses - {"$/.github/actions/pulumi"}

    assert foreign
    for action in foreign:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action
    assert len({action.partition("@")[0] for action in foreign}) == len(foreign), "one version each"


@pytest.mark.parametrize("name", sorted(WORKFLOWS))
def test_permissions_are_granted_job_by_job_and_runs_do_not_pile_up(name: str) -> None:
    assert PARSED[name]["permissions"] == {}
    assert PARSED[name]["concurrency"]["group"].startswith(f"{name}-")
    for job in PARSED[name]["jobs"].values():
        assert job["permissions"]
        assert set(job["permissions"]) <= {"contents", "id-token", "pull-requests"}
        assert job["permissions"].get("contents", "read") == "read"
        assert int(job["timeout-minutes"]) <= 90


@pytest.mark.parametrize("name", ["check", "audit"])
def test_checks_and_audits_need_no_credentials(name: str) -> None:
    assert "${{ secrets." not in WORKFLOWS[name]
    assert "id-token" not in WORKFLOWS[name]


def test_every_push_and_pull_request_is_checked_tested_and_compared() -> None:
    runs = [command for job in PARSED["check"]["jobs"].values() for command in commands(job)]

    assert set(PARSED["check"]["on"]) == {"push", "pull_request"}
    assert {"make check", "make test", "make engine"} <= set(runs)
    assert any('python -m tools diff --base "$BASE"' in run for run in runs)
    # The job that may comment runs nothing of the pull request.
    (commenting,) = [
        job for job in PARSED["check"]["jobs"].values() if "pull-requests" in job["permissions"]
    ]
    assert not any("uses" in step for step in commenting["steps"])


def test_all_locks_are_audited_every_day_and_when_they_change_on_each_python() -> None:
    audit, job = PARSED["audit"]["on"], PARSED["audit"]["jobs"]["vulnerabilities"]
    (script,) = commands(job)
    (names,) = re.findall(r"for name in (.*?);", script)
    (day,) = audit["schedule"]

    assert {Path(f"{name}.txt") for name in names.split()} == set(LOCKS)
    assert re.fullmatch(r"\d+ \d+ \* \* \*", day["cron"])
    assert {"**/requirements*.txt", "**/requirements*.in"} <= set(audit["pull_request"]["paths"])
    tested = PARSED["check"]["jobs"]["test"]["strategy"]["matrix"]["python-version"]
    assert job["strategy"]["matrix"]["python-version"] == tested
    assert "--require-hashes -r .github/requirements.txt" in script
    # One vulnerable lock fails the audit, after all are audited.
    assert re.search(r"\|\| found=1\ndone\nexit \$found$", script)
    assert commands(PARSED["audit"]["jobs"]["locks"]) == ["make lock", "git diff --exit-code"]


@pytest.mark.parametrize("lock", LOCKS, ids=str)
def test_a_lock_holds_versions_with_hashes_and_no_addresses(lock: Path) -> None:
    locked = re.compile(r"[\w.-]+==\S+( ; [^#@]+?)?(\s+--hash=sha256:[0-9a-f]{64})+")
    text = (ROOT / lock).read_text("utf-8").replace("\\\n", "")
    lines = [line for line in text.splitlines() if not line.startswith("#")]

    assert lines
    assert [line for line in lines if not locked.fullmatch(line)] == []


def test_every_stack_is_previewed_for_pull_requests_of_this_repository() -> None:
    (job,) = PARSED["preview"]["jobs"].values()

    assert set(PARSED["preview"]["on"]) == {"pull_request"}
    assert "github.event.pull_request.head.repo.full_name == github.repository" in job["if"]
    assert job["strategy"]["matrix"]["stack"] == stack_names(ROOT), (
        ".github/workflows/preview.yml: name all stacks in matrix.stack"
    )


def test_deployments_start_by_hand_need_a_preview_and_are_never_cancelled() -> None:
    deploy = PARSED["deploy"]["jobs"]

    (start,) = PARSED["deploy"]["on"].items()
    assert start[0] == "workflow_dispatch"
    assert start[1]["inputs"]["stack"]["options"] == stack_names(ROOT), (
        ".github/workflows/deploy.yml: name all stacks in options"
    )
    assert "default_branch" in deploy["preview"]["if"]
    assert deploy["deploy"]["needs"] == "preview"
    assert deploy["deploy"]["environment"] == "${{ inputs.stack }}"
    assert PARSED["deploy"]["concurrency"]["cancel-in-progress"] == "false"


def test_pulumi_runs_with_the_policy_pack_and_shows_no_outputs() -> None:
    steps = yaml.safe_load(ACTION)["runs"]["steps"]
    (step,) = [step for step in steps if str(step.get("uses")).startswith("pulumi/actions@")]

    assert step["with"]["policyPacks"] == "policy"
    assert step["with"]["suppress-outputs"] is True
