"""The stage's access log: a line for each request, in the format that the program registers."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tools.sandbox.gateway_responses import CONTEXT_VARIABLE

_FLUSH_SECONDS: Final = 0.2
_MAX_BYTES: Final = 100_000_000
"""Of a file: about 200,000 lines, so that it holds a run of `make load` whole."""


class Context(dict[str, str | int]):
    """Values of $context by variable, such as `error.responseType`; - for one without a value."""

    answered_by = ("function", "")
    """The layer that answered, and what its limit belongs to: no variable of AWS's."""

    def __missing__(self, _: str) -> str:
        return "-"


def line_writer(log_format: str) -> Callable[[Context], str]:
    """Return a function that formats one line.

    As on AWS, values are not escaped
    (https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-logging.html).
    """
    template = CONTEXT_VARIABLE.sub(r"%(\1)s", log_format.replace("%", "%%")) + "\n"
    return lambda context: template % context


class AccessLog:
    """A file of lines, in the order in which requests ended, and one older part of it.

    Lines are written in batches, because a write for each would slow all requests.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lines: list[str] = []

    def add(self, line: str) -> None:
        """Add a line."""
        self._lines.append(line)

    async def keep(self) -> None:
        """Write lines to the file as they come, for ever."""
        while True:
            await asyncio.sleep(_FLUSH_SECONDS)
            if self._lines:
                lines, self._lines = self._lines, []
                with contextlib.suppress(OSError):  # a full disk
                    self._write("".join(lines))

    def _write(self, text: str) -> None:
        with self._file.open("a", encoding="utf-8") as file:
            file.write(text)
            full = file.tell() > _MAX_BYTES
        if full:
            self._file.replace(self._file.with_stem(f"{self._file.stem}.old"))
