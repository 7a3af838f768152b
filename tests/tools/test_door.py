"""`python -m tools`: every command is behind one door, and all end in the same ways."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from settings import UserError
from tools import __main__ as door
from tools.__main__ import COMMANDS, main
from tools.cli import Exit

ROOT = Path(__file__).parents[2]
Capture = pytest.CaptureFixture[str]


def test_the_door_lists_every_command_with_its_summary(capsys: Capture) -> None:
    assert main(["--help"]) == 0
    words = " ".join(capsys.readouterr().out.split())
    for name, (_, summary) in COMMANDS.items():
        assert f"{name} {summary}" in words
    assert "Exit status: 0 fine, 1 findings, 2 bad input, 130 interrupted." in words


def test_a_warning_of_a_library_ends_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    command = [sys.executable, "-m", "tools", "cost", "--help"]
    assert subprocess.run(command, cwd=ROOT, check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_and_ends_with_an_example(name: str, capsys: Capture) -> None:
    assert main([name, "--help"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.split("\n\n")]
    assert re.match(rf"Usage: tools {name} \[OPTIONS\]", lines[0])
    assert re.match(rf"Example: python -m tools {name}\b", lines[-1])
    command = door.door.get_command(click.Context(door.door), name)
    assert command
    assert all(option.help for option in command.params if isinstance(option, click.Option))


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ([], "Usage: tools"),
        (["laod"], "No such command 'laod'"),
        (["review", "--what"], "No such option"),
        (["review", "--format", "xml"], "'xml' is not one of"),
        (["diff"], "Missing option '--base'"),
        (["review", "--stack", "nowhere"], "error: There is no Pulumi.nowhere.yaml"),
    ],
)
@pytest.mark.usefixtures("project")
def test_bad_input_is_one_error_and_status_2(words: list[str], error: str, capsys: Capture) -> None:
    assert main(words) == Exit.BAD_INPUT
    out, err = capsys.readouterr()
    assert error in err
    assert "Traceback" not in out + err
    assert err.count("\n") == 1 or not words, "one line"


def test_a_folder_without_a_project_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["review"]) == Exit.BAD_INPUT
    assert "There is no Pulumi.yaml in " in capsys.readouterr().err


def raising(error: BaseException) -> Callable[[], object]:
    def body() -> None:
        raise error

    return body


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (lambda: None, 0),
        (lambda: Exit.FINDINGS, 1),
        (raising(UserError("Read [this].")), 2),
        (raising(KeyboardInterrupt()), 130),
        (raising(click.Abort()), 130),
    ],
)
def test_every_command_ends_with_the_same_statuses(
    body: Callable[[], object], status: int, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr("tools.review.review", click.Command("review", callback=body))

    assert main(["review"]) == status
    assert capsys.readouterr().err.startswith("error: Read [this]." if status == 2 else "")


def python(code: str) -> "subprocess.Popen[str]":
    """Start Python in the current folder, with the project's packages."""
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.usefixtures("project")
def test_a_reader_who_closes_the_pipe_is_no_error() -> None:
    with python("import sys; from tools.__main__ import main; sys.exit(main(['review']))") as done:
        assert done.stdout
        assert done.stderr
        done.stdout.close()
        assert done.stderr.read() == ""
    assert done.returncode == 0


# As `python -m tools` runs it, which a shell may have started with SIGINT ignored. Short sleeps,
# because a signal just before a sleep would only be seen at its end.
SLOW = """
import runpy, signal, sys, time, tools.review

def wait(*_):
    print("up", flush=True)
    while True:
        time.sleep(0.01)

signal.signal(signal.SIGINT, signal.SIG_IGN)
tools.review.load_stack = wait
sys.argv[1:] = ["review"]
runpy.run_module("tools", run_name="__main__", alter_sys=True)
"""


@pytest.mark.usefixtures("project")
def test_ctrl_c_ends_a_command_with_130_and_no_traceback() -> None:
    with python(SLOW) as process:
        assert process.stdout
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)

    assert (process.returncode, error.strip()) == (130, "")


@pytest.mark.skipif("sys.platform != 'linux'", reason="only Linux has a device that is always full")
@pytest.mark.parametrize("words", ["'review'", "'review', '--format', 'json'", "'--help'"])
@pytest.mark.usefixtures("project")
def test_output_that_cannot_be_written_is_one_error(words: str) -> None:
    code = f"""
import os, sys
os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
from tools.__main__ import main
sys.exit(main([{words}]))
"""
    with python(code) as done:
        _, error = done.communicate(timeout=30)
    assert (done.returncode, error) == (2, "error: [Errno 28] No space left on device\n")


LOADED = """
import sys
from tools.__main__ import main
main(["--help"])
main(["review", "--help"])
print({"boto3", "locust", "matplotlib", "numba", "pulumi_aws"} & set(sys.modules))
"""


def test_a_command_does_not_load_the_libraries_of_another() -> None:
    with python(LOADED) as done:
        out, error = done.communicate(timeout=30)

    assert out.splitlines()[-1] == "set()", error
