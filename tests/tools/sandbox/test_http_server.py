"""Callers that mean no good, byte by byte, on a server of their own whose patience is short."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine

import pytest
import uvloop

from settings import UserError
from tools.sandbox import http_server
from tools.sandbox.http_server import BodyTooLarge, HttpServer, Request, Response

MAX_BODY = 1_000_000
RECORD = b'{"id": "1"}'
pytestmark = pytest.mark.usefixtures("short_patience")


@pytest.fixture
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "PATIENCE_SECONDS", 1)


class Served:
    """A server that reads each request and answers with its body, when it may."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.requests: list[Request] = []
        self.bodies: list[bytes] = []
        self.answer: bytes | None = None
        self.server = HttpServer(self._handle, 0)

    async def _handle(self, request: Request) -> Response:
        self.requests.append(request)
        if request.path == "/fault":
            raise RuntimeError("inside")
        try:
            if request.path != "/unread":
                self.bodies.append(await request.read_body(MAX_BODY))
        except BodyTooLarge:
            return Response(413, [], b"")
        await self.may_answer.wait()
        return Response(200, [], self.bodies[-1] if self.answer is None else self.answer)

    async def send(self, *parts: bytes) -> "Caller":
        """Connect, and send."""
        caller = Caller(*await asyncio.open_connection("127.0.0.1", self.server.port))
        with contextlib.suppress(ConnectionError):
            for part in parts:
                caller.writer.write(part)
                await caller.writer.drain()
        return caller

    async def statuses(self, *parts: bytes) -> list[int]:
        """Return the statuses of all answers to what a connection sends."""
        caller = await self.send(*parts)
        return [int(answer[:3]) for answer in (await caller.rest()).split(b"HTTP/1.1 ")[1:]]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Served"]:
        serving = asyncio.create_task(self.server.serve())
        try:
            yield self
        finally:
            self.may_answer.set()
            await self.server.finish(10)
            serving.cancel()  # of a server whose requests do not end
            await asyncio.wait([serving])


class Caller:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def rest(self) -> bytes:
        """Return what comes until the server closes the connection."""
        received = b""
        try:
            async with asyncio.timeout(20):
                while more := await self.reader.read(1 << 20):
                    received += more
        except ConnectionError:
            pass
        finally:
            self.writer.close()
        return received


def served(test: Callable[[Served], Coroutine[None, None, None]]) -> None:
    """Run a test with a server of its own."""

    async def run() -> None:
        async with Served().running() as server:
            await test(server)

    uvloop.run(run())


def post(body: bytes = RECORD, path: str = "/", **headers: str) -> bytes:
    """Return a request as it goes over the wire; headers are given with underscores."""
    if "Transfer_Encoding" not in headers:
        headers.setdefault("Content_Length", str(len(body)))
    lines = [f"POST {path} HTTP/1.1", "Host: h"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


CHUNKED = post(b"", Transfer_Encoding="chunked")
GOOD_CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(RECORD), RECORD)


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        (b"", []),
        (b"POST / HT", []),
        (post()[:-12], []),
        (post() + post()[:20], [200]),
        (post()[:-1], [408]),
        (CHUNKED + b"5\r\nab", [408]),
    ],
)
def test_a_request_that_is_not_sent_in_time_is_dropped(sent: bytes, statuses: list[int]) -> None:
    async def test(server: Served) -> None:
        assert await server.statuses(sent) == statuses

    served(test)


def test_a_request_in_work_is_waited_for() -> None:
    async def test(server: Served) -> None:
        server.may_answer.clear()
        caller = await server.send(post())
        await asyncio.sleep(1.5 * http_server.PATIENCE_SECONDS)
        server.may_answer.set()
        assert b"200 OK" in await caller.rest()

    served(test)


@pytest.mark.skipif("sys.platform != 'linux'", reason="TCP_USER_TIMEOUT")
def test_a_caller_that_does_not_read_its_answer_is_dropped() -> None:
    async def test(server: Served) -> None:
        server.answer = b"x" * 50_000_000
        caller = await server.send(post())
        await asyncio.sleep(2.5 * http_server.PATIENCE_SECONDS)
        assert len(await caller.rest()) < 50_000_000

    served(test)


@pytest.mark.parametrize("head", [b"X: " + b"x" * 20_000, b"X: x\r\n" * 20_000])
def test_a_head_that_does_not_end_is_refused(head: bytes) -> None:
    async def test(server: Served) -> None:
        # The answer is lost if the caller is still sending when the connection closes.
        assert await server.statuses(post()[:-15] + b"\r\n" + head) in ([], [431])
        assert not server.requests

    served(test)


def test_trailers_that_do_not_end_are_refused() -> None:
    async def test(server: Served) -> None:
        trailers = [b"a:b\r\n" * 100_000] * 20
        statuses = await server.statuses(CHUNKED + GOOD_CHUNKS[:-2], *trailers)
        assert statuses in ([], [400])
        assert not server.bodies, "the request was not complete"

    served(test)


def test_trailers_are_no_headers() -> None:
    async def test(server: Served) -> None:
        sent = CHUNKED + GOOD_CHUNKS[:-2] + b"x-api-key: key\r\n\r\n"
        assert await server.statuses(sent) == [200]
        (request,) = server.requests
        assert "x-api-key" not in request.header

    served(test)


NOT_HTTP = (
    b"\r\n\r\n",
    b"GET\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),  # TLS
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /dev/data\r\n",  # HTTP/0.9
    b"POST /dev/data HTTP/9.9\r\n\r\n",
    b"POST  /dev/data HTTP/1.1\r\n\r\n",
    b"POST /dev/\xff\xfe HTTP/1.1\r\nHost: h\r\n\r\n",
    b"POST http://[ HTTP/1.1\r\nHost: h\r\n\r\n",
    bytes(range(256)) * 100,
)


def test_what_is_not_a_request_is_refused() -> None:
    async def test(server: Served) -> None:
        answers = await asyncio.gather(*map(server.statuses, NOT_HTTP))
        assert [status for statuses in answers for status in statuses if status != 400] == []
        assert not server.requests
        assert await server.statuses(post()) == [200]

    served(test)


AMBIGUOUS = (
    post(Content_Length="11\r\nContent-Length: 36"),
    post(Content_Length="11, 11"),
    post(Content_Length="-1"),
    post(Content_Length="+11"),
    post(Content_Length="0x24"),
    post(Content_Length="9" * 30),
    post(GOOD_CHUNKS, Transfer_Encoding="chunked, identity"),
    CHUNKED + b"xyz\r\n" + GOOD_CHUNKS,
    CHUNKED + b"-5\r\nabcde\r\n0\r\n\r\n",
    CHUNKED + b"f" * 20 + b"\r\nabc",
    CHUNKED + b"2\r\nabcdef\r\n0\r\n\r\n",
    post().replace(b"Host:", b"Host :"),
    post().replace(b"Host: ", b"Host:\r\n "),
    post(X_A="a\rb"),
    post(X_A="a\0b"),
)


def test_a_request_that_can_be_read_in_two_ways_is_refused() -> None:
    async def test(server: Served) -> None:
        # A second request, in case the first is read as longer or shorter than it is.
        answers = await asyncio.gather(*(server.statuses(sent + post()) for sent in AMBIGUOUS))
        assert answers == [[400]] * len(AMBIGUOUS)
        assert not server.bodies

    served(test)


@pytest.mark.parametrize("sent", [post()[:-1], CHUNKED + GOOD_CHUNKS[:-1]])
def test_a_request_that_is_cut_off_is_not_handled(sent: bytes) -> None:
    async def test(server: Served) -> None:
        caller = await server.send(sent)
        while not server.requests:
            await asyncio.sleep(0.001)
        caller.writer.write_eof()
        assert b" 400 " in await caller.rest()
        assert not server.bodies

    served(test)


def test_an_offer_of_another_protocol_keeps_the_body() -> None:
    async def test(server: Served) -> None:
        # As Java's HttpClient and curl --http2 send it.
        http2 = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c"}
        websocket = {"Connection": "Upgrade", "Upgrade": "websocket"}
        for offer in (http2 | {"HTTP2_Settings": "AAMAAABkAAQCAAAAAAIAAAAA"}, websocket):
            assert await server.statuses(post(RECORD, **offer)) == [200]
        assert server.bodies == [RECORD] * 2

    served(test)


def test_requests_in_a_pipeline_are_read_and_answered_in_turn() -> None:
    async def test(server: Served) -> None:
        server.may_answer.clear()
        caller = await server.send(b"".join(post(b"%d" % number) for number in range(100)))
        await asyncio.sleep(0.1)
        assert server.bodies == [b"0"], "the others are not read yet"
        server.may_answer.set()
        await caller.rest()
        assert server.bodies == [b"%d" % number for number in range(100)]

    served(test)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_refused_when_it_was_read(chunked: bool) -> None:
    async def test(server: Served) -> None:
        part = b"x" * 100_000
        if chunked:
            body = [b"%x\r\n%b\r\n" % (len(part), part)] * 20
            assert await server.statuses(CHUNKED, *body, b"0\r\n\r\n") == [413]
        else:
            head = post(b"", Content_Length=str(20 * len(part)))
            assert await server.statuses(head, *[part] * 20) == [413]

    served(test)


def test_no_more_than_some_large_bodies_are_in_memory() -> None:
    async def test(server: Served) -> None:
        server.may_answer.clear()
        most = http_server._MAX_LARGE_BODIES
        body = b"x" * MAX_BODY
        tasks = [asyncio.create_task(server.statuses(post(body))) for _ in range(most + 3)]
        while len(server.bodies) < most:
            await asyncio.sleep(0.001)
        small = asyncio.create_task(server.statuses(post(b"")))
        while b"" not in server.bodies:
            await asyncio.sleep(0.001)
        assert len(server.bodies) == most + 1, "small bodies are not held up"
        server.may_answer.set()
        await asyncio.gather(small, *tasks)
        assert len(server.bodies) == most + 4

    served(test)


def test_headers_and_paths_arrive_as_they_were_sent() -> None:
    async def test(server: Served) -> None:
        sent = b"POST /a%41%ff?x=%20 HTTP/1.1\r\nHost: h\r\nX-B: \xe9\r\nX-B: 2 \t \r\n\r\n"
        await server.statuses(sent)
        (request,) = server.requests
        assert (request.path, request.query, request.peer) == ("/a%41%ff", "x=%20", "127.0.0.1")
        assert request.headers == [("host", "h"), ("x-b", "é"), ("x-b", "2")]
        assert request.header["x-b"] == "2"

    served(test)


def test_a_fault_of_the_sandbox_costs_one_caller_a_500(capsys: pytest.CaptureFixture[str]) -> None:
    async def test(server: Served) -> None:
        assert await server.statuses(post(path="/fault"), post()) == [500, 200]

    served(test)
    assert "RuntimeError: inside" in capsys.readouterr().err


def test_stop_finishes_requests_and_frees_the_port() -> None:
    async def test() -> None:
        served_ = Served()
        async with served_.running():
            served_.may_answer.clear()
            caller = await served_.send(post())
            while not served_.bodies:
                await asyncio.sleep(0.001)
            with pytest.raises(UserError, match="address already in use"):
                HttpServer(served_._handle, served_.server.port)
        assert b"200 OK" in await caller.rest()
        HttpServer(served_._handle, served_.server.port)._listener.close()

    uvloop.run(test())
