"""Each change of docs/make-it-yours.md, made in a copy as it is written there."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import httpx
import pytest

from settings.files import project_name
from tests.edits import edit
from tests.stacks import PROJECT
from tests.stacks import ROOT as STACKS
from tests.tools.sandbox.project import keys_in, project_copy

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/make-it-yours.md").read_text("utf-8")
CHANGES = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
CODE = (
    *("__main__.py", "routes.py", "pyproject.toml", ".github", "components", "docs", "handler"),
    *("policy", "settings", "tests", "throttling", "tools"),
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


def apply(project: Path, file: Path, block: str) -> None:
    """Change a file as a block with lines of `-` and `+` says."""
    lines = block.splitlines()
    old = "\n".join(line[1:] for line in lines if line[0] in " -")
    new = "\n".join(line[1:] for line in lines if line[0] in " +")
    if new in file.read_text("utf-8"):
        pytest.skip("this project has the change already")
    edit(file, old, new)


@pytest.mark.parametrize("title", CHANGES)
def test_a_change_made_as_the_page_says_passes_the_checks_that_it_names(
    project: Path, title: str
) -> None:
    text = CHANGES[title]
    steps = re.finditer(r"^```(diff|sh)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert "```sh" in text, "each change names what checks it"
    for step in steps:
        if step[1] == "diff":
            named = re.findall(r"`([\w/.]+\.(?:py|ya?ml))`(?:\]|:$)", text[: step.start()], re.M)
            apply(project, project / named[-1], step[2])
            continue
        script = step[2].replace(".venv/bin/python", sys.executable)
        done = run(project, "/bin/sh", "-ec", script)
        assert done.returncode == 0, step[2] + done.stdout + done.stderr
    for words in (["format", "--check", "."], ["check", "."]):
        done = run(project, sys.executable, "-m", "ruff", *words)
        assert done.returncode == 0, done.stdout


def test_routes_with_a_parameter_and_without_a_key_work_in_the_whole_product(
    tmp_path: Path,
) -> None:
    with project_copy(tmp_path, with_code=True) as project:
        shutil.copytree(ROOT / "tests/handler", tmp_path / "tests/handler")
        for title in ("Add a route with a parameter", "Add a route"):
            for block in re.finditer(r"^```diff\n(.*?)^```", CHANGES[title], re.M | re.S):
                before = CHANGES[title][: block.start()]
                file = re.findall(r"`([\w/.]+\.py)`\]", before)[-1]
                apply(project.folder, project.folder / file, block[1])
        project.edit(
            "throttle.methods",
            {
                "GET /data/{id}": {"rateLimit": 1, "burstLimit": 3},
                "GET /health": {"rateLimit": 1, "burstLimit": 2},
            },
        )
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
        assert answers[0].json() == {"message": "Hello"}
        assert answers[-1].headers["x-throttled-by"] == "method:GET /health"


def test_after_changes_of_a_user_the_tests_of_shipped_files_pass_or_name_what_to_edit(
    tmp_path: Path,
) -> None:
    copy({*CODE, "README.md", "Makefile", *(path.name for path in ROOT.glob("[Ppr]*.*"))}, tmp_path)
    old = project_name(tmp_path)
    for file in tmp_path.glob("Pulumi*.yaml"):
        text = file.read_text("utf-8").replace(old, "my-records")
        # Twice all limits, so that they still agree with each other.
        text = re.sub(r"(imit|Concurrency): (\d+)", lambda m: f"{m[1]}: {int(m[2]) * 2}", text)
        plan = "    more: {rateLimit: 2, burstLimit: 4, quota: {limit: 9000}}\n"
        file.write_text(text.replace("usagePlans:\n", f"usagePlans:\n{plan}"), "utf-8")
    first = min(tmp_path.glob("Pulumi.*.yaml"))
    shutil.copy(first, tmp_path / "Pulumi.another.yaml")

    commands = [["-m", "tools", one] for one in ("roles", "schema")]
    tests = ["tests/test_documents.py", "tests/test_workflows.py", "tests/tools/test_schema.py"]
    for words in (*commands, ["-m", "pytest", "-p", "no:cacheprovider", *tests]):
        done = run(tmp_path, sys.executable, *words)
        failures = re.findall(r"^E +AssertionError: (.*)$", done.stdout, re.MULTILINE)
        assert done.returncode == bool(failures), done.stdout + done.stderr
        for failure in failures:
            assert re.match(r"(README\.md says .*; write|\.github/\S+: name all stacks)", failure)
