"""A fresh clone: how long a newcomer waits for `make up` and `make test`."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from settings import project_root
from tools.bench.figures import Figure, seconds


def figures() -> Iterator[Figure]:
    """Measure a clone of what is committed, with nothing in pip's cache."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(project_root()), str(clone)], check=True)  # noqa: S603, S607
        up, _, tests = (
            seconds(["make", *words], clone, PIP_NO_CACHE_DIR="1")
            for words in (["up", "PORT=18080"], ["down"], ["test"])
        )
        yield Figure(what="make up with its set-up", unit="s", samples=[up], at_most=60)
        yield Figure(what="make test after that", unit="s", samples=[tests], at_most=180)
