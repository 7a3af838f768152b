"""The running sandbox under callers who mean no good, byte by byte.

Whatever they send, other callers are served, the server's memory stays bounded, and nothing gets
to the function but what the limits admitted.
"""

import contextlib
import resource
import socket
import time
from collections.abc import Iterator

import psutil
import pytest

from tools.sandbox.state import State
from tests.tools.sandbox.project import Project, keys_in

RECORD = b'{"id": "1", "title": "T", "year": 1}'
RATE, BURST = 5, 10  # plan basic of Pulumi.dev.yaml
MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def keys(project: Project) -> dict[str, str]:
    """The API keys by plan, of a sandbox that is up."""
    return keys_in(project.up())


@pytest.fixture(autouse=True)
def many_files() -> Iterator[None]:
    """Thousands of connections are thousands of files of this process, too."""
    usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (usual, most))


class Memory:
    """The memory of the server's process."""

    def __init__(self, project: Project) -> None:
        told = State(project.folder, "dev").ask("status")
        assert told
        self._process = psutil.Process(told["pid"])
        self._before = self._process.memory_info().rss

    @property
    def grown_mb(self) -> float:
        """How much more it has than at first."""
        return (self._process.memory_info().rss - self._before) / MEGABYTE


def invocations(project: Project) -> int:
    """How many events the function has logged."""
    log = project.folder / ".sandbox" / "dev" / "function.log"
    return sum('"outcome"' in line for line in log.read_text().splitlines())


def connect(project: Project) -> socket.socket:
    return socket.create_connection(("127.0.0.1", project.port), timeout=20)


def post(key: str | None, body: bytes = RECORD, **headers: str) -> bytes:
    """A request as it goes over the wire; headers are given with underscores."""
    lines = ["POST /dev/data HTTP/1.1", "Host: sandbox", "Content-Type: application/json"]
    lines += [f"x-api-key: {key}"] if key else []
    if "Transfer_Encoding" not in headers:
        headers.setdefault("Content_Length", str(len(body)))
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def answers(connection: socket.socket) -> list[int]:
    """The statuses of all answers until the server closes the connection or says no more."""
    said = b""
    with contextlib.suppress(ConnectionError, TimeoutError):
        while more := connection.recv(MEGABYTE):
            said += more
    return [int(part[:3]) for part in said.split(b"HTTP/1.1 ")[1:]]


def send(project: Project, *parts: bytes) -> list[int]:
    """The statuses with which a connection is answered that sends these bytes, and no more."""
    with connect(project) as connection:
        with contextlib.suppress(ConnectionError):
            for part in parts:
                connection.sendall(part)
            connection.shutdown(socket.SHUT_WR)
        return answers(connection)


def assert_others_are_served(project: Project, key: str) -> None:
    assert project.post(key).status_code == 200


def test_thousands_of_connections_that_say_little_or_nothing_keep_nobody_out(
    project: Project, keys: dict[str, str]
) -> None:
    memory = Memory(project)
    beginnings = [b"", b"POST /dev/data HTTP/1.1\r\nHost:", post(keys["basic"])[:-10]]
    with contextlib.ExitStack() as stack:
        for number in range(3000):
            connection = stack.enter_context(connect(project))
            connection.sendall(beginnings[number % 3])
            if number % 500 == 0:
                assert_others_are_served(project, keys["premium"])
        for _ in range(5):
            assert_others_are_served(project, keys["premium"])
        assert memory.grown_mb < 100


def test_a_pipeline_is_throttled_request_by_request(project: Project, keys: dict[str, str]) -> None:
    before = invocations(project)
    began = time.monotonic()

    said = send(project, post(keys["basic"]) * 60)

    most = BURST + RATE * (time.monotonic() - began)
    assert set(said) == {200, 429}
    assert len(said) == 60
    assert BURST <= said.count(200) <= most
    assert invocations(project) - before == said.count(200)


@pytest.mark.parametrize(
    "request_",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /dev/data\r\n",  # HTTP/0.9
        b"POST /dev/data HTTP/9.9\r\n\r\n",
        b"POST  /dev/data HTTP/1.1\r\n\r\n",
        b"POST /dev/\xff\xfe HTTP/1.1\r\nHost: h\r\n\r\n",
        b"POST http://[ HTTP/1.1\r\nHost: h\r\n\r\n",
        b"CONNECT sandbox:443 HTTP/1.1\r\nHost: h\r\n\r\n",
        bytes(range(256)) * 100,
    ],
)
def test_what_is_no_request_is_refused(
    project: Project, keys: dict[str, str], request_: bytes
) -> None:
    before = invocations(project)
    assert [status for status in send(project, request_) if status < 400] == []
    assert invocations(project) == before
    assert_others_are_served(project, keys["premium"])


def broken_requests(key: str) -> dict[str, bytes]:
    """Requests with a good key whose length or form can be read in two ways, or not at all."""
    chunked = {"Transfer_Encoding": "chunked"}
    good = b"%x\r\n%b\r\n0\r\n\r\n" % (len(RECORD), RECORD)
    return {
        "both lengths": post(key, good, Content_Length="5", **chunked),
        "two lengths": post(key, RECORD, Content_Length="5\r\nContent-Length: 36"),
        "negative length": post(key, RECORD, Content_Length="-1"),
        "hexadecimal length": post(key, RECORD, Content_Length="0x24"),
        "huge length": post(key, RECORD, Content_Length="9" * 30),
        "unknown coding": post(key, good, Transfer_Encoding="chunked, identity"),
        "no chunk size": post(key, b"xyz\r\n" + good, **chunked),
        "negative chunk": post(key, b"-5\r\nabcde\r\n0\r\n\r\n", **chunked),
        "huge chunk": post(key, b"f" * 20 + b"\r\nabc", **chunked),
        "chunk longer than it says": post(key, b"2\r\nabcdef\r\n0\r\n\r\n", **chunked),
        "space before the colon": post(key, RECORD).replace(b"Host:", b"Host :"),
        "folded header": post(key, RECORD).replace(b"Host: ", b"Host:\r\n "),
        "line break in a header": post(key, RECORD, X_A="a\rb"),
        "NUL in a header": post(key, RECORD, X_A="a\0b"),
    }


@pytest.mark.parametrize("what", [*broken_requests("")])
def test_a_request_that_can_be_read_in_two_ways_is_refused(
    project: Project, keys: dict[str, str], what: str
) -> None:
    before = invocations(project)
    # A second request, for whoever takes the first for longer or shorter than it is.
    said = send(project, broken_requests(keys["premium"])[what] + post(keys["premium"]))
    assert said == [400]
    assert invocations(project) == before


def test_an_upgrade_is_not_offered_and_holds_nothing(
    project: Project, keys: dict[str, str]
) -> None:
    said = send(project, post(keys["premium"], Connection="upgrade", Upgrade="websocket"))
    assert 101 not in said
    assert_others_are_served(project, keys["premium"])


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_larger_than_api_gateway_takes_is_refused(
    project: Project, keys: dict[str, str], chunked: bool
) -> None:
    before = invocations(project)
    megabyte = b"x" * MEGABYTE
    if chunked:
        head = post(keys["premium"], b"", Transfer_Encoding="chunked")
        said = send(project, head, *[b"100000\r\n" + megabyte + b"\r\n"] * 30, b"0\r\n\r\n")
    else:
        head = post(keys["premium"], b"", Content_Length=str(30 * MEGABYTE))
        said = send(project, head, *[megabyte] * 30)
    assert said == [413]
    assert invocations(project) == before


def test_the_body_of_a_caller_without_a_key_is_not_kept(
    project: Project, keys: dict[str, str]
) -> None:
    memory = Memory(project)
    head = post(None, b"", Content_Length=str(10_000_000_000))
    assert send(project, head, *[b"x" * MEGABYTE] * 300) == [403]
    assert memory.grown_mb < 20


def test_a_hundred_large_bodies_at_once_are_not_all_in_memory(
    project: Project, keys: dict[str, str]
) -> None:
    memory = Memory(project)
    head = post(keys["premium"], b"", Content_Length=str(9 * MEGABYTE))
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            connection = stack.enter_context(connect(project))
            connection.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                connection.sendall(head + b"x" * (8 * MEGABYTE))
        for _ in range(5):
            assert_others_are_served(project, keys["premium"])
        assert memory.grown_mb < 250
