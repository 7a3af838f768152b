"""Sends the requests of a load test: the process that `python -m tools load` starts, and workers.

    locust -f tools/traffic/load/locustfile.py --worker --master-host HOST

A request leaves when it is due, in a greenlet of its own, whatever happens to those before it. A
caller that waited for answers would slow down with the target and never send more than it takes.
"""

import json
import sys
import time
from typing import Any, Final

import gevent
from locust import FastHttpUser, events, task
from locust.env import Environment
from locust.runners import WorkerRunner

from tools.traffic.load.requests import RECORD, body

_REPORT_SECONDS: Final = 0.25

samples: list[list[Any]] = []
"""What came back and was not reported yet, with the columns of `judge.Sample`."""


class Caller(FastHttpUser):
    """Sends requests when `send_all` is called; Locust's own schedule is not used."""

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
    def nothing(self) -> None:
        """Let Locust accept this class, which must have a task."""

    def send_all(self, job: dict[str, Any]) -> None:
        """Send every request of this sender's share when it is due."""
        zero = time.monotonic() + job["start"] - time.time()
        for number in range(job["first"], len(job["due"]), job["senders"]):
            gevent.sleep(max(0.0, zero + job["due"][number] - time.monotonic()))
            gevent.spawn(self._send, job, zero, number)

    def _send(self, job: dict[str, Any], zero: float, number: int) -> None:
        verb, url, data, key = job["calls"][job["sources"][number]]
        headers = {"Content-Type": "application/json"}
        if key:
            headers["x-api-key"] = key
        address = f"{job['prefix']}{job['addresses'][number]:x}"
        headers |= dict.fromkeys(job["address_headers"], address)
        if data == RECORD:
            data = body(job["sizes"][number % len(job["sizes"])], number)
        sent = time.monotonic() - zero
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


def run() -> None:
    """Send what standard input asks for, and report what comes back, until the reader is gone.

    The reader goes when it has all answers, or ends in any other way.
    """
    job = json.load(sys.stdin)
    environment = Environment(user_classes=[Caller])
    master: Any = environment.create_master_runner(*job["bind"]) if job["workers"] else None
    if master:
        master.register_message("samples", lambda msg, **_: samples.extend(msg.data["samples"]))
    try:
        while master and len(master.clients.ready) < job["workers"]:
            _report(0.0)
        job["start"] = time.time() + job["pause_seconds"]
        if master:
            workers = master.clients.ready
            for first, worker in enumerate(workers):
                share = job | {"first": first, "senders": len(workers)}
                master.send_message("send", share, worker.id)
        else:
            gevent.spawn(Caller(environment).send_all, job | {"first": 0, "senders": 1})
        while True:
            _report(job["start"])
    except BrokenPipeError:
        if master:
            master.quit()


def _report(start: float) -> None:
    print(json.dumps({"start": start, "samples": samples}), flush=True)
    samples.clear()
    gevent.sleep(_REPORT_SECONDS)


def _work(environment: Environment, **_: object) -> None:
    """Send a share for a master, and send it what comes back."""
    runner: Any = environment.runner
    if not isinstance(runner, WorkerRunner):
        sys.exit("Start a worker: --worker --master-host HOST. python -m tools load is the master.")
    caller = Caller(environment)
    runner.register_message("send", lambda msg, **_: gevent.spawn(caller.send_all, msg.data))

    def report() -> None:
        while True:
            gevent.sleep(_REPORT_SECONDS)
            taken = samples[:]
            samples.clear()
            runner.send_message("samples", {"samples": taken})

    gevent.spawn(report)


if __name__ == "__main__":
    run()
else:
    events.init.add_listener(_work)  # type: ignore[no-untyped-call]
