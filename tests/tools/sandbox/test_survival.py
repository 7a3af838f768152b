"""What the sandbox survives: redeployments, killed processes, broken code and full disks."""

import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import psutil
import pytest

from tests.tools.sandbox.project import Project, items_in, keys_in, kill, project_copy


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with a copy of the code, whose limits let a test send as fast as it can."""
    with project_copy(tmp_path_factory.mktemp("project"), with_code=True) as made:
        plan = {"rateLimit": 5000, "burstLimit": 5000, "quota": {"limit": 1_000_000}}
        made.edit("throttle", {"rateLimit": 5000, "burstLimit": 5000})
        made.edit("usagePlans.basic", plan)
        made.edit("waf.rateLimit", 1_000_000)
        # Lambda serves ten requests a second for each.
        made.edit("function.reservedConcurrency", 500)
        yield made


@pytest.fixture(scope="module")
def key(project: Project) -> str:
    return keys_in(project.up())["basic"]


def record(id_: str) -> dict[str, object]:
    return {"id": id_, "title": "T", "year": 1}


def stored_ids(output: str) -> set[str]:
    return {item["id"]["S"] for item in items_in(output)}


def until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


@contextmanager
def clients(project: Project, key: str, number: int) -> Iterator[dict[str, int]]:
    """Clients that store one record after another; the status of the answer by the record's id.

    A connection that breaks counts as status 0.
    """
    answered: dict[str, int] = {}
    over = threading.Event()

    def store(client: int) -> None:
        with httpx.Client(headers={"x-api-key": key}, timeout=30, trust_env=False) as session:
            for turn in range(1_000_000):
                if over.is_set():
                    return
                id_ = f"{project.port}-{client}-{turn}-{len(answered)}"
                try:
                    answer = session.post(project.data_url, json=record(id_))
                    answered[id_] = answer.status_code
                except httpx.TransportError:
                    answered[id_] = 0
                time.sleep(0.005)  # leaves a core to the commands

    threads = [threading.Thread(target=store, args=[client]) for client in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield answered
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_redeployments_in_traffic_cost_no_request_and_no_connection(
    project: Project, key: str
) -> None:
    request = f"GET /dev/data HTTP/1.1\r\nHost: h\r\nx-api-key: {key}\r\n\r\n".encode()
    server = project.sandbox.pid
    with clients(project, key, 3) as answered:
        project.up()
        with socket.create_connection(("127.0.0.1", project.port)) as idle:
            for _ in range(5):
                idle.sendall(request)
                assert idle.recv(10_000).startswith(b"HTTP/1.1 404")
                project.refill()
        enough = len(answered) + 20
        until(lambda: len(answered) > enough)

    assert set(answered.values()) == {200}
    assert project.sandbox.pid == server
    until(lambda: len(list(project.state.glob("function-*"))) == 1)


def test_nothing_acknowledged_is_lost_when_a_process_is_killed(project: Project, key: str) -> None:
    with clients(project, key, 3) as answered:

        def times(status: int) -> int:
            return list(answered.values()).count(status)

        def store_more() -> None:
            before = times(200)
            until(lambda: times(200) > before + 20)

        store_more()
        server, *children = project.processes()
        (table,) = (child for child in children if "tools.sandbox.table_server" in child.cmdline())
        kill(table)
        until(lambda: times(503) > 0)
        assert project.sandbox.items(), "a command waits until the table is back"
        store_more()
        processes = project.processes()
        kill(server)
        until(lambda: times(0) > 0)
        for process in processes:
            process.wait(30)
        output = project.up()
        store_more()

    assert set(answered.values()) == {200, 503, 0}
    acknowledged = {id_ for id_, status in answered.items() if status == 200}
    assert acknowledged <= stored_ids(output)
    assert keys_in(output)["basic"] == key


def test_a_function_that_cannot_be_imported_is_refused_and_the_old_one_stays(
    project: Project, key: str
) -> None:
    app = project.code / "handler" / "app.py"
    good = app.read_text()
    app.write_text("import no_such_module\n" + good)

    error = project.refused("up", "--port", str(project.port))

    app.write_text(good)
    assert error == (
        "error: The function handler.app.handle cannot be imported: "
        "ModuleNotFoundError: No module named 'no_such_module'\n"
    )
    assert project.post(key).status_code == 200


@pytest.mark.skipif("sys.platform != 'linux'", reason="limits the files of a running process")
def test_a_full_disk_refuses_a_deployment_and_costs_callers_nothing(
    project: Project, key: str
) -> None:
    # No file may grow: not the logs, the journal or a function's copy.
    server, *children = project.processes()
    functions = [child for child in children if "lambda_runtime.py" in " ".join(child.cmdline())]
    usual = server.rlimit(psutil.RLIMIT_FSIZE)
    for process in (server, *functions):
        process.rlimit(psutil.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))

    error = project.refused("up", "--port", str(project.port))
    status = project.post(key).status_code

    for process in (server, *functions):
        process.rlimit(psutil.RLIMIT_FSIZE, usual)
    assert "File too large" in error
    assert len(error.splitlines()) == 1
    assert status == 200
