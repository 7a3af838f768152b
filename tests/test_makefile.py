"""The commands of the Makefile."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose tools note their arguments, and fail if FAIL names the third one."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name in ("python", "lint-imports", "zizmor"):
        tool = tmp_path / ".venv" / "bin" / name
        tool.write_text(
            f'#!/bin/sh\necho {name} "$@" >> calls\n'
            'for word in $FAIL; do [ "$3" != "$word" ] || exit 2; done\n'
        )
        tool.chmod(0o755)
    (tmp_path / "requirements-dev.txt").touch()
    (tmp_path / ".venv" / "ready").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("failing", "table"),
    [
        ("", []),
        ("policy", ["policy", ".venv/bin/python -m tools policy"]),
        (
            "check roles",
            [
                *("lint", ".venv/bin/python -m ruff check ."),
                *("roles", ".venv/bin/python -m tools roles"),
            ],
        ),
    ],
)
def test_make_check_runs_all_its_parts_and_ends_with_a_table_of_what_failed(
    project: Path, failing: str, table: list[str]
) -> None:
    done = subprocess.run(
        ["make", "--no-print-directory", "check"],  # noqa: S607
        cwd=project,
        env={**os.environ, "FAIL": failing},
        capture_output=True,
        text=True,
        check=False,
    )

    calls = (project / "calls").read_text().splitlines()
    assert len(calls) == 11
    assert calls[-1] == "python -m tools review"
    assert bool(done.returncode) == bool(failing)
    lines = done.stdout.partition("Failed:\n")[2].splitlines()
    assert [part for line in lines for part in line.split(maxsplit=1)] == table
