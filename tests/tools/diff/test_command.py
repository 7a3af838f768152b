"""`python -m tools diff`: two revisions of a repository are compared."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from settings import UserError
from tests.edits import edit
from tests.stacks import PROJECT
from tools.__main__ import main
from tools.diff.command import diff

pytestmark = pytest.mark.usefixtures("shipped_route")


def git(folder: Path, *words: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", *words],  # noqa: S607
        cwd=folder,
        capture_output=True,
        check=True,
    )


def commit(folder: Path, tag: str) -> None:
    git(folder, "add", "--all", ".")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", tag)
    git(folder, "tag", tag)


def report(base: str, *words: str) -> str:
    """Return what the command prints; raise its errors."""
    return CliRunner().invoke(diff, ["--base", base, *words], catch_exceptions=False).output


@pytest.fixture
def repository(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project in a folder of a repository, committed as `base`."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    folder = project / "api"
    folder.mkdir()
    for file in project.glob("*.yaml"):
        file.rename(folder / file.name)
    git(project, "init", "--quiet")
    commit(folder, "base")
    monkeypatch.chdir(folder)
    return folder


def test_nothing_changed_is_said_in_three_words(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(repository / "Pulumi.prod.yaml", "wafBlockedRequests: 100", "wafBlockedRequests: 99")

    assert main(["diff", "--base", "base"]) == 0
    assert capsys.readouterr().out == "No limits changed.\n"


def test_a_raised_plan_is_reported_whole(repository: Path) -> None:
    file = repository / "Pulumi.prod.yaml"
    edit(file, "rateLimit: 100\n", "rateLimit: 150\n")
    edit(file, "limit: 10000\n", "limit: 1000000\n")

    assert report("base") == (
        """\
## What changes in the limits from `base` to the working tree

### Stack `prod`

| limit | before | after |
|---|---|---|
| `usagePlans.basic.rateLimit` | 100 | 150 |
| `usagePlans.basic.quota.limit` | 10,000 | 1,000,000 |

Findings of the review that go:

- **warning** `usagePlans.basic.quota.limit`: 10,000 requests a day are gone after 100 s at the \
plan's full 100 requests per second; that client is then refused until the day ends.

Requests to `POST /data` that one client may send while all others send none, and the layer that \
limits them:

| plan | per second | per day | per second from one address |
|---|---|---|---|
| `basic` | 100 (plan) → **150 (plan)** | 10,000 (quota) → **1,000,000 (quota)** | 6.667 (web ACL) |
| `premium` | 500 (plan) | 100,000 (quota) | 6.667 (web ACL) |

A month can bill at most $580.08 → **$4,579.73** (list prices of us-east-1). The largest change: \
GB-seconds of the function, arm64, $454.67 → $3,571.22. `python -m tools cost` says what no limit \
bounds.

AWS applies throttles and quotas on a best-effort basis: they are targets, not ceilings.
"""
    )


def test_two_revisions_are_compared_whatever_is_in_the_working_tree(repository: Path) -> None:
    file = repository / "Pulumi.dev.yaml"
    edit(file, "reservedConcurrency: 25", "reservedConcurrency: 30")
    commit(repository, "head")
    file.unlink()

    text = report("base", "--head", "head")

    assert "from `base` to `head`" in text
    assert "| `function.reservedConcurrency` | 25 | 30 |" in text


def test_stack_files_in_a_folder_of_their_own_are_compared(repository: Path) -> None:
    (repository / "stacks").mkdir()
    for file in repository.glob("Pulumi.*.yaml"):
        file.rename(repository / "stacks" / file.name)
    edit(repository / "Pulumi.yaml", "runtime:", "stackConfigDir: stacks\nruntime:")
    commit(repository, "moved")
    edit(repository / "stacks" / "Pulumi.dev.yaml", "rateLimit: 50\n", "rateLimit: 60\n")

    assert "| `throttle.rateLimit` | 50 | 60 |" in report("moved")


PROGRAM = """\
import json, pulumi
print("A program may print.")

class Any(pulumi.CustomResource):
    def __init__(self, token, name, aliases=(), **inputs):
        super().__init__(token, name, inputs, pulumi.ResourceOptions(aliases=[*aliases]))

key = {"security": [{"apiKey": []}]}
body = {"paths": {"/data": {"post": key, "get": {"security": []}}, "/old": {"get": key}}}
Any("aws:apigateway/restApi:RestApi", "api", body=json.dumps(body))
Any("aws:apigateway/domainName:DomainName", "domain", domainName="api.example.com")
Any(
    "aws:apigateway/basePathMapping:BasePathMapping",
    "mapping", domainName="api.example.com", basePath="v1",
)
Any("aws:apigateway/domainName:DomainName", "other", domainName="b.co", securityPolicy="TLS_1_0")
Any("aws:apigateway/domainName:DomainName", "third", domainName="c.co")
Any("aws:dynamodb/table:Table", "table")
Any("aws:s3/bucket:Bucket", "bucket")
Any("aws:sqs/queue:Queue", "queue")
Any("aws:cloudwatch/dashboard:Dashboard", "board")
pulumi.export("docs", "https://docs.example.com/api/")
pulumi.export("console", "https://eu-central-1.console.aws.amazon.com/x")
"""


def test_what_a_change_of_the_program_takes_from_callers_is_reported(repository: Path) -> None:
    program = repository / "__main__.py"
    program.write_text(PROGRAM)
    (repository / "link").symlink_to("/nowhere")
    commit(repository, "program")
    for old, new in (
        ('"domain", domainName="api.', '"domain", domainName="new.'),
        ('"mapping", domainName="api.example.com", basePath="v1"', '"mapping"'),
        ('Any("aws:apigateway/domainName:DomainName", "third", domainName="c.co")', ""),
        ('"api", body', '"api2", body'),
        ('"table"', '"items"'),
        ('"post"', '"put"'),
        ('"get": {"security": []}', '"get": {"security": [{"apiKey": []}]}'),
        ('"/old"', '"/new"'),
        ("docs.", "www."),
        ("TLS_1_0", "TLS_1_2"),
        # What callers do not reach, and what only has another name:
        ('"board"', '"dashboard"'),
        ("console.aws", "signin.aws"),
        ('"bucket"', '"store", [pulumi.Alias(name="bucket")]'),
        ('"queue"', f'"jobs", ["urn:pulumi:dev::{PROJECT}::a:b:C$aws:sqs/queue:Queue::queue"]'),
    ):
        edit(program, old, new)

    _, *sections = report("program").split("\n\n### ")

    url = "goes: callers that use it get no answer."
    alias = "with its URL and data; if it has another name now, give that an alias."
    for section in sections:
        assert [line[2:] for line in section.splitlines() if line.startswith("- ")] == [
            f"`https://docs.example.com/api` {url}",
            f"`https://api.example.com/v1` {url}",
            f"`https://api.example.com` {url}",
            "`https://b.co` loses the TLS policy `TLS_1_0`: clients may need it.",
            f"`https://c.co` {url}",
            f"`aws:apigateway/restApi:RestApi api` is deleted, {alias}",
            "`POST /data` goes: callers get 404.",
            "`GET /data` takes no calls without an API key.",
            "`GET /old` goes: callers get 404.",
            f"`aws:dynamodb/table:Table table` is deleted, {alias}",
        ]
    assert len(sections) == 2


def test_a_throttle_of_a_route_that_another_revision_has_is_no_error(repository: Path) -> None:
    file = repository / "Pulumi.dev.yaml"
    edit(file, "burstLimit: 100\n", "burstLimit: 100\n    methods: {GET /old: {rateLimit: 1}}\n")
    commit(repository, "old")
    git(repository, "checkout", "--quiet", "base", "--", ".")

    assert report("old") == "No limits changed.\n"


def test_the_report_as_json_has_the_same_numbers(repository: Path) -> None:
    edit(repository / "Pulumi.dev.yaml", "rateLimit: 50\n", "rateLimit: 4\n")
    edit(repository / "Pulumi.dev.yaml", "rateLimit: 5\n", "rateLimit: 3\n")
    edit(repository / "Pulumi.dev.yaml", "rateLimit: 20\n", "rateLimit: 4\n")

    found = json.loads(report("base", "--format", "json"))

    (stack,) = found["stacks"]
    assert (found["base"], found["head"], found["notes"]) == ("base", None, [])
    assert (stack["stack"], stack["is"], stack["lost"]) == ("dev", "changed", [])
    assert {"limit": "throttle.rateLimit", "before": 50, "after": 4} in stack["limits"]
    (basic, _) = stack["clients"]
    assert (basic["method"], basic["plan"]) == ("POST /data", "basic")
    assert basic["before"]["per_second"] == [5, "plan"]
    assert basic["after"]["per_second"] == [3, "plan"]


def test_another_project_is_one_line_and_its_program_is_not_compared(repository: Path) -> None:
    (repository / "__main__.py").write_text("1 / 0")
    commit(repository, "same")
    for file in repository.glob("Pulumi*.yaml"):
        file.write_text(file.read_text("utf-8").replace(PROJECT, "mine"), "utf-8")

    text = report("same")

    assert f"- `project`: `{PROJECT}` → `mine` makes another stack: an empty table" in text
    assert "program fails" not in text


def test_a_changed_program_that_does_not_run_is_an_error(repository: Path) -> None:
    (repository / "__main__.py").write_text("1 / 0")
    commit(repository, "fails")
    (repository / "__main__.py").write_text("import os\nos.execv('/bin/true', ['true'])")

    with pytest.raises(UserError, match=r"changed program does not run: .* exits with 'os.execv'"):
        report("fails")


def test_an_old_program_that_fails_is_a_note(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / "__main__.py").write_text("")
    commit(repository, "fails")

    def runs(folder: Path, _: object) -> tuple[dict[str, Any], str]:
        return {}, "" if folder == repository else "Why: @team"

    monkeypatch.setattr("tools.diff.reach._registered", runs)

    assert report("fails") == (
        "No limits changed.\n\nURLs and routes are not compared, because the old program fails: "
        "`Why: @team`\n"
    )


def test_new_and_removed_stacks_are_reported(repository: Path) -> None:
    (repository / "Pulumi.dev.yaml").rename(repository / "Pulumi.test.yaml")

    text = report("base")

    assert "### Stack `dev` (removed)" in text
    assert "| `throttle.rateLimit` | 50 |  |" in text
    assert "### Stack `test` (new)" in text
    assert "| `throttle.rateLimit` |  | 50 |" in text
    assert text.count("| plan | per second |") == 1


def test_a_base_without_limits_or_with_refused_ones_is_one_error(repository: Path) -> None:
    git(repository, "rm", "--quiet", "--cached", "Pulumi.dev.yaml", "Pulumi.prod.yaml")
    git(repository, "commit", "--quiet", "--message", "without")
    with pytest.raises(
        UserError, match=r"HEAD has no limits to compare: no .* Pulumi.<stack>.yaml"
    ):
        report("HEAD")
    edit(repository / "Pulumi.dev.yaml", "rateLimit: 5\n", "rateLimit: 500\n")
    commit(repository, "broken")
    git(repository, "checkout", "--quiet", "base", "--", ".")
    with pytest.raises(UserError, match=r"^In broken: 1 problem in the config of stack dev"):
        report("broken")


def test_a_base_without_the_projects_folder_is_one_error(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository.rename(repository.with_name("moved")))
    with pytest.raises(UserError, match="base has no limits to compare"):
        report("base")


def test_a_base_that_does_not_exist_is_one_error(repository: Path) -> None:
    with pytest.raises(UserError, match=r"no revision origin/main here.*`git fetch origin main`"):
        report("origin/main")
    with pytest.raises(UserError, match="no revision --help here"):
        report("--help")


def test_a_folder_without_a_repository_is_one_error(project: Path) -> None:
    with pytest.raises(UserError, match="not a git repository"):
        report("main")
