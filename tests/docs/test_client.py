"""The client example of docs/: what it retries, how long it waits, and when it stops."""

import json
from email.message import Message
from http.client import RemoteDisconnected
from io import BytesIO
from urllib.error import HTTPError
from urllib.request import Request
from urllib.response import addinfourl

import pytest

from docs.client import GaveUp, QuotaUsedUp, Refused, ThrottledApi

URL = "http://api.example/data"
RECORD = {"id": "12", "title": "Test Movie", "year": "2023"}
STORED = (200, "Successfully inserted data!", None)
THROTTLED = (429, "Too Many Requests", "1")
Answer = tuple[int, str, str | None]


class Server:
    """Gives one prepared answer after the other, and keeps what it was sent."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.answers: list[Answer] = []
        self.sent: list[tuple[str | None, object]] = []
        self.waits: list[float] = []
        patch.setattr("urllib.request.urlopen", self.answer)

    def answer(self, request: Request, timeout: float) -> addinfourl:
        assert timeout > 29, "API Gateway waits as long"
        self.sent.append((request.get_header("X-api-key"), request.data))
        status, message, retry_after = self.answers.pop(0)
        if not status:
            raise RemoteDisconnected("")
        headers = Message()
        if retry_after is not None:
            headers["Retry-After"] = retry_after
        body = BytesIO(json.dumps({"message": message}).encode())
        if status != 200:
            raise HTTPError(URL, status, "", headers, body)
        return addinfourl(body, headers, URL, status)

    def store(self, *answers: Answer, attempts: int = 4) -> None:
        """Store a record with a client that waits in no time, and whose jitter is the longest."""

        def longest(low: float, high: float) -> float:
            assert low == 0, "waits are spread over all of their range"
            return high

        self.answers = [*answers]
        ThrottledApi(
            URL,
            "the-key",
            attempts=attempts,
            cap_seconds=3.0,
            sleep=self.waits.append,
            jitter=longest,
        ).store(RECORD)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    return Server(monkeypatch)


def test_a_record_is_sent_with_the_key(server: Server) -> None:
    server.store(STORED)
    assert server.sent == [("the-key", json.dumps(RECORD).encode())]
    assert server.waits == []


@pytest.mark.parametrize(
    "refusal",
    [THROTTLED, (503, "Service Unavailable", "1"), (0, "", None)],
    ids=["a throttle", "a busy function", "a broken connection"],
)
def test_what_waiting_helps_against_is_retried(server: Server, refusal: Answer) -> None:
    server.store(refusal, refusal, STORED)
    assert len(server.sent) == 3
    assert len({*server.sent}) == 1, "the same record each time"


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
    server: Server, status: int, message: str, error: type[Refused]
) -> None:
    with pytest.raises(error) as raised:
        server.store((status, message, "1"))
    assert (raised.value.status, raised.value.message) == (status, message)
    assert len(server.sent) == 1


def test_the_client_gives_up_after_its_last_attempt(server: Server) -> None:
    with pytest.raises(GaveUp) as raised:
        server.store(*[THROTTLED] * 4, attempts=4)
    assert raised.value.status == 429
    assert (len(server.sent), len(server.waits)) == (4, 3), "nothing to wait for after the last"


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_record_on_which_the_function_fails_is_sent_three_times(
    server: Server, status: int
) -> None:
    with pytest.raises(GaveUp):
        server.store((503, "", "1"), *[(status, "", None)] * 3, attempts=10)
    assert len(server.sent) == 4, "a busy table does not count"


def test_waits_double_up_to_a_cap_on_top_of_what_the_api_asks_for(server: Server) -> None:
    refusals = [THROTTLED, (429, "Too Many Requests", "60"), THROTTLED, (503, "", None)]
    server.store(*refusals, STORED, attempts=5)
    assert server.waits == [1 + 0.5, 60 + 1, 1 + 2, 0 + 3]


def test_only_http_addresses_are_accepted() -> None:
    with pytest.raises(ValueError, match="no http or https address"):
        ThrottledApi("file:///etc/passwd", "key")
