"""Events as API Gateway hands them over, with any body, and the item that each asks for."""

import json
import re
from decimal import Decimal
from typing import Any, Final

from hypothesis import strategies as st

from handler.record import MAX_BODY_BYTES, MAX_ID_BYTES, MAX_TITLE_CHARACTERS

# In bodies and headers, to be looked for where neither may be. No other text has them by chance.
BODY_SECRET: Final = "zqxjkvbwpfgh"
HEADER_SECRET: Final = "hgfpwbvkjxqz"
REQUEST_ID: Final = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"
RECORD: Final = '{"id": "12", "title": "Test Movie", "year": "2023"}'
ITEM: Final = {"id": {"S": "12"}, "title": {"S": "Test Movie"}, "year": {"N": "2023"}}

Headers = list[tuple[str, str]]
JSON_TYPE: Final = [("Content-Type", "application/json")]


def post(
    body: object = RECORD, headers: Headers | None = JSON_TYPE, **changes: object
) -> dict[str, Any]:
    """Those parts of a REST API's event that say something about the request or hold secrets.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
    """
    every: dict[str, list[str]] = {}
    for name, value in headers or ():
        every.setdefault(name, []).append(value)
    return {
        "resource": "/data",
        "path": "/data",
        "httpMethod": "POST",
        "headers": None if headers is None else dict(headers),
        "multiValueHeaders": None if headers is None else every,
        "multiValueQueryStringParameters": {"key": [HEADER_SECRET, HEADER_SECRET]},
        "requestContext": {
            "identity": {
                "apiKey": HEADER_SECRET,
                "clientCert": {"clientCertPem": HEADER_SECRET},
                "userAgent": HEADER_SECRET,
            },
            "requestId": REQUEST_ID,
        },
        "body": body,
        "isBase64Encoded": False,
        **changes,
    }


class _Object(list[tuple[str, Any]]):
    """The members of a JSON object, where a list is an array."""


def item_in(body: object) -> dict[str, dict[str, str]] | None:
    """The item that a body asks for, if it is a record: the handler's rules, written twice."""
    if not isinstance(body, str) or "\ufffd" in body:
        return None
    try:
        if len(body.encode(errors="surrogatepass")) > MAX_BODY_BYTES:
            return None
        members = json.loads(body, object_pairs_hook=_Object, parse_int=Decimal)
    except (ValueError, RecursionError):
        return None
    if type(members) is not _Object or sorted(n for n, _ in members) != ["id", "title", "year"]:
        return None
    id, title, year = (dict(members)[name] for name in ("id", "title", "year"))
    for text in (id, title):
        if not isinstance(text, str) or not text or re.search("[\ud800-\udfff]", text):
            return None
    if len(id.encode()) > MAX_ID_BYTES or len(title) > MAX_TITLE_CHARACTERS:
        return None
    # \Z, where $ would let a line break through.
    if isinstance(year, str) and re.match(r"[-+]?[0-9]{1,38}\Z", year, re.ASCII):
        year = Decimal(year)
    if not isinstance(year, Decimal) or not -(10**38) < year < 10**38:
        return None
    return {"id": {"S": id}, "title": {"S": title}, "year": {"N": f"{int(year)}"}}


def _quoted(texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """JSON strings: characters as they are, escaped where they may be, or all escaped."""

    def escape(text: str) -> str:
        units = text.encode("utf-16-be", "surrogatepass").hex()
        return '"' + "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4)) + '"'

    ways = st.sampled_from([json.dumps, escape, lambda text: json.dumps(text, ensure_ascii=False)])
    return st.builds(lambda write, text: write(text), ways, texts)


def _object(members: list[tuple[str, str]], space: str = "") -> str:
    inside = f"{space},{space}".join(f"{name}{space}:{space}{value}" for name, value in members)
    return f"{space}{{{space}{inside}{space}}}{space}"


_well_formed = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
_texts = st.text(st.characters(), max_size=12)  # halves of surrogate pairs too
_secrets = _well_formed.map(lambda text: BODY_SECRET + text)
_sizes = ["", "é" * 1024, "é" * 1025, "🎬" * 1024, "x" * 1025, "x" * 2048, "x" * 2049]
_numbers = st.integers(-(10**39), 10**39).map(str) | st.sampled_from(
    [
        *("-0", "-0.0", "1e400", "2023.0", "NaN", "-Infinity", "01", "+1", "1."),
        *("9" * digits for digits in (38, 39, 5000)),
    ]
)
_names = _quoted(st.sampled_from(["id", "title", "year", "Id", "year ", BODY_SECRET]) | _texts)
# Any JSON: nested, with names given twice, with numbers and texts of any size.
_values = st.recursive(
    _quoted(_secrets | _texts | st.sampled_from(_sizes))
    | _numbers
    | st.sampled_from(["null", "true", "false"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda values: f"[{','.join(values)}]")
        | st.lists(st.tuples(_names, inner), max_size=4).map(_object)
    ),
    max_leaves=6,
)
_years = st.integers(-9, 2100) | st.integers(-(10**38) + 1, 10**38 - 1)
_members = st.tuples(
    st.tuples(st.just('"id"'), _quoted(st.sampled_from(["1", "2", "\0", "é"]) | _well_formed)),
    st.tuples(_quoted(st.just("title")), _quoted(_secrets)),
    st.tuples(st.just('"year"'), _years.map(str) | _years.map('"{:+}"'.format)),
)
_records = st.builds(
    _object, _members.flatmap(st.permutations), st.sampled_from(["", " ", "\r\n\t "])
)


@st.composite
def _wrong_records(draw: st.DrawFn) -> str:
    """A record with one member gone, repeated, renamed, changed or too many."""
    members = list(draw(_members))
    at = draw(st.integers(0, 2))
    name, value = members[at]
    members[at : at + 1] = draw(
        st.sampled_from([[], [members[at]] * 2])
        | _names.map(lambda other: [(other, value)])
        | _values.map(lambda other: [(name, other)])
        | st.tuples(st.just(members[at]), st.tuples(_names, _values)).map(list)
    )
    return _object(draw(st.permutations(members)))


bodies: st.SearchStrategy[str | None] = (
    _records | _records | _wrong_records() | _values | _texts | st.none()
)
_type = st.sampled_from(["Content-Type", "content-type", "CONTENT-TYPE"])
json_types = st.tuples(
    _type, st.sampled_from(["application/json", f"Application/JSON ;x={HEADER_SECRET}"])
)
other_types = st.tuples(_type, st.sampled_from(["text/plain", "", "*/*", f"{HEADER_SECRET}/json"]))
other_headers = st.sampled_from(
    [
        *(("x-api-key", HEADER_SECRET), ("Authorization", f"Bearer {HEADER_SECRET}")),
        *(("Cookie", f"a={HEADER_SECRET}"), ("Cookie", f"b={HEADER_SECRET}")),
        *((f"x-{HEADER_SECRET}", "1"), ("x-\xff\0", HEADER_SECRET), ("Content-Encoding", "gzip")),
    ]
)
