"""HTTP on a loopback port: granian (hyper, in Rust) in front of a handler of requests.

granian bounds the time and the size of a request's head, the size of its trailers, and how much of
a connection is read ahead. This module adds bounds for the time that a body takes, for the bodies
in memory, and for the time that an answer stays unread.
"""

import asyncio
import contextlib
import json
import os
import resource
import socket
import sys
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.net import SocketHolder  # type: ignore[attr-defined]
from granian.server.embed import Server

from settings import UserError
from tools.sandbox.client import LOOPBACK

PATIENCE_SECONDS: Final = 10
"""How long a caller may take to send a head or a body, or to read an answer."""
MAX_HEAD_BYTES: Final = 16 * 1024
"""Of a request's line and headers; API Gateway takes about 10 KB of headers."""
_MAX_CONNECTIONS: Final = 8192
_LARGE_BODY_BYTES: Final = 256 * 1024
_MAX_LARGE_BODIES: Final = 16
"""Large bodies in memory at the same time. Others wait, unread."""

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]


class BodyTooLarge(Exception):
    """The body is larger than the handler takes."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. Header names are in lower case."""

    verb: str
    path: str
    """As the caller wrote it, percent signs included."""
    query: str
    headers: list[tuple[str, str]]
    header: dict[str, str]
    """The last header of each name, which is what API Gateway passes on."""
    peer: str
    """Address that the connection comes from."""
    read_body: Callable[[int], Awaitable[bytes]]
    """Reads a body of at most that many bytes; raises BodyTooLarge."""


@dataclass(frozen=True, slots=True)
class Response:
    """One HTTP response."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    parts: AsyncGenerator[bytes, None] | None = None
    """Further parts of the body, which are sent as they come while the caller stays."""


class _BrokenBody(Exception):
    """The body did not arrive in time, whole and well-formed. Arguments: status and message."""


class HttpServer(Server):
    """Listens on a loopback port from the start, and answers requests in `serve`.

    Args:
        handle: answers one request.
        port: 0 for any free port.

    Raises:
        UserError: the port cannot be used.
    """

    def __init__(self, handle: Callable[[Request], Awaitable[Response]], port: int) -> None:
        self._handle = handle
        self._large_bodies = asyncio.Semaphore(_MAX_LARGE_BODIES)
        self._ended = asyncio.Event()
        self._listener = _listen(port)
        self.port: int = self._listener.getsockname()[1]
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        unlimited = files == resource.RLIM_INFINITY
        super().__init__(
            self._app,
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1,
            websockets=False,
            backpressure=_MAX_CONNECTIONS if unlimited else min(_MAX_CONNECTIONS, files // 2),
            http1_settings=HTTP1Settings(
                header_read_timeout=PATIENCE_SECONDS * 1000, max_buffer_size=MAX_HEAD_BYTES
            ),
            log_enabled=False,
        )

    async def serve(self) -> None:  # type: ignore[override]
        """Answer requests until `finish`.

        Raises:
            RuntimeError: granian ended before.
        """
        await super().serve()
        self._shd = None  # frees the port
        self._ended.set()
        if not self.interrupt_signal:
            raise RuntimeError("granian ended")

    def close(self) -> None:
        """Free the port of a server that does not serve yet."""
        self._listener.close()

    async def finish(self, seconds: float) -> None:
        """Refuse connections, and wait that long for the requests under way to end."""
        self.stop()  # type: ignore[no-untyped-call]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), seconds)

    def _init_shared_socket(self) -> None:
        # granian's own socket would share its port with any other program (SO_REUSEPORT).
        self._shd = SocketHolder(  # type: ignore[call-arg, assignment]
            self._listener.detach(), False, self.backlog
        )

    async def _app(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """The ASGI application between granian and the handler."""
        headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in scope["headers"]]
        header = dict(headers)
        chunked = "transfer-encoding" in header
        length = None if chunked else int(header.get("content-length", 0))
        unread = length != 0
        async with contextlib.AsyncExitStack() as until_answered:

            async def read_body(most: int) -> bytes:
                nonlocal unread
                unread = False
                return await self._read_body(receive, length, most, until_answered)

            request = Request(
                verb=scope["method"],
                path=scope["raw_path"].decode("latin-1"),
                query=scope["query_string"].decode("latin-1"),
                headers=headers,
                header=header,
                peer=scope["client"][0],
                read_body=read_body,
            )
            try:
                response = await self._handle(request)
            except _BrokenBody as error:
                response = message(*error.args)
            except Exception:  # a fault of the sandbox
                traceback.print_exc()
                response = message(500, "Internal server error")
            if unread:
                # hyper would close the connection, at times before the caller reads the answer.
                with contextlib.suppress(BodyTooLarge, _BrokenBody):
                    await read_body(0)
        lines = [
            (name.encode("latin-1", "replace"), value.encode("latin-1", "replace"))
            for name, value in response.headers
        ]
        await send({"type": "http.response.start", "status": response.status, "headers": lines})
        end: dict[str, Any] = {"type": "http.response.body", "body": response.body}
        if response.parts:
            await send(end | {"more_body": True})
            gone = asyncio.ensure_future(_disconnected(receive))
            async with contextlib.aclosing(response.parts) as parts:
                async for part in parts:
                    # granian takes what it cannot send, too.
                    if gone.done():
                        break
                    await send(end | {"body": part, "more_body": True})
            gone.cancel()
            end["body"] = b""
        await send(end)

    async def _read_body(
        self,
        receive: _Receive,
        length: int | None,
        most: int,
        until_answered: contextlib.AsyncExitStack,
    ) -> bytes:
        """Read the whole body. A large one takes one of a few places until it is answered.

        Raises:
            BodyTooLarge: it has more bytes than `most`.
            _BrokenBody: it did not arrive in time, whole and well-formed.
        """
        parts: list[bytes] = []
        size = 0
        more = length != 0
        large = False
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while more:
                    event = await receive()
                    if event["type"] == "http.disconnect":
                        raise _BrokenBody(400, "Bad Request")
                    size += len(event["body"])
                    if size > most:
                        parts.clear()  # read the rest, so that the caller reads the answer
                    else:
                        if size > _LARGE_BODY_BYTES and not large:
                            large = True
                            await until_answered.enter_async_context(self._large_bodies)
                        parts.append(event["body"])
                    # granian's last message is empty; do not wait for it.
                    more = event["more_body"] and size != length
        except TimeoutError:
            # hyper closes the connection only if granian has dropped the body before the answer.
            await asyncio.sleep(1)
            raise _BrokenBody(408, "Request Timeout") from None
        if size > most:
            raise BodyTooLarge
        return b"".join(parts)


async def _disconnected(receive: _Receive) -> None:
    """Wait until the caller is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def message(status: int, text: str) -> Response:
    """Return a JSON response with a message, as API Gateway's own are."""
    return json_response({"message": text}, status)


def json_response(
    value: object, status: int = 200, headers: Iterable[tuple[str, str]] = ()
) -> Response:
    """Return a value as a JSON response, with further headers."""
    kind = ("content-type", "application/json")
    return Response(status, [*headers, kind], json.dumps(value).encode())


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    # Take a port that was just freed, even if some of its connections linger.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if sys.platform == "linux":
        # Close a connection whose answer stays unread; connections inherit this from the listener.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, PATIENCE_SECONDS * 1000)
    try:
        listener.bind((LOOPBACK, port))
        listener.listen(socket.SOMAXCONN)
    except OSError as error:
        listener.close()
        raise UserError(
            f"Port {port} cannot be used: {os.strerror(error.errno or 0).lower()}. "
            f"Choose another with make up PORT={port + 1}."
        ) from None
    listener.setblocking(False)
    return listener
