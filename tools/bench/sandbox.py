"""The sandbox: what it refuses and stores per second, how soon, and how long it takes to start."""

import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from threading import Event
from typing import Final

import httpx
import psutil

from tests.tools.sandbox.project import Project, keys_in, project_copy
from tools.bench.figures import Figure, seconds
from tools.bench.generator import generate

_RECORD: Final = b'{"id": "12", "title": "Test Movie", "year": "2023"}'
_SECONDS: Final = 5.0
_ROUNDS: Final = 3
_PAIRS: Final = 15
_PAIR_SECONDS: Final = 3.0
_PACE: Final = 2000
"""Requests per second at which the latency of refusals is measured."""
_NO_LIMIT: Final = {
    "rateLimit": 10_000,
    "burstLimit": 5000,
    "quota": {"limit": 2_000_000_000},
    "clients": ["default"],
}


def figures() -> Iterator[Figure]:
    """Measure the sandbox."""
    with tempfile.TemporaryDirectory() as folder, project_copy(Path(folder)) as project:
        yield from _start_and_stop(project)
        yield from _refusals(project)
        project.edit("throttle", {"rateLimit": 10_000, "burstLimit": 5000})
        project.edit("usagePlans.basic", _NO_LIMIT)
        project.edit("waf.rateLimit", 2_000_000_000)
        project.edit("function.reservedConcurrency", 200)
        yield from _stored(project)


def _start_and_stop(project: Project) -> Iterator[Figure]:
    up, down = [], []
    for _ in range(_ROUNDS + 3):
        up.append(_timed(project, "up", "--port", str(project.port)))
        down.append(_timed(project, "down"))
    yield Figure(what="make up, to healthy", unit="s", samples=up, at_most=4)
    yield Figure(what="make down", unit="s", samples=down, at_most=1)


def _refusals(project: Project) -> Iterator[Figure]:
    """Refusals by plan basic: past the web ACL, the key and the body."""
    key = keys_in(project.up())["basic"]

    def request(number: int) -> bytes:
        # From many addresses, so that the web ACL refuses none of them.
        return _post(key, f"X-Forwarded-For: 10.{number >> 16 & 255}.{number >> 8 & 255}.1\r\n")

    rates, p99s = [], []
    for _ in range(_ROUNDS):
        load = generate(project.port, request, connections=32, seconds=_SECONDS)
        rates.append(load.per_second(429))
        paced = generate(project.port, request, connections=64, seconds=_SECONDS, rate=_PACE)
        p99s.append(paced.latency_ms(99))
    yield Figure(what="refusals by a usage plan", unit="/s", samples=rates, at_least=8000)
    yield _watched(project, request)
    yield Figure(
        what=f"99 % of refusals at {_PACE:,}/s take no longer than",
        unit="ms",
        samples=p99s,
        at_most=10,
    )


def _watched(project: Project, request: Callable[[int], bytes]) -> Figure:
    """Compare the server's work for a refusal with the page open and closed.

    Its processor time, because requests per second vary more than the page can change them.
    """
    server, shares = psutil.Process(project.sandbox.pid), []
    for one in range(_PAIRS):
        costs = {}
        for is_open in (True, False) if one % 2 else (False, True):
            with _page(project) if is_open else nullcontext():
                before = sum(server.cpu_times()[:2])
                load = generate(project.port, request, connections=32, seconds=_PAIR_SECONDS)
                costs[is_open] = (sum(server.cpu_times()[:2]) - before) / load.statuses[429]
        shares.append(100 * costs[True] / costs[False])
    what = "processor time of a refusal with the page open, of that with it closed"
    return Figure(what=what, unit="%", samples=shares, at_most=105)


@contextmanager
def _page(project: Project) -> Iterator[None]:
    """Ask for what an open page asks for: news, and a trial every three seconds."""
    address, _, token = project.sandbox.status()["page"].partition("/#")
    client = httpx.Client(headers={"authorization": f"Bearer {token}"}, timeout=60)
    closed = Event()

    def follow() -> None:
        with client.stream("GET", f"{address}/page/news") as news:
            for _ in news.iter_raw():
                if closed.is_set():
                    return

    def keep_trying() -> None:
        while not closed.wait(3):
            client.post(f"{address}/page/try", json={"changes": []})

    client.post(f"{address}/page/try", json={"changes": []})  # the first one starts a process
    with ThreadPoolExecutor() as threads:
        threads.submit(follow)
        threads.submit(keep_trying)
        yield
        closed.set()


def _stored(project: Project) -> Iterator[Figure]:
    request = _post(keys_in(project.up())["basic"])
    loads = [
        generate(project.port, lambda _: request, connections=16, seconds=_SECONDS)
        for _ in range(_ROUNDS)
    ]
    rates = [load.per_second(200) for load in loads]
    yield Figure(what="stored requests", unit="/s", samples=rates, at_least=500)


def _post(key: str, headers: str = "") -> bytes:
    head = (
        f"POST /dev/data HTTP/1.1\r\nHost: sandbox\r\nContent-Type: application/json\r\n"
        f"x-api-key: {key}\r\nContent-Length: {len(_RECORD)}\r\n{headers}\r\n"
    )
    return head.encode() + _RECORD


def _timed(project: Project, *words: str) -> float:
    """Return the seconds that a command takes."""
    command = [sys.executable, "-m", "tools", *words]
    return seconds(command, project.folder, PYTHONPATH=str(project.code))
