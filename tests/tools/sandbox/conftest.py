"""What the sandbox's tests share."""

from collections.abc import Iterator

import pytest

from tests.stacks import deploy
from tests.tools.sandbox.project import Project, project_copy
from tools.recorder.resources import Resources


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project whose sandbox is down at the end."""
    with project_copy(tmp_path_factory.mktemp("project")) as made:
        yield made


@pytest.fixture(scope="session")
def resources() -> Resources:
    """The resources of stack dev."""
    return deploy("dev").resources


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The event loop that the sandbox runs on."""
    return "asyncio", {"use_uvloop": True}
