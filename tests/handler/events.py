"""Events as API Gateway hands them over, with any body and headers."""

import json
from typing import Any, Final

from hypothesis import strategies as st

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


_texts = st.text(st.characters(), max_size=12)  # halves of surrogate pairs too
_secrets = _texts.map(lambda text: BODY_SECRET + text)
_sizes = st.sampled_from(["", "é" * 1024, "é" * 1025, "🎬" * 1024, "x" * 1025, "x" * 2049])
_years = st.integers(-(10**39), 10**39)
_values = st.recursive(
    st.none() | st.booleans() | st.floats() | _years | _texts | _secrets | _sizes,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=6,
)
_names = st.sampled_from(["id", "title", "year", "Id", "year ", BODY_SECRET]) | _texts
_records = st.fixed_dictionaries(
    {"id": _texts, "title": _secrets, "year": _years | _years.map(str) | _texts},
    optional={BODY_SECRET: _texts},
)
bodies: st.SearchStrategy[str] = _texts | st.builds(
    lambda value, ascii: json.dumps(value, ensure_ascii=ascii),
    _records | st.dictionaries(_names, _values, max_size=4) | _values,
    st.booleans(),
)
"""Texts, most of them JSON, few of them a record."""
headers: st.SearchStrategy[Headers] = st.lists(
    st.sampled_from(
        [
            *(("Content-Type", "application/json"), ("content-type", f"{HEADER_SECRET}/json")),
            *(("CONTENT-TYPE", f"Application/JSON ;x={HEADER_SECRET}"), ("content-type", "")),
            *(("x-api-key", HEADER_SECRET), ("Authorization", f"Bearer {HEADER_SECRET}")),
            *(("Cookie", f"a={HEADER_SECRET}"), ("Cookie", f"b={HEADER_SECRET}")),
            *((f"x-{HEADER_SECRET}", "1"), ("x-\xff\0", HEADER_SECRET)),
        ]
    )
)
