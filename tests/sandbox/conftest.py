"""What the sandbox's tests share."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.stack_files import read_stack
from sandbox.program import run_program
from sandbox.resources import Resources
from tests.sandbox.project import Project, free_port

ROOT = Path(__file__).parents[2]
_SOURCES = ("__main__.py", "Pulumi*.yaml", "components", "handler", "sandbox", "throttling")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A copy of the project, whose sandbox is down at the end."""
    folder = tmp_path_factory.mktemp("project")
    for pattern in _SOURCES:
        for source in ROOT.glob(pattern):
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, folder / source.name, ignore=ignored)
            else:
                shutil.copy(source, folder)
    copy = Project(folder, free_port())
    yield copy
    done = copy.run("down")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def resources() -> Resources:
    """What the program registers for stack dev."""
    return run_program(
        read_stack(ROOT, "dev"), project="throttled-api", stack="dev", base_url="http://sandbox"
    ).resources
