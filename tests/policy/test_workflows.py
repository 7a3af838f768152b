"""The workflows: valid, pinned, with least permissions, and safe with pull requests from forks."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from settings.files import stack_names
from policy import dependencies

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = {path.stem: path.read_text() for path in (GITHUB / "workflows").glob("*.yml")}
ACTION = (GITHUB / "actions" / "pulumi" / "action.yml").read_text()


def parsed(name: str) -> dict[str, Any]:
    # Not as YAML 1.1 has it, where `on` is true.
    content: dict[str, Any] = yaml.load(WORKFLOWS[name], Loader=yaml.BaseLoader)  # noqa: S506
    return content


def jobs(name: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = parsed(name)["jobs"]
    return found


def validate(folder: Path) -> int:
    """What `make check` runs."""
    bin_folder = Path(sys.executable).parent
    files = sorted(str(path) for path in folder.glob("workflows/*.yml"))
    commands = (
        [str(bin_folder / "zizmor"), "--offline", "--quiet", str(folder)],
        [
            *(str(bin_folder / "check-jsonschema"), "--builtin-schema"),
            *("vendor.github-workflows", *files),
        ],
    )
    done = [subprocess.run(words, capture_output=True, check=False) for words in commands]
    return max(one.returncode for one in done)


def test_the_workflows_are_there() -> None:
    assert set(WORKFLOWS) == {"check", "audit", "preview", "deploy"}


def test_the_workflows_are_valid() -> None:
    assert validate(GITHUB) == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("runs-on: ubuntu-24.04", "runs_on: ubuntu-24.04"),
        ("pull_request:", "pull_request_target:"),
        ("@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2", "@v6"),
        ('--base "$BASE"', "--base origin/${{ github.head_ref }}"),
    ],
)
def test_the_validators_find_what_is_wrong(tmp_path: Path, old: str, new: str) -> None:
    folder = tmp_path / ".github"
    shutil.copytree(GITHUB, folder)
    assert old in WORKFLOWS["check"]
    (folder / "workflows" / "check.yml").write_text(WORKFLOWS["check"].replace(old, new))

    assert validate(folder) != 0


def test_actions_are_pinned_by_commit_with_their_version() -> None:
    uses = re.findall(r"uses: (.*)", "\n".join([*WORKFLOWS.values(), ACTION]))

    assert uses
    for action in uses:
        if action != "$/.github/actions/pulumi":
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action
    assert len({action.partition("@")[0] for action in uses}) == len(set(uses))


@pytest.mark.parametrize("name", sorted(WORKFLOWS))
def test_permissions_are_asked_for_job_by_job(name: str) -> None:
    assert parsed(name)["permissions"] == {}
    for job in jobs(name).values():
        assert job["permissions"]
        assert set(job["permissions"]) <= {"contents", "id-token", "pull-requests"}
        assert job["permissions"].get("contents", "read") == "read"
        assert int(job["timeout-minutes"]) <= 90


@pytest.mark.parametrize("name", sorted(WORKFLOWS))
def test_runs_of_a_workflow_do_not_pile_up(name: str) -> None:
    assert parsed(name)["concurrency"]["group"].startswith(f"{name}-")


def test_an_update_is_never_cancelled() -> None:
    assert parsed("deploy")["concurrency"]["cancel-in-progress"] == "false"


def test_checks_need_no_credentials() -> None:
    assert set(parsed("check")["on"]) == {"push", "pull_request"}
    assert "${{ secrets." not in WORKFLOWS["check"]
    assert "id-token" not in WORKFLOWS["check"]
    runs = {step["run"] for job in jobs("check").values() for step in job["steps"] if "run" in step}
    assert {"make check", "make test"} <= runs


def test_all_locks_are_audited_every_day_and_when_they_change_on_each_python_that_is_tested() -> (
    None
):
    (job,) = jobs("audit").values()
    (script,) = (step["run"] for step in job["steps"] if "run" in step)
    (names,) = re.findall(r"for name in (.*?);", script)
    (day,) = parsed("audit")["on"]["schedule"]

    locks = (dependencies.INSTALLED, *dependencies.SUBSETS, *dependencies.TOOLS)
    assert [f"{name}.txt" for name in names.split()] == [*locks]
    assert re.fullmatch(r"\d+ \d+ \* \* \*", day["cron"])
    assert "**/requirements*.txt" in parsed("audit")["on"]["pull_request"]["paths"]
    assert job["strategy"]["matrix"] == jobs("check")["test"]["strategy"]["matrix"]


def test_the_audit_needs_no_credentials_and_installs_what_is_locked() -> None:
    assert "${{ secrets." not in WORKFLOWS["audit"]
    assert "id-token" not in WORKFLOWS["audit"]
    assert "--require-hashes -r .github/requirements.txt" in WORKFLOWS["audit"]


def test_a_vulnerability_in_one_lock_fails_the_audit_of_all(tmp_path: Path) -> None:
    (job,) = jobs("audit").values()
    (script,) = (step["run"] for step in job["steps"] if "run" in step)
    commands = {
        "bin/python": "",
        ".audit/bin/pip": "",
        ".audit/bin/pip-audit": 'echo "$@" >> asked; case "$@" in *policy*) exit 1;; esac',
    }
    for name, code in commands.items():
        command = tmp_path / name
        command.parent.mkdir(parents=True, exist_ok=True)
        command.write_text(f"#!/bin/sh\n{code}\n")
        command.chmod(0o755)
    done = subprocess.run(
        ["/bin/bash", "-e", "-o", "pipefail", "-c", script],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"},
        capture_output=True,
        check=False,
    )

    assert done.returncode == 1, done.stderr
    assert len((tmp_path / "asked").read_text().splitlines()) == 4


def test_whoever_may_comment_runs_nothing_of_the_pull_request() -> None:
    for job in jobs("check").values():
        if "pull-requests" in job["permissions"]:
            assert not any("uses" in step for step in job["steps"])


def test_previews_are_for_pull_requests_of_this_repository() -> None:
    assert set(parsed("preview")["on"]) == {"pull_request"}
    (job,) = jobs("preview").values()
    assert "github.event.pull_request.head.repo.full_name == github.repository" in job["if"]


def test_deployments_are_started_by_hand_and_approved_after_a_preview() -> None:
    deploy = jobs("deploy")

    assert set(parsed("deploy")["on"]) == {"workflow_dispatch"}
    assert deploy["deploy"]["needs"] == "preview"
    assert deploy["deploy"]["environment"] == "${{ inputs.stack }}"
    assert "default_branch" in deploy["preview"]["if"]


def test_every_stack_is_previewed_and_can_be_deployed() -> None:
    stacks = stack_names(ROOT)

    (preview,) = jobs("preview").values()
    assert preview["strategy"]["matrix"]["stack"] == stacks
    assert parsed("deploy")["on"]["workflow_dispatch"]["inputs"]["stack"]["options"] == stacks


def test_pulumi_runs_with_the_policy_pack_and_shows_no_outputs() -> None:
    steps = yaml.safe_load(ACTION)["runs"]["steps"]
    (step,) = [step for step in steps if str(step.get("uses")).startswith("pulumi/actions@")]

    assert step["with"]["policyPacks"] == "policy"
    assert step["with"]["suppress-outputs"] is True


def test_dependabot_looks_after_all_that_is_locked_or_pinned() -> None:
    updates = yaml.safe_load((GITHUB / "dependabot.yml").read_text())["updates"]

    assert {update["package-ecosystem"]: update["directories"] for update in updates} == {
        "pip": ["/", "/policy", "/.github"],
        "github-actions": ["/", "/.github/actions/*"],
    }
