"""A DynamoDB API whose writes wait until they are released."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


class SlowTable:
    """Serves the operations that the sandbox uses, on a loopback port."""

    def __init__(self) -> None:
        self._released = threading.Event()
        self._writes = threading.Semaphore(0)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._server.shutdown()
        self._server.server_close()

    def wait_for_writes(self, count: int) -> None:
        """Wait until that many more writes have arrived."""
        for _ in range(count):
            assert self._writes.acquire(timeout=30), "a write did not arrive"

    def release(self) -> None:
        """Answer all writes from now on, and those that wait."""
        self._released.set()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        table = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                answer: dict[str, object] = {}
                match self.headers["x-amz-target"].partition(".")[2]:
                    case "CreateTable" | "DescribeTable":
                        answer = {"Table": {"TableStatus": "ACTIVE"}}
                    case "PutItem":
                        table._writes.release()
                        table._released.wait(30)
                body = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler
