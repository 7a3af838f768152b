"""Runs Locust in a process of its own, and hands over what comes back.

Locust replaces the standard library's sockets and threads with gevent's in the process that
imports it, so this one does not. The two talk in lines of JSON over pipes: so the API keys are in
no file, argument or environment variable.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from settings import UserError

_CODE: Final = Path(__file__).parents[3]
_PATIENCE_SECONDS: Final = 100.0
"""More than Locust takes to start, and then waits for the last answer."""
_WORKERS_SECONDS: Final = 600.0
"""How long to wait for workers on other machines."""
_STOP_SECONDS: Final = 10.0


def send(job: dict[str, Any]) -> Generator[dict[str, Any], None, None]:
    """Send requests, and yield reports: `start` in POSIX seconds, and new `samples`.

    A report comes at least each second. Sending stops when the iterator is closed, and when this
    process ends in any way.

    Args:
        job: of `requests.job`, with `pause_seconds` before the first request, the number of
            `workers` to wait for, and where these connect: `bind`.

    Raises:
        UserError: when Locust does not start, or ends before all requests are answered.
    """
    patience = _PATIENCE_SECONDS + job["pause_seconds"] + max(job["due"], default=0.0)
    due = time.monotonic() + patience + (_WORKERS_SECONDS if job["workers"] else 0)
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tools.traffic.load.locustfile"],
            env={k: v for k, v in os.environ.items() if not k.startswith("LOCUST_")}
            | {"PYTHONPATH": str(_CODE)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            # Ctrl-C reaches this process only, which closes the pipe and so stops workers too.
            start_new_session=True,
        )
        assert process.stdin  # noqa: S101  for mypy
        assert process.stdout  # noqa: S101
        try:
            # It may have ended already.
            with suppress(BrokenPipeError), process.stdin:
                process.stdin.write(json.dumps(job))
            for line in process.stdout:
                yield json.loads(line)
                if time.monotonic() > due:
                    break
        finally:
            process.stdout.close()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        log.seek(0)
        last = " / ".join(line.strip() for line in log if line.strip())[-1000:]
        raise UserError(
            f"Locust ended before all requests were answered: {last or 'it wrote no reason'}."
        )
