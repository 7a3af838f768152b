"""What a newcomer waits for: the set-up of a fresh clone, and the tests. Takes several minutes."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tools.bench.figures import Figure, Target
from tests.tools.sandbox.project import ROOT, free_port

_SETUP_TARGET_SECONDS: Final = 90
_TESTS_TARGET_SECONDS: Final = 240


def figures() -> Iterator[Figure]:
    """Measure a fresh clone of what is committed, with nothing in pip's cache."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)  # noqa: S603, S607
        port = f"PORT={free_port()}"
        setup = _make(clone, ".venv/ready")
        up = _make(clone, "up", port)
        _make(clone, "down")
        again = _make(clone, "up", port)
        _make(clone, "down")
        tests = _make(clone, "test")
    yield Figure(
        what="fresh clone to a healthy make up, nothing cached",
        unit="s",
        samples=[setup + up],
        targets=[Target(bound="at most", value=_SETUP_TARGET_SECONDS)],
    )
    yield Figure(what="of these, the packages", unit="s", samples=[setup])
    yield Figure(
        what="of these, compiling what runs for the first time", unit="s", samples=[up - again]
    )
    yield Figure(
        what="make test, all of it",
        unit="s",
        samples=[tests],
        targets=[Target(bound="at most", value=_TESTS_TARGET_SECONDS)],
    )


def _make(clone: Path, *words: str) -> float:
    """The seconds that a target takes."""
    began = time.perf_counter()
    subprocess.run(  # noqa: S603  our own targets
        ["make", *words],  # noqa: S607
        cwd=clone,
        env={**os.environ, "PIP_NO_CACHE_DIR": "1"},
        stdout=subprocess.PIPE,
        check=True,
    )
    return time.perf_counter() - began
