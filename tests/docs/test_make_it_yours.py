"""Each change of docs/make-it-yours.md, made in a copy as it is written there."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from routes import METHODS
from settings.files import project_name
from tests.stacks import PROJECT
from tests.stacks import ROOT as STACKS
from tests.tools.diff.test_command import commit, git
from tests.tools.sandbox.project import keys_in, project_copy

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/make-it-yours.md").read_text("utf-8")
CHANGES = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
CODE = (
    *("__main__.py", "routes.py", "pyproject.toml", ".github", "components", "docs", "handler"),
    *("policy", "settings", "tests", "throttling", "tools"),
    *(path.name for path in ROOT.glob("requirements*.txt")),
)


def copy(names: Iterable[str], folder: Path) -> None:
    """Copy files and folders with compiled code, so that no command compiles it again."""
    for name in names:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name)
        else:
            shutil.copy(ROOT / name, folder)


def run(project: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a copy, as make does."""
    # Without bytecode on disk, each command would compile all packages again.
    usual = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(
        command,
        cwd=project,
        env={**usual, "PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the code, with the tests' own stacks under the name that the page has."""
    copy(CODE, tmp_path)
    for file in STACKS.glob("Pulumi*.yaml"):
        text = file.read_text("utf-8").replace(PROJECT, "throttled-api")
        (tmp_path / file.name).write_text(text, "utf-8")
    return tmp_path


def shell(project: Path, script: str) -> subprocess.CompletedProcess[str]:
    return run(project, "/bin/sh", "-ec", script.replace(".venv/bin/python", sys.executable))


class Step(NamedTuple):
    """A block of the page."""

    kind: str
    """`diff`, `sh` or `text`."""
    text: str
    file: str
    """The file named last before it, which a diff changes."""

    def is_made(self, project: Path) -> bool:
        """Return whether a user has made this change."""
        file = project / self.file
        content = file.read_text("utf-8") if file.is_file() else ""
        added = re.findall(r"(?:^\+.*\n)+", self.text, re.MULTILINE)
        return all(re.sub(r"^\+", "", lines, flags=re.M) in content for lines in added)

    def make(self, project: Path) -> None:
        """Change a file, or run commands, in a copy of the project."""
        if self.kind == "sh":
            done = shell(project, self.text)
            assert done.returncode == 0, done.stdout + done.stderr
        elif not self.is_made(project):
            file, lines = project / self.file, self.text.splitlines()
            content = file.read_text("utf-8")
            old, new = ("\n".join(line[1:] for line in lines if line[0] != sign) for sign in "+-")
            assert old in content, f"docs/make-it-yours.md: {self.file} has other lines now"
            file.write_text(content.replace(old, new, 1), "utf-8")


def steps(title: str) -> list[Step]:
    """Return the blocks of a change in their order."""
    text = CHANGES[title]
    found = []
    for block in re.finditer(r"^```(diff|sh|text)\n(.*?)^```", text, re.M | re.S):
        named = re.findall(r"`([\w/.]+\.(?:py|ya?ml))`(?:\]|:$)", text[: block.start()], re.M)
        found.append(Step(block[1], block[2], named[-1] if named else ""))
    return found


@pytest.mark.parametrize("title", CHANGES)
def test_a_change_made_as_the_page_says_passes_its_checks_and_fails_them_before(
    project: Path, title: str
) -> None:
    *edits, last, check, failure = steps(title)
    assert (check.kind, failure.kind) == ("sh", "text")
    if any(edit.kind == "diff" and edit.is_made(project) for edit in edits):
        pytest.skip("this project has the change already")
    for edit in edits:
        edit.make(project)
    done = shell(project, check.text)
    assert done.returncode != 0, f"passes without the change of {last.file}"
    assert failure.text.strip() in done.stdout + done.stderr
    last.make(project)
    done = shell(project, check.text)
    assert done.returncode == 0, done.stdout + done.stderr
    for words in (["format", "--check", "."], ["check", "."]):
        done = run(project, sys.executable, "-m", "ruff", *words)
        assert done.returncode == 0, done.stdout


def test_routes_with_a_parameter_and_without_a_key_work_in_the_whole_product(
    tmp_path: Path,
) -> None:
    with project_copy(tmp_path, with_code=True) as project:
        for name in ("policy", "tests/handler"):
            shutil.copytree(ROOT / name, tmp_path / name)
        (tmp_path / "Pulumi.prod.yaml").unlink()  # one stack is faster
        git(tmp_path, "init", "--quiet")
        commit(tmp_path, "before")
        for title in ("Add a route with a parameter", "Add a route"):
            for step in steps(title):
                if step.kind == "diff":
                    step.make(project.folder)
        project.edit(
            "throttle.methods",
            {
                "GET /data/{id}": {"rateLimit": 1, "burstLimit": 3},
                "GET /health": {"rateLimit": 1, "burstLimit": 2},
            },
        )
        commit(tmp_path, "after")
        tools = (sys.executable, "-m", "tools")
        done = run(tmp_path, *tools, "diff", "--base", "after", "--head", "before")
        for route in {"GET /health", "GET /data/{id}"}.difference(METHODS):
            assert f"`{route}` goes: callers get 404." in done.stdout, done.stdout + done.stderr
        done = run(tmp_path, *tools, "policy", "--stack", "dev")
        assert done.returncode == 0, done.stdout + done.stderr
        done = project.run("simulate", "--set", "throttle.methods.1.rateLimit=1")
        assert "Allowed: one of " in done.stderr, done.stderr

        key = {"x-api-key": keys_in(project.up("--stack", "dev"))["basic"]}
        assert project.post(key["x-api-key"]).status_code == 200
        sent = ["no-key=10rps,for=1s,method=GET /health"]
        sent += ["basic/default=1rps,for=2s,method=GET /data/{id}"]
        clients = [word for one in sent for word in ("--client", one)]
        done = project.run("load", *clients, "--arrivals", "even")
        assert done.returncode == 0, done.stdout
        done = project.run("simulate", *clients, "--arrivals", "even", "--format", "json")
        layers = {one["client"]: list(one["refused"]) for one in json.loads(done.stdout)["clients"]}
        assert layers == {"no-key": ["method"], "basic/default": []}

        base = f"http://127.0.0.1:{project.port}/dev"
        stored = {"id": "a/b c", "title": "x", "year": 1}
        assert project.post(key["x-api-key"], stored).status_code == 200
        read = httpx.get(f"{base}/data/a%2Fb%20c", headers=key)
        assert (read.status_code, read.json()) == (200, {**stored, "year": "1"})
        assert httpx.get(f"{base}/data/other", headers=key).status_code == 404
        assert httpx.get(f"{base}/data/other").status_code == 403
        answers = [httpx.get(f"{base}/health") for _ in range(20)]
        assert {"message": "Hello"} in [answer.json() for answer in answers]
        assert {one.headers.get("x-throttled-by") for one in answers} == {
            None,
            "method:GET /health",
        }


def test_after_changes_of_a_user_the_tests_of_shipped_files_pass_or_name_what_to_edit(
    tmp_path: Path,
) -> None:
    copy({*CODE, "README.md", "Makefile", *(path.name for path in ROOT.glob("[Ppr]*.*"))}, tmp_path)
    old = project_name(tmp_path)
    for file in tmp_path.glob("Pulumi*.yaml"):
        text = file.read_text("utf-8").replace(old, "my-records")
        # Twice all limits and thresholds, so that they still agree with each other.
        names = "imit|Concurrency|Ms|Mb|Units|Requests|Errors|Throttles"
        text = re.sub(rf"({names}): (\d+)", lambda m: f"{m[1]}: {int(m[2]) * 2}", text)
        plan = "    of-a-test: {rateLimit: 2, burstLimit: 4, quota: {limit: 9000}}\n"
        file.write_text(text.replace("usagePlans:\n", f"usagePlans:\n{plan}"), "utf-8")
    first = min(tmp_path.glob("Pulumi.*.yaml"))
    shutil.copy(first, tmp_path / "Pulumi.of-a-test.yaml")

    tests = ["tests/test_documents.py", "tests/test_workflows.py", "tests/tools/test_schema.py"]
    done = run(tmp_path, sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *tests)
    failures = re.findall(r"^E +AssertionError: (.*)$", done.stdout, re.MULTILINE)
    assert done.returncode == bool(failures), done.stdout + done.stderr
    for failure in failures:
        assert re.match(r"(README\.md|docs/\S+|\.github/\S+)(, stack \S+)?: ", failure)
