"""Callers that mean no good, byte by byte, on a server of their own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from settings import UserError
from tools.sandbox import http_server
from tools.sandbox.http_server import BodyTooLarge, HttpServer, Request, Response

MAX_BODY = 1_000_000
RECORD = b'{"id": "1"}'
pytestmark = pytest.mark.anyio


class Server(HttpServer):
    """Reads each request and answers with its body, when it may."""

    def __init__(self) -> None:
        super().__init__(self._reply, 0)
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.requests: list[Request] = []
        self.bodies: list[bytes] = []
        self.answer: bytes | None = None

    async def _reply(self, request: Request) -> Response:
        self.requests.append(request)
        if request.path == "/fault":
            raise RuntimeError("inside")
        if request.path == "/refused":
            return Response(403, [], b"")
        try:
            self.bodies.append(await request.read_body(MAX_BODY))
        except BodyTooLarge:
            return Response(413, [], b"")
        await self.may_answer.wait()
        return Response(200, [], self.bodies[-1] if self.answer is None else self.answer)

    async def send(self, *parts: bytes) -> "Caller":
        """Connect, and send."""
        caller = Caller(*await asyncio.open_connection("127.0.0.1", self.port))
        with contextlib.suppress(ConnectionError):
            for part in parts:
                caller.writer.write(part)
                await caller.writer.drain()
        return caller

    async def statuses(self, *parts: bytes) -> list[int]:
        """Return the statuses of all answers to what a connection sends, until it is closed."""
        caller = await self.send(*parts)
        return [int(answer[:3]) for answer in (await caller.rest()).split(b"HTTP/1.1 ")[1:]]


class Caller:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def rest(self) -> bytes:
        """Return what comes until the server closes the connection."""
        received = b""
        with contextlib.suppress(ConnectionError), contextlib.closing(self.writer):
            async with asyncio.timeout(60):
                while more := await self.reader.read(1 << 20):
                    received += more
        return received


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    serving = asyncio.create_task(server.serve())
    yield server
    server.may_answer.set()
    await server.finish(10)
    serving.cancel()  # of a server whose requests do not end
    await asyncio.wait([serving])


@pytest.fixture
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "PATIENCE_SECONDS", 1)


@pytest.fixture
def endless_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "PATIENCE_SECONDS", 1000)


def post(body: bytes = RECORD, path: str = "/", **headers: str) -> bytes:
    """Return a request as it goes over the wire; headers are given with underscores."""
    if "Transfer_Encoding" not in headers:
        headers.setdefault("Content_Length", str(len(body)))
    lines = [f"POST {path} HTTP/1.1", "Host: h"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def last(body: bytes = RECORD, path: str = "/", **headers: str) -> bytes:
    """Return a request after which the server closes the connection, without waiting for more."""
    return post(body, path, Connection="close", **headers)


CHUNKED = last(b"", Transfer_Encoding="chunked")
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
async def test_a_request_that_is_not_sent_in_time_is_dropped(
    short_patience: None, server: Server, sent: bytes, statuses: list[int]
) -> None:
    assert await server.statuses(sent) == statuses


async def test_a_request_in_work_is_waited_for(short_patience: None, server: Server) -> None:
    server.may_answer.clear()
    caller = await server.send(post())
    await asyncio.sleep(1.5 * http_server.PATIENCE_SECONDS)
    server.may_answer.set()
    assert b"200 OK" in await caller.rest()


@pytest.mark.skipif("sys.platform != 'linux'", reason="TCP_USER_TIMEOUT")
async def test_a_caller_that_does_not_read_its_answer_is_dropped(
    short_patience: None, server: Server
) -> None:
    server.answer = b"x" * 50_000_000
    caller = await server.send(post())
    await asyncio.sleep(2.5 * http_server.PATIENCE_SECONDS)
    assert len(await caller.rest()) < 50_000_000


@pytest.mark.parametrize(
    "sent",
    [
        post()[:-15] + b"\r\nX: " + b"x" * 20_000,
        post()[:-15] + b"\r\n" + b"X: x\r\n" * 20_000,
        CHUNKED + GOOD_CHUNKS[:-2] + b"a:b\r\n" * 2_000_000,
    ],
)
async def test_heads_and_trailers_that_do_not_end_are_refused(
    endless_patience: None, server: Server, sent: bytes
) -> None:
    # The answer is lost if the caller is still sending when the connection closes.
    assert await server.statuses(sent) in ([], [431], [400])
    assert not server.bodies, "the request was not complete"


async def test_trailers_are_no_headers(server: Server) -> None:
    sent = CHUNKED + GOOD_CHUNKS[:-2] + b"x-api-key: key\r\n\r\n"
    assert await server.statuses(sent) == [200]
    assert "x-api-key" not in server.requests[0].header


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


async def test_what_is_not_a_request_is_refused(short_patience: None, server: Server) -> None:
    answers = await asyncio.gather(*map(server.statuses, NOT_HTTP))
    assert [status for statuses in answers for status in statuses if status != 400] == []
    assert not server.requests
    assert await server.statuses(last()) == [200]


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


async def test_a_request_that_can_be_read_in_two_ways_is_refused(server: Server) -> None:
    # A second request, in case the first is read as longer or shorter than it is.
    answers = await asyncio.gather(*(server.statuses(sent + post()) for sent in AMBIGUOUS))
    assert answers == [[400]] * len(AMBIGUOUS)
    assert not server.bodies


@pytest.mark.parametrize("sent", [post()[:-1], CHUNKED + GOOD_CHUNKS[:-1]])
async def test_a_request_that_is_cut_off_is_not_handled(server: Server, sent: bytes) -> None:
    caller = await server.send(sent)
    while not server.requests:
        await asyncio.sleep(0.001)
    caller.writer.write_eof()
    assert b" 400 " in await caller.rest()
    assert not server.bodies


# As Java's HttpClient and curl --http2 send it.
HTTP2 = {"Upgrade": "h2c", "HTTP2_Settings": "AAMAAABkAAQCAAAAAAIAAAAA"}


@pytest.mark.parametrize("offer", [HTTP2, {"Upgrade": "websocket"}])
async def test_an_offer_of_another_protocol_keeps_the_body(
    server: Server, offer: dict[str, str]
) -> None:
    upgrade = {"Connection": "Upgrade, HTTP2-Settings"} | offer
    assert await server.statuses(post(RECORD, **upgrade) + last(b"2")) == [200, 200]
    assert server.bodies == [RECORD, b"2"]


async def test_requests_in_a_pipeline_are_read_and_answered_in_turn(server: Server) -> None:
    server.may_answer.clear()
    bodies = [b"%d" % number for number in range(100)]
    caller = await server.send(b"".join([*map(post, bodies[:-1]), last(bodies[-1])]))
    await asyncio.sleep(0.1)
    assert server.bodies == [b"0"], "the others are not read yet"
    server.may_answer.set()
    await caller.rest()
    assert server.bodies == bodies


PART = b"x" * 100_000


@pytest.mark.parametrize(
    "sent",
    [
        [last(b"", Content_Length="2000000"), *[PART] * 20],
        [CHUNKED, *[b"%x\r\n%b\r\n" % (len(PART), PART)] * 20, b"0\r\n\r\n"],
    ],
)
async def test_a_body_that_is_too_large_is_refused_when_it_was_read(
    server: Server, sent: list[bytes]
) -> None:
    assert await server.statuses(*sent) == [413]


async def test_a_refusal_that_needs_no_body_keeps_the_connection(server: Server) -> None:
    head = post(b"", path="/refused", Content_Length=str(len(RECORD)))
    caller = await server.send(head)
    while not server.requests:
        await asyncio.sleep(0.001)
    caller.writer.write(RECORD + last())
    answers = await caller.rest()
    assert [int(answer[:3]) for answer in answers.split(b"HTTP/1.1 ")[1:]] == [403, 200]


async def test_no_more_than_some_large_bodies_are_in_memory(server: Server) -> None:
    server.may_answer.clear()
    most = http_server._MAX_LARGE_BODIES
    large = last(b"x" * MAX_BODY)
    tasks = [asyncio.create_task(server.statuses(large)) for _ in range(most + 3)]
    while len(server.bodies) < most:
        await asyncio.sleep(0.001)
    tasks.append(asyncio.create_task(server.statuses(last(b""))))
    while b"" not in server.bodies:
        await asyncio.sleep(0.001)
    assert len(server.bodies) == most + 1, "small bodies are not held up"
    server.may_answer.set()
    await asyncio.gather(*tasks)
    assert len(server.bodies) == most + 4


async def test_headers_and_paths_arrive_as_they_were_sent(server: Server) -> None:
    sent = b"GET /a%41%ff?x=%20 HTTP/1.1\r\nHost: h\r\nX-B: \xe9\r\nX-B: 2 \t \r\n\r\n" + last()
    await server.statuses(sent)
    request = server.requests[0]
    assert (request.path, request.query, request.peer) == ("/a%41%ff", "x=%20", "127.0.0.1")
    assert request.headers == [("host", "h"), ("x-b", "é"), ("x-b", "2")]
    assert request.header["x-b"] == "2"


async def test_a_fault_of_the_sandbox_costs_one_caller_a_500(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await server.statuses(post(path="/fault"), last()) == [500, 200]
    assert "RuntimeError: inside" in capsys.readouterr().err


async def test_stop_finishes_requests_and_frees_the_port(server: Server) -> None:
    server.may_answer.clear()
    caller = await server.send(post())
    while not server.bodies:
        await asyncio.sleep(0.001)
    with pytest.raises(UserError, match="address already in use"):
        HttpServer(server._reply, server.port)
    stopping = asyncio.create_task(server.finish(10))
    await asyncio.sleep(0.1)
    server.may_answer.set()
    await stopping
    assert b"200 OK" in await caller.rest()
    HttpServer(server._reply, server.port).close()
