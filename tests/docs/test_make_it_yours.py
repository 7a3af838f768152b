"""Each change of docs/make-it-yours.md, made in a copy as it is written there."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.edits import edit
from tests.stacks import PROJECT
from tests.stacks import ROOT as STACKS
from tests.tools.sandbox.project import keys_in, project_copy

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/make-it-yours.md").read_text("utf-8")
CHANGES = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
CODE = (
    *("__main__.py", "routes.py", "pyproject.toml", "docs", "components", "handler", "policy"),
    *("settings", "tests", "throttling", "tools"),
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the code, with the tests' own stacks under the name that the page has."""
    for name in CODE:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(ROOT / name, tmp_path)
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
            named = re.findall(r"`([\w/.]+\.(?:py|yaml))`(?:\]|:$)", text[: step.start()], re.M)
            apply(project, project / named[-1], step[2])
            continue
        # As make does: without bytecode on disk, each command would compile all packages again.
        usual = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        script = step[2].replace(".venv/bin/python", sys.executable)
        done = subprocess.run(
            ["/bin/sh", "-ec", script],
            cwd=project,
            env={**usual, "PYTHONPATH": str(project)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, step[2] + done.stdout + done.stderr


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
        base = f"http://127.0.0.1:{project.port}/dev"
        stored = {"id": "a/b c", "title": "x", "year": 1}
        assert project.post(key["x-api-key"], stored).status_code == 200
        read = httpx.get(f"{base}/data/a%2Fb%20c", headers=key)
        assert (read.status_code, read.json()) == (200, {**stored, "year": "1"})
        assert httpx.get(f"{base}/data/other", headers=key).status_code == 404
        assert httpx.get(f"{base}/data/other").status_code == 403
        answers = [httpx.get(f"{base}/health") for _ in range(4)]
        assert answers[0].json() == {"message": "Hello"}
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.headers["x-throttled-by"] == "method:GET /health"

        sent = ["no-key=10rps,for=1s,method=GET /health"]
        sent += ["basic/default=2rps,for=3s,method=GET /data/{id}"]
        clients = [word for one in sent for word in ("--client", one)]
        done = project.run("simulate", *clients, "--arrivals", "even", "--format", "json")
        layers = {one["client"]: list(one["refused"]) for one in json.loads(done.stdout)["clients"]}
        assert layers == {"no-key": ["method"], "basic/default": ["method"]}
        assert project.run("load", *clients, "--arrivals", "even").returncode == 0
