"""What a pull request does to the limits, told from two revisions."""

import argparse
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.throttling.examples import PROD
from throttling import Period, Quota, Throttle, WafRateLimit, cli_diff
from tools.diff_command import report
from settings.stacks import StackError
from tools.diff import Allowance, State, allowance, stack_diff
from throttling.review import Expectations, Finding

ROOT = Path(__file__).parents[2]
METHOD = "POST /data"
STATE = State(limits=PROD, expected=Expectations(region="eu-central-1", duration_seconds=0.1))
BASIC = PROD.usage_plans["basic"]


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", *words],  # noqa: S607
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the stacks' config committed as `base`, in a folder of the repository."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    folder = tmp_path / "api"
    folder.mkdir()
    for file in ROOT.glob("Pulumi*.yaml"):
        shutil.copy(file, folder)
    git(tmp_path, "init", "--quiet")
    commit(folder, "base")
    return folder


def commit(folder: Path, tag: str) -> None:
    git(folder, "add", "--all", ".")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", tag)
    git(folder, "tag", tag)


def edit(file: Path, old: str, new: str) -> None:
    content = file.read_text()
    assert old in content
    file.write_text(content.replace(old, new, 1))


def test_nothing_changed_is_said_in_three_words(project: Path) -> None:
    edit(project / "Pulumi.prod.yaml", "dashboard: true", "dashboard: false")

    assert report("base", root=project) == "No limits changed."


def test_the_command_prints_what_changes(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli_diff, "ROOT", project)
    parser = argparse.ArgumentParser()
    cli_diff.add_arguments(parser)
    args = parser.parse_args(["--base", "base", "--head", "base"])

    assert args.run(args) == 0
    assert capsys.readouterr().out == "No limits changed.\n"


def test_a_raised_plan_is_told_whole(project: Path) -> None:
    file = project / "Pulumi.prod.yaml"
    edit(file, "rateLimit: 100\n", "rateLimit: 150\n")
    edit(file, "limit: 10000\n", "limit: 1000000\n")

    assert report("base", root=project) == (
        """\
## What changes in the limits from base to the working tree

### Stack prod

| limit | before | after |
|---|---|---|
| `usagePlans.basic.rateLimit` | 100 | 150 |
| `usagePlans.basic.quota` | 10,000 a day | 1,000,000 a day |

The review newly finds nothing.

The review no longer finds:

- **warning** `usagePlans.basic.quota.limit`: 10,000 requests a day are gone after 100 s at the \
plan's full 100 requests per second; that client is then refused until the day ends.

What one client may do with `POST /data` while all others are silent, and what bounds it:

| plan | per second | at once | per day | per second from one address |
|---|---|---|---|---|
| basic | 100 (plan) → **150 (plan)** | 100 (function) | 10,000 (quota) → **1,000,000 (quota)** \
| 6.667 (web ACL) |
| premium | 500 (plan) | 100 (function) | 100,000 (quota) | 6.667 (web ACL) |

AWS applies throttles and quotas on a best-effort basis: they are targets, not ceilings."""
    )


def test_what_the_review_newly_finds_comes_with_its_command(project: Path) -> None:
    edit(project / "Pulumi.dev.yaml", "rateLimit: 1500", "rateLimit: 60")

    told = report("base", root=project)

    assert "- **warning** `waf.rateLimit`: 60 requests per 60 s from one address" in told
    assert "`pulumi config set --path throttled-api:waf.rateLimit 300 --stack dev`" in told
    assert "| basic | 5 (plan) | 10 (plan) | 20,000 (quota) | 5 (plan) → **1 (web ACL)** |" in told
    assert "### Stack prod" not in told


def test_a_finding_with_other_numbers_is_not_a_new_one(project: Path) -> None:
    edit(project / "Pulumi.prod.yaml", "limit: 10000\n", "limit: 20000\n")

    told = report("base", root=project)

    assert "The review newly finds nothing." in told
    assert "The review no longer finds nothing." in told


def test_two_revisions_are_compared_whatever_is_in_the_working_tree(project: Path) -> None:
    file = project / "Pulumi.dev.yaml"
    edit(file, "reservedConcurrency: 25", "reservedConcurrency: 30")
    commit(project, "head")
    file.unlink()

    told = report("base", "head", root=project)

    assert "from base to head" in told
    assert "| `function.reservedConcurrency` | 25 | 30 |" in told


def test_new_and_removed_stacks_are_told(project: Path) -> None:
    (project / "Pulumi.dev.yaml").rename(project / "Pulumi.test.yaml")

    told = report("base", root=project)

    assert "### Stack dev (removed)" in told
    assert "| `throttle.rateLimit` | 50 |  |" in told
    assert "### Stack test (new)" in told
    assert "| `throttle.rateLimit` |  | 50 |" in told
    assert told.count("| plan | per second |") == 1


def test_plans_and_clients_that_come_and_go_are_told(project: Path) -> None:
    file = project / "Pulumi.dev.yaml"
    edit(file, "    premium:", "    gold:")
    edit(file, "clients: [default]", "clients: [default, second]")

    told = report("base", root=project)

    assert "| `usagePlans.basic.clients` | default | default, second |" in told
    assert "| `usagePlans.premium.rateLimit` | 20 |  |" in told
    assert "| `usagePlans.gold.rateLimit` |  | 20 |" in told
    assert "| gold | 20 (plan) |" in told


def lost(project: Path) -> list[str]:
    """The lines of a report about what cannot be taken back."""
    told = report("base", root=project).partition("What cannot be taken back:\n\n")[2]
    return told.partition("\n\n")[0].splitlines()


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "stageName: prod",
            "stageName: live",
            "- `stageName`: prod → live replaces the stage: every caller's URL changes; refused "
            "while `table.deletionProtection` is true.",
        ),
        (
            "cidr: 10.1.0.0/16",
            "cidr: 10.9.0.0/16",
            "- `network.cidr`: 10.1.0.0/16 → 10.9.0.0/16 replaces the VPC, and moves the function "
            "to it; refused while `table.deletionProtection` is true.",
        ),
        (
            "aws:region: eu-central-1",
            "aws:region: eu-west-1",
            "- `aws:region`: eu-central-1 → eu-west-1 replaces all resources: an empty table, "
            "other API keys, another URL; refused while `table.deletionProtection` is true.",
        ),
        (
            "deletionProtection: true",
            "deletionProtection: false",
            "- `table.deletionProtection`: true → false: nothing keeps Pulumi from deleting or "
            "replacing the table, the stage and the VPC any more.",
        ),
        (
            "clients: [default]",
            "clients: [acme]",
            "- `usagePlans.basic`: the API keys of default are deleted: who still uses them gets "
            "403.",
        ),
        (
            "    premium:",
            "    gold:",
            "- `usagePlans.premium`: the API keys of default are deleted: who still uses them gets "
            "403.",
        ),
    ],
)
def test_what_cannot_be_taken_back_is_told(project: Path, old: str, new: str, line: str) -> None:
    edit(project / "Pulumi.prod.yaml", old, new)

    assert lost(project) == [line]


def test_what_is_not_refused_is_not_said_to_be(project: Path) -> None:
    edit(project / "Pulumi.dev.yaml", "stageName: dev", "stageName: live")
    edit(project / "Pulumi.prod.yaml", "stageName: prod", "stageName: live")
    edit(project / "Pulumi.prod.yaml", "deletionProtection: true", "deletionProtection: false")

    told = report("base", root=project)

    assert "dev → live replaces the stage: every caller's URL changes.\n" in told
    assert "prod → live replaces the stage: every caller's URL changes." in told


def test_clients_and_keys_that_come_take_nothing_away(project: Path) -> None:
    edit(
        project / "Pulumi.prod.yaml",
        "clients: [default]",
        "clients: [acme, default]\n      keys: {default: [1, 2]}",
    )

    assert "acme, default, default.2" in report("base", root=project)
    assert lost(project) == []


def test_a_base_that_does_not_exist_is_one_error(project: Path) -> None:
    with pytest.raises(StackError, match=r"no revision origin/main here.*git fetch origin main"):
        report("origin/main", root=project)


def test_a_base_that_looks_like_an_option_is_no_option(project: Path) -> None:
    with pytest.raises(StackError, match="no revision --help here"):
        report("--help", root=project)


def test_a_base_without_config_is_one_error(project: Path) -> None:
    git(project, "rm", "--quiet", "--cached", "Pulumi.dev.yaml", "Pulumi.prod.yaml")
    git(project, "commit", "--quiet", "--message", "without")

    with pytest.raises(StackError, match=r"HEAD has no limits to compare: no Pulumi.<stack>.yaml"):
        report("HEAD", root=project)


def test_a_base_whose_config_is_refused_is_one_error(project: Path) -> None:
    file = project / "Pulumi.dev.yaml"
    edit(file, "rateLimit: 5\n", "rateLimit: 500\n")
    commit(project, "broken")
    git(project, "checkout", "--quiet", "base", "--", ".")

    with pytest.raises(StackError, match=r"^In broken: 1 problem in the config of stack dev"):
        report("broken", root=project)


def test_a_folder_without_a_repository_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="not a git repository"):
        report("main", root=tmp_path)


def test_the_least_of_all_limits_bounds_a_client() -> None:
    narrow = replace(
        PROD,
        stage=Throttle(rate=80, burst=150),
        methods={METHOD: Throttle(rate=60, burst=90)},
        concurrency=4,
        waf=WafRateLimit(limit=60_000, window_seconds=60),
    )
    open_function = replace(narrow, concurrency=None)
    capped = replace(STATE.expected, max_write_request_units=20)

    slow = allowance(BASIC, replace(STATE, limits=narrow), METHOD)
    fast = allowance(BASIC, replace(STATE, limits=open_function), METHOD)
    stored = allowance(BASIC, State(limits=open_function, expected=capped), METHOD)

    assert slow == Allowance(
        per_second=(40.0, "function"),
        at_once=(4.0, "function"),
        per_day=(10_000.0, "quota"),
        per_address=(40.0, "function"),
    )
    assert fast == replace(
        slow, per_second=(60.0, "method"), at_once=(90.0, "method"), per_address=(60.0, "method")
    )
    assert stored == replace(fast, per_second=(20.0, "table"), per_address=(20.0, "table"))


def test_a_short_request_does_not_outrun_lambdas_own_cap() -> None:
    limits = replace(PROD, concurrency=4)
    expected = replace(STATE.expected, duration_seconds=0.001)

    allowed = allowance(BASIC, State(limits=limits, expected=expected), METHOD)

    assert allowed.per_second == (40, "function")


def test_a_monthly_quota_may_go_in_one_day() -> None:
    plan = replace(BASIC, quota=Quota(limit=3_000_000, period=Period.MONTH))
    rare = replace(BASIC, throttle=Throttle(rate=1, burst=1), quota=plan.quota)

    assert allowance(plan, STATE, METHOD).per_day == (3_000_000, "quota, all in one day")
    assert allowance(rare, STATE, METHOD).per_day == (86_400, "plan")


def test_a_client_without_limits_is_told_as_such() -> None:
    plan = replace(BASIC, throttle=None, quota=None)
    limits = replace(PROD, waf=None, stage=None, concurrency=None, usage_plans={"open": plan})

    told = stack_diff("dev", STATE, replace(STATE, limits=limits), METHOD, lambda finding: "")

    assert told
    assert "| open | none | none | none | none |" in told


def test_names_with_numbers_are_told_apart() -> None:
    tiers = {f"tier{n}": BASIC for n in (1, 2)}
    before = replace(PROD, usage_plans={"tier1": BASIC})
    after = replace(PROD, usage_plans=tiers)

    def command(finding: Finding) -> str:
        return finding.key

    told = stack_diff(
        "dev", replace(STATE, limits=before), replace(STATE, limits=after), METHOD, command
    )

    assert told
    newly = told.partition("newly finds:")[2].partition("no longer finds")[0]
    assert "plan tier2" in newly
    assert "plan tier1" not in newly
