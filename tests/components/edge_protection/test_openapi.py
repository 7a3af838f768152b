"""The API's document: what it promises to callers, and what it asks of API Gateway."""

import json
import re
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import ValidationError
from jsonschema.validators import extend
from openapi_schema_validator import OAS30Validator
from openapi_spec_validator import OpenAPIV30SpecValidator, validate

from components.edge_protection.openapi import openapi
from handler.record import MAX_ID_BYTES, MAX_TITLE_CHARACTERS, to_item
from routes import ROUTES
from tests.fuzzing import examples
from tools.sandbox.gateway_responses import GatewayResponse, read_gateway_responses

DOCUMENT = openapi(
    title="records-prod",
    invoke_arn="arn:aws:apigateway:eu-central-1:lambda:path/2015-03-31/functions/"
    "arn:aws:lambda:eu-central-1:111122223333:function:store/invocations",
    retry_after_seconds=3,
)


def test_the_document_is_valid_openapi() -> None:
    validate(DOCUMENT, cls=OpenAPIV30SpecValidator)


def test_the_whole_document() -> None:
    expected = json.loads(Path(__file__).with_name("openapi.json").read_text())
    # Routes that a user adds need not be in the file.
    paths = {path: DOCUMENT["paths"][path] for path in expected["paths"]}
    assert expected["paths"] == paths
    if len(ROUTES) == len(paths):
        assert expected == DOCUMENT


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, verbs in DOCUMENT["paths"].items():
        for verb, operation in verbs.items():
            yield f"{verb.upper()} {path}", operation


def test_no_method_is_open_to_callers_without_a_key() -> None:
    open_methods = {name for name, one in operations() if one["security"] != [{"apiKey": []}]}
    assert open_methods == {route.method for route in ROUTES if not route.needs_key}


@pytest.mark.parametrize(
    "answer", read_gateway_responses(DOCUMENT).values(), ids=attrgetter("type")
)
def test_every_answer_of_api_gateway_is_documented(answer: GatewayResponse) -> None:
    """Also those that the document leaves as AWS has them."""
    body = json.loads(answer.body(request_id="id"))
    OAS30Validator(DOCUMENT["components"]["schemas"]["Message"]).validate(body)
    if answer.type == "MISSING_AUTHENTICATION_TOKEN":
        assert answer.status == 404, "it answers for unknown routes, which no operation documents"
        return
    for _, operation in operations():
        if answer.status == 403 and not operation["security"]:
            continue
        if answer.status == 413 and "requestBody" not in operation:
            continue
        documented = operation["responses"][str(answer.status)]
        assert documented.get("headers", {}).keys() >= answer.headers.keys()


def test_no_answer_of_api_gateway_quotes_the_request() -> None:
    answers = DOCUMENT["x-amazon-apigateway-gateway-responses"]
    assert "DEFAULT_4XX" in answers, "AWS's own quotes an Authorization header"
    assert "$" not in json.dumps(answers)
    assert "statusCode" not in answers["DEFAULT_4XX"], "each type has its own"


# What the schema accepts, the function stores


def _pattern(_: object, pattern: str, value: object, __: object) -> Iterator[ValidationError]:
    """In ECMA-262, `$` is the very end of a text. In Python, a line break may follow."""
    if isinstance(value, str) and not re.search(pattern.replace("$", r"\Z"), value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


_Validator = extend(OAS30Validator, {"pattern": _pattern})  # type: ignore[no-untyped-call]
RECORDS = _Validator(DOCUMENT["components"]["schemas"]["Record"])

texts = st.builds(
    lambda text, times: text * times,
    # Unescaped, the last is what API Gateway puts in place of bytes that are not UTF-8.
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd"), max_size=4),
    st.sampled_from([1, 2, 3, 255, 256, 257, 511, 512, 513, 1023, 1024, 1025]),
)
whole = st.integers() | st.sampled_from([2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 0])
years = whole | st.floats() | st.booleans() | st.from_regex(r"[+-]?[0-9]{1,40}\n?", fullmatch=True)
records = st.fixed_dictionaries(
    {"id": texts, "title": texts, "year": years | st.text(max_size=5)},
    optional={"extra": texts},
)
LARGEST = {
    "id": "🎬" * (MAX_ID_BYTES // 4),
    "title": "🎬" * MAX_TITLE_CHARACTERS,
    "year": "-" + "9" * 38,
}


@examples()
@given(record=records, ascii=st.booleans())
@example(record=LARGEST, ascii=True)
@example(record={"id": "12", "title": "Test Movie", "year": "2023"}, ascii=True)
@example(record={**LARGEST, "year": -(2**63)}, ascii=False)
def test_every_record_that_fits_the_schema_is_stored(record: dict[str, Any], ascii: bool) -> None:
    if RECORDS.is_valid(record):
        assert to_item(json.dumps(record, ensure_ascii=ascii)) == {
            "id": {"S": record["id"]},
            "title": {"S": record["title"]},
            "year": {"N": str(int(record["year"]))},
        }


@pytest.mark.parametrize(
    "record",
    [
        *(LARGEST, {**LARGEST, "year": 2**63 - 1}, {"id": "x", "title": "x", "year": -(2**63)}),
        DOCUMENT["components"]["schemas"]["Record"]["example"],
    ],
)
def test_the_schema_accepts_the_example_and_the_largest_records(record: dict[str, Any]) -> None:
    assert RECORDS.is_valid(record)
