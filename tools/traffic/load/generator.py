"""Runs a job with Locust, in a process of its own, and hands over what comes back.

Locust replaces the standard library's sockets and threads with gevent's in the process that
imports it, so none but its own does.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Final

from operations.errors import OperationsError
from tools.traffic.load.channel import CHANNEL
from tools.traffic.load.job import ANSWER_SECONDS, Job, samples_from_json
from tools.traffic.load.samples import Sample
from settings.stacks import ROOT

LOCUSTFILE: Final = ROOT / "operations" / "locustfile.py"
WORKERS_BIND: Final = ("127.0.0.1", 5557)
"""Where workers find the process that starts them, unless it says otherwise."""
_START_SECONDS: Final = 60.0
_WORKERS_SECONDS: Final = 600.0
"""How long the workers of other machines are waited for."""
_STOP_SECONDS: Final = 10.0
_LINES_OF_LOG: Final = 5


@dataclass(frozen=True, slots=True)
class News:
    """What came back since the last news."""

    samples: Sequence[Sample]
    busy: float
    """Share of a CPU core that the generator used meanwhile."""


def generate(
    job: Job, seconds: float, *, workers: int = 0, bind: tuple[str, int] = WORKERS_BIND
) -> Generator[News, None, None]:
    """Send what a job asks for; what comes back, as it comes.

    Closing the iterator stops the generator.

    Args:
        job: what to send.
        seconds: how long that takes.
        workers: machines that send instead of this one; 0 for none.
        bind: address and port on which workers find this process.

    Raises:
        OperationsError: when Locust does not start, or ends before its job is done.
    """
    ours, theirs = socket.socketpair()
    words = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless"]
    words += ["--only-summary", "--loglevel", "WARNING"]
    patience = _START_SECONDS
    if workers:
        words += ["--master", "--master-bind-host", bind[0], "--master-bind-port", str(bind[1])]
        words += ["--expect-workers", str(workers)]
        words += ["--expect-workers-max-wait", f"{_WORKERS_SECONDS:.0f}"]
        patience += _WORKERS_SECONDS
    # Locust takes options from the environment, too; those are for whoever runs it by hand.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LOCUST_")}
    with tempfile.TemporaryFile() as log, ours:
        process = subprocess.Popen(  # noqa: S603  our own locustfile
            words,
            cwd=ROOT,
            env={**environment, CHANNEL: str(theirs.fileno()), "PYTHONPATH": str(ROOT)},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            # Ctrl-C is for this process, which stops the other when it has heard all.
            start_new_session=True,
        )
        theirs.close()
        try:
            with contextlib.suppress(ConnectionError):
                ours.sendall(json.dumps(job.to_json()).encode() + b"\n")
            due = time.monotonic() + patience + seconds + ANSWER_SECONDS
            answered = 0
            for news in _news(ours, due):
                answered += len(news.samples)
                yield news
            if answered < job.requests:
                raise OperationsError(_why(process, log))
        finally:
            _stop(process)


def _news(channel: socket.socket, due: float) -> Iterator[News]:
    """What the generator says until it closes the channel or `due` has come."""
    rest = b""
    while time.monotonic() < due:
        if not select.select([channel], [], [], 1.0)[0]:
            yield News((), 0.0)
            continue
        try:
            data = channel.recv(1 << 20)
        except ConnectionError:
            return
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            said = json.loads(line)
            yield News(samples_from_json(said["samples"]), said["busy"])


def _why(process: subprocess.Popen[bytes], log: IO[bytes]) -> str:
    """Why the generator ended too early, in the last lines of its log."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
    log.seek(0)
    said = log.read().decode("utf-8", "replace").split("\n")
    last = " / ".join(line.strip() for line in said if line.strip())[-1000:]
    return f"Locust ended before everything was sent: {last or 'it did not say why'}"


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
