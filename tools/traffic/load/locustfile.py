"""The load tests as a locustfile: what `python -m operations load` runs, and what runs by hand.

    locust -f operations/locustfile.py --headless --scenario plan
    locust -f operations/locustfile.py                               with Locust's web page
    locust -f operations/locustfile.py --worker --master-host HOST   one of several machines

Requests are due at a constant rate, and each is sent in a greenlet of its own when it is due,
whatever became of the one before: see `operations/load/scenarios.py`. With several workers, each
sends an equal share of every phase.
"""

import json
import os
import socket
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

import gevent
from gevent.pool import Pool
from gevent.queue import Queue
from locust import FastHttpUser, LoadTestShape, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.exception import StopUser
from locust.runners import MasterRunner, WorkerRunner

from operations.errors import OperationsError
from tools.traffic.load.channel import CHANNEL
from tools.traffic.load.job import (
    ANSWER_SECONDS,
    Arrival,
    Job,
    make_job,
    samples_to_json,
)
from tools.traffic.load.samples import Sample
from tools.traffic.load.scenarios import SCENARIOS, plan_schedule
from tools.traffic.load.target import find_target
from operations.stacks import stack_settings

_Listener = TypeVar("_Listener", bound=Callable[..., object])

_MOST_IN_FLIGHT: Final = 1_000
"""Requests that a generator waits for at the same time; each is a connection."""
_FLUSH_SECONDS: Final = 0.25
_LEAD_SECONDS: Final = 1.0
"""Between the start of the run and its first request, so that all generators are there."""
_SHARE: Final = "throttled-api-share"
"""Locust's message with which the master hands out the job."""


class Share(NamedTuple):
    """What one process sends."""

    job: Job
    start: float
    """POSIX seconds."""
    share: int
    shares: int
    """Of how many shares it is which one."""


class Generator:
    """What this process sends, and what came back.

    Args:
        channel: to the process that started this one, if that was `python -m operations load`.
    """

    def __init__(self, channel: socket.socket | None) -> None:
        self._channel = channel
        self._job: Job | None = None
        self._cpu = time.process_time(), time.monotonic()
        self.samples: list[Sample] = []
        self._shares: Queue[Share] = Queue()
        self.answered = 0

    def job(self, options: Namespace) -> Job:
        """What to send: what the channel says, or else what the command line asks for."""
        if self._job is None:
            if self._channel:
                self._job = Job.from_json(json.loads(self._channel.makefile().readline()))
            else:
                self._job = _job_by_hand(options)
        return self._job

    def begin(self, share: Share) -> None:
        """Let the caller of this process send."""
        self._shares.put(share)

    def wait_for_share(self) -> Share:
        """What the caller of this process is to send, once that is known."""
        return self._shares.get()

    def busy(self) -> float:
        """Share of a CPU core that this process used since it was last asked."""
        before, then = self._cpu
        self._cpu = now, moment = time.process_time(), time.monotonic()
        return (now - before) / max(moment - then, 1e-6)

    def take(self) -> dict[str, Any]:
        """What came back since the last time, as plain values."""
        samples, self.samples = self.samples, []
        return {"samples": samples_to_json(samples), "busy": self.busy()}

    def report(self, news: dict[str, Any]) -> None:
        """Pass on what came back here or at a worker."""
        self.answered += len(news["samples"])
        if self._channel:
            self._channel.sendall(json.dumps(news).encode() + b"\n")

    def flush(self) -> None:
        """Pass on what came back here, again and again."""
        while True:
            gevent.sleep(_FLUSH_SECONDS)
            self.report(self.take())


def _channel() -> socket.socket | None:
    descriptor = os.environ.get(CHANNEL)
    return socket.socket(fileno=int(descriptor)) if descriptor else None


def _on(event: Any) -> Callable[[_Listener], _Listener]:  # noqa: ANN401  untyped in Locust
    """Call a function at one of Locust's events."""

    def listen(listener: _Listener) -> _Listener:
        event.add_listener(listener)
        return listener

    return listen


generator = Generator(_channel())


class Caller(FastHttpUser):
    """Sends one generator's share; there is one to each process."""

    concurrency = _MOST_IN_FLIGHT
    connection_timeout = 10.0
    network_timeout = ANSWER_SECONDS
    # API keys go to whom the certificate names.
    insecure = False
    host = "http://127.0.0.1"  # replaced by the URL of the job

    @task
    def send_all(self) -> None:
        """Send each request when it is due."""
        job, start, share, shares = generator.wait_for_share()
        in_flight = Pool()
        for arrival in job.arrivals(share, shares):
            wait = start + arrival.due - time.time()
            if wait > 0:
                gevent.sleep(wait)
            in_flight.spawn(self._send, job, start, arrival, len(in_flight))
        in_flight.join()
        raise StopUser

    def _send(self, job: Job, start: float, arrival: Arrival, in_flight: int) -> None:
        headers, content = job.request(arrival)
        phase = job.phases[arrival.phase]
        sent = time.time() - start
        began = time.perf_counter()
        with self.client.request(
            "POST", job.url, name=phase.title, data=content, headers=headers, catch_response=True
        ) as response:
            latency = time.perf_counter() - began
            # A refusal is what a load test asks for, and no failure of it.
            if response.status_code and response.status_code < 500:
                response.success()
            message, reason = _said(response)
            answer = response.headers or {}
            generator.samples.append(
                Sample(
                    phase=arrival.phase,
                    number=arrival.number,
                    due=arrival.due,
                    sent=sent,
                    latency=latency,
                    status=response.status_code or 0,
                    message=message,
                    reason=reason,
                    throttled_by=answer.get("x-throttled-by") or "",
                    retry_after=answer.get("retry-after"),
                    in_flight=in_flight,
                )
            )


def _said(response: Any) -> tuple[str, str]:  # noqa: ANN401  Locust's wrapped response
    """Message and reason of an answer or, without one, what went wrong."""
    if not response.status_code:
        return type(response.error).__name__, ""
    try:
        said = json.loads(response.text or "{}")
        return str(said.get("message", "")), str(said.get("reason", ""))
    except (ValueError, AttributeError):
        return "", ""


class Whole(LoadTestShape):
    """One caller to each process, until everything is answered."""

    def tick(self) -> tuple[int, float] | None:
        """How many callers there are to be; None at the end."""
        job = generator.job(Namespace())
        if generator.answered >= job.requests:
            return None
        runner = self.runner
        callers = runner.worker_count if isinstance(runner, MasterRunner) else 1
        return callers, callers


@_on(events.init_command_line_parser)
def add_arguments(parser: LocustArgumentParser) -> None:
    """What may be typed besides Locust's own options."""
    group = parser.add_argument_group("throttled-api")
    group.add_argument("--stack", default=None, help="the stack to load (default: dev's sandbox)")
    group.add_argument(
        "--scenario", action="append", choices=SCENARIOS, help="what to send (default: all)"
    )
    group.add_argument(
        "--yes", action="store_true", help="load something that is not on this machine"
    )


@_on(events.init)
def prepare(environment: Environment, **_: object) -> None:
    """Find out what to send, or whom to ask."""
    runner = environment.runner
    if isinstance(runner, WorkerRunner):
        runner.register_message(_SHARE, _accept)
        return
    try:
        generator.job(environment.parsed_options or Namespace())
    except OperationsError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    gevent.spawn(generator.flush)


@_on(events.test_start)
def hand_out(environment: Environment, **_: object) -> None:
    """Tell each generator its share."""
    runner = environment.runner
    if isinstance(runner, WorkerRunner):
        return
    job = generator.job(Namespace())
    start = time.time() + _LEAD_SECONDS
    if not isinstance(runner, MasterRunner):
        generator.begin(Share(job, start, 0, 1))
        return
    workers = [client.id for client in runner.clients.ready]
    for share, worker in enumerate(workers):
        said = {"job": job.to_json(), "start": start, "share": share, "shares": len(workers)}
        runner.send_message(_SHARE, said, worker)


def _accept(environment: Environment, msg: Any, **_: object) -> None:  # noqa: ANN401  untyped
    said = msg.data
    job = Job.from_json(said["job"])
    generator.begin(Share(job, said["start"], said["share"], said["shares"]))


@_on(events.report_to_master)
def add_samples(client_id: str, data: dict[str, Any]) -> None:
    """A worker's report brings along what came back."""
    data["throttled-api"] = generator.take()


@_on(events.worker_report)
def take_samples(client_id: str, data: dict[str, Any]) -> None:
    """The master passes on what a worker reports."""
    generator.report(data["throttled-api"])


@_on(events.quitting)
def finish(environment: Environment, **_: object) -> None:
    """Pass on the last answers."""
    if not isinstance(environment.runner, WorkerRunner):
        generator.report(generator.take())


def _job_by_hand(options: Namespace) -> Job:
    """What the command line asks for.

    Raises:
        OperationsError: when there is no such target, or it is not on this machine.
    """
    target = find_target(
        stack_settings(options.stack or "dev"),
        url=options.host,
        asked_for=options.stack is not None,
        generators=options.expect_workers,
    )
    if not (target.loopback or options.yes):
        raise OperationsError(f"{target.url} is not on this machine. With --yes, it is loaded.")
    schedule = plan_schedule(target, options.scenario or SCENARIOS)
    return make_job(target, schedule)
