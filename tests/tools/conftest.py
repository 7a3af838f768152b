"""A project to run commands in."""

import shutil
from pathlib import Path

import pytest

from tests.stacks import ROOT


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the fixture stacks' files, which is the current folder."""
    for file in ROOT.glob("*.yaml"):
        shutil.copy(file, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path
