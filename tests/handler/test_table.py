"""The table's client: what it stores, how long it waits, and what it makes of failures."""

import json
import logging
import os
import re
import socket
import subprocess
import sys
import time
from types import ModuleType, SimpleNamespace
from typing import Any

import botocore.endpoint
import pytest
from botocore.exceptions import ClientError
from botocore.retries.standard import (
    ThrottledRetryableChecker,
)

from handler import table as module
from handler.table import MAX_TIMEOUT_SECONDS, NotStored, Table, bounds
from tests.handler.conftest import Caller, LoopbackTable, Poster, Stall

Client = Any  # botocore has no types.

ITEM = {"id": {"S": "12"}, "title": {"S": "Test Movie"}, "year": {"N": "2023"}}
RECORD = '{"id": "12", "title": "Test Movie", "year": "2023"}'
NAME = "records"
MAX_BACKOFF_SECONDS = 1.0
MAX_RETRY_AFTER_SECONDS = 5.0


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that botocore asked for; it makes none of them."""
    waits: list[float] = []
    monkeypatch.setattr(botocore.endpoint, "time", SimpleNamespace(sleep=waits.append))
    return waits


def test_a_record_is_in_the_table_as_sent(dynamodb: Client, call: Caller, post: Poster) -> None:
    result = call(post(RECORD), table=Table(NAME, 10))
    assert result.status == 200
    assert dynamodb.scan(TableName=NAME)["Items"] == [ITEM]


def test_the_same_id_again_replaces_the_item(dynamodb: Client, call: Caller, post: Poster) -> None:
    table = Table(NAME, 10)
    for title, year in (("Draft", 2022), ("Test Movie", 2023), ("Test Movie", 2023)):
        body = json.dumps({"id": "12", "title": title, "year": year})
        assert call(post(body), table=table).status == 200
    assert dynamodb.scan(TableName=NAME)["Items"] == [ITEM]


def test_awkward_values_are_stored_exactly(dynamodb: Client, call: Caller, post: Poster) -> None:
    table = Table(NAME, 10)
    texts = [
        "\0",
        "\r\n",
        " ",
        "\u2028",
        "\ufffe",
        "\U0010ffff",
        '"\\',
        "é" * 1024,
        "e\u0301" * 512,
    ]
    years = [10**38 - 1, -(10**38 - 1), 0, 10**37]
    records = [(text, text, years[i % 4]) for i, text in enumerate(texts)]
    for id, title, year in records:
        body = json.dumps({"id": id, "title": title, "year": year})
        assert call(post(body), table=table).status == 200
    assert sorted(
        (item["id"]["S"], item["title"]["S"], int(item["year"]["N"]))
        for item in dynamodb.scan(TableName=NAME)["Items"]
    ) == sorted(records)


@pytest.mark.parametrize("timeout_seconds", range(1, MAX_TIMEOUT_SECONDS + 1))
def test_the_worst_case_ends_before_the_function_does(timeout_seconds: int) -> None:
    attempts, connect, read = bounds(timeout_seconds)
    retry_wait = MAX_BACKOFF_SECONDS + MAX_RETRY_AFTER_SECONDS
    worst = attempts * (2 * connect + read) + (attempts - 1) * retry_wait
    assert worst <= timeout_seconds - 0.25
    assert 1 <= attempts <= 2
    assert 0.15 <= connect <= 1
    assert 0.3 <= read <= 2


def test_there_is_a_second_attempt_where_time_allows() -> None:
    assert [s for s in range(1, 30) if bounds(s).attempts == 2] == list(range(9, 30))


def test_the_client_waits_and_retries_within_the_bounds(app: ModuleType) -> None:
    # The one of the module, made from FUNCTION_TIMEOUT_SECONDS=10.
    config = app._table._client.meta.config
    assert (config.connect_timeout, config.read_timeout) == bounds(10)[1:]
    assert config.retries == {"mode": "standard", "total_max_attempts": 2}


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_table_that_never_answers_is_given_up_in_time(
    call: Caller,
    post: Poster,
    loopback_table: LoopbackTable,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", loopback_table.url.replace("http", scheme))
    table = Table(NAME, timeout_seconds=1)
    began = time.monotonic()
    result = call(post(RECORD), table=table)
    assert time.monotonic() - began < 1
    assert (result.status, result.log["outcome"]) == (503, "unavailable")


def test_an_endless_retry_after_is_cut_to_the_wait_that_the_bounds_count_on(
    call: Caller,
    post: Poster,
    loopback_table: LoopbackTable,
    waits: list[float],
) -> None:
    error = loopback_table.error(400, "ThrottlingException", x_amz_retry_after="999999999")
    loopback_table.script = [error]
    assert call(post(RECORD), table=Table(NAME, 10)).status == 503
    assert len(waits) == 1
    assert waits[0] <= MAX_BACKOFF_SECONDS + MAX_RETRY_AFTER_SECONDS


THROTTLED = (503, "throttled")
UNAVAILABLE = (503, "unavailable")
ERROR = (500, "error")


@pytest.mark.parametrize(
    ("fault", "expected", "cause", "requests"),
    [
        ((400, "ProvisionedThroughputExceededException"), THROTTLED, None, 2),
        ((400, "ThrottlingException"), THROTTLED, None, 2),
        ((400, "RequestLimitExceeded"), THROTTLED, None, 2),
        ((429, "TooManyRequestsException"), THROTTLED, None, 2),
        ((429, "SomethingNew"), THROTTLED, None, 2),
        ((503, "ServiceUnavailable"), UNAVAILABLE, None, 2),
        # DynamoDB's own failures pass, and leave open whether the item is stored.
        ((500, "InternalServerError"), UNAVAILABLE, None, 2),
        ((504, "GatewayTimeout"), UNAVAILABLE, None, 2),
        ((507, "SomethingNew"), UNAVAILABLE, None, 1),
        ((400, "ResourceNotFoundException"), ERROR, None, 1),
        ((400, "ValidationException"), ERROR, None, 1),
        ((400, "AccessDeniedException"), ERROR, None, 1),
        ((400, "UnrecognizedClientException"), ERROR, None, 1),
        (b"", UNAVAILABLE, "ConnectionClosedError", 2),
        (b"not http\r\n\r\n", UNAVAILABLE, "ConnectionClosedError", 2),
    ],
)
def test_each_failure_of_the_table_has_its_answer_and_no_storm_of_retries(
    call: Caller,
    post: Poster,
    loopback_table: LoopbackTable,
    waits: list[float],
    fault: tuple[int, str] | bytes,
    expected: tuple[int, str],
    cause: str | None,
    requests: int,
) -> None:
    if isinstance(fault, tuple):
        cause = fault[1]
        fault = loopback_table.error(*fault)
    loopback_table.script = [fault]
    result = call(post(RECORD), table=Table(NAME, 10))
    assert (result.status, result.log["outcome"]) == expected
    assert result.response["headers"].get("Retry-After") == ("1" if expected[0] == 503 else None)
    assert len(loopback_table.requests) == requests
    assert len(waits) == requests - 1
    assert "no detail" not in result.response["body"] + result.output
    assert result.log["errorCode"] == cause


WHOLE_ANSWER = LoopbackTable.answer(
    200,
    "{}",
    Server="Server",
    Date="Tue, 14 Oct 2025 10:00:00 GMT",
    Content_Type="application/x-amz-json-1.0",
    x_amzn_RequestId="LJ3VVCKSGB8RT4VOIBSVBSSLKJVV4KQNSO5AEMVJF66Q9ASUAAJG",
    x_amz_crc32="2745614147",
)


def test_an_answer_that_breaks_off_confirms_nothing(
    call: Caller, post: Poster, loopback_table: LoopbackTable
) -> None:
    loopback_table.script = [WHOLE_ANSWER]
    assert call(post(RECORD), table=Table(NAME, 1)).status == 200
    table = Table(NAME, 1)
    for length in range(len(WHOLE_ANSWER)):
        loopback_table.script = [WHOLE_ANSWER[:length]]
        result = call(post(RECORD), table=table)
        assert (result.status, result.log["outcome"]) == UNAVAILABLE, length


@pytest.mark.parametrize(
    "beginning", [b"H", WHOLE_ANSWER[:20], WHOLE_ANSWER[:-3], WHOLE_ANSWER[:-1]]
)
def test_an_answer_that_never_ends_is_given_up_in_time(
    call: Caller, post: Poster, loopback_table: LoopbackTable, beginning: bytes
) -> None:
    loopback_table.script = [Stall(beginning)]
    table = Table(NAME, timeout_seconds=1)
    began = time.monotonic()
    result = call(post(RECORD), table=table)
    assert time.monotonic() - began < 5
    assert (result.status, result.log["outcome"]) == UNAVAILABLE
    assert result.log["errorCode"] == "ReadTimeoutError"


@pytest.mark.skipif(sys.platform != "linux", reason="others queue more than they are told")
def test_a_table_that_does_not_accept_connections_is_given_up_in_time(
    call: Caller, post: Poster, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", f"http://127.0.0.1:{port}")
        # The queue of a server that accepts none; who comes later hears nothing at all.
        queue = [socket.socket() for _ in range(4)]
        for waiting in queue:
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        table = Table(NAME, timeout_seconds=1)
        began = time.monotonic()
        result = call(post(RECORD), table=table)
        assert time.monotonic() - began < 5
        for waiting in queue:
            waiting.close()
    assert (result.status, result.log["errorCode"]) == (503, "ConnectTimeoutError")


def test_a_connection_that_is_reset_before_the_request_is_read_is_tried_twice(
    call: Caller, post: Poster, loopback_table: LoopbackTable, waits: list[float]
) -> None:
    loopback_table.reads = False
    result = call(post(RECORD), table=Table(NAME, 10))
    assert (result.status, result.log["outcome"]) == UNAVAILABLE
    assert result.response["headers"]["Retry-After"] == "1"
    assert loopback_table.connections == 2
    assert loopback_table.requests == []


@pytest.mark.parametrize("lost", [b"", WHOLE_ANSWER[:40], WHOLE_ANSWER[:-1]])
def test_what_was_stored_without_an_answer_is_stored_once_when_it_is_sent_again(
    call: Caller,
    post: Poster,
    loopback_table: LoopbackTable,
    waits: list[float],
    lost: bytes,
) -> None:
    table = Table(NAME, 10)
    loopback_table.script = [lost]
    assert call(post(RECORD), table=table).status == 503
    assert loopback_table.items == {"12": ITEM}
    loopback_table.script = [WHOLE_ANSWER]
    assert call(post(RECORD), table=table).status == 200
    assert loopback_table.items == {"12": ITEM}
    assert len(set(loopback_table.requests)) == 1


@pytest.mark.parametrize(
    ("answer", "requests"),
    [
        # botocore asks again, but it would take the second answer for a success.
        (LoopbackTable.answer(200, x_amz_crc32="1"), 2),
        (LoopbackTable.answer(200, "<html>"), 1),
        (LoopbackTable.answer(204, ""), 1),
        # Half of a refusal does not say why, so it is no error of the function's.
        (LoopbackTable.error(400, "ThrottlingException", x_amz_crc32="1"), 2),
        (LoopbackTable.error(400, "ThrottlingException")[:-9], 1),
    ],
)
def test_an_answer_that_was_altered_on_its_way_tells_nothing(
    call: Caller,
    post: Poster,
    loopback_table: LoopbackTable,
    waits: list[float],
    answer: bytes,
    requests: int,
) -> None:
    loopback_table.script = [answer]
    result = call(post(RECORD), table=Table(NAME, 10))
    assert (result.status, result.log["outcome"]) == UNAVAILABLE
    assert result.log["errorCode"] == "IncompleteAnswer"
    assert len(loopback_table.requests) == requests


def test_a_table_that_nothing_listens_for_is_unavailable(
    call: Caller,
    post: Poster,
    waits: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:1")
    result = call(post(RECORD), table=Table(NAME, 10))
    assert (result.status, result.log["errorCode"]) == (503, "EndpointConnectionError")
    assert len(waits) == 1


@pytest.mark.parametrize("fault", [b"", (400, "ThrottlingException"), (500, "InternalServerError")])
def test_what_passes_at_the_second_attempt_is_stored(
    call: Caller,
    post: Poster,
    loopback_table: LoopbackTable,
    waits: list[float],
    fault: tuple[int, str] | bytes,
) -> None:
    first = loopback_table.error(*fault) if isinstance(fault, tuple) else fault
    loopback_table.script = [first, loopback_table.answer(200)]
    assert call(post(RECORD), table=Table(NAME, 10)).status == 200
    assert [json.loads(request) for request in loopback_table.requests] == [
        {"TableName": NAME, "Item": ITEM}
    ] * 2


def test_after_a_fault_the_same_client_goes_on(
    call: Caller,
    post: Poster,
    loopback_table: LoopbackTable,
    waits: list[float],
) -> None:
    table = Table(NAME, 10)
    loopback_table.script = [b"", b"", loopback_table.answer(200)]
    assert [call(post(RECORD), table=table).status for _ in range(3)] == [503, 200, 200]


def test_every_code_that_botocore_takes_for_throttling_is_one_here() -> None:
    assert set(ThrottledRetryableChecker._THROTTLED_ERROR_CODES) <= module._THROTTLING_CODES


def test_an_error_that_will_not_pass_is_not_called_temporary(
    loopback_table: LoopbackTable,
) -> None:
    loopback_table.script = [loopback_table.error(400, "ResourceNotFoundException")]
    with pytest.raises(ClientError):
        Table(NAME, 10).put(ITEM)
    loopback_table.script = [loopback_table.error(503, "ServiceUnavailable")]
    with pytest.raises(NotStored):
        Table(NAME, 1).put(ITEM)


def test_at_the_debug_level_the_item_still_stays_out_of_the_log(
    loopback_table: LoopbackTable,
    caplog: pytest.LogCaptureFixture,
) -> None:
    loopback_table.script = [loopback_table.answer(200)]
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
        ("FUNCTION_TIMEOUT_SECONDS", None, "not ''"),
        ("FUNCTION_TIMEOUT_SECONDS", "0", "not '0'"),
        ("FUNCTION_TIMEOUT_SECONDS", "30", "not '30'"),
        ("FUNCTION_TIMEOUT_SECONDS", "2.5", "not '2.5'"),
        ("FUNCTION_TIMEOUT_SECONDS", "ten", "not 'ten'"),
    ],
)
def test_a_missing_or_wrong_variable_is_named(
    lambda_environment: dict[str, str], name: str, value: str | None, message: str
) -> None:
    changed = {**lambda_environment, name: value}
    with pytest.raises(RuntimeError, match=f"^{name} .*{re.escape(message)}|^{message}"):
        Table.from_environment({k: v for k, v in changed.items() if v is not None})


def fresh_interpreter(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("name", ["TABLE_NAME", "FUNCTION_TIMEOUT_SECONDS"])
def test_without_its_variables_the_function_does_not_start(name: str) -> None:
    result = fresh_interpreter("import handler.app", **{name: ""})
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith(f"RuntimeError: {name} ")


def test_a_cold_start_makes_one_client_and_imports_neither_boto3_nor_xray() -> None:
    result = fresh_interpreter(
        "import gc, sys, botocore.client as c\n"
        "made = []\n"
        "create = c.ClientCreator.create_client\n"
        "def spy(*a, **k):\n"
        "    made.append(gc.isenabled())\n"
        "    return create(*a, **k)\n"
        "c.ClientCreator.create_client = spy\n"
        "import handler.app\n"
        "handler.app.handle({}, None), handler.app.handle({}, None)\n"
        "print(made, {'boto3', 'aws_xray_sdk', 'handler.app'} & set(sys.modules))\n"
        "print(gc.isenabled(), gc.get_freeze_count() > 50_000)"
    )
    assert result.stdout.splitlines()[2:] == ["[False] {'handler.app'}", "True True"], result.stderr
