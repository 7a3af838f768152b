"""One execution environment: a process that imports the function, then answers event by event.

`lambda_service.py` starts it with the function's environment variables and one socket. It says
`{"ready": true}` once the function is imported. Then it takes invocations and answers each
with `{"result"}` or `{"error"}`, one JSON line each. It needs only the standard library, so that
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
    """Lambda's context object: what a function can learn about its invocation.

    https://docs.aws.amazon.com/lambda/latest/dg/python-context.html
    """

    log_group_name = log_stream_name = "sandbox"
    identity = client_context = None

    def __init__(self, invocation: dict[str, Any]) -> None:
        self.aws_request_id: str = invocation["requestId"]
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.invoked_function_arn: str = invocation["functionArn"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self._ends = time.monotonic() + invocation["timeoutSeconds"]

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda ends the invocation."""
        return max(0, int((self._ends - time.monotonic()) * 1000))


class Log(io.FileIO):
    """The log that a function prints to. A full disk does not make the function fail."""

    def write(self, data: Any) -> int:  # noqa: ANN401  any bytes
        """Write what there is room for."""
        with contextlib.suppress(OSError):
            super().write(data)
        return len(data)


def main(descriptor: int, handler: str) -> None:
    """Serve invocations from the socket until it is closed."""
    # Whole lines, in one piece each: other environments write to the same log.
    log = io.BufferedWriter(Log(sys.stdout.fileno(), "w", closefd=False))
    sys.stdout = sys.stderr = io.TextIOWrapper(
        log, "utf-8", errors="backslashreplace", line_buffering=True
    )
    with socket.socket(fileno=descriptor) as channel, channel.makefile("rwb") as lines:

        def say(message: dict[str, Any]) -> None:
            sys.stdout.flush()
            lines.write(json.dumps(message).encode() + b"\n")
            lines.flush()

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
                say({"result": function(invocation["event"], Context(invocation))})
            except Exception as error:  # of the function, or because its result is not JSON
                traceback.print_exc()
                say({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
