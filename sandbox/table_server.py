"""The process that serves DynamoDB's API: moto, with a journal that outlives it.

moto keeps its tables in memory. So each request that may change one is written to a file before it
is carried out, and all of them are carried out again at the next start: whatever was acknowledged
is there, however the process ended. `make down` removes the file.
"""

import contextlib
import json
import logging
import os
import re
import socket
import sys
import threading
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from moto.moto_server.werkzeug_app import MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server
from werkzeug.test import Client

from sandbox.table import LOOPBACK

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_READS: Final = re.compile(r"\.(?:BatchGet|Describe|Get|List|Query|Scan|TransactGet)")
_REGION: Final = re.compile(r"Credential=[^/]*/[^/]*/([a-z0-9-]+)/")
_CONTENT_TYPE: Final = "application/x-amz-json-1.0"
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

    def close(self) -> None:
        """Keep no more."""
        self._file.close()

    def requests(self) -> Iterable[dict[str, str]]:
        """All that were kept."""
        with self._path.open("rb") as file:
            yield from map(json.loads, file)


class Durable:
    """A WSGI application around DynamoDB's that forgets nothing it has acknowledged."""

    def __init__(self, app: "WSGIApplication", journal: Journal) -> None:
        self._app = app
        self._journal = journal
        # One change at a time, so that the journal has them in the order in which they happened.
        self._lock = threading.Lock()
        client = Client(app)
        for request in journal.requests():
            credential = f"Credential=sandbox/0/{request['region']}/dynamodb/aws4_request"
            client.post(
                "/",
                data=request["body"],
                content_type=_CONTENT_TYPE,
                headers={
                    "X-Amz-Target": request["target"],
                    "Authorization": f"AWS4-HMAC-SHA256 {credential}",
                },
            )

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        if not target or _READS.search(target):
            return self._app(environ, start_response)
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = BytesIO(body)
        region = _REGION.search(environ.get("HTTP_AUTHORIZATION", ""))
        with self._lock:
            try:
                self._journal.append(
                    {
                        "target": target,
                        "region": region[1] if region else "us-east-1",
                        "body": body.decode(),
                    }
                )
            except OSError:
                headers = [("Content-Type", _CONTENT_TYPE), ("Content-Length", str(len(_NO_ROOM)))]
                start_response("503 Service Unavailable", headers)
                return [_NO_ROOM]
            return self._app(environ, start_response)


def serve(lifeline: socket.socket, port: int, journal: Path) -> None:
    """Serve until the other end of `lifeline`, which is told the port, is closed or shut.

    Args:
        lifeline: whoever holds the other end keeps this process alive.
        port: on the loopback interface; 0 for any.
        journal: the file that outlives the process.
    """
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    # DynamoDB alone: finding out which of all services a request is for takes a fifth of its time.
    app = Durable(create_backend_app("dynamodb"), Journal(journal))
    handler: Any = MotoRequestHandler
    server = make_server(LOOPBACK, port, app, threaded=True, request_handler=handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    lifeline.sendall(str(server.server_port).encode())
    lifeline.recv(1)
    os._exit(0)  # nothing to save, and no thread to wait for


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]), Path(sys.argv[3]))
