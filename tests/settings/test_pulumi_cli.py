"""The tables of the tests beside this one, held against Pulumi's own command line.

Skipped where there is no `pulumi` on PATH.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from settings import read_stack
from tests.settings.configs import PROJECT
from tests.settings.test_paths import NOT_PATHS, REFUSED, SET

pytestmark = pytest.mark.skipif(not shutil.which("pulumi"), reason="no `pulumi` on PATH")

Pulumi = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def pulumi(tmp_path: Path) -> Pulumi:
    """Runs the Pulumi CLI in a project of its own with a stack dev."""
    (tmp_path / "Pulumi.yaml").write_text(f"name: {PROJECT}\nruntime: python\n")
    (tmp_path / "state").mkdir()
    environment = {
        **{"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PULUMI_HOME": f"{tmp_path}/home"},
        **{"PULUMI_BACKEND_URL": f"file://{tmp_path}/state", "PULUMI_CONFIG_PASSPHRASE": "x"},
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }

    def pulumi(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["pulumi", "--non-interactive", *arguments],  # noqa: S607
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    assert pulumi("stack", "init", "dev").returncode == 0
    return pulumi


def write(folder: Path, name: str, there: str | None) -> None:
    """Add a top-level value to the stack's file, which keeps its salt."""
    path = folder / "Pulumi.dev.yaml"
    salt = next(line for line in path.read_text().split("\n") if line.startswith("encryption"))
    structured = there is not None and there[0] in "[{" and there != "[broken"
    value = there if structured else json.dumps(there)
    path.write_text(f"{salt}\n" + ("" if there is None else f"config: {{{name}: {value}}}\n"))


def test_paths_are_set_as_the_cli_sets_them(pulumi: Pulumi, tmp_path: Path) -> None:
    for there, path, value, after in SET:
        write(tmp_path, f"{PROJECT}:a", there)
        done = pulumi("config", "set", "--stack", "dev", "--path", path, "--", value)
        assert done.returncode == 0, (path, done.stderr)
        found = read_stack("dev", tmp_path).values[f"{PROJECT}:a"]
        assert (json.loads(found) if isinstance(after, dict | list) else found) == after, path


def test_paths_are_refused_as_the_cli_refuses_them(pulumi: Pulumi, tmp_path: Path) -> None:
    for there, path in [*REFUSED, *((None, path) for path in NOT_PATHS)]:
        write(tmp_path, f"{PROJECT}:a", there)
        assert pulumi("config", "set", "--stack", "dev", "--path", path, "1").returncode != 0, path
