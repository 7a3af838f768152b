"""HTTP connections that no caller can use to keep others out, or to fill the memory.

uvicorn parses requests and writes answers. What it leaves open is bounded here: how long a caller
may take to send a request or to read its answer, how large a request's head may be, how many
requests may queue on one connection, and how many connections there may be.
"""

import time
from asyncio import Transport
from collections.abc import Callable
from typing import Any, Final

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_CONNECTIONS: Final = 2048
MAX_HEAD_BYTES: Final = 64 * 1024
"""Of a request's line and headers; API Gateway takes about 10 KB of headers."""
MAX_PIPELINED: Final = 64
"""Requests of one connection that wait for the answers to those before."""
PATIENCE_SECONDS: Final = 10.0
"""How long a connection waits for its caller, to send a whole request or to read an answer."""


class Callers:
    """The connections of one server, of which some wait for their callers.

    Args:
        most: how many there may be. One more takes the place of the one that waits longest.
        clock: seconds.
    """

    def __init__(
        self, most: int = MAX_CONNECTIONS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._clock = clock
        # Since when each waits, in the order in which they began.
        self._waiting: dict[Connection, float] = {}

    def connection(self, *args: Any, **options: Any) -> "Connection":  # noqa: ANN401  uvicorn's
        """A protocol for one more connection."""
        return Connection(self, *args, **options)

    def came(self, connection: "Connection") -> None:
        """A caller has connected."""
        if len(connection.connections) > self._most:
            next(iter(self._waiting), connection).abort()

    def waits(self, connection: "Connection", *, waits: bool) -> None:
        """Whether a connection waits for its caller now, rather than for an answer."""
        if waits:
            self._waiting.setdefault(connection, self._clock())
        else:
            self._waiting.pop(connection, None)

    def left(self, connection: "Connection") -> None:
        """A connection is closed."""
        self._waiting.pop(connection, None)

    async def drop_slow(self) -> None:
        """Close the connections whose callers have taken too long."""
        latest = self._clock() - PATIENCE_SECONDS
        for connection in [c for c, since in self._waiting.items() if since <= latest]:
            connection.abort()


class Connection(HttpToolsProtocol):
    """One connection, which tells when it waits for its caller."""

    def __init__(self, callers: Callers, *args: Any, **options: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **options)
        self._callers = callers
        self._in_head = False
        self._head_bytes = 0

    def abort(self) -> None:
        """Close the connection at once, whatever is still to be sent."""
        self._callers.left(self)
        self.transport.abort()

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # uvicorn's
        super().connection_made(transport)
        self.flow = _Flow(transport, self)
        self._tell()
        self._callers.came(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._callers.left(self)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES:
            self.send_400_response("The request's head is too large.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        if len(self.pipeline) >= MAX_PIPELINED:
            raise RuntimeError("too many requests in the pipeline")  # which uvicorn answers 400
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._tell()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._tell()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._tell()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._tell()

    def _tell(self) -> None:
        if self.transport.is_closing():
            return
        newest = self.cycle
        in_work = newest is not None and not newest.more_body and not newest.response_complete
        self._callers.waits(self, waits=self.flow.write_paused or not in_work)


class _Flow(FlowControl):
    """Flow control that reads no further while requests queue.

    uvicorn's own reads on after each answer, and so lets the queue grow faster than it empties.
    """

    def __init__(self, transport: Transport, connection: Connection) -> None:
        super().__init__(transport)
        self._connection = connection

    def resume_reading(self) -> None:
        if not self._connection.pipeline:
            super().resume_reading()
