"""`python -m operations`: what it offers, and how it ends."""

import subprocess
import sys

import pytest

from operations.cli import main
from tests.tools.operations.conftest import ROOT


def test_help_names_every_command_and_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["--help"])

    said = capsys.readouterr().out
    assert raised.value.code == 0
    for words in ("load", "doctor", "prove the limits under load", "docs/operate.md"):
        assert words in said


@pytest.mark.parametrize("arguments", [[], ["laod"]])
def test_no_command_or_a_wrong_one_is_exit_status_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(arguments)

    assert raised.value.code == 2


def test_a_reader_who_has_enough_is_no_error() -> None:
    command = f"{sys.executable} -m operations load --help | head -1"
    done = subprocess.run(  # noqa: S602  a pipe is the point
        command, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.stdout.startswith("usage: python -m operations load")
    assert done.stderr == ""


def test_locust_stays_out_of_the_process_that_reports() -> None:
    # It would replace sockets and threads there.
    program = (
        "import sys, operations.cli; sys.exit({'locust', 'gevent'} & set(sys.modules) != set())"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=60, check=False)

    assert done.returncode == 0
