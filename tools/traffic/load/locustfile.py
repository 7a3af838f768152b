"""Sends the requests of a load test: the process that `python -m tools load` starts, and workers.

    locust -f tools/traffic/load/locustfile.py --worker --master-host HOST

A request leaves when it is due, in a greenlet of its own, whatever happens to those before it. A
caller that waited for answers would slow down with the target and never send more than it takes.
"""

import contextlib
import json
import socket
import sys
import time
from typing import Any, Final

import gevent
from gevent.pool import Pool
from gevent.queue import Queue
from locust import FastHttpUser, events, task
from locust.env import Environment
from locust.runners import WorkerRunner

from tools.traffic.load.requests import RECORD, body

_REPORT_SECONDS: Final = 0.25

shares: Queue[dict[str, Any]] = Queue()
"""What this process sends."""
samples: list[list[Any]] = []
"""What came back and was not reported yet, with the columns of `judge.Sample`."""


class Caller(FastHttpUser):
    """Sends the requests of this process."""

    host = "http://unused"
    # More requests than these wait for a free connection.
    concurrency = 1_000
    connection_timeout = 10.0
    # API Gateway waits 29 s for the function.
    network_timeout = 35.0
    # API keys go to the server that the certificate names, and follow no redirect.
    insecure = False
    max_redirects = 0

    @task
    def send_all(self) -> None:
        """Send each request when it is due."""
        share = shares.get()
        zero = time.monotonic() + share["start"] - time.time()
        in_flight = Pool()
        for number, due, *request in share["requests"]:
            gevent.sleep(max(0.0, zero + due - time.monotonic()))
            in_flight.spawn(self._send, share, zero, number, *request)
        in_flight.join()

    def _send(
        self,
        share: dict[str, Any],
        zero: float,
        number: int,
        source: int,
        address: str | None,
        body_bytes: int,
    ) -> None:
        headers = {"Content-Type": "application/json"}
        if key := share["keys"][source]:
            headers["x-api-key"] = key
        if address:
            headers["X-Forwarded-For"] = address
        sent = time.monotonic() - zero
        verb, url, data = share["calls"][source]
        data = body(body_bytes, number) if data == RECORD else data
        response: Any = self.client.request(verb, url, data=data, headers=headers)
        latency = time.monotonic() - zero - sent
        status, answer = response.status_code, response.headers or {}
        try:
            said = json.loads(response.text)
            message, reason = str(said["message"]), str(said.get("reason", ""))
        except (ValueError, KeyError, TypeError):
            message, reason = "" if status else type(response.error).__name__, ""
        layer, retry_after = answer.get("x-throttled-by"), answer.get("retry-after")
        samples.append([number, sent, latency, status, layer, message, reason, retry_after])


def run(channel: socket.socket) -> None:
    """Send what the channel asks for, and report what comes back, until the channel breaks.

    It breaks when the process at the other end has all answers, or ends in any other way.
    """
    job = json.loads(channel.makefile("rb").readline())
    environment = Environment(user_classes=[Caller], events=events)
    workers: int = job["workers"]
    runner: Any = (
        environment.create_master_runner(*job["bind"])
        if workers
        else environment.create_local_runner()
    )
    if workers:
        runner.register_message("samples", _keep)
    start = 0.0
    with contextlib.suppress(OSError):
        while True:
            if not start and (not workers or len(runner.clients.ready) >= workers):
                start = _start(runner, job)
            channel.sendall(json.dumps({"start": start, "samples": _take()}).encode() + b"\n")
            gevent.sleep(_REPORT_SECONDS)
    runner.quit()


def _start(runner: Any, job: dict[str, Any]) -> float:  # noqa: ANN401  untyped
    """Give every sender its share, and return when they start, in POSIX seconds."""
    start: float = time.time() + job["pause_seconds"]
    senders = [worker.id for worker in runner.clients.ready] if job["workers"] else [""]
    for index, sender in enumerate(senders):
        share = {
            "start": start,
            "calls": job["calls"],
            "keys": job["keys"],
            "requests": job["requests"][index :: len(senders)],
        }
        if sender:
            runner.send_message("share", share, sender)
        else:
            shares.put(share)
    runner.start(len(senders), spawn_rate=len(senders))
    return start


def _keep(environment: Environment, msg: Any, **_: object) -> None:  # noqa: ANN401  untyped
    samples.extend(msg.data["samples"])


def _take() -> list[list[Any]]:
    taken = samples[:]
    samples.clear()
    return taken


def _serve_master(environment: Environment, **_: object) -> None:
    """Take requests from the master, and send it what comes back."""
    runner: Any = environment.runner
    if not isinstance(runner, WorkerRunner):
        sys.exit("Start a worker: --worker --master-host HOST. python -m tools load is the master.")
    runner.register_message("share", lambda environment, msg: shares.put(msg.data))

    def report() -> None:
        while True:
            gevent.sleep(_REPORT_SECONDS)
            runner.send_message("samples", {"samples": _take()})

    gevent.spawn(report)


if __name__ == "__main__":
    run(socket.socket(fileno=int(sys.argv[1])))
else:
    events.init.add_listener(_serve_master)  # type: ignore[no-untyped-call]
