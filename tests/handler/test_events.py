"""Any event that API Gateway may hand over: stored whole, or refused; at little cost."""

import json
import tracemalloc
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.record import MAX_BODY_BYTES, MAX_ID_BYTES
from tests.fuzzing import examples
from tests.handler import events
from tests.handler.conftest import Caller, Memory
from tests.handler.events import BODY_SECRET, HEADER_SECRET, RECORD, post

LOGGED = {"timestamp", "level", "message", "outcome", "status", "requestId"}
FAILED = {*LOGGED, "itemId", "errorType", "errorCode", "stackTrace"}


@examples()
@given(body=events.bodies, headers=events.headers)
def test_an_error_that_quotes_everything_logs_neither_body_nor_headers(
    call: Caller, body: str, headers: events.Headers
) -> None:
    result = call(post(body, headers), table=Memory(ValueError(BODY_SECRET + HEADER_SECRET)))
    assert result.log.keys() == (FAILED if result.status == 500 else LOGGED)
    assert BODY_SECRET not in json.dumps({**result.log, "itemId": ""})
    assert HEADER_SECRET not in result.output + json.dumps(result.response)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
any_headers = anything | st.dictionaries(st.just("Content-Type"), anything)
event_parts = {
    "headers": any_headers,
    "multiValueHeaders": any_headers,
    "isBase64Encoded": anything,
    "requestContext": anything,
}


@examples()
@given(
    event=anything
    | st.fixed_dictionaries(
        {
            "httpMethod": st.just("POST"),
            "resource": st.just("/data") | anything,
            "body": st.just(RECORD) | anything,
        },
        optional=event_parts,
    )
)
def test_an_event_of_any_shape_is_stored_or_refused(call: Caller, event: object) -> None:
    result = call(event)
    assert result.status in (200, 400, 404, 413, 415)
    assert result.log["status"] == result.status
    assert len(result.stored) == (result.status == 200)


MAX_BYTES: Final = 128 * 2**20 // 32
"""A small part of the smallest function, most of which the AWS SDK takes."""
MAX_PAYLOAD_BYTES: Final = 6 * 2**20
"""The most that Lambda hands to a function:
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""


def filled(start: str, unit: str, end: str, size: int = MAX_BODY_BYTES) -> str:
    """As many units as fit into `size` bytes."""
    room = size - len((start + end).encode())
    return start + unit * (room // len(unit.encode())) + end


NESTED = "[" * 50 + "1" + "]" * 50
BODIES = {
    "nested arrays": "[" * 16_000 + "]" * 16_000,
    "nested and wide": filled("[", NESTED + ",", "0]"),
    "a year of digits": filled('{"id": "1", "title": "x", "year": ', "9", "}"),
    "one key again and again": filled("{", '"id":0,', '"id":0}'),
    "many keys": "{" + ",".join(f'"{i:x}":0' for i in range(3800)) + "}",
    "wide characters": filled('{"title": "', "🎬", '"}'),
    "the longest id": json.dumps({"id": "\0" * MAX_ID_BYTES, "title": "x", "year": 1}),
    "all that Lambda takes, wide": "🎬" + "x" * MAX_PAYLOAD_BYTES,
    "all that Lambda takes": filled('{"id":"1","year":1,"title":"', "x", '"}', MAX_PAYLOAD_BYTES),
}


@pytest.mark.parametrize("name", BODIES)
def test_no_body_costs_much_memory_or_log(call: Caller, name: str) -> None:
    event = post(BODIES[name])
    tracemalloc.start()
    try:
        result = call(event)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MAX_BYTES
    too_large = len(BODIES[name]) > MAX_BODY_BYTES
    assert result.status == (200 if name == "the longest id" else 413 if too_large else 400)
    assert len(result.response["body"]) < 1000
    # The longest id, each of its characters escaped, and little else.
    assert len(result.output) < 6 * MAX_ID_BYTES + 1000
