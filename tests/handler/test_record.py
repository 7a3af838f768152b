"""What passes as a record, and what the caller is told when it does not."""

import json
import string
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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

GOOD = {"id": "12", "title": "Test Movie", "year": "2023"}
BAD_YEAR = "year: must be an integer of at most 38 digits, as a number or as a string"


def body(**changes: object) -> str:
    """A good record with some of its fields changed."""
    return json.dumps({**GOOD, **changes})


def without(name: str) -> str:
    return json.dumps({key: value for key, value in GOOD.items() if key != name})


def refusal(text: str) -> tuple[int, str]:
    with pytest.raises(Refused) as refused:
        to_item(text)
    return refused.value.status, refused.value.message


@pytest.mark.parametrize(
    ("text", "item"),
    [
        (body(), {"id": {"S": "12"}, "title": {"S": "Test Movie"}, "year": {"N": "2023"}}),
        (
            ' {"year":-44,\r\n"title":" Ides ","id":" "}\t',
            {"id": {"S": " "}, "title": {"S": " Ides "}, "year": {"N": "-44"}},
        ),
        (
            '{"id": "\\u0000\\ud83c\\udfac", "title": "Am\\u00e9lie\\n", "year": 2001}',
            {"id": {"S": "\0🎬"}, "title": {"S": "Amélie\n"}, "year": {"N": "2001"}},
        ),
    ],
)
def test_a_record_becomes_an_item_exactly_as_sent(text: str, item: dict[str, Any]) -> None:
    assert to_item(text) == item


@pytest.mark.parametrize(
    ("year", "stored"),
    [
        (2023, "2023"),
        ("2023", "2023"),
        ("+2023", "2023"),
        ("-2023", "-2023"),
        ("0079", "79"),
        (0, "0"),
        ("-0", "0"),
        (MAX_YEAR, "9" * 38),
        (-MAX_YEAR, "-" + "9" * 38),
        ("-" + "9" * 38, "-" + "9" * 38),
        ("0" * 37 + "1", "1"),
    ],
)
def test_a_year_is_stored_as_a_number(year: object, stored: str) -> None:
    assert to_item(body(year=year))["year"] == {"N": stored}


@pytest.mark.parametrize(
    "year",
    [
        *("true", "false", "null", "[2023]", '{"N": "2023"}', "[]"),
        *("2023.0", "2023.5", "1e3", "2E3", "1e999", "NaN", "Infinity", "-Infinity"),
        *("1" + "0" * 38, "-1" + "0" * 38, "9" * 5000, "-" + "9" * 5000),
    ],
)
def test_a_year_that_is_no_integer_of_38_digits_is_refused(year: str) -> None:
    assert refusal(f'{{"id": "1", "title": "x", "year": {year}}}') == (400, BAD_YEAR)


@pytest.mark.parametrize(
    "year",
    [
        *("", " ", "+", "-", "abc", "2023.0", "1e3", "0x7e7", "+-1", "- 1", "1-", "1" * 39),
        # int() takes these.
        *(
            " 2023",
            "2023 ",
            "2023\n",
            "2_023",
            "\uff12\uff10\uff12\uff13",
            "\u0662\u0660\u0662\u0663",
        ),
        # int() takes these, too, if it were asked; it is not, because of its limit of 4,300.
        *("0" * 39, "9" * 5000),
    ],
)
def test_a_year_in_a_string_is_ascii_digits_and_a_sign(year: str) -> None:
    assert refusal(body(year=year)) == (400, BAD_YEAR)


@pytest.mark.parametrize(
    ("text", "status", "message"),
    [
        (without("id"), 400, "id: is missing"),
        (without("title"), 400, "title: is missing"),
        (without("year"), 400, "year: is missing"),
        (body(id=12), 400, "id: must be a string"),
        (body(id=None), 400, "id: must be a string"),
        (body(id={"S": "12"}), 400, "id: must be a string"),
        (body(title=True), 400, "title: must be a string"),
        (body(title=["x"]), 400, "title: must be a string"),
        (body(id=""), 400, "id: must not be empty"),
        (body(title=""), 400, "title: must not be empty"),
        (
            body(id="\ud800"),
            400,
            "id: has half of a surrogate pair, which is no character",
        ),
        (
            body(title="x\udfffx"),
            400,
            "title: has half of a surrogate pair, which is no character",
        ),
        (body(id="x" * 2049), 413, "id: is longer than 2048 bytes of UTF-8"),
        (body(id="é" * 1025), 413, "id: is longer than 2048 bytes of UTF-8"),
        (body(title="x" * 1025), 413, "title: is longer than 1024 characters"),
        (body(rating=5), 400, "rating: is not a field of a record"),
        (body(Title="x"), 400, "Title: is not a field of a record"),
        (body(**{"": 1}), 400, "(empty name): is not a field of a record"),
        (
            body(**{"<b>ä\n\ud800; id: " + "x" * 50: 1}),
            400,
            "?b??????id??" + "x" * 20 + "...: is not a field of a record",
        ),
        (
            '{"id": "1", "id": "2", "title": "x", "year": 1}',
            400,
            "id: is given more than once",
        ),
        (
            '{"id": "1", "title": "x", "year": 1, "\\u0079ear": 1}',
            400,
            "year: is given more than once",
        ),
    ],
)
def test_a_bad_field_is_named_with_its_reason(text: str, status: int, message: str) -> None:
    assert refusal(text) == (status, message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "body: is not JSON, at line 1, column 2"),
        ("id=12&title=x", "body: is not JSON, at line 1, column 1"),
        ("{'id': '12'}", "body: is not JSON, at line 1, column 2"),
        ('{"id": "1",\n "title": "x"\n "year": 1}', "body: is not JSON, at line 3, column 2"),
        ('{"id": "a\nb", "title": "x", "year": 1}', "body: is not JSON, at line 1, column 10"),
        (body() + "x", f"body: is not JSON, at line 1, column {len(body()) + 1}"),
        ("\ufeff" + body(), "body: is not JSON, at line 1, column 1"),
        (" ", "body: is not JSON, at line 1, column 2"),
        ("[]", "body: must be a JSON object"),
        (f"[{body()}]", "body: must be a JSON object"),
        ('"text"', "body: must be a JSON object"),
        ("12", "body: must be a JSON object"),
        ("null", "body: must be a JSON object"),
        ("NaN", "body: must be a JSON object"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(text: str, message: str) -> None:
    assert refusal(text) == (400, message)


def test_all_problems_are_told_at_once() -> None:
    sent = {"id": "x" * 2049, "year": "MMXXIII", "b": 1, "a": 2}
    assert refusal(json.dumps(sent)) == (
        400,
        "id: is longer than 2048 bytes of UTF-8; title: is missing; "
        + BAD_YEAR
        + "; b: is not a field of a record; a: is not a field of a record",
    )


def test_the_status_is_413_only_when_size_is_all_that_is_wrong() -> None:
    assert refusal(body(id="x" * 2049, title="x" * 1025)) == (
        413,
        "id: is longer than 2048 bytes of UTF-8; title: is longer than 1024 characters",
    )
    assert refusal(body(id="x" * 2049, title=1))[0] == 400


def test_of_many_unknown_fields_five_are_named() -> None:
    status, message = refusal(body(**{f"f{i}": i for i in range(2000)}))
    assert status == 400
    assert message == "; ".join(
        [f"f{i}: is not a field of a record" for i in range(5)]
        + ["and 1995 more that are not fields of a record"]
    )


@pytest.mark.parametrize(("character", "per_id"), [("x", 2048), ("é", 1024), ("🎬", 512)])
def test_the_largest_record_passes_even_with_every_character_escaped(
    character: str, per_id: int
) -> None:
    assert len((character * per_id).encode()) == MAX_ID_BYTES
    sent = {
        "id": character * per_id,
        "title": character * MAX_TITLE_CHARACTERS,
        "year": str(-MAX_YEAR),
    }
    utf_16 = {name: value.encode("utf-16-be").hex() for name, value in sent.items()}
    escaped = {
        name: "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))
        for name, units in utf_16.items()
    }
    members = ",".join(f'"{name}": "{value}"' for name, value in escaped.items())
    assert to_item(f"{{{members}}}") == {
        "id": {"S": sent["id"]},
        "title": {"S": sent["title"]},
        "year": {"N": sent["year"]},
    }


def test_a_body_is_bounded_in_bytes() -> None:
    too_large = (413, f"body: is larger than {MAX_BODY_BYTES} bytes")
    assert to_item(body().ljust(MAX_BODY_BYTES)) == to_item(body())
    assert refusal(body().ljust(MAX_BODY_BYTES + 1)) == too_large
    assert refusal(body(title="é").ljust(MAX_BODY_BYTES // 2) + "é" * MAX_BODY_BYTES) == too_large
    assert refusal("é" * (MAX_BODY_BYTES // 2 + 1)) == too_large
    assert refusal("\ud800" * MAX_BODY_BYTES) == too_large
    assert refusal("x" * 10_000_000) == too_large


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"":', "}")])
@pytest.mark.parametrize("closed", [True, False])
def test_deep_nesting_is_the_callers_mistake(opening: str, closing: str, closed: bool) -> None:
    depth = MAX_BODY_BYTES // (len(opening) + len(closing)) - 20
    nested = opening * depth + "1" + closing * depth * closed
    for text in (nested, f'{{"id": {nested}}}'):
        status, _ = refusal(text)
        assert status == 400


def test_nesting_deeper_than_python_recurses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    # How deep that is depends on the version of Python, and on its stack.
    def decode(text: str) -> object:
        raise RecursionError

    monkeypatch.setattr(record, "_decoder", SimpleNamespace(decode=decode))
    assert refusal(body()) == (400, "body: is nested too deeply")


@pytest.mark.parametrize(
    "sent",
    [
        body(title="Amélie").replace("\\u00e9", "é").encode("latin-1"),
        body(title="?").encode().replace(b"?", "🎬".encode()[:3]),
        b"\xff" + body().encode(),
        body(title="?").encode().replace(b"?", b"\xed\xa0\x80"),
        body().encode("utf-16"),
    ],
)
def test_bytes_that_are_not_utf_8_are_refused_not_replaced(sent: bytes) -> None:
    # API Gateway hands a body over as text, with U+FFFD in place of such bytes.
    message = "body: has bytes that are not UTF-8, or their replacement character unescaped"
    assert refusal(sent.decode(errors="replace")) == (400, message)


def test_a_replacement_character_is_stored_when_it_is_meant() -> None:
    assert to_item(body(title="\ufffd"))["title"] == {"S": "\ufffd"}


characters = st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd")
text = st.text(characters, min_size=1, max_size=60)
years = st.integers(-MAX_YEAR, MAX_YEAR)


@examples()
@given(id=text, title=text, year=years, as_string=st.booleans(), ascii=st.booleans())
def test_every_valid_record_is_stored_as_sent(
    id: str, title: str, year: int, as_string: bool, ascii: bool
) -> None:
    sent = {"id": id, "title": title, "year": str(year) if as_string else year}
    assert to_item(json.dumps(sent, ensure_ascii=ascii)) == {
        "id": {"S": id},
        "title": {"S": title},
        "year": {"N": str(year)},
    }


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
near_misses = st.fixed_dictionaries(
    {}, optional={"id": anything | text, "title": anything | text, "year": anything | years}
) | st.dictionaries(st.sampled_from(["id", "title", "year", "extra"]) | st.text(), anything)


@examples()
@given(text=st.text() | (anything | near_misses).map(json.dumps))
def test_any_text_is_an_item_or_a_short_plain_refusal(text: str) -> None:
    try:
        item = to_item(text)
    except Refused as refused:
        status, message = refused.status, refused.message
    else:
        sent = json.loads(text)
        assert item == {
            "id": {"S": sent.pop("id")},
            "title": {"S": sent.pop("title")},
            "year": {"N": str(int(sent.pop("year")))},
        }
        assert sent == {}
        return
    assert status in (400, 413)
    assert 0 < len(message) < 700
    assert set(message) <= set(string.ascii_letters + string.digits + " :;,._-()?")


@pytest.mark.parametrize("name", ["id", "title", "year"])
@pytest.mark.parametrize("shape", ['"%s\ud800"', '["%s"]', '{"%s": 1}', '"%s"%s'])
def test_no_value_is_repeated_to_the_caller(name: str, shape: str) -> None:
    bad = shape.replace("%s", "correct-horse-battery-staple" * 80)
    _, message = refusal(f'{{"{name}": {bad}}}')
    assert f"{name}: " in message or "is not JSON" in message
    assert "horse" not in message
