"""The process that serves DynamoDB's API: moto, with a journal that outlives it.

moto keeps its tables in memory. So each request that may change one is written to a file before it
is carried out, and all of them are carried out again at the next start: whatever was acknowledged
is there, however the process ended. `make down` removes the file.

uvicorn serves it, and calls moto right in its loop. moto keeps one core busy whatever calls it, and
the server that it comes with, a connection and a thread for each request, takes twice as long.
"""

import asyncio
import contextlib
import json
import os
import re
import socket
import sys
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import uvicorn
import uvloop
from moto.moto_server.werkzeug_app import create_backend_app
from werkzeug.test import run_wsgi_app

from tools.sandbox.asgi import Message, Receive, Send
from tools.sandbox.table import LOOPBACK

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

_READS: Final = re.compile(r"\.(?:BatchGet|Describe|Get|List|Query|Scan|TransactGet)")
_REGION: Final = re.compile(r"Credential=[^/]*/[^/]*/([a-z0-9-]+)/")
_NO_ROOM: Final = json.dumps(
    {
        "__type": "com.amazonaws.dynamodb.v20120810#ServiceUnavailable",
        "message": "The journal of the sandbox's table cannot be written",
    }
).encode()


class Journal:
    """Requests in the order in which they were carried out, one JSON line each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # A line that was cut off belongs to a request that nobody was answered.
        whole = path.read_bytes().rpartition(b"\n")[:2] if path.exists() else ()
        self._file = path.open("ab", buffering=0)
        self._size = sum(map(len, whole))
        self._file.truncate(self._size)

    def append(self, request: dict[str, str]) -> None:
        """Keep one request.

        Raises:
            OSError: when there is no room for it; then nothing of it is kept.
        """
        line = json.dumps(request).encode() + b"\n"
        written = 0
        try:
            while written < len(line):
                written += self._file.write(line[written:])
        except OSError:
            with contextlib.suppress(OSError):
                self._file.truncate(self._size)
            raise
        self._size += written

    def requests(self) -> Iterable[dict[str, str]]:
        """All that were kept."""
        with self._path.open("rb") as file:
            yield from map(json.loads, file)

    def close(self) -> None:
        """Keep no more."""
        self._file.close()


class Durable:
    """DynamoDB's API as an ASGI application that forgets nothing it has acknowledged."""

    def __init__(self, moto: "WSGIApplication", journal: Journal) -> None:
        self._moto = moto
        self._journal = journal
        for kept in journal.requests():
            scope = f"sandbox/0/{kept['region']}/dynamodb/aws4_request"
            headers = {
                "x-amz-target": kept["target"],
                "authorization": f"AWS4-HMAC-SHA256 Credential={scope}",
            }
            self._call("POST", "/", headers, kept["body"].encode())

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        try:
            self._keep(headers, body)
        except OSError:
            status, answer = 503, _NO_ROOM
        else:
            status, answer = self._call(scope["method"], scope["path"], headers, body)
        lines = [
            (b"content-type", b"application/x-amz-json-1.0"),
            (b"content-length", str(len(answer)).encode()),
        ]
        await send({"type": "http.response.start", "status": status, "headers": lines})
        await send({"type": "http.response.body", "body": answer})

    def _keep(self, headers: dict[str, str], body: bytes) -> None:
        """Put a request that may change a table into the journal."""
        target = headers.get("x-amz-target", "")
        if not target or _READS.search(target):
            return
        region = _REGION.search(headers.get("authorization", ""))
        self._journal.append(
            {
                "target": target,
                "region": region[1] if region else "us-east-1",
                "body": body.decode(),
            }
        )

    def _call(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, bytes]:
        """What moto answers to one request."""
        environ: WSGIEnvironment = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "SERVER_NAME": LOOPBACK,
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "CONTENT_TYPE": "application/x-amz-json-1.0",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()},
        }
        answer, status, _ = run_wsgi_app(self._moto, environ)
        return int(status.partition(" ")[0]), b"".join(answer)


async def serve(lifeline: socket.socket, port: int, journal: Path) -> None:
    """Serve until the other end of `lifeline`, which is told the port, is closed or shut.

    Args:
        lifeline: whoever holds the other end keeps this process alive.
        port: on the loopback interface; 0 for any.
        journal: the file that outlives the process.
    """
    # DynamoDB alone: finding out which of all services a request is for takes a fifth of its time.
    app: Any = Durable(create_backend_app("dynamodb"), Journal(journal))
    listener = socket.create_server((LOOPBACK, port))
    config = uvicorn.Config(
        app, http="httptools", ws="none", lifespan="off", access_log=False, log_level="error"
    )
    lifeline.setblocking(False)
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        group.create_task(uvicorn.Server(config).serve([listener]))
        await loop.sock_sendall(lifeline, str(listener.getsockname()[1]).encode())
        await loop.sock_recv(lifeline, 1)
        os._exit(0)  # nothing to save, and nobody to wait for


if __name__ == "__main__":
    uvloop.run(serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]), Path(sys.argv[3])))
