"""The running sandbox under hostile callers: others are served, and its memory stays bounded."""

import contextlib
import resource
import socket
from collections.abc import Iterator

import psutil
import pytest

from tests.tools.sandbox.project import Project, keys_in

RECORD = b'{"id": "1", "title": "T", "year": 1}'
MEGABYTE = 1 << 20
FILES = 8_192


@pytest.fixture(scope="module")
def keys(project: Project) -> dict[str, str]:
    """The API keys by plan, of a sandbox without a block by the web ACL."""
    project.edit("waf.rateLimit", 1_000_000_000)
    return keys_in(project.up())


@pytest.fixture(autouse=True)
def many_files() -> Iterator[None]:
    """Allow this process as many connections as a test opens."""
    usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Not the hard limit: it is infinite on macOS, which refuses that.
    wanted = FILES if most == resource.RLIM_INFINITY else min(FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(usual, wanted), most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (usual, most))


@pytest.fixture
def memory(project: Project, keys: dict[str, str]) -> Iterator[psutil.Process]:
    """The server's process, whose memory must not grow by 100 MB."""
    server = project.processes()[0]
    before = server.memory_info().rss
    yield server
    assert server.memory_info().rss - before < 100 * MEGABYTE


def connect(project: Project) -> socket.socket:
    return socket.create_connection(("127.0.0.1", project.port), timeout=20)


def post(key: str | None, body: bytes = RECORD, length: int | None = None) -> bytes:
    """Return a request as it goes over the wire."""
    lines = ["POST /dev/data HTTP/1.1", "Host: sandbox", "Content-Type: application/json"]
    lines += [f"x-api-key: {key}"] if key else []
    lines += ["Transfer-Encoding: chunked"] if length == -1 else []
    lines += [f"Content-Length: {len(body) if length is None else length}"] if length != -1 else []
    return "\r\n".join([*lines, "", ""]).encode() + body


def flood(connection: socket.socket, data: bytes, times: int) -> None:
    """Send as much as the server takes, hardly waiting for it."""
    connection.settimeout(0.02)
    with contextlib.suppress(ConnectionError, TimeoutError):
        for _ in range(times):
            connection.sendall(data)


def assert_others_are_served(project: Project, key: str) -> None:
    for _ in range(3):
        assert project.post(key).status_code == 200


@pytest.mark.usefixtures("memory")
def test_thousands_of_connections_that_say_little_or_nothing_keep_no_one_out(
    project: Project, keys: dict[str, str]
) -> None:
    long_head = b"POST /dev/data HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 15_000
    beginnings = [b"", b"POST /dev/data HTTP/1.1\r\nHost:", post(keys["basic"])[:-10], long_head]
    with contextlib.ExitStack() as stack:
        for number in range(4000):
            connection = stack.enter_context(connect(project))
            connection.sendall(beginnings[number % len(beginnings)])
        assert_others_are_served(project, keys["premium"])


@pytest.mark.usefixtures("memory")
def test_what_never_ends_is_not_kept(project: Project, keys: dict[str, str]) -> None:
    trailers = post(keys["premium"], b"%x\r\n%b\r\n0\r\n" % (len(RECORD), RECORD), length=-1)
    with contextlib.ExitStack() as stack:
        for beginning, rest in (
            (trailers, b"a:b\r\n" * 200_000),
            (post(None, b"", length=10_000_000_000), b"x" * MEGABYTE),
            (post(keys["premium"], b"", length=10_000_000_000), b"x" * MEGABYTE),
            (b"", post(keys["basic"]) * 10_000),  # answers that are not read
        ):
            connection = stack.enter_context(connect(project))
            connection.sendall(beginning)
            flood(connection, rest, 300)
        assert_others_are_served(project, keys["premium"])
