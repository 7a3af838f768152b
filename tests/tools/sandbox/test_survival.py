"""What the sandbox survives: processes that die or hang, a full disk, and two hands on it at once.

The tests of this file share one copy of the project. Each deploys what it needs first.
"""

import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from tools.sandbox.state import State
from tools.sandbox.table_server import Journal
from tests.tools.sandbox.project import Project, items_in, keys_in

MISCHIEF = """

_stores = handle


def handle(event, context):
    import os, time
    if "crash" in event["body"]:
        os._exit(1)
    if "hang" in event["body"]:
        time.sleep(60)
    return _stores(event, context)
"""
needs_limits_of_running_processes = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux limits the files of a process that runs"
)


@pytest.fixture(scope="module")
def key(project: Project) -> str:
    """A key whose plan lets a test send as fast as it can, to a function that does mischief."""
    plan = {"rateLimit": 5000, "burstLimit": 5000, "quota": {"limit": 1_000_000}}
    project.edit("throttle", {"rateLimit": 5000, "burstLimit": 5000})
    project.edit("usagePlans.basic", plan)
    project.edit("waf.rateLimit", 1_000_000)
    project.edit("function.timeoutSeconds", 1)
    app = project.folder / "handler" / "app.py"
    app.write_text(app.read_text() + MISCHIEF)
    return keys_in(project.up())["basic"]


def record(id_: str) -> dict[str, object]:
    return {"id": id_, "title": "T", "year": 1}


def stored_ids(output: str) -> set[str]:
    return {item["id"]["S"] for item in items_in(output)}


def server_of(project: Project) -> psutil.Process:
    told = State(project.folder, "dev").ask("status")
    assert told
    return psutil.Process(told["pid"])


def table_of(project: Project) -> psutil.Process:
    """The process that serves DynamoDB."""
    journal = str(State(project.folder, "dev").journal)
    (found,) = (
        process
        for process in psutil.process_iter(["cmdline"])
        if journal in (process.info["cmdline"] or ())
    )
    return found


def until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


@contextmanager
def clients(project: Project, key: str, number: int) -> Iterator[dict[str, int]]:
    """Clients that store one record after another; the status each record's id was answered."""
    answered: dict[str, int] = {}
    over = threading.Event()

    def store(client: int) -> None:
        with httpx.Client(headers={"x-api-key": key}, timeout=30) as session:
            for turn in range(1_000_000):
                if over.is_set():
                    return
                id_ = f"{client}-{turn}"
                answer = session.post(project.data_url, json=record(id_))
                answered[id_] = answer.status_code

    threads = [threading.Thread(target=store, args=[client]) for client in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield answered
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_nothing_that_was_acknowledged_is_lost_with_the_tables_server(
    project: Project, key: str
) -> None:
    with clients(project, key, 3) as answered:

        def times(status: int) -> int:
            return list(answered.values()).count(status)

        for _ in range(2):
            stored, unavailable = times(200), times(503)
            until(lambda s=stored: times(200) > s + 20)  # type: ignore[misc]
            table_of(project).kill()
            until(lambda u=unavailable: times(503) > u)  # type: ignore[misc]
        stored = times(200)
        until(lambda: times(200) > stored + 20)

    assert set(answered.values()) == {200, 503}
    acknowledged = {id_ for id_, status in answered.items() if status == 200}
    assert acknowledged <= stored_ids(project.up())


def test_nothing_that_was_acknowledged_is_lost_with_the_whole_sandbox(
    project: Project, key: str
) -> None:
    assert project.post(key, record("before")).status_code == 200
    server, table = server_of(project), table_of(project)
    processes = [server, table, *server.children()]
    server.kill()
    state = State(project.folder, "dev")
    state.control.with_suffix(".new").touch()
    (state.folder / "resources.new").write_text("{")

    output = project.up()

    assert keys_in(output)["basic"] == key
    assert "before" in stored_ids(output)
    assert project.post(key, record("after")).status_code == 200
    until(lambda: not any(process.is_running() for process in processes))
    assert len(list(state.folder.glob("function-*"))) == 1


def test_down_forgets_the_items_even_of_a_sandbox_that_was_killed(
    project: Project, key: str
) -> None:
    assert project.post(key, record("forgotten")).status_code == 200
    server_of(project).kill()
    journal = State(project.folder, "dev").journal
    journal.write_text("what no sandbox wrote\n")

    refused = project.run("up", "--port", str(project.port))
    project.run("down")

    assert refused.returncode == 1
    assert refused.stderr == (
        "error: DynamoDB's stand-in did not start; its log is table.log. "
        "After make down it starts afresh, without the items that it had.\n"
    )
    assert not journal.exists()
    assert stored_ids(project.up()) == set()


def test_a_function_that_crashes_or_hangs_costs_its_own_caller_a_502(
    project: Project, key: str
) -> None:
    with clients(project, key, 2) as answered:
        crashed = project.post(key, record("crash"))
        hung = project.post(key, record("hang"))
        until(lambda: len(answered) > 20)

    for answer in (crashed, hung):
        assert answer.status_code == 502
        assert answer.json() == {"message": "Internal server error"}
    assert set(answered.values()) == {200}


def test_a_function_that_outlives_the_integrations_timeout_costs_its_caller_a_504(
    project: Project, key: str
) -> None:
    document = project.folder / "components" / "openapi.py"
    usual = document.read_text()
    document.write_text(usual.replace('"timeoutInMillis": 29_000', '"timeoutInMillis": 500'))
    project.up()
    document.write_text(usual)

    with clients(project, key, 2) as answered:
        hung = project.post(key, record("hang"))
        until(lambda: len(answered) > 20)

    assert hung.status_code == 504
    assert hung.json() == {"message": "Endpoint request timed out"}
    assert set(answered.values()) == {200}


def test_of_two_commands_at_once_one_says_that_the_other_is_at_work(
    project: Project, key: str
) -> None:
    command = [sys.executable, "-m", "sandbox", "up", "--port", str(project.port)]
    both = [
        subprocess.Popen(
            command, cwd=project.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=60)[1].decode() for process in both]

    assert sorted(process.returncode for process in both) == [0, 1]
    assert sorted(said) == [
        "",
        "error: Another command is changing the sandbox of stack dev; wait for it to finish.\n",
    ]
    assert project.post(key, record("1")).status_code == 200


def test_a_deployment_on_a_full_disk_is_one_clear_line_and_the_old_one_stays(
    project: Project, key: str
) -> None:
    before = server_of(project).pid
    done = subprocess.run(
        [sys.executable, "-m", "sandbox", "up", "--port", str(project.port)],
        cwd=project.folder,
        capture_output=True,
        text=True,
        check=False,
        # No file may grow beyond a kilobyte.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
    )

    assert done.returncode == 1
    resources = State(project.folder, "dev").resources
    assert done.stderr == f"error: {resources} cannot be written: File too large.\n"
    assert server_of(project).pid == before
    assert project.post(key, record("1")).status_code == 200


@needs_limits_of_running_processes
def test_a_record_for_which_there_is_no_room_is_not_acknowledged(
    project: Project, key: str
) -> None:
    journal = State(project.folder, "dev").journal
    table = table_of(project)
    usual = table.rlimit(psutil.RLIMIT_FSIZE)
    room = journal.stat().st_size + 50
    table.rlimit(psutil.RLIMIT_FSIZE, (room, usual[1]))

    full = [project.post(key, record(f"full {n}")) for n in range(3)]
    table.rlimit(psutil.RLIMIT_FSIZE, usual)
    after = project.post(key, record("after"))
    table.kill()

    assert [answer.status_code for answer in full] == [503] * 3
    assert after.status_code == 200
    ids = stored_ids(project.up())
    assert "after" in ids
    assert not {f"full {n}" for n in range(3)} & ids


@pytest.mark.parametrize("cut_off", [b"", b"{", b'{"target": "DynamoDB_20120810.Put'])
def test_a_journal_that_ends_within_a_line_goes_on_after_the_last_whole_one(
    tmp_path: Path, cut_off: bytes
) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b'{"target": "a"}\n' + cut_off)

    with closing(Journal(path)) as journal:
        journal.append({"target": "b"})
        assert list(journal.requests()) == [{"target": "a"}, {"target": "b"}]


@needs_limits_of_running_processes
def test_a_log_that_cannot_be_written_fails_nobody(project: Project, key: str) -> None:
    server = server_of(project)
    for process in (server, *server.children()):
        process.rlimit(psutil.RLIMIT_FSIZE, (1, 1))

    answers = [project.post(key, record(id_)).status_code for id_ in ("1", "hang", "crash", "2")]

    assert answers == [200, 502, 502, 200]
