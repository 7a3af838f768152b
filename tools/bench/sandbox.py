"""The sandbox: what it refuses and stores per second, how soon, and how long it takes to start."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.tools.sandbox.project import Project, keys_in, project_copy
from tools.bench.figures import Figure
from tools.bench.generator import generate
from tools.bench.handler import run_script
from tools.bench.instant_table import instant_table

_RECORD: Final = b'{"id": "12", "title": "Test Movie", "year": "2023"}'
_SECONDS: Final = 5.0
_ROUNDS: Final = 3
_PACE: Final = 2000
"""Requests per second at which the latency of refusals is measured."""
_NO_LIMIT: Final = {
    "rateLimit": 10_000,
    "burstLimit": 5000,
    "quota": {"limit": 2_000_000_000},
    "clients": ["default"],
}
# The function as the sandbox calls it, without the sandbox.
_DIRECT: Final = """
import json, os, sys, time
from handler.app import handle
event = json.loads(sys.argv[1])
printed, sys.stdout = sys.stdout, open(os.devnull, "w")
def timed():
    began = time.perf_counter()
    handle(event, None)
    return (time.perf_counter() - began) * 1000
for _ in range(200):
    timed()
print(json.dumps(sorted(timed() for _ in range(1001))[500]), file=printed)
"""


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
    yield Figure(
        what=f"99 % of refusals at {_PACE:,}/s take no longer than",
        unit="ms",
        samples=p99s,
        at_most=10,
    )


def _stored(project: Project) -> Iterator[Figure]:
    request = _post(keys_in(project.up())["basic"])
    status = project.sandbox.status()
    put_item = _put_item(status["tables"][0])
    table_port = int(status["dynamodb"].rpartition(":")[2])
    stored: list[float] = []
    alone: list[float] = []
    for _ in range(_ROUNDS):
        for port, sent, rates in (
            (project.port, request, stored),
            (table_port, put_item, alone),
        ):
            load = generate(port, lambda _, r=sent: r, connections=16, seconds=_SECONDS)  # type: ignore[misc]
            rates.append(load.per_second(200))
    yield Figure(
        what="stored requests",
        unit="/s",
        samples=stored,
        than="the table's server alone",
        others=alone,
        at_least=500,
    )
    with instant_table() as url:
        project.up("--dynamodb-endpoint", url)
        ceiling, added = [], []
        for _ in range(_ROUNDS):
            load = generate(project.port, lambda _: request, connections=16, seconds=_SECONDS)
            ceiling.append(load.per_second(200))
            load = generate(project.port, lambda _: request, connections=1, seconds=_SECONDS)
            added.append(load.latency_ms(50) - run_script(_DIRECT, url))
    yield Figure(what="the same with a table that answers at once", unit="/s", samples=ceiling)
    yield Figure(
        what="what the sandbox adds to a call of the handler", unit="ms", samples=added, at_most=1
    )


def _post(key: str, headers: str = "") -> bytes:
    head = (
        f"POST /dev/data HTTP/1.1\r\nHost: sandbox\r\nContent-Type: application/json\r\n"
        f"x-api-key: {key}\r\nContent-Length: {len(_RECORD)}\r\n{headers}\r\n"
    )
    return head.encode() + _RECORD


def _put_item(table: str) -> bytes:
    item = {"id": {"S": "12"}, "title": {"S": "Test Movie"}, "year": {"N": "2023"}}
    body = json.dumps({"TableName": table, "Item": item})
    scope = "20261123/eu-central-1/dynamodb/aws4_request"
    return (
        f"POST / HTTP/1.1\r\nHost: dynamodb\r\nContent-Type: application/x-amz-json-1.0\r\n"
        f"X-Amz-Target: DynamoDB_20120810.PutItem\r\n"
        f"Authorization: AWS4-HMAC-SHA256 Credential=sandbox/{scope}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def _timed(project: Project, *words: str) -> float:
    """Return the seconds that a command takes."""
    began = time.perf_counter()
    subprocess.run(  # noqa: S603  our own command
        [sys.executable, "-m", "tools", *words],
        cwd=project.folder,
        env={**os.environ, "PYTHONPATH": str(project.code)},
        stdout=subprocess.PIPE,
        check=True,
    )
    return time.perf_counter() - began
