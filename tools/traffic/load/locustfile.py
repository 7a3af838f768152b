"""Sends the requests of a load test: the process that `python -m tools load` starts, and workers.

    locust -f tools/traffic/load/locustfile.py --worker --master-host HOST

A request leaves when it is due, in a greenlet of its own, whatever happens to those before it. A
caller that waited for answers would slow down with the target and never send more than it takes.
"""

import json
import os
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

from tools.traffic.load.requests import body

ANSWER_SECONDS: Final = 35.0
"""How long to wait for an answer: longer than API Gateway waits for the function (29 s)."""
MAX_IN_FLIGHT: Final = 1_000
"""Requests without an answer at a time, each on a connection. More wait for a free connection."""
_LEAD_SECONDS: Final = 1.0
"""From handing out the requests to the first of them."""
_REPORT_SECONDS: Final = 0.25

shares: Queue[dict[str, Any]] = Queue()
"""The requests that this process sends."""
samples: list[tuple[Any, ...]] = []
"""What came back and was not reported yet; see `judge.Sample`."""


class Caller(FastHttpUser):
    """Sends the requests of this process."""

    host = "http://unused"
    concurrency = MAX_IN_FLIGHT
    connection_timeout = 10.0
    network_timeout = ANSWER_SECONDS
    # API keys go only to the server that the certificate names, and follow no redirect.
    insecure = False
    max_redirects = 0

    @task
    def send_all(self) -> None:
        """Send each request when it is due."""
        share = shares.get()
        zero = time.monotonic() + share["start"] - time.time()
        in_flight = Pool()
        for request in share["requests"]:
            gevent.sleep(max(0.0, zero + request[1] - time.monotonic()))
            in_flight.spawn(self._send, share, zero, *request)
        in_flight.join()

    def _send(
        self,
        share: dict[str, Any],
        zero: float,
        number: int,
        _: float,
        client: int,
        address: str | None,
        size: int,
    ) -> None:
        headers = {"Content-Type": "application/json"}
        if key := share["keys"][client]:
            headers["x-api-key"] = key
        if address:
            headers["X-Forwarded-For"] = address
        sent = time.monotonic() - zero
        response = self.client.request(
            "POST", share["url"], data=body(size, number).encode(), headers=headers
        )
        latency = time.monotonic() - zero - sent
        said = {}
        try:
            said = json.loads(response.text or "{}")
            message, reason = str(said.get("message", "")), str(said.get("reason", ""))
        except (ValueError, AttributeError):
            message, reason = "", ""
        if not response.status_code:
            message = type(response.error).__name__
        answer = response.headers or {}
        layer, retry_after = answer.get("x-throttled-by"), answer.get("retry-after")
        samples.append(
            (number, sent, latency, response.status_code, layer, message, reason, retry_after)
        )


def run(channel: socket.socket) -> None:
    """Send what the channel asks for, and report what comes back, until the channel closes.

    It closes when the process that started this one has all it wants, or dies.
    """
    job = json.loads(channel.makefile("rb").readline())
    environment = Environment(user_classes=[Caller], events=events)
    workers = job["workers"]
    if workers:
        runner = environment.create_master_runner(*job["bind"])
        runner.register_message("samples", lambda msg, **_: samples.extend(msg.data))
    else:
        runner = environment.create_local_runner()
    gevent.spawn(_quit_when_closed, channel, runner)
    while workers and len(runner.clients.ready) < workers:
        gevent.sleep(0.1)
    start = time.time() + _LEAD_SECONDS
    _report(channel, {"start": start})
    share = {"start": start, "url": job["url"], "keys": job["keys"]}
    if workers:
        for index, worker in enumerate(client.id for client in runner.clients.ready):
            requests = job["requests"][index::workers]
            runner.send_message("share", {**share, "requests": requests}, worker)
    else:
        shares.put({**share, "requests": job["requests"]})
    runner.start(max(1, workers), spawn_rate=max(1, workers))
    while True:
        gevent.sleep(_REPORT_SECONDS)
        _report(channel, {"samples": _take()})


def _quit_when_closed(channel: socket.socket, runner: Any) -> None:  # noqa: ANN401  untyped
    try:
        channel.recv(1)
        runner.quit()
    finally:
        os._exit(0)


def _report(channel: socket.socket, news: dict[str, Any]) -> None:
    try:
        channel.sendall(json.dumps(news).encode() + b"\n")
    except OSError:
        # The channel is closed, and `_quit_when_closed` ends this process.
        gevent.sleep(60)


def _take() -> list[tuple[Any, ...]]:
    taken = samples[:]
    samples.clear()
    return taken


@events.init.add_listener
def _begin_as_worker(environment: Environment, **_: object) -> None:
    """Wait for requests from the master, and send what comes back to it."""
    runner = environment.runner
    if not isinstance(runner, WorkerRunner):
        sys.exit(
            "Start this file as a worker (--worker --master-host HOST). "
            "python -m tools load starts the rest."
        )
    runner.register_message("share", lambda msg, **_: shares.put(msg.data))
    gevent.spawn(_report_to_master, runner)


def _report_to_master(runner: WorkerRunner) -> None:
    while True:
        gevent.sleep(_REPORT_SECONDS)
        if samples:
            runner.send_message("samples", _take())


if __name__ == "__main__":
    run(socket.socket(fileno=int(sys.argv[1])))
