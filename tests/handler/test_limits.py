"""What a body can cost: little memory, little time and a short log line, whatever it holds."""

import json
import time
import tracemalloc
from typing import Final

import pytest

from settings.schema import FunctionSettings
from handler.record import MAX_BODY_BYTES, MAX_ID_BYTES
from tests.handler.conftest import Caller, Poster

_MEMORY: Final = FunctionSettings.model_fields["memory_mb"].metadata[0]
MAX_BYTES: Final = _MEMORY.low * 2**20 // 32
"""A small part of the smallest function, most of which the AWS SDK takes."""
MAX_CPU_SECONDS: Final = 0.1
"""Twenty times what the worst takes; work that grows with the square of a body takes longer."""
MAX_PAYLOAD_BYTES: Final = 6 * 2**20
"""The most that Lambda hands to a function:
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""


def filled(start: str, unit: str, end: str, size: int = MAX_BODY_BYTES) -> str:
    """As many units as fit into `size` bytes."""
    room = size - len((start + end).encode())
    return start + unit * (room // len(unit.encode())) + end


def nested(opening: str, closing: str, depth: int) -> str:
    return opening * depth + "1" + closing * depth


HALF = MAX_BODY_BYTES // 2 - 1
BODIES = {
    "open arrays": "[" * MAX_BODY_BYTES,
    "open objects": filled("", '{"":', ""),
    "nested arrays": nested("[", "]", HALF),
    "nested objects": nested('{"a":', "}", 5400),
    "nesting that still is read": nested("[", "]", 900),
    "nested and wide": filled("[", nested("[", "]", 50) + ",", "0]"),
    "arrays": filled("[", "[],", "0]"),
    "nested pairs": filled("[", "[[]],", "0]"),
    "objects": filled("[", "{},", "0]"),
    "small integers": filled("[", "0,", "0]"),
    "integers": filled("[", "1000,", "0]"),
    "fractions": filled("[", "1.5,", "0]"),
    "smallest fractions": filled("[", "5e-324,", "0]"),
    "long fractions": filled("[", "9" * 1000 + ".5,", "0]"),
    "a long integer": "9" * MAX_BODY_BYTES,
    "a long fraction": "0." + "9" * (MAX_BODY_BYTES - 2),
    "a long exponent": "1e" + "9" * (MAX_BODY_BYTES - 2),
    "a year of digits": filled('{"id": "1", "title": "x", "year": ', "9", "}"),
    "a year of digits in a string": filled('{"id": "1", "title": "x", "year": "', "9", '"}'),
    "a year of almost digits": filled('{"id": "1", "title": "x", "year": "', "9", 'x"}'),
    "one key again and again": filled("{", '"id":0,', '"id":0}'),
    "many keys": "{" + ",".join(f'"{i:x}":0' for i in range(3800)) + "}",
    "a long key": filled('{"', "é", '":1}'),
    "escapes": filled('{"title": "', "\\u0000", '"}'),
    "escaped pairs": filled('{"title": "', "\\ud83c\\udfac", '"}'),
    "halves of pairs": filled('{"title": "', "\\ud800", '"}'),
    "backslashes": filled('{"title": "', "\\\\", '"}'),
    "an open string": filled('{"title": "', "\\n", ""),
    "wide characters": filled('{"title": "', "🎬", '"}'),
    "spaces": " " * MAX_BODY_BYTES,
    "lines": "\n" * MAX_BODY_BYTES,
    "the longest id": json.dumps({"id": "\0" * MAX_ID_BYTES, "title": "x", "year": 1}),
    "all that Lambda takes": "x" * MAX_PAYLOAD_BYTES,
    "all that Lambda takes, wide": "🎬" + "x" * MAX_PAYLOAD_BYTES,
    "all that Lambda takes, nested": "[" * MAX_PAYLOAD_BYTES,
    "all that Lambda takes, valid": filled(
        '{"id": "1", "year": 1, "title": "', "x", '"}', MAX_PAYLOAD_BYTES
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_no_body_costs_much(call: Caller, post: Poster, name: str) -> None:
    body = BODIES[name]
    event = post(body)
    tracemalloc.start()
    try:
        result = call(event)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MAX_BYTES
    if name == "the longest id":
        assert result.status == 200
    else:
        assert result.status == (413 if len(body) > MAX_BODY_BYTES else 400)
    assert len(result.response["body"]) < 1000
    # The longest id, each of its characters escaped, and little else.
    assert len(result.output) < 6 * MAX_ID_BYTES + 1000
    assert min(_cpu_seconds(call, event) for _ in range(3)) < MAX_CPU_SECONDS


def _cpu_seconds(call: Caller, event: object) -> float:
    began = time.process_time()
    call(event)
    return time.process_time() - began
