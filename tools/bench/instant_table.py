"""A DynamoDB that stores nothing and answers at once, so that only its callers take time.

python -m tools.bench.instant_table: prints its port, and serves until its standard input ends.
"""

import asyncio
import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Final

import uvloop

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CREATED: Final = b'{"Table": {"TableStatus": "ACTIVE"}, "TableDescription": {}}'


class _Connection(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._data = b""

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._data, 0, end)
            total = end + 4 + (int(length[1]) if length else 0)
            if len(self._data) < total:
                return
            body = b"{}" if b".PutItem" in self._data[:end] else _CREATED
            self._data = self._data[total:]
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            )


@contextlib.contextmanager
def instant_table() -> Iterator[str]:
    """Run one, and give its URL."""
    process = subprocess.Popen(  # noqa: S603  this module
        [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin  # noqa: S101  pipes were asked for
    assert process.stdout  # noqa: S101
    with process.stdin, process.stdout:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    process.wait()


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(_serve())
