"""What a newcomer waits for: the set-up of a fresh clone, and the tests. Takes several minutes."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from settings import project_root
from tools.bench.figures import Figure

_PORT: Final = "PORT=18080"


def figures() -> Iterator[Figure]:
    """Measure a fresh clone of what is committed, with nothing in pip's cache."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(project_root()), str(clone)], check=True)  # noqa: S603, S607
        packages = _make(clone, ".venv/ready")
        up = _make(clone, "up", _PORT)
        _make(clone, "down")
        tests = _make(clone, "test")
    yield Figure(
        what="fresh clone to a healthy make up, nothing cached",
        unit="s",
        samples=[packages + up],
        at_most=60,
    )
    yield Figure(what="of these, the packages", unit="s", samples=[packages])
    yield Figure(what="make test, all of it", unit="s", samples=[tests], at_most=180)


def _make(clone: Path, *words: str) -> float:
    """Return the seconds that a target takes."""
    began = time.perf_counter()
    subprocess.run(  # noqa: S603  our own targets
        ["make", *words],  # noqa: S607
        cwd=clone,
        env={**os.environ, "PIP_NO_CACHE_DIR": "1"},
        stdout=subprocess.PIPE,
        check=True,
    )
    return time.perf_counter() - began
