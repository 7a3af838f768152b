"""What the sandbox's tests share."""

from collections.abc import Iterator

import pytest

from settings.files import read_stack
from tools.recorder.program import run_program
from tools.recorder.resources import Resources
from tests.tools.sandbox.project import ROOT, Project, project_copy


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A copy of the project, whose sandbox is down at the end."""
    with project_copy(tmp_path_factory.mktemp("project")) as copy:
        yield copy


@pytest.fixture(scope="session")
def resources() -> Resources:
    """What the program registers for stack dev."""
    return run_program(
        read_stack(ROOT, "dev"), project="throttled-api", stack="dev", base_url="http://sandbox"
    ).resources
