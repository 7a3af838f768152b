"""The function as Lambda would call it, and tables that answer as a test asks."""

import contextlib
import io
import json
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

import botocore.session
import pytest
from moto import mock_aws

ENVIRONMENT = {
    "TABLE_NAME": "records",
    "FUNCTION_TIMEOUT_SECONDS": "10",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def _enter_lambda(patch: pytest.MonkeyPatch) -> None:
    """Set the variables that Lambda sets, and remove those of the developer's own account."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB"):
        patch.delenv(name, raising=False)
    for name, value in ENVIRONMENT.items():
        patch.setenv(name, value)


@pytest.fixture(autouse=True)
def lambda_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test runs with Lambda's variables."""
    _enter_lambda(monkeypatch)


@pytest.fixture(scope="session")
def app() -> ModuleType:
    """handler.app, which needs its variables while it is imported."""
    with pytest.MonkeyPatch.context() as patch:
        _enter_lambda(patch)
        return import_module("handler.app")


class Memory:
    """A table that keeps what it is given, or raises."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.items: list[dict[str, dict[str, str]]] = []

    def put(self, item: dict[str, dict[str, str]]) -> None:
        if self.error:
            raise self.error
        self.items.append(item)


class Handled(NamedTuple):
    """One event handled: what the caller got, what was stored, what was logged."""

    response: dict[str, Any]
    stored: list[Any]
    output: str

    @property
    def status(self) -> int:
        status: int = self.response["statusCode"]
        return status

    @property
    def log(self) -> dict[str, Any]:
        """The event's log line; there must be exactly one."""
        (line,) = self.output.splitlines(keepends=True)
        assert line.endswith("\n")
        entry: dict[str, Any] = json.loads(line)
        return entry


Caller = Callable[..., Handled]


@pytest.fixture(scope="session")
def call(app: ModuleType) -> Caller:
    """Handle one event, with a table in memory unless another is given."""

    def call(event: object, *, table: Any = None, context: object = None) -> Handled:  # noqa: ANN401
        table = Memory() if table is None else table
        output = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(output):
            patch.setattr(app, "_table", table)
            response = app.handle(event, context)
        return Handled(response, getattr(table, "items", []), output.getvalue())

    return call


class Stall(bytes):
    """The beginning of an answer that never ends."""


class LoopbackTable(socketserver.ThreadingTCPServer):
    """A DynamoDB endpoint that plays its script, one entry a request, repeating the last.

    An entry is the bytes to answer with before the connection is closed, no bytes to reset it, or
    None to stay silent until the test ends.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Play)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.script: list[bytes | None] = [None]
        self.requests: list[bytes] = []
        self.over = threading.Event()

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401
        """Close at once; the inherited method would shut the connection down in order first."""
        self.close_request(request)


def answer(status: int, body: str = "{}", **headers: str) -> bytes:
    """An HTTP response; names of headers are given with underscores."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "Connection: close", "", body]).encode()


def error(status: int, code: str, **headers: str) -> bytes:
    """An error answer of DynamoDB."""
    text = f"no detail of {code} may reach the caller"
    body = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": text}
    return answer(status, json.dumps(body), **headers)


class _Play(socketserver.StreamRequestHandler):
    server: LoopbackTable

    def handle(self) -> None:
        length = 0
        while (line := self.rfile.readline()) not in (b"\r\n", b""):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        self.server.requests.append(self.rfile.read(length))
        script = self.server.script
        entry = script.pop(0) if len(script) > 1 else script[0]
        if entry:
            self.wfile.write(entry)
        if entry is None or isinstance(entry, Stall):
            self.server.over.wait(10)
        elif not entry:
            # Closing a socket that may not linger resets the connection.
            no_lingering = struct.pack("ii", 1, 0)
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_lingering)


@pytest.fixture
def loopback_table(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackTable]:
    """An endpoint on loopback that clients made in this test use."""
    with LoopbackTable() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", server.url)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def dynamodb() -> Iterator[Any]:
    """A client of moto's DynamoDB, in this process, with the table of the environment."""
    with mock_aws():
        client = botocore.session.get_session().create_client("dynamodb")
        client.create_table(
            TableName=ENVIRONMENT["TABLE_NAME"],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
        yield client
