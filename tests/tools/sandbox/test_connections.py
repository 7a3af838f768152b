"""What callers may do to a connection, on a server that is all their own and whose clock is set."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
import uvicorn
import uvloop
from uvicorn.server import Server

from tools.sandbox.asgi import Message, Receive, Send
from tools.sandbox.connections import MAX_HEAD_BYTES, MAX_PIPELINED, PATIENCE_SECONDS, Callers

REQUEST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"


class Clock:
    """Stands still until it is set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class App:
    """Reads each request and answers it, when it may."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.began = 0
        self.disconnected = 0
        self.answer = b"done"

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        self.began += 1
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.disconnected += 1
                return
            more = message["more_body"]
        await self.may_answer.wait()
        length = str(len(self.answer)).encode()
        headers = [(b"content-length", length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self.answer})


class Caller:
    """One connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answers(self, number: int = 1) -> bytes:
        """What comes until so many answers of the app are there."""
        said = b""
        while said.count(b"done") < number and (more := await self._read(65536)):
            said += more
        return said

    async def rest(self) -> bytes:
        """What comes until the server closes the connection."""
        said = b""
        while more := await self._read(1 << 20):
            said += more
        return said

    async def _read(self, most: int) -> bytes:
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(30):
                return await self._reader.read(most)
        return b""


class Served:
    """A server, and ways to call it."""

    def __init__(self, most: int) -> None:
        self.clock = Clock()
        self.callers = Callers(most, self.clock)
        self.app = App()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.config = uvicorn.Config(
            self.app,
            http=self.callers.connection,  # type: ignore[arg-type]
            lifespan="off",
            log_config=None,
            timeout_keep_alive=3600,
        )
        self._server = Server(self.config)
        self._writers: list[asyncio.StreamWriter] = []

    @property
    def connections(self) -> set[Any]:
        """Those that are open."""
        return self._server.server_state.connections

    async def caller(self) -> Caller:
        reader, writer = await asyncio.open_connection(*self.listener.getsockname())
        self._writers.append(writer)
        return Caller(reader, writer)

    async def until(self, happened: Callable[[], bool]) -> None:
        """Let the server work until something has happened."""
        async with asyncio.timeout(30):
            while not happened():
                await asyncio.sleep(0.001)

    async def later(self, seconds: float) -> None:
        """What the server does after so many seconds."""
        self.clock.now += seconds
        await self.callers.drop_slow()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Served"]:
        serving = asyncio.create_task(self._server.serve([self.listener]))
        await self.until(lambda: self._server.started)
        try:
            yield self
        finally:
            self.app.may_answer.set()
            for writer in self._writers:
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()
            self._server.should_exit = True
            await serving


def served(test: Callable[[Served], Coroutine[None, None, None]], most: int = 100) -> None:
    """Run a test against a server of its own."""

    async def run() -> None:
        async with Served(most).running() as server:
            await test(server)

    uvloop.run(run())


@pytest.mark.parametrize(
    ("part", "slowly_on", "begun"),
    [
        (b"", b"", 0),
        (b"P", b"O", 0),
        (b"POST / HTTP/1.1\r\nHost: h\r\nX-", b"A", 0),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n{", b" ", 1),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", b"c", 1),
        (REQUEST + REQUEST[:20], b"A", 0),
    ],
)
def test_who_does_not_send_a_whole_request_in_time_is_dropped(
    part: bytes, slowly_on: bytes, begun: int
) -> None:
    async def test(server: Served) -> None:
        slow = await server.caller()
        await slow.send(part)
        if part.startswith(REQUEST):
            await slow.answers()
        other = await server.caller()
        await other.send(REQUEST)
        await other.answers()

        await server.later(PATIENCE_SECONDS - 1)
        await slow.send(slowly_on)
        await other.send(REQUEST)
        await other.answers()
        await server.later(1)

        assert await slow.rest() == b""
        await server.until(lambda: server.app.disconnected == begun)
        await other.send(REQUEST)
        assert b"200 OK" in await other.answers(), "its last answer is not yet so long ago"

    served(test)


def test_a_request_in_work_is_waited_for_however_long_it_takes() -> None:
    async def test(server: Served) -> None:
        server.app.may_answer.clear()
        caller = await server.caller()
        await caller.send(REQUEST)
        await server.until(lambda: server.app.began == 1)

        await server.later(3600)

        server.app.may_answer.set()
        assert b"200 OK" in await caller.answers()

    served(test)


def test_who_does_not_read_the_answer_is_dropped() -> None:
    async def test(server: Served) -> None:
        server.app.answer = b"x" * 50_000_000
        caller = await server.caller()
        await caller.send(REQUEST * 2)
        await server.until(lambda: server.app.began == 2)

        await server.later(PATIENCE_SECONDS)

        assert len(await caller.rest()) < 50_000_000

    served(test)


def test_one_connection_more_than_there_may_be_ends_the_one_that_waits_longest() -> None:
    async def test(server: Served) -> None:
        idle = [await server.caller() for _ in range(3)]
        await server.until(lambda: len(server.connections) == 3)

        fresh = await server.caller()
        await fresh.send(REQUEST)

        assert b"200 OK" in await fresh.answers()
        assert await idle[0].rest() == b""
        await idle[1].send(REQUEST)
        assert b"200 OK" in await idle[1].answers()

    served(test, most=3)


def test_when_all_connections_are_in_work_one_more_is_refused() -> None:
    async def test(server: Served) -> None:
        server.app.may_answer.clear()
        busy = [await server.caller() for _ in range(3)]
        for caller in busy:
            await caller.send(REQUEST)
        await server.until(lambda: server.app.began == 3)

        assert await (await server.caller()).rest() == b""

        server.app.may_answer.set()
        for caller in busy:
            assert b"200 OK" in await caller.answers()
        await busy[0].send(REQUEST)
        assert b"200 OK" in await busy[0].answers()

    served(test, most=3)


def test_a_head_that_does_not_end_is_refused() -> None:
    async def test(server: Served) -> None:
        caller = await server.caller()
        await caller.send(b"POST / HTTP/1.1\r\nHost: h\r\nX-Long: ")
        with contextlib.suppress(ConnectionError):
            for _ in range(10 * MAX_HEAD_BYTES // 1000):
                await caller.send(b"x" * 1000)
                await asyncio.sleep(0)

        # Its end; whether the 400 before it gets through is up to TCP.
        await caller.rest()
        await server.until(lambda: not server.connections)
        assert server.app.began == 0

    served(test)


def test_large_bodies_do_not_count_as_heads() -> None:
    async def test(server: Served) -> None:
        caller = await server.caller()
        size = 10 * MAX_HEAD_BYTES
        body = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size
        await caller.send(body + REQUEST[:20])
        assert b"200 OK" in await caller.answers()
        await caller.send(REQUEST[20:])
        assert b"200 OK" in await caller.answers()

    served(test)


def test_requests_in_a_pipeline_are_answered_in_turn() -> None:
    async def test(server: Served) -> None:
        caller = await server.caller()
        await caller.send(REQUEST * MAX_PIPELINED)
        said = await caller.answers(MAX_PIPELINED)
        assert said.count(b"HTTP/1.1 200 OK") == MAX_PIPELINED

    served(test)


def test_a_pipeline_that_only_grows_is_refused() -> None:
    async def test(server: Served) -> None:
        server.app.may_answer.clear()
        caller = await server.caller()
        with contextlib.suppress(ConnectionError):
            await caller.send(REQUEST * 50_000)
        assert b"400 Bad Request" in await caller.rest()
        assert server.app.began == 1

    served(test)


def test_a_pipeline_is_read_no_further_while_it_is_long() -> None:
    """Reading on after each answer, as uvicorn does, takes in more requests than are answered."""

    async def test(server: Served) -> None:
        server.app.may_answer.clear()
        caller = await server.caller()
        await caller.send(REQUEST * 3)
        await server.until(lambda: server.app.began == 1)
        (connection,) = server.connections
        assert len(connection.pipeline) == 2

        await caller.send(REQUEST * MAX_PIPELINED)
        await server.later(0)
        server.app.may_answer.set()

        assert (await caller.answers(3 + MAX_PIPELINED)).count(b"200 OK") == 3 + MAX_PIPELINED

    served(test)
