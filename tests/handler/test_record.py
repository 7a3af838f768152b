"""Which bodies are records, and what the caller reads about others."""

import json
import string
from types import SimpleNamespace

import pytest
from hypothesis import given

from handler import record
from handler.record import (
    MAX_BODY_BYTES,
    MAX_ID_BYTES,
    MAX_TITLE_CHARACTERS,
    MAX_YEAR,
    Refused,
    to_item,
)
from tests.fuzzing import examples
from tests.handler.events import bodies

GOOD = {"id": "12", "title": "Test Movie", "year": "2023"}
BAD_YEAR = "year: must be an integer of at most 38 digits, as a number or as a string"
UNKNOWN = "is not a field of a record"
HALF_A_PAIR = "has half of a surrogate pair, which is no character"


def body(**changes: object) -> str:
    """A good record with some of its fields changed."""
    return json.dumps({**GOOD, **changes})


def without(name: str) -> str:
    return json.dumps({key: value for key, value in GOOD.items() if key != name})


LARGEST = body(id="ID", title="🎬" * MAX_TITLE_CHARACTERS, year=str(-MAX_YEAR)).replace(
    "ID", r"\u0078" * MAX_ID_BYTES
)


def refusal(text: str) -> tuple[int, str]:
    with pytest.raises(Refused) as refused:
        to_item(text)
    return refused.value.status, refused.value.message


@pytest.mark.parametrize(
    ("text", "id", "title", "year"),
    [
        (body(), "12", "Test Movie", "2023"),
        (' {"year":-44,\r\n"title":" Ides ","id":" "}\t', " ", " Ides ", "-44"),
        ('{"id": "\\u0000\\ud83c\\udfac", "title": "é\\n", "year": 1}', "\0🎬", "é\n", "1"),
        (body(title="\ufffd"), "12", "\ufffd", "2023"),  # escaped, so it is meant
        (body(id="é" * 1024, title="🎬" * 1024), "é" * 1024, "🎬" * 1024, "2023"),
        # The largest record, with every character escaped.
        (LARGEST, "x" * MAX_ID_BYTES, "🎬" * MAX_TITLE_CHARACTERS, str(-MAX_YEAR)),
    ],
)
def test_id_and_title_are_stored_as_they_were_sent(
    text: str, id: str, title: str, year: str
) -> None:
    assert to_item(text) == {"id": {"S": id}, "title": {"S": title}, "year": {"N": year}}


@pytest.mark.parametrize(
    ("year", "stored"),
    [
        *((2023, "2023"), ("2023", "2023"), ("+007", "7"), ("-2023", "-2023"), ("0079", "79")),
        *((0, "0"), ("-0", "0"), (MAX_YEAR, "9" * 38), (-MAX_YEAR, "-" + "9" * 38)),
        *(("-" + "9" * 38, "-" + "9" * 38), ("0" * 37 + "1", "1")),
    ],
)
def test_a_year_is_stored_as_a_number(year: object, stored: str) -> None:
    assert to_item(body(year=year))["year"] == {"N": stored}


@pytest.mark.parametrize(
    "year",
    [
        *("true", "null", "[2023]", '{"N": "2023"}'),
        *("2023.0", "1e3", "1e999", "NaN", "-Infinity"),
        *("1" + "0" * 38, "-1" + "0" * 38, "9" * 5000, "-" + "9" * 5000),
        # In strings: int() accepts those of the second line.
        *('""', '"+"', '"abc"', '"2023.0"', '"1e3"', '"0x7e7"', '"- 1"'),
        *('" 2023"', '"2023\\n"', '"2_023"', '"\uff12\uff10"', '"\u0662"', f'"{"0" * 39}"'),
        *(f'"{"1" * 39}"', f'"{"9" * 5000}"'),
    ],
)
def test_a_year_that_is_not_an_integer_of_38_digits_is_refused(year: str) -> None:
    assert refusal(f'{{"id": "1", "title": "x", "year": {year}}}') == (400, BAD_YEAR)


@pytest.mark.parametrize(
    ("text", "status", "message"),
    [
        *((without(name), 400, f"{name}: is missing") for name in GOOD),
        *((body(id=id), 400, "id: must be a string") for id in (12, None, {"S": "12"})),
        (body(title=["x"]), 400, "title: must be a string"),
        (body(id=""), 400, "id: must not be empty"),
        (body(title=""), 400, "title: must not be empty"),
        (body(title="x\udfffx"), 400, f"title: {HALF_A_PAIR}"),
        (body(id="x" * 2049), 413, "id: is longer than 2048 bytes of UTF-8"),
        (body(title="x" * 1025), 413, "title: is longer than 1024 characters"),
        (body(rating=5), 400, f"rating: {UNKNOWN}"),
        (body(**{"": 1}), 400, f"(empty name): {UNKNOWN}"),
        (
            body(**{"<b>ä\n\ud800; id: " + "x" * 50: 1}),
            *(400, "?b??????id??" + "x" * 20 + f"...: {UNKNOWN}"),
        ),
        (
            '{"id": "1", "title": "x", "year": 1, "\\u0079ear": 1}',
            *(400, "year: is given more than once"),
        ),
        # All problems at once; 413 only if each of them is a size.
        (
            json.dumps({"id": "x" * 2049, "year": "MMXXIII", "b": 1, "a": 2}),
            400,
            "id: is longer than 2048 bytes of UTF-8; title: is missing; "
            f"{BAD_YEAR}; b: {UNKNOWN}; a: {UNKNOWN}",
        ),
        (
            body(id="x" * 2049, title="x" * 1025),
            413,
            "id: is longer than 2048 bytes of UTF-8; title: is longer than 1024 characters",
        ),
        (
            body(**{f"f{i}": i for i in range(2000)}),
            400,
            "; ".join(f"f{i}: {UNKNOWN}" for i in range(5))
            + "; and 1995 more that are not fields of a record",
        ),
    ],
)
def test_every_bad_field_is_named_with_its_reason(text: str, status: int, message: str) -> None:
    assert refusal(text) == (status, message)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is not JSON, at line 1, column 2"),
        ('{"id": "1",\n "title": "x"\n "year": 1}', "is not JSON, at line 3, column 2"),
        ('{"id": "a\nb", "title": "x", "year": 1}', "is not JSON, at line 1, column 10"),
        (body() + "x", f"is not JSON, at line 1, column {len(body()) + 1}"),
        ("\ufeff" + body(), "is not JSON, at line 1, column 1"),
        *((text, "must be a JSON object") for text in ("[]", '"text"', "12", "null", "NaN")),
        (f"[{body()}]", "must be a JSON object"),
    ],
)
def test_a_body_that_is_not_a_json_object_is_refused(text: str, reason: str) -> None:
    assert refusal(text) == (400, f"body: {reason}")


def test_a_body_is_bounded_in_bytes() -> None:
    assert to_item(body().ljust(MAX_BODY_BYTES)) == to_item(body())
    for text in (
        body().ljust(MAX_BODY_BYTES + 1),
        "é" * (MAX_BODY_BYTES // 2 + 1),
        "\ud800" * MAX_BODY_BYTES,
        "x" * 10_000_000,
    ):
        assert refusal(text) == (413, f"body: is larger than {MAX_BODY_BYTES} bytes")


def test_nesting_deeper_than_python_recurses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    # How deep that is depends on the version of Python and on its stack.
    def decode(text: str) -> object:
        raise RecursionError

    monkeypatch.setattr(record, "_decoder", SimpleNamespace(decode=decode))
    assert refusal(body()) == (400, "body: is nested too deeply")


@pytest.mark.parametrize(
    "sent",
    [
        body(title="?").encode().replace(b"?", "🎬".encode()[:3]),
        b"\xff" + body().encode(),
        body().encode("utf-16"),
    ],
)
def test_bytes_that_are_not_utf_8_are_refused_not_replaced(sent: bytes) -> None:
    # API Gateway hands a body over as text, with U+FFFD in place of such bytes.
    message = "body: has bytes that are not UTF-8, or their replacement character unescaped"
    assert refusal(sent.decode(errors="replace")) == (400, message)


@examples(200)
@given(text=bodies)
def test_any_text_is_a_whole_item_or_a_short_plain_refusal(text: str) -> None:
    try:
        item = to_item(text)
    except Refused:
        status, message = refusal(text)
        assert status in (400, 413)
        assert 0 < len(message) < 700
        assert set(message) <= set(string.ascii_letters + string.digits + " :;,._-()?")
        return
    sent = json.loads(text)
    whole = {"id": {"S": sent.pop("id")}, "title": {"S": sent.pop("title")}}
    assert item == whole | {"year": {"N": str(int(sent.pop("year")))}}
    assert not sent


@pytest.mark.parametrize("name", ["id", "title", "year"])
@pytest.mark.parametrize("shape", ['"%s\ud800"', '{"%s": 1}', '"%s"%s'])
def test_no_value_is_repeated_to_the_caller(name: str, shape: str) -> None:
    bad = shape.replace("%s", "correct-horse-battery-staple" * 80)
    _, message = refusal(f'{{"{name}": {bad}}}')
    assert f"{name}: " in message or "is not JSON" in message
    assert "horse" not in message
