"""A fresh clone: how long a newcomer waits for `make up` and `make test`."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from settings import project_root
from tools.bench.figures import Figure


def figures() -> Iterator[Figure]:
    """Measure a clone of what is committed, with nothing in pip's cache."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(project_root()), str(clone)], check=True)  # noqa: S603, S607
        up = _make(clone, "up", "PORT=18080")
        _make(clone, "down")
        yield Figure(what="make up with its set-up", unit="s", samples=[up], at_most=60)
        tests = _make(clone, "test")
        yield Figure(what="make test after that", unit="s", samples=[tests], at_most=180)


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
