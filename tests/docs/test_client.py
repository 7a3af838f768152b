"""The client example of docs/: what it retries, how long it waits, and when it stops."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from docs.client import GaveUp, QuotaUsedUp, Refused, ThrottledApi

RECORD = {"id": "12", "title": "Test Movie", "year": "2023"}
STORED = (200, "Successfully inserted data!", None)
THROTTLED = (429, "Too Many Requests", "1")
Answer = tuple[int, str, str | None]


class Scripted:
    """A server that gives one prepared answer after the other, and keeps what it was sent."""

    def __init__(self, answers: list[Answer]) -> None:
        self.answers = iter(answers)
        self.received: list[tuple[str, bytes]] = []
        self.waits: list[float] = []
        self.url = ""

    def client(self, attempts: int = 4) -> ThrottledApi:
        """Return a client that waits in no time, and whose jitter is always the longest."""

        def longest(low: float, high: float) -> float:
            assert low == 0, "waits are spread over all of their range"
            return high

        return ThrottledApi(
            self.url,
            "the-key",
            attempts=attempts,
            cap_seconds=3.0,
            sleep=self.waits.append,
            jitter=longest,
        )


@contextmanager
def serving(*answers: Answer) -> Iterator[Scripted]:
    script = Scripted(list(answers))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            script.received.append((self.headers["x-api-key"], body))
            status, message, retry_after = next(script.answers)
            if not status:
                self.close_connection = True
                return
            content = json.dumps({"message": message}).encode()
            self.send_response(status)
            if retry_after is not None:
                self.send_header("Retry-After", retry_after)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        script.url = f"http://127.0.0.1:{server.server_port}/data"
        try:
            yield script
        finally:
            server.shutdown()
            thread.join()


def test_a_record_is_sent_with_the_key() -> None:
    with serving(STORED) as server:
        server.client().store(RECORD)

    assert server.received == [("the-key", json.dumps(RECORD).encode())]
    assert server.waits == []


@pytest.mark.parametrize(
    "refusal",
    [THROTTLED, (503, "Service Unavailable", "1"), (0, "", None)],
    ids=["a throttle", "a busy function", "a broken connection"],
)
def test_what_waiting_helps_against_is_retried(refusal: Answer) -> None:
    with serving(refusal, refusal, STORED) as server:
        server.client().store(RECORD)

    assert len(server.received) == 3
    assert len({body for _, body in server.received}) == 1, "the same record each time"


@pytest.mark.parametrize(
    ("status", "message", "error"),
    [
        (429, "Limit Exceeded", QuotaUsedUp),
        (403, "Forbidden", Refused),
        (400, "year: is missing", Refused),
        (500, "Internal server error", Refused),
    ],
)
def test_what_waiting_does_not_help_against_is_not_retried(
    status: int, message: str, error: type[Refused]
) -> None:
    with serving((status, message, "1")) as server, pytest.raises(error) as raised:
        server.client().store(RECORD)

    assert (raised.value.status, raised.value.message) == (status, message)
    assert len(server.received) == 1


def test_the_client_gives_up_after_its_last_attempt() -> None:
    with serving(*[THROTTLED] * 4) as server, pytest.raises(GaveUp) as raised:
        server.client(attempts=4).store(RECORD)

    assert raised.value.status == 429
    assert len(server.received) == 4
    assert len(server.waits) == 3, "there is nothing to wait for after the last"


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_record_on_which_the_function_fails_is_sent_three_times(status: int) -> None:
    busy_then_failing = [(503, "", "1"), *[(status, "", None)] * 3]
    with serving(*busy_then_failing) as server, pytest.raises(GaveUp):
        server.client(attempts=10).store(RECORD)

    assert len(server.received) == 4, "a busy table does not count"


def test_waits_double_up_to_a_cap_on_top_of_what_the_api_asks_for() -> None:
    refusals = [THROTTLED, (429, "Too Many Requests", "60"), THROTTLED, (503, "", None)]
    with serving(*refusals, STORED) as server:
        server.client(attempts=5).store(RECORD)

    assert server.waits == [1 + 0.5, 60 + 1, 1 + 2, 0 + 3]


def test_only_http_addresses_are_accepted() -> None:
    with pytest.raises(ValueError, match="no http or https address"):
        ThrottledApi("file:///etc/passwd", "key")
