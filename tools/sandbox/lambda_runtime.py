"""One execution environment: a process that imports the function, then answers event by event.

`lambda_service.py` starts it with the function's environment variables. It says `{"ready": true}`
once the function is imported. Then it reads invocations from standard input and answers each with
`{"result"}` or `{"error"}` on standard output, one JSON line each. It needs only the standard
library, so that the function has this interpreter to itself, as on Lambda.
"""

import contextlib
import importlib
import io
import json
import os
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


def main(handler: str) -> None:
    """Serve invocations from standard input until it ends."""
    invocations = os.fdopen(os.dup(sys.stdin.fileno()))
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    # For the function, there is nothing to read, and all output goes to the log.
    os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # Whole lines, because other environments write to the same log.
    log = io.BufferedWriter(Log(sys.stderr.fileno(), "w", closefd=False))
    sys.stdout = sys.stderr = io.TextIOWrapper(
        log, "utf-8", errors="backslashreplace", line_buffering=True
    )

    def say(message: dict[str, Any]) -> None:
        line = json.dumps(message)
        sys.stdout.flush()
        answers.write(line + "\n")
        answers.flush()

    module, _, name = handler.rpartition(".")
    try:
        function = getattr(importlib.import_module(module.replace("/", ".")), name)
    except BaseException as error:  # whatever the import raises is the function's failure
        traceback.print_exc()
        say({"error": f"{type(error).__name__}: {error}"})
        return
    say({"ready": True})
    for line in invocations:
        invocation = json.loads(line)
        try:
            say({"result": function(invocation["event"], Context(invocation))})
        except Exception as error:  # of the function, or because its result is not JSON
            traceback.print_exc()
            say({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main(sys.argv[1])
