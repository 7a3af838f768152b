"""A project to run commands in."""

import shutil
from pathlib import Path

import pytest

from routes import ROUTES
from tests.stacks import ROOT


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the fixture stacks' files, which is the current folder."""
    for file in ROOT.glob("*.yaml"):
        shutil.copy(file, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def shipped_route(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave POST /data as the only route, for tests whose numbers hold for one with a key."""
    routes = tuple(route for route in ROUTES if route.method == "POST /data")
    for module in ("tools.cost.bill", "tools.diff.report"):
        monkeypatch.setattr(f"{module}.METHODS", ("POST /data",))
    for module in ("tools.cost.bill", "settings.schema"):
        monkeypatch.setattr(f"{module}.ROUTES", routes)
