"""The function: how long a cold start takes, and what each event costs."""

import json
import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any, Final

from tools.bench.figures import Figure, result

_EVENT: Final = {
    "resource": "/data",
    "path": "/data",
    "httpMethod": "POST",
    "headers": {"Content-Type": "application/json"},
    "requestContext": {"requestId": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef", "stage": "prod"},
    "body": '{"id": "12", "title": "Test Movie", "year": "2023"}',
    "isBase64Encoded": False,
}
_ENVIRONMENT: Final = {
    "TABLE_NAME": "records",
    "FUNCTION_TIMEOUT_SECONDS": "10",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_ACCESS_KEY_ID": "benchmark",
    "AWS_SECRET_ACCESS_KEY": "benchmark",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
# Each script prints what it measured as its last line.
_COLD: Final = """
import time
began = time.perf_counter()
from handler.app import handle
import json, sys
answer = handle(json.loads(sys.argv[1]), None)
took = time.perf_counter() - began
assert answer["statusCode"] == 200, answer
print(json.dumps(took * 1000))
"""
_WARM: Final = """
import json, os, sys, time
from handler import app
class Stored:
    def put(self, item): pass
app._table = Stored()
event = json.loads(sys.argv[1])
printed, sys.stdout = sys.stdout, open(os.devnull, "w")
def run(events):
    began = time.perf_counter()
    for _ in range(events):
        app.handle(event, None)
    return (time.perf_counter() - began) / events * 1e6
run(10_000)
print(json.dumps([run(20_000) for _ in range(5)]), file=printed)
"""


def figures() -> Iterator[Figure]:
    """Measure the function."""
    with HTTPServer(("127.0.0.1", 0), _Table) as table:
        Thread(target=table.serve_forever).start()
        cold = [_run(_COLD, f"http://127.0.0.1:{table.server_port}") for _ in range(15)]
        table.shutdown()
    yield Figure(what="cold start: import and first event", unit="ms", samples=cold, at_most=400)
    microseconds = _run(_WARM, "http://127.0.0.1:1")
    yield Figure(
        what="warm event without the call of the table", unit="us", samples=microseconds, at_most=60
    )


class _Table(BaseHTTPRequestHandler):
    """A DynamoDB that stores nothing."""

    def do_POST(self) -> None:
        """Answer at once, so that only the function takes time."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def _run(script: str, table: str) -> Any:  # noqa: ANN401  JSON
    """Return what a script measures with the function's event and the URL of a DynamoDB API."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    environment = {**clean, **_ENVIRONMENT, "AWS_ENDPOINT_URL_DYNAMODB": table}
    return result(script, json.dumps(_EVENT), environment=environment)
