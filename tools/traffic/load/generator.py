"""Runs Locust in a process of its own, and hands over what comes back.

Locust replaces the standard library's sockets and threads with gevent's in the process that
imports it, so this one does not. The two talk in lines of JSON over a pair of sockets: so the API
keys are in no file, argument or environment variable.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import IO, Any, Final

from settings import UserError

_CODE: Final = Path(__file__).parents[3]
_START_SECONDS: Final = 60.0
_WORKERS_SECONDS: Final = 600.0
"""How long to wait for workers on other machines."""
_ANSWER_SECONDS: Final = 40.0
"""A little longer than the generator waits for an answer."""
_STOP_SECONDS: Final = 10.0


def generate(job: dict[str, Any], seconds: float) -> Generator[dict[str, Any], None, None]:
    """Send what `job` asks for, and yield reports: `start` in POSIX seconds, and new `samples`.

    A report is empty when nothing has happened for a second. The generator stops when the iterator
    is closed, and when this process ends, in any way.

    Args:
        job: `url`, `keys` by source, `requests`, `pause_seconds` before the first of them,
            `workers` to wait for, and where these connect: `bind`.
        seconds: how long it takes to send all requests.

    Raises:
        UserError: when Locust does not start, or ends before all requests are answered.
    """
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603  our own module
            [sys.executable, "-P", "-m", "tools.traffic.load.locustfile", str(theirs.fileno())],
            env={k: v for k, v in os.environ.items() if not k.startswith("LOCUST_")}
            | {"PYTHONPATH": str(_CODE)},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            # Ctrl-C reaches this process only, which closes the channel and so stops workers too.
            start_new_session=True,
        )
        theirs.close()
        try:
            with contextlib.suppress(ConnectionError):
                ours.sendall(json.dumps(job).encode() + b"\n")
            patience = _START_SECONDS + (_WORKERS_SECONDS if job["workers"] else 0)
            yield from _reports(ours, time.monotonic() + patience + seconds + _ANSWER_SECONDS)
            raise UserError(_why(process, log))
        finally:
            ours.close()
            _wait(process)


def _reports(channel: socket.socket, due: float) -> Generator[dict[str, Any], None, None]:
    """Yield reports until the generator closes the channel, or until `due`."""
    channel.settimeout(1.0)
    rest = b""
    while time.monotonic() < due:
        try:
            data = channel.recv(1 << 20)
        except TimeoutError:
            yield {}
            continue
        except ConnectionError:
            return
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield json.loads(line)


def _why(process: subprocess.Popen[bytes], log: IO[bytes]) -> str:
    """Return why the generator ended too early: the last lines that it wrote."""
    _wait(process)
    log.seek(0)
    lines = log.read().decode("utf-8", "replace").split("\n")
    last = " / ".join(line.strip() for line in lines if line.strip())[-1000:]
    return f"Locust ended before all requests were answered: {last or 'it wrote no reason'}."


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
