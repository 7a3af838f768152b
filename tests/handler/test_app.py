"""From event to response and log line."""

import json
import re
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from handler.table import NotStored
from tests.fuzzing import examples
from tests.handler.conftest import Caller, Failing, Memory, Poster

RECORD = '{"id": "12", "title": "Test Movie", "year": "2023"}'
ITEM = {"id": {"S": "12"}, "title": {"S": "Test Movie"}, "year": {"N": "2023"}}
REQUEST_ID = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"
JSON_HEADERS = {"Content-Type": "application/json"}


def answer(status: int, message: str, **headers: str) -> dict[str, Any]:
    """A whole response; headers are given with underscores."""
    return {
        "statusCode": status,
        "headers": {**JSON_HEADERS, **{k.replace("_", "-"): v for k, v in headers.items()}},
        "body": json.dumps({"message": message}),
        "isBase64Encoded": False,
    }


def test_a_record_is_stored_and_confirmed(call: Caller, post: Poster) -> None:
    result = call(post(RECORD))
    assert result.response == answer(200, "Successfully inserted data!")
    assert result.stored == [ITEM]


@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        ({"body": None}, 400, "body: is missing"),
        ({"body": ""}, 400, "body: is missing"),
        ({"body": {"id": "12"}}, 400, "body: is missing"),
        ({"body": '{"id": "12", "title": "x"}'}, 400, "year: is missing"),
        ({"body": "{"}, 400, "body: is not JSON, at line 1, column 2"),
        (
            {"body": json.dumps({"id": "x" * 2049, "title": "x", "year": 1})},
            413,
            "id: is longer than 2048 bytes of UTF-8",
        ),
        ({"body": RECORD.ljust(32769)}, 413, "body: is larger than 32768 bytes"),
        (
            {"body": "eyJpZCI6ICIxMiJ9", "isBase64Encoded": True},
            415,
            "body: is base64-encoded; it must be JSON text",
        ),
        (
            {"headers": None, "multiValueHeaders": None},
            415,
            "Content-Type: must be application/json",
        ),
        ({"headers": {}, "multiValueHeaders": {}}, 415, "Content-Type: must be application/json"),
    ],
)
def test_a_bad_request_is_refused_and_nothing_is_written(
    call: Caller, post: Poster, changes: dict[str, Any], status: int, message: str
) -> None:
    result = call({**post(RECORD), **changes})
    assert result.response == answer(status, message)
    assert result.stored == []


@pytest.mark.parametrize(
    "content_type",
    [
        *("application/json", "Application/JSON", "application/json; charset=utf-8"),
        *("application/json;charset=UTF-8", " application/json ;x=y"),
    ],
)
@pytest.mark.parametrize("name", ["Content-Type", "content-type", "CONTENT-TYPE"])
@pytest.mark.parametrize("multi", [False, True])
def test_json_is_read_whatever_the_case_and_parameters_of_its_content_type(
    call: Caller, post: Poster, content_type: str, name: str, multi: bool
) -> None:
    single, multiple = {"Host": "h", name: content_type}, {"Host": ["h"], name: [content_type]}
    headers = {"headers": None, "multiValueHeaders": multiple} if multi else {"headers": single}
    assert call(post(RECORD, **headers)).stored == [ITEM]


@pytest.mark.parametrize(
    "content_type",
    [
        *("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""),
        *("application/jsonp", "application/json-patch+json", "application/vnd.api+json", "json"),
        *("text/plain; application/json", "application/json, text/plain"),
        *(None, 12, [], ["text/plain"], {"application/json": 1}),
    ],
)
@pytest.mark.parametrize("part", ["headers", "multiValueHeaders"])
def test_any_other_content_type_is_refused(
    call: Caller, post: Poster, content_type: object, part: str
) -> None:
    headers: dict[str, Any] = {"headers": None, "multiValueHeaders": None}
    result = call(post(RECORD, **{**headers, part: {"Content-Type": content_type}}))
    assert result.response == answer(415, "Content-Type: must be application/json")
    assert result.stored == []


@pytest.mark.parametrize(
    "event",
    [None, [], "text", 12, {}, {"requestContext": None, "headers": [], "body": []}],
)
def test_an_event_of_another_shape_is_a_request_without_a_body(call: Caller, event: object) -> None:
    result = call(event)
    assert result.response == answer(400, "body: is missing")
    assert result.log["requestId"] is None


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotStored("throttled", "ThrottlingException"), 503),
        (NotStored("unavailable", "ReadTimeoutError"), 503),
        (ClientError({"Error": {"Code": "SECRET", "Message": "SECRET"}}, "PutItem"), 500),
        (KeyError("SECRET"), 500),
        (RecursionError("SECRET"), 500),
        (MemoryError(), 500),
    ],
)
def test_what_fails_inside_stays_inside(
    call: Caller, post: Poster, failing: Failing, error: Exception, status: int
) -> None:
    result = call(post(RECORD), table=failing(error))
    assert result.response == (
        answer(503, "Service Unavailable", Retry_After="1")
        if status == 503
        else answer(500, "Internal server error")
    )


@pytest.mark.parametrize(
    ("body", "error", "line"),
    [
        (
            RECORD,
            None,
            {
                "level": "INFO",
                "message": "Stored the item",
                "outcome": "stored",
                "status": 200,
                "requestId": REQUEST_ID,
                "itemId": "12",
            },
        ),
        (
            '{"id": "12", "title": "Test Movie"}',
            None,
            {
                "level": "INFO",
                "message": "Refused the request",
                "outcome": "invalid",
                "status": 400,
                "requestId": REQUEST_ID,
            },
        ),
        (
            RECORD,
            NotStored("throttled", "ThrottlingException"),
            {
                "level": "WARNING",
                "message": "The table did not take the item",
                "outcome": "throttled",
                "status": 503,
                "requestId": REQUEST_ID,
                "itemId": "12",
                "errorCode": "ThrottlingException",
            },
        ),
        (
            RECORD,
            NotStored("unavailable", "ReadTimeoutError"),
            {
                "level": "WARNING",
                "message": "The table did not take the item",
                "outcome": "unavailable",
                "status": 503,
                "requestId": REQUEST_ID,
                "itemId": "12",
                "errorCode": "ReadTimeoutError",
            },
        ),
        (
            RECORD,
            ClientError({"Error": {"Code": "AccessDenied", "Message": "SECRET"}}, "PutItem"),
            {
                "level": "ERROR",
                "message": "Unexpected error",
                "outcome": "error",
                "status": 500,
                "requestId": REQUEST_ID,
                "itemId": "12",
                "errorType": "ClientError",
                "errorCode": "AccessDenied",
            },
        ),
        (
            RECORD,
            KeyError("SECRET"),
            {
                "level": "ERROR",
                "message": "Unexpected error",
                "outcome": "error",
                "status": 500,
                "requestId": REQUEST_ID,
                "itemId": "12",
                "errorType": "KeyError",
                "errorCode": None,
            },
        ),
    ],
)
def test_each_event_leaves_one_line_of_json(
    call: Caller,
    post: Poster,
    failing: Failing,
    body: str,
    error: Exception | None,
    line: dict[str, Any],
) -> None:
    log = call(post(body), table=error and failing(error)).log
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", log.pop("timestamp"))
    if line["level"] == "ERROR":
        frames = log.pop("stackTrace")
        assert re.search(r"handler/app\.py:\d+$", frames[0])
        assert re.search(r"conftest\.py:\d+$", frames[-1])
    assert log == line


def test_the_line_of_a_deep_error_stays_short(call: Caller, post: Poster) -> None:
    class Endless(Memory):
        def put(self, item: dict[str, dict[str, str]]) -> None:
            self.put(item)

    log = call(post(RECORD), table=Endless()).log
    assert log["errorType"] == "RecursionError"
    assert len(log["stackTrace"]) == 12


def test_an_id_cannot_begin_a_log_line_of_its_own(call: Caller, post: Poster) -> None:
    name = '\r\n\u2028\u0085{"level": "ERROR"}\x1b[31m'
    result = call(post(json.dumps({"id": name, "title": "x", "year": 1})))
    assert len(result.output.splitlines()) == 1
    assert result.log["itemId"] == name
    assert result.log["level"] == "INFO"


def test_an_id_that_was_refused_is_not_logged(call: Caller, post: Poster) -> None:
    assert "itemId" not in call(post('{"id": "12", "title": "Test Movie"}')).log


@pytest.mark.parametrize("context", [None, {}, {"requestId": None}, {"requestId": 12}])
def test_the_request_id_is_lambdas_when_api_gateway_gave_none(
    call: Caller, post: Poster, context: object
) -> None:
    result = call(
        post(RECORD, requestContext=context), context=SimpleNamespace(aws_request_id="lambda-1")
    )
    assert result.log["requestId"] == "lambda-1"


def test_a_request_id_is_cut_before_it_fills_the_log(call: Caller, post: Poster) -> None:
    result = call(post(RECORD, requestContext={"requestId": "x" * 100_000}))
    assert result.log["requestId"] == "x" * 128


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
fields = {"id": st.text(), "title": st.text(), "year": st.integers() | st.text()}
bodies = (
    anything
    | st.text()
    | (anything | st.fixed_dictionaries(fields) | st.dictionaries(st.text(), anything)).map(
        json.dumps
    )
)
names = st.sampled_from(["Content-Type", "content-type", "x-api-key"]) | st.text()
values = st.sampled_from(["application/json", "APPLICATION/JSON;x"]) | st.text() | anything
events = anything | st.fixed_dictionaries(
    {"body": bodies},
    optional={
        "headers": st.dictionaries(names, values) | anything,
        "multiValueHeaders": st.dictionaries(names, st.lists(values)) | anything,
        "isBase64Encoded": st.just(False) | anything,
        "requestContext": anything,
    },
)


@examples()
@given(event=events)
def test_no_event_is_answered_with_an_error_of_our_own(call: Caller, event: object) -> None:
    result = call(event)
    assert result.response == answer(result.status, result.message)
    assert result.status in (200, 400, 413, 415)
    assert result.log["status"] == result.status
    if result.status == 200:
        assert isinstance(event, dict)
        sent = json.loads(event["body"])
        assert result.stored == [
            {
                "id": {"S": sent["id"]},
                "title": {"S": sent["title"]},
                "year": {"N": str(int(sent["year"]))},
            }
        ]
    else:
        assert result.stored == []


@examples()
@given(
    noise=st.text(min_size=4),
    shape=st.sampled_from(
        [
            '{"id": "12", "title": "%s", "year": 1}',
            '{"id": "%s"}',
            '{"id": ["%s"], "title": "x", "year": 1}',
            '{"id": "12", "title": "x", "year": "%s"}',
            '{"%s": "12"}',
            "%s",
        ]
    ),
    fails=st.booleans(),
)
def test_neither_body_nor_headers_are_logged(
    call: Caller, post: Poster, failing: Failing, noise: str, shape: str, fails: bool
) -> None:
    # A mark that no timestamp, id or path has, so that finding it means that something leaked.
    text = f"LEAK{noise}LEAK"
    event = post(shape.replace("%s", json.dumps(text)[1:-1]))
    event["headers"] = {**event["headers"], "x-extra": text, text: "x", "authorization": text}
    result = call(event, table=failing(ValueError(text)) if fails else None)
    assert "LEAK" not in result.output
    assert "SECRETKEY" not in result.output
    assert "application/json" not in result.output
    assert "LEAK" not in result.message or "is not a field of a record" in result.message
