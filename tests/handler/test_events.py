"""Whatever API Gateway hands over, with the real client: stored as sent, or not at all."""

import json
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from handler.table import Table
from tests.fuzzing import examples
from tests.handler.conftest import ENVIRONMENT, Caller
from tests.handler.events import (
    BODY_SECRET,
    HEADER_SECRET,
    Headers,
    Item,
    Sent,
    events,
    record_in,
    rest,
)

NAME = ENVIRONMENT["TABLE_NAME"]
TYPE = [("Content-Type", "application/json")]
RECORD = '{"id": "12", "title": "Test Movie", "year": "2023"}'
ITEM = {"id": {"S": "12"}, "title": {"S": "Test Movie"}, "year": {"N": "2023"}}
LOGGED = {"timestamp", "level", "message", "outcome", "status", "requestId"}


def from_the_console(headers: Headers | None) -> dict[str, Any]:
    """What API Gateway's Test button sends: no key, no client, and only the headers typed in."""
    event = rest(RECORD, headers)
    event["requestContext"] |= {
        "identity": {"apiKey": "test-invoke-api-key", "sourceIp": "test-invoke-source-ip"},
        "path": "/data",
        "stage": "test-invoke-stage",
    }
    return event | {"queryStringParameters": None, "multiValueQueryStringParameters": None}


def from_an_http_api(body: str, *, encoded: bool = False) -> dict[str, Any]:
    """The payload format 2.0.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
    """
    return {
        "version": "2.0",
        "routeKey": "POST /data",
        "rawPath": "/data",
        "rawQueryString": "",
        "cookies": [f"a={HEADER_SECRET}"],
        "headers": {"content-type": "application/json", "x-api-key": HEADER_SECRET},
        "requestContext": {
            "accountId": "123456789012",
            "http": {"method": "POST", "path": "/data", "userAgent": HEADER_SECRET},
            "requestId": "JKJaXmPLvHcESHA=",
            "stage": "$default",
        },
        "body": body,
        "isBase64Encoded": encoded,
    }


@pytest.mark.parametrize(
    ("event", "status"),
    [
        (rest(RECORD, TYPE), 200),
        (rest(RECORD, TYPE * 2), 200),
        (rest(RECORD, None), 415),
        (rest(None, TYPE), 400),
        (rest(None, None), 400),
        (rest("eyJpZCI6ICIxMiJ9", TYPE, base64_encoded=True), 415),
        (rest(RECORD, TYPE, base64_encoded=True), 415),
        (from_the_console(None), 415),
        (from_the_console(TYPE), 200),
        (from_an_http_api(RECORD), 200),
        (from_an_http_api("eyJpZCI6ICIxMiJ9", encoded=True), 415),
    ],
)
def test_each_shape_of_event_has_its_answer(
    call: Caller, event: dict[str, Any], status: int
) -> None:
    result = call(event)
    assert result.status == status
    assert result.stored == [ITEM] * (status == 200)
    assert result.log["requestId"] == event["requestContext"]["requestId"]
    assert HEADER_SECRET not in result.output


def test_any_series_of_requests_leaves_the_table_with_exactly_what_was_confirmed(
    call: Caller,
    dynamodb: Any,  # noqa: ANN401
) -> None:
    table = Table(NAME, 10)

    class Requests(RuleBasedStateMachine):
        """The table and, beside it, what it should hold."""

        def __init__(self) -> None:
            super().__init__()
            self.expected: dict[str, Item] = {}
            for item in self.stored().values():
                dynamodb.delete_item(TableName=NAME, Key={"id": item["id"]})

        def stored(self) -> dict[str, Item]:
            items = dynamodb.scan(TableName=NAME)["Items"]
            return {item["id"]["S"]: item for item in items}

        @rule(sent=events())
        def send(self, sent: Sent) -> None:
            before = json.dumps(sent.event)
            result = call(sent.event, table=table)
            assert json.dumps(sent.event) == before
            item = record_in(sent.event["body"])
            if item is None or sent.is_json is False:
                assert result.status in (400, 413, 415)
            elif sent.is_json:
                assert result.status == 200
            log = result.log
            if result.status == 200:
                assert item is not None
                self.expected[item["id"]["S"]] = item
                assert log.pop("itemId") == item["id"]["S"]
            assert log.keys() == LOGGED
            assert log["status"] == result.status
            assert BODY_SECRET not in json.dumps(log)
            assert HEADER_SECRET not in json.dumps([log, result.response])

        @invariant()
        def the_table_holds_what_was_confirmed(self) -> None:
            assert self.stored() == self.expected

    run_state_machine_as_test(Requests, settings=settings(examples(30), stateful_step_count=10))
