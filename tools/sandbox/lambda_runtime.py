"""One execution environment: a process that imports the function, then answers event by event.

Started by `lambda_service.py` with the function's environment variables and one socket. Says
`{"ready": true}` once the function is imported, then takes `{"event", "context"}` and gives
`{"result"}` or `{"error"}`, one JSON line each. Needs nothing but the standard library, so that
the function has this interpreter to itself, as on Lambda.
"""

import contextlib
import importlib
import io
import json
import os
import socket
import sys
import time
import traceback
from typing import Any


class Context:
    """What Lambda tells a function about its invocation.

    https://docs.aws.amazon.com/lambda/latest/dg/python-context.html
    """

    def __init__(self, about: dict[str, Any]) -> None:
        self.aws_request_id: str = about["requestId"]
        self.function_name: str = about["functionName"]
        self.function_version = "$LATEST"
        self.invoked_function_arn: str = about["functionArn"]
        self.memory_limit_in_mb: str = about["memoryMb"]
        self.log_group_name: str = about["logGroup"]
        self.log_stream_name = "sandbox"
        self.identity = None
        self.client_context = None
        self._ends = time.monotonic() + about["timeoutSeconds"]

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda ends the invocation."""
        return max(0, int((self._ends - time.monotonic()) * 1000))


class Log(io.TextIOBase):
    """Where a function prints to: its log, which never fails it, not even when the disk is full."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._begun = ""

    def fileno(self) -> int:
        """The log's descriptor."""
        return self._descriptor

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, text: str) -> int:
        """Write the lines that are complete, in one piece."""
        lines, end, self._begun = (self._begun + text).rpartition("\n")
        if end:
            self._keep(lines + end)
        return len(text)

    def flush(self) -> None:
        """Write what is no whole line yet."""
        self._keep(self._begun)
        self._begun = ""

    def _keep(self, text: str) -> None:
        with contextlib.suppress(OSError):
            os.write(self._descriptor, text.encode(errors="backslashreplace"))


def main(descriptor: int, handler: str) -> None:
    """Serve invocations from the socket until it is closed."""
    with socket.socket(fileno=descriptor) as channel, channel.makefile("rwb") as lines:

        def say(message: dict[str, Any]) -> None:
            lines.write(json.dumps(message).encode() + b"\n")
            lines.flush()

        sys.stdout = sys.stderr = Log(sys.stdout.fileno())
        module, _, name = handler.rpartition(".")
        try:
            function = getattr(importlib.import_module(module.replace("/", ".")), name)
        except BaseException as error:  # whatever the import raises is the function's failure
            traceback.print_exc()
            say({"error": f"{type(error).__name__}: {error}"})
            return
        say({"ready": True})
        for line in lines:
            invocation = json.loads(line)
            try:
                result = function(invocation["event"], Context(invocation["context"]))
                answer = json.dumps({"result": result})
            except Exception as error:  # Lambda reports whatever the function raises
                traceback.print_exc()
                answer = json.dumps({"error": f"{type(error).__name__}: {error}"})
            sys.stdout.flush()
            lines.write(answer.encode() + b"\n")
            lines.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
