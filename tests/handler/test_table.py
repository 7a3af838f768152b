"""The table's client: what it stores, how long it waits, and how failures are answered."""

import json
import logging
import os
import subprocess
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import botocore.endpoint
import pytest

from handler.table import MAX_TIMEOUT_SECONDS, Table, bounds
from tests.handler.conftest import ENVIRONMENT, Caller, Handled, LoopbackTable, Stall, answer, error
from tests.handler.events import ITEM, post

Client = Any  # botocore has no types.

NAME = "records"
MAX_BACKOFF_SECONDS = 1.0
MAX_RETRY_AFTER_SECONDS = 5.0


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that botocore asked for; it makes none of them."""
    waits: list[float] = []
    monkeypatch.setattr(botocore.endpoint, "time", SimpleNamespace(sleep=waits.append))
    return waits


def outcome(result: Handled) -> tuple[int, str, str | None]:
    """Status, logged outcome and logged cause."""
    return result.status, result.log["outcome"], result.log["errorCode"]


def test_the_same_id_again_replaces_the_item(dynamodb: Client, call: Caller) -> None:
    table = Table(NAME, 10)
    for title, year in (("Draft", 2022), ("Test Movie", 2023), ("Test Movie", 2023)):
        body = json.dumps({"id": "12", "title": title, "year": year})
        assert call(post(body), table=table).status == 200
    assert dynamodb.scan(TableName=NAME)["Items"] == [ITEM]


@pytest.mark.parametrize("timeout_seconds", range(1, MAX_TIMEOUT_SECONDS + 1))
def test_the_worst_case_ends_before_the_function_does(timeout_seconds: int) -> None:
    attempts, connect, read = bounds(timeout_seconds)
    retry_wait = MAX_BACKOFF_SECONDS + MAX_RETRY_AFTER_SECONDS
    worst = attempts * (2 * connect + read) + (attempts - 1) * retry_wait
    assert worst <= timeout_seconds - 0.25
    assert attempts == (2 if timeout_seconds >= 9 else 1)
    assert 0.15 <= connect <= 1
    assert 0.3 <= read <= 2


def test_the_client_waits_and_retries_within_the_bounds(app: ModuleType) -> None:
    # The one of the module, made from FUNCTION_TIMEOUT_SECONDS=10.
    config = app._table._client.meta.config
    assert (config.connect_timeout, config.read_timeout) == bounds(10)[1:]
    assert config.retries == {"mode": "standard", "total_max_attempts": 2}


WHOLE = answer(
    200,
    Server="Server",
    Date="Tue, 14 Oct 2025 10:00:00 GMT",
    Content_Type="application/x-amz-json-1.0",
    x_amzn_RequestId="LJ3VVCKSGB8RT4VOIBSVBSSLKJVV4KQNSO5AEMVJF66Q9ASUAAJG",
    x_amz_crc32="2745614147",
)


@pytest.mark.parametrize(
    ("scheme", "beginning"),
    # A TLS handshake that gets no answer, and an HTTP answer that never ends.
    [("https", None), ("http", None), ("http", Stall(WHOLE[:20])), ("http", Stall(WHOLE[:-1]))],
)
def test_an_answer_that_never_ends_is_given_up(
    call: Caller,
    loopback_table: LoopbackTable,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
    beginning: bytes | None,
) -> None:
    url = loopback_table.url.replace("http", scheme)
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", url)
    loopback_table.script = [beginning]
    result = call(post(), table=Table(NAME, timeout_seconds=1))
    # After ten seconds the endpoint closes the connection, which is another error.
    assert outcome(result) == (503, "unavailable", "ReadTimeoutError")


def test_an_endless_retry_after_is_cut_to_the_wait_that_the_bounds_count_on(
    call: Caller, loopback_table: LoopbackTable, waits: list[float]
) -> None:
    loopback_table.script = [error(400, "ThrottlingException", x_amz_retry_after="999999999")]
    assert call(post(), table=Table(NAME, 10)).status == 503
    assert len(waits) == 1
    assert waits[0] <= MAX_BACKOFF_SECONDS + MAX_RETRY_AFTER_SECONDS


@pytest.mark.parametrize(
    ("fault", "status", "logged", "requests"),
    [
        ((400, "ProvisionedThroughputExceededException"), 503, "throttled", 2),
        ((400, "ThrottlingException"), 503, "throttled", 2),
        ((400, "RequestLimitExceeded"), 503, "throttled", 2),
        ((429, "SomethingNew"), 503, "throttled", 2),
        # DynamoDB's own failures pass, and leave open whether the item is stored.
        ((503, "ServiceUnavailable"), 503, "unavailable", 2),
        ((500, "InternalServerError"), 503, "unavailable", 2),
        ((507, "SomethingNew"), 503, "unavailable", 1),
        ((400, "ResourceNotFoundException"), 500, "error", 1),
        ((400, "AccessDeniedException"), 500, "error", 1),
        ((b"", "ConnectionClosedError"), 503, "unavailable", 2),
        ((b"not http\r\n\r\n", "ConnectionClosedError"), 503, "unavailable", 2),
        # botocore asks again, but it would take the second answer for a success.
        ((answer(200, x_amz_crc32="1"), "IncompleteAnswer"), 503, "unavailable", 2),
        ((answer(200, "<html>"), "IncompleteAnswer"), 503, "unavailable", 1),
        ((answer(200, '{"a"'), "IncompleteAnswer"), 503, "unavailable", 1),
        ((WHOLE[:-1], "IncompleteAnswer"), 503, "unavailable", 2),
        # Half of a refusal does not say why, so it is not the function's error.
        (
            (error(400, "ThrottlingException", x_amz_crc32="1"), "IncompleteAnswer"),
            *(503, "unavailable", 2),
        ),
        ((error(400, "ThrottlingException")[:-9], "IncompleteAnswer"), 503, "unavailable", 1),
    ],
)
def test_each_failure_of_the_table_has_its_answer_and_no_storm_of_retries(
    call: Caller,
    loopback_table: LoopbackTable,
    waits: list[float],
    fault: tuple[int | bytes, str],
    status: int,
    logged: str,
    requests: int,
) -> None:
    what, code = fault
    loopback_table.script = [what if isinstance(what, bytes) else error(what, code)]
    result = call(post(), table=Table(NAME, 10))
    assert outcome(result) == (status, logged, code)
    assert result.response["headers"].get("Retry-After") == ("1" if status == 503 else None)
    assert len(loopback_table.requests) == requests
    assert len(waits) == requests - 1
    assert "no detail" not in result.response["body"] + result.output


@pytest.mark.parametrize(
    "fault", [b"", WHOLE[:-1], error(400, "ThrottlingException"), error(500, "InternalServerError")]
)
def test_a_record_that_the_second_attempt_stores_is_confirmed(
    call: Caller, loopback_table: LoopbackTable, waits: list[float], fault: bytes
) -> None:
    loopback_table.script = [fault, WHOLE]
    assert call(post(), table=Table(NAME, 10)).status == 200
    sent = [json.loads(request) for request in loopback_table.requests]
    assert sent == [{"TableName": NAME, "Item": ITEM}] * 2


def test_at_the_debug_level_the_item_still_stays_out_of_the_log(
    loopback_table: LoopbackTable, caplog: pytest.LogCaptureFixture
) -> None:
    loopback_table.script = [answer(200)]
    table = Table(NAME, 10)
    caplog.set_level(logging.DEBUG)
    table.put(ITEM)
    assert "Test Movie" not in caplog.text
    assert "AWS4-HMAC" not in caplog.text


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("TABLE_NAME", None, "TABLE_NAME is not set"),
        ("TABLE_NAME", "", "TABLE_NAME is not set"),
        *(
            ("FUNCTION_TIMEOUT_SECONDS", value, f"FUNCTION_TIMEOUT_SECONDS .*not '{value or ''}'")
            for value in (None, "0", "30", "2.5", "ten")
        ),
    ],
)
def test_a_missing_or_wrong_variable_is_named(name: str, value: str | None, message: str) -> None:
    changed = {k: v for k, v in {**ENVIRONMENT, name: value}.items() if v is not None}
    with pytest.raises(RuntimeError, match=f"^{message}"):
        Table.from_environment(changed)


COLD_START = """
import gc, sys, botocore.client as c
made = []
create = c.ClientCreator.create_client
def spy(*a, **k):
    made.append(gc.isenabled())
    return create(*a, **k)
c.ClientCreator.create_client = spy
import handler.app
handler.app.handle({}, None), handler.app.handle({}, None)
print(made, {'boto3', 'aws_xray_sdk', 'handler.app'} & set(sys.modules))
print(gc.isenabled(), gc.get_freeze_count() > 50_000)
"""


def test_a_cold_start_makes_one_client_and_imports_neither_boto3_nor_xray() -> None:
    result = subprocess.run(
        [sys.executable, "-c", COLD_START],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.splitlines()[2:] == ["[False] {'handler.app'}", "True True"], result.stderr
