"""Events as API Gateway hands them over, with any body, and what each must lead to."""

import base64
import json
import re
from decimal import Decimal
from operator import itemgetter
from typing import Any, Final, NamedTuple

from hypothesis import strategies as st

from handler.record import MAX_BODY_BYTES, MAX_ID_BYTES, MAX_TITLE_CHARACTERS

Item = dict[str, dict[str, str]]
Headers = list[tuple[str, str]]


class Sent(NamedTuple):
    """One event and what is known about it."""

    event: dict[str, Any]
    is_json: bool | None
    """Whether it says that its body is JSON text; None if it says so and denies it."""


# In bodies and headers, to be found where neither may be. No other text has them by chance.
BODY_SECRET: Final = "zqxjkvbwpfgh"
HEADER_SECRET: Final = "hgfpwbvkjxqz"


class _Object(list[tuple[str, Any]]):
    """The members of a JSON object, where a list is an array."""


def record_in(body: object) -> Item | None:
    """The item that a body asks for, if it is a record: the handler's rules, written anew."""
    if not isinstance(body, str) or "\ufffd" in body:
        return None
    try:
        if len(body.encode(errors="surrogatepass")) > MAX_BODY_BYTES:
            return None
        members = json.loads(body, object_pairs_hook=_Object, parse_int=Decimal)
    except (ValueError, RecursionError):
        return None
    if type(members) is not _Object:
        return None
    if sorted(name for name, _ in members) != ["id", "title", "year"]:
        return None
    id, title, year = (value for _, value in sorted(members, key=itemgetter(0)))
    for text in (id, title):
        if not isinstance(text, str) or not text or re.search("[\ud800-\udfff]", text):
            return None
    if len(id.encode()) > MAX_ID_BYTES or len(title) > MAX_TITLE_CHARACTERS:
        return None
    if isinstance(year, str):
        # \Z, where $ would let a line break through.
        if not re.match(r"[-+]?[0-9]{1,38}\Z", year, re.ASCII):
            return None
        year = Decimal(year)
    if not isinstance(year, Decimal) or not -(10**38) < year < 10**38:
        return None
    return {"id": {"S": id}, "title": {"S": title}, "year": {"N": f"{int(year)}"}}


def rest(
    body: str | None, headers: Headers | None, *, base64_encoded: bool = False
) -> dict[str, Any]:
    """The event of a REST API's Lambda proxy integration, with all of its documented fields.

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
        "queryStringParameters": {"key": HEADER_SECRET},
        "multiValueQueryStringParameters": {"key": [HEADER_SECRET, HEADER_SECRET]},
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abcdef1234",
            "authorizer": {"claims": None, "scopes": None},
            "domainName": "abcdef1234.execute-api.eu-central-1.amazonaws.com",
            "domainPrefix": "abcdef1234",
            "extendedRequestId": "Q1w2E3r4FiAFc1A=",
            "httpMethod": "POST",
            "identity": {
                "accessKey": None,
                "accountId": None,
                "apiKey": HEADER_SECRET,
                "apiKeyId": "h9xmpl4k2a",
                "caller": None,
                "clientCert": {"clientCertPem": HEADER_SECRET, "subjectDN": "www.example.com"},
                "cognitoIdentityId": None,
                "sourceIp": "203.0.113.7",
                "user": None,
                "userAgent": HEADER_SECRET,
                "userArn": None,
            },
            "path": "/prod/data",
            "protocol": "HTTP/1.1",
            "requestId": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
            "requestTime": "09/Apr/2015:12:34:56 +0000",
            "requestTimeEpoch": 1428582896000,
            "resourceId": "123abc",
            "resourcePath": "/data",
            "stage": "prod",
        },
        "body": body,
        "isBase64Encoded": base64_encoded,
    }


_characters = st.characters()  # halves of surrogate pairs, too


_type = st.sampled_from(["Content-Type", "content-type", "CONTENT-TYPE", "cOnTeNt-TyPe"])
_good_types = st.sampled_from(["application/json", f"Application/JSON ;x={HEADER_SECRET}"])
_json = st.tuples(_type, _good_types)
_not_json = st.tuples(_type, st.sampled_from(["text/plain", "", "*/*", f"{HEADER_SECRET}/json"]))
_types: dict[bool | None, st.SearchStrategy[Any]] = {
    True: st.lists(_json, min_size=1, max_size=2),
    None: st.tuples(_json, _not_json),
    False: st.lists(_not_json, max_size=2),
}
_other_headers = st.lists(
    st.sampled_from(
        [
            ("x-api-key", HEADER_SECRET),
            ("X-API-Key", HEADER_SECRET * 2),
            ("Authorization", f"Bearer {HEADER_SECRET}"),
            ("Cookie", f"a={HEADER_SECRET}"),
            ("Cookie", f"b={HEADER_SECRET}"),
            (f"x-{HEADER_SECRET}", "1"),
            ("Content-Encoding", "gzip"),
            ("Content-Length", "-1"),
            ("x-\xff\0", HEADER_SECRET),
        ]
    )
)


def _one_in(number: int) -> st.SearchStrategy[bool]:
    return st.sampled_from(range(number)).map(lambda drawn: drawn == number - 1)


@st.composite
def _headers(draw: st.DrawFn) -> tuple[Headers | None, bool | None]:
    """Headers, and whether they say that the body is JSON."""
    is_json = draw(st.sampled_from([True, True, True, True, None, False]))
    if is_json is False and draw(_one_in(3)):
        return None, False
    types = draw(_types[is_json])
    return draw(st.permutations([*draw(_other_headers), *types])), is_json


_numbers = st.integers(-(10**39), 10**39).map(str) | st.sampled_from(
    [
        *("0", "-0", "-0.0", "1e400", "-1e400", "1E5", "2023.0", "NaN", "-Infinity"),
        *("01", "+1", "1.", "0." + "1" * 5000, "1e" + "9" * 5000),
        *("1" + "0" * digits for digits in (37, 38, 4299, 4300, 5000, 31_000)),
        *("-" + "9" * digits for digits in (38, 39, 5000)),
    ]
)
_bombs = st.sampled_from(["[" * 16_000, "[" * 900, '{"":' * 6_000, '{"id":{"id":' * 300]) | (
    st.integers(2, 16_000).map(lambda depth: "[" * depth + "]" * depth)
)
_junk = (
    st.sampled_from([*',:{}[]"\\', "\0", "\x1f", "\x7f", "\u2028", "\ufeff", "\ufffd", "\ud83c"])
    | st.sampled_from(["//", "null", '"id":"1",', ',"year":1', "\\ud800", "\\u0000", "\\x"])
    | st.text(_characters, max_size=5)
    | _numbers
    | _bombs
)


_texts = st.text(_characters, max_size=12)
_well_formed = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
_secret_texts = _well_formed.map(lambda text: BODY_SECRET + text)
_sizes = ["", "é" * 1024, "é" * 1025, "🎬" * 1024, "x" * 1025, "x" * 2048, "x" * 2049]


@st.composite
def _quoted(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> str:
    """A JSON string: its characters as they are, escaped where they may be, or all escaped."""
    text = draw(texts)
    how = draw(st.sampled_from(["as it is", "ASCII", "escaped"]))
    if how == "escaped":
        units = text.encode("utf-16-be", "surrogatepass").hex()
        return '"' + "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4)) + '"'
    return json.dumps(text, ensure_ascii=how == "ASCII")


def _object(members: list[tuple[str, str]], space: str = "") -> str:
    inside = f"{space},{space}".join(f"{name}{space}:{space}{value}" for name, value in members)
    return f"{space}{{{space}{inside}{space}}}{space}"


# Each is refused for a reason of its own, in a record that is right otherwise.
_edges = st.sampled_from(
    [
        *('""', '"\\ud83c"', '"x\\udfacx"', '"\\u0000"', '"\ufffd"', '"\\ufffd"', "true", "1.0"),
        *("9" * 39, f'"{"9" * 39}"', f'"{"0" * 39}"', '"2023\\n"', '"\u0662"', '"2_023"', "[1]"),
    ]
)
_names = _quoted(st.sampled_from(["id", "title", "year", "Id", "year ", BODY_SECRET]) | _texts)
# Any JSON: nested, with names given twice, with numbers and texts of any size.
_values = _bombs | st.recursive(
    _quoted(_secret_texts | _texts | st.sampled_from(_sizes))
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
    st.tuples(_quoted(st.just("title")), _quoted(_secret_texts)),
    st.tuples(st.just('"year"'), _years.map(str) | _years.map('"{:+}"'.format)),
)
_spaces = st.sampled_from(["", " ", "\r\n\t "])
_records = st.builds(_object, _members.flatmap(st.permutations), _spaces)


@st.composite
def _wrong_records(draw: st.DrawFn) -> str:
    """A record with one member gone, repeated, renamed, changed or too many."""
    members = list(draw(_members))
    at = draw(st.integers(0, 2))
    name, value = members[at]
    members[at : at + 1] = draw(
        st.sampled_from([[], [members[at]] * 2])
        | _names.map(lambda other: [(other, value)])
        | (_edges | _values).map(lambda other: [(name, other)])
        | st.tuples(st.just(members[at]), st.tuples(_names, _values)).map(list)
    )
    return _object(draw(st.permutations(members)))


@st.composite
def _mutated(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> str:
    """A text with a piece of it gone, repeated or replaced."""
    text = draw(texts)
    at = draw(st.integers(0, len(text)))
    until = at + draw(st.integers(0, 6))
    return text[:at] + draw(st.just("") | st.just(text[at:until] * 2) | _junk) + text[until:]


@st.composite
def _not_utf_8(draw: st.DrawFn) -> str:
    """A record some bytes of which are no text, the way API Gateway hands it over."""
    data = draw(_records).encode()
    at = draw(st.integers(0, len(data)))
    return (data[:at] + draw(st.binary(max_size=3)) + data[at:]).decode(errors="replace")


_other_bodies: st.SearchStrategy[str | None] = (
    _mutated(_records)
    | _mutated(_mutated(_records))
    | _not_utf_8()
    | st.tuples(_records, _records).map("".join)
    | _values
    | st.text(_characters)
    | st.none()
)


@st.composite
def events(draw: st.DrawFn) -> Sent:
    """Any request that may reach the function."""
    kinds = st.sampled_from([_records, _records, _wrong_records(), _other_bodies])
    body = draw(draw(kinds))
    headers, is_json = draw(_headers())
    encoded = body is not None and draw(_one_in(10))
    if encoded and body is not None and draw(st.booleans()):
        body = base64.b64encode(body.encode(errors="surrogatepass")).decode()
    event = rest(body, headers, base64_encoded=encoded)
    if draw(_one_in(5)):
        del event[draw(st.sampled_from(["headers", "multiValueHeaders"]))]
    return Sent(event, is_json and not encoded)
