"""What the commands refuse, and what they leave behind when they are interrupted."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.tools.sandbox.project import Project, project_copy
from tools.__main__ import main
from tools.sandbox import client
from tools.sandbox.client import running
from tools.sandbox.server import SandboxServer


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project in which nothing runs yet."""
    with project_copy(tmp_path) as made:
        yield made


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["up", "--port", "70000"], "70000 is not in the range 1<=x<=65535"),
        (["up", "--port", "0"], "0 is not in the range"),
        (["up", "--dynamodb-endpoint", "localhost:8000"], "localhost:8000 is not a URL such as"),
        (["up", "--dynamodb-endpoint", "http://h:x"], "http://h:x is not a URL such as"),
        (["up", "--stack", "staging"], "There is no Pulumi.staging.yaml; stacks with a config"),
        (["status", "--stack", "staging"], "There is no Pulumi.staging.yaml; stacks with a config"),
        (["status"], "No sandbox of stack dev is running. Start it with make up."),
        (["status", "--stack", "../x"], "is not a stack's name"),
        (["down", "--stack", ".."], "is not a stack's name"),
        (["down", "--stack", "/x"], "is not a stack's name"),
        (["down", "--stack", ""], "is not a stack's name"),
    ],
)
def test_what_cannot_be_is_refused_in_one_clear_line(
    project: Project,
    words: list[str],
    error: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(project.folder)
    assert main(words) == 2
    assert error in capsys.readouterr().err
    assert not list(project.folder.glob(".sandbox/*"))


def test_a_broken_stack_file_is_one_clear_line(project: Project) -> None:
    (project.folder / "Pulumi.dev.yaml").write_text("config: {")

    error = project.refused("up", "--port", str(project.port))

    assert error.startswith("error: Pulumi.dev.yaml cannot be read: ")
    assert len(error.splitlines()) == 1


def test_commands_follow_no_link(
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(project.folder)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    folder = project.folder / ".sandbox"
    folder.mkdir()

    def refused(link: Path) -> str:
        link.symlink_to(elsewhere / ("kept" if link.suffix else ""))
        statuses = [main(words) for words in (["up"], ["down", "--stack", "dev"], ["down"])]
        assert statuses == [2, 2, 0 if link.name == "dev" else 2]
        link.unlink()
        return capsys.readouterr().err

    assert refused(folder / "dev").count(f"{folder / 'dev'} is a symbolic link. Remove it.") == 2
    for name in ("server.log", "table.sqlite"):
        (folder / "dev").mkdir(exist_ok=True)
        assert refused(folder / "dev" / name).count(f"{name} is a symbolic link. Remove it.") == 3
    shutil.rmtree(folder)
    assert refused(folder).count(f"{folder} cannot be used: ") == 3

    assert [path.name for path in elsewhere.iterdir()] == ["kept"]
    assert (elsewhere / "kept").read_bytes() == b""


@pytest.mark.parametrize("address", ["", "{}", '{"port": 1, "token": "t", "pid": 1}'])
def test_an_address_that_leads_nowhere_counts_as_not_running(
    project: Project,
    address: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(project.folder)
    folder = project.folder / ".sandbox" / "dev"
    folder.mkdir(parents=True)
    (folder / "server.json").write_text(address)

    assert running("dev", project.folder) is None
    assert main(["down"]) == 0
    assert capsys.readouterr().out == "No sandbox is running.\n"
    assert not folder.exists()


def test_of_two_commands_at_once_one_is_refused(project: Project) -> None:
    both = [project.start("up", "--port", str(project.port)) for _ in range(2)]
    errors = [process.communicate(timeout=110)[1] for process in both]

    assert sorted(process.returncode for process in both) == [0, 2]
    assert sorted(errors) == [
        "",
        "error: Another command is changing a sandbox here; wait for it.\n",
    ]
    assert running("dev", project.folder)


@pytest.mark.parametrize(
    ("doing", "ended_by"),
    [
        ("running the Pulumi program", signal.SIGINT),
        ("starting the function", signal.SIGINT),
        ("starting the function", signal.SIGKILL),
    ],
)
def test_up_that_is_interrupted_leaves_nothing_behind(
    project: Project, doing: str, ended_by: signal.Signals
) -> None:
    with project.start("up", "--port", str(project.port)) as process:
        assert process.stdout
        while doing not in process.stdout.readline():
            assert process.poll() is None
        started = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, ended_by)
        errors = process.communicate(timeout=60)[1]

    assert process.returncode == (130 if ended_by is signal.SIGINT else -9)
    assert errors.strip() == ""
    assert started
    for child in started:
        child.wait(30)
    assert running("dev", project.folder) is None
    assert not list(project.state.glob("function-*"))


def test_down_stops_the_others_when_one_stack_fails(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project.folder)
    monkeypatch.setattr(client, "_ANSWER_SECONDS", 1)
    project.up()
    folder = project.folder / ".sandbox" / "aaa"
    folder.mkdir()
    # A port that is open and never answers, of a process that lives.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = {"port": silent.getsockname()[1], "token": "t", "pid": os.getpid()}
        (folder / "server.json").write_text(json.dumps(address))
        status = main(["down"])
    (folder / "server.json").unlink()

    assert status == 2
    said = capsys.readouterr()
    assert said.out == "Stack dev is down.\n"
    assert said.err.startswith("error: The sandbox of stack aaa does not answer.")


def test_a_fault_in_one_of_the_servers_tasks_ends_it(tmp_path: Path) -> None:
    patched = (
        "import sys; from tools.sandbox import server\n"
        "async def fault(self): raise RuntimeError('inside')\n"
        "server.SandboxServer._rotate_logs = fault\n"
        "server.main()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", patched, str(tmp_path)],
        stdin=subprocess.PIPE,  # open, as while `make up` runs the program
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.wait(60) != 0
        assert process.stderr
        assert "RuntimeError: inside" in process.stderr.read()


def test_a_call_that_is_refused_before_the_first_deployment_is_logged(tmp_path: Path) -> None:
    # A function may call DynamoDB when it is imported.
    server = SandboxServer(tmp_path)
    server._log_refusal("not allowed")
    server._admin.close()
    assert (tmp_path / "function.log").read_text() == "AccessDeniedException: not allowed\n"
