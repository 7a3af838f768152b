"""From event to response and log line."""

import json
import re
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from handler.table import NotStored
from tests.handler.conftest import Caller, Memory
from tests.handler.events import ITEM, RECORD, REQUEST_ID, post

Json = dict[str, Any]


def answer(status: int, message: str, **headers: str) -> Json:
    """A whole response; names of headers are given with underscores."""
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return {
        "statusCode": status,
        "headers": {"Content-Type": "application/json", **more},
        "body": json.dumps({"message": message}),
        "isBase64Encoded": False,
    }


def test_a_record_is_stored_and_confirmed(call: Caller) -> None:
    result = call(post())
    assert result.response == answer(200, "Successfully inserted data!")
    assert result.stored == [ITEM]


@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        ({"body": None}, 400, "body: is missing"),
        ({"body": '{"id": "12", "title": "x"}'}, 400, "year: is missing"),
        ({"body": "{"}, 400, "body: is not JSON, at line 1, column 2"),
        ({"body": RECORD.ljust(32769)}, 413, "body: is larger than 32768 bytes"),
        ({"isBase64Encoded": True}, 415, "body: is base64-encoded; it must be JSON text"),
        ({"headers": None}, 415, "Content-Type: must be application/json"),
        ({"headers": [("Host", "h")]}, 415, "Content-Type: must be application/json"),
    ],
)
def test_a_bad_request_is_refused_and_nothing_is_written(
    call: Caller, changes: Json, status: int, message: str
) -> None:
    result = call(post(**changes))
    assert result.response == answer(status, message)
    assert result.stored == []
    assert result.log == {
        **{"level": "INFO", "message": "Refused the request", "outcome": "invalid"},
        **{"status": status, "requestId": REQUEST_ID, "timestamp": result.log["timestamp"]},
    }, "and no id"


@pytest.mark.parametrize("name", ["Content-Type", "content-type", "CONTENT-TYPE"])
@pytest.mark.parametrize(
    ("content_type", "accepted"),
    [
        *((kind, True) for kind in ("application/json", "Application/JSON", "application/json;x")),
        *((kind, True) for kind in (" application/json ;x=y", "application/json; charset=utf-8")),
        *((kind, False) for kind in ("text/plain", "", "application/jsonp", "application/json, x")),
        *((kind, False) for kind in ("text/plain; application/json", None, 12)),
    ],
)
def test_only_a_content_type_of_json_is_accepted(
    call: Caller, name: str, content_type: object, accepted: bool
) -> None:
    result = call({**post(), "headers": {"Host": "h", name: content_type}})
    assert result.status == (200 if accepted else 415)
    assert result.stored == [ITEM] * accepted


@pytest.mark.parametrize(
    "event",
    [
        *(None, {}, {"requestContext": None, "headers": [], "body": []}),
        *(post(httpMethod="PATCH"), post(resource="/data/{no}")),
    ],
)
def test_an_event_of_no_route_is_not_found(call: Caller, event: object) -> None:
    result = call(event)
    assert (result.response, result.stored) == (answer(404, "Not Found"), [])


STORED = {"level": "INFO", "message": "Stored the item", "outcome": "stored", "status": 200}
BUSY = {"level": "WARN", "message": "The table did not take the item", "status": 503}
BROKEN = {"level": "ERROR", "message": "Unexpected error", "outcome": "error", "status": 500}
DENIED = ClientError({"Error": {"Code": "AccessDenied", "Message": "SECRET"}}, "PutItem")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (None, STORED),
        (
            NotStored("throttled", "ThrottlingException"),
            BUSY | {"outcome": "throttled", "errorCode": "ThrottlingException"},
        ),
        (
            NotStored("unavailable", "ReadTimeoutError"),
            BUSY | {"outcome": "unavailable", "errorCode": "ReadTimeoutError"},
        ),
        (DENIED, BROKEN | {"errorType": "ClientError", "errorCode": "AccessDenied"}),
        (KeyError("SECRET"), BROKEN | {"errorType": "KeyError", "errorCode": None}),
    ],
)
def test_each_outcome_has_its_answer_and_one_line_of_json(
    call: Caller, error: Exception | None, line: Json
) -> None:
    result = call(post(), table=Memory(error))
    assert (
        result.response
        == {
            200: answer(200, "Successfully inserted data!"),
            503: answer(503, "Service Unavailable", Retry_After="1"),
            500: answer(500, "Internal server error"),
        }[line["status"]]
    )
    log = result.log
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", log.pop("timestamp"))
    if line["level"] == "ERROR":
        frames = log.pop("stackTrace")
        assert re.search(r"handler/app\.py:\d+$", frames[0])
        assert re.search(r"conftest\.py:\d+$", frames[-1])
    assert log == {**line, "requestId": REQUEST_ID, "itemId": "12"}


def test_the_line_of_a_deep_error_stays_short(call: Caller) -> None:
    class Endless(Memory):
        def put(self, item: dict[str, dict[str, str]]) -> None:
            self.put(item)

    log = call(post(), table=Endless()).log
    assert log["errorType"] == "RecursionError"
    assert len(log["stackTrace"]) == 12


@pytest.mark.parametrize("context", [None, {}, {"requestId": None}, {"requestId": 12}])
def test_without_a_request_id_of_the_api_the_log_has_lambdas(call: Caller, context: object) -> None:
    given = SimpleNamespace(aws_request_id="lambda-1")
    assert call(post(requestContext=context), context=given).log["requestId"] == "lambda-1"


def test_a_request_id_is_cut_before_it_fills_the_log(call: Caller) -> None:
    log = call(post(requestContext={"requestId": "x" * 100_000})).log
    assert log["requestId"] == "x" * 128
