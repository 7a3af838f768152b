"""The API's document: what it promises to callers and tells API Gateway."""

import json
import re
from collections.abc import Iterator
from operator import attrgetter
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import ValidationError
from jsonschema.validators import extend
from openapi_schema_validator import OAS30Validator
from openapi_spec_validator import OpenAPIV30SpecValidator, validate

from components.edge_protection.openapi import METHODS, openapi, retry_after_seconds
from handler.record import MAX_ID_BYTES, MAX_TITLE_CHARACTERS, to_item
from tools.sandbox.gateway_responses import GatewayResponse, read_gateway_responses

INVOKE_ARN = (
    "arn:aws:apigateway:eu-central-1:lambda:path/2015-03-31/functions/"
    "arn:aws:lambda:eu-central-1:111122223333:function:store/invocations"
)
DOCUMENT = openapi(title="records-prod", invoke_arn=INVOKE_ARN, retry_after_seconds=3)
MESSAGE = {"application/json": {"schema": {"$ref": "#/components/schemas/Message"}}}
RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds to wait; not with a quota",
        "schema": {"type": "integer"},
    }
}
SOON = {"gatewayresponse.header.Retry-After": "'3'"}


def test_the_document_is_valid_openapi() -> None:
    validate(DOCUMENT, cls=OpenAPIV30SpecValidator)


def test_the_whole_document() -> None:
    assert DOCUMENT == {
        "openapi": "3.0.1",
        "info": {
            "title": "records-prod",
            "version": "1.0.0",
            "description": "Stores records, one at a time. Every caller needs an API key.",
        },
        "paths": {
            "/data": {
                "post": {
                    "operationId": "storeRecord",
                    "summary": "Store a record; the same id again overwrites it",
                    "security": [{"apiKey": []}],
                    "requestBody": {
                        "required": True,
                        "content": {
                            "application/json": {"schema": {"$ref": "#/components/schemas/Record"}}
                        },
                    },
                    "responses": {
                        "200": {"description": "Stored", "content": MESSAGE},
                        "400": {
                            "description": "The body is not a record: which field, and why",
                            "content": MESSAGE,
                        },
                        "403": {"description": "No API key, or a wrong one", "content": MESSAGE},
                        "413": {
                            "description": "The body or a field is too large",
                            "content": MESSAGE,
                        },
                        "415": {"description": "The body is not JSON", "content": MESSAGE},
                        "429": {
                            "description": "Over a rate, a burst or a quota",
                            "content": MESSAGE,
                            "headers": RETRY_AFTER,
                        },
                        "500": {"description": "Something inside failed", "content": MESSAGE},
                        "502": {"description": "The function crashed", "content": MESSAGE},
                        "503": {
                            "description": "Too busy just now",
                            "content": MESSAGE,
                            "headers": RETRY_AFTER,
                        },
                        "504": {"description": "The function took too long", "content": MESSAGE},
                    },
                    "x-amazon-apigateway-integration": {
                        "type": "aws_proxy",
                        "httpMethod": "POST",
                        "uri": INVOKE_ARN,
                        "passthroughBehavior": "when_no_match",
                        "timeoutInMillis": 29_000,
                    },
                }
            }
        },
        "components": {
            "securitySchemes": {"apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"}},
            "schemas": {
                "Record": {
                    "type": "object",
                    "description": "One record, under its id.",
                    "required": ["id", "title", "year"],
                    "additionalProperties": False,
                    "properties": {
                        "id": {
                            "type": "string",
                            "description": "At most 2048 bytes of UTF-8, four to a character.",
                            "minLength": 1,
                            "maxLength": 512,
                        },
                        "title": {"type": "string", "minLength": 1, "maxLength": 1024},
                        "year": {
                            "description": "A whole number, as such or as text; stored as a "
                            "number.",
                            "oneOf": [
                                {
                                    "type": "integer",
                                    "minimum": -9_223_372_036_854_775_808,
                                    "maximum": 9_223_372_036_854_775_807,
                                },
                                {"type": "string", "pattern": "^[+-]?[0-9]{1,38}$"},
                            ],
                        },
                    },
                    "example": {"id": "12", "title": "Test Movie", "year": "2023"},
                },
                "Message": {
                    "type": "object",
                    "required": ["message"],
                    "properties": {"message": {"type": "string"}, "reason": {"type": "string"}},
                },
            },
        },
        "x-amazon-apigateway-api-key-source": "HEADER",
        "x-amazon-apigateway-gateway-responses": {
            "MISSING_AUTHENTICATION_TOKEN": {
                "statusCode": "404",
                "responseTemplates": {"application/json": '{"message": "Not Found"}'},
            },
            "INVALID_SIGNATURE": {
                "statusCode": "404",
                "responseTemplates": {"application/json": '{"message": "Not Found"}'},
            },
            "INVALID_API_KEY": {
                "statusCode": "403",
                "responseTemplates": {"application/json": '{"message": "Forbidden"}'},
            },
            "THROTTLED": {
                "statusCode": "429",
                "responseTemplates": {
                    "application/json": '{"message": "Too Many Requests", "reason": "over the '
                    'rate or burst of the usage plan, the method or the stage"}'
                },
                "responseParameters": SOON,
            },
            "QUOTA_EXCEEDED": {
                "statusCode": "429",
                "responseTemplates": {
                    "application/json": '{"message": "Limit Exceeded", "reason": "the API key\'s '
                    'quota is used up until its period ends"}'
                },
            },
            "API_CONFIGURATION_ERROR": {
                "statusCode": "503",
                "responseTemplates": {"application/json": '{"message": "Service Unavailable"}'},
                "responseParameters": SOON,
            },
            "INTEGRATION_FAILURE": {
                "statusCode": "503",
                "responseTemplates": {"application/json": '{"message": "Service Unavailable"}'},
                "responseParameters": SOON,
            },
        },
    }


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, verbs in DOCUMENT["paths"].items():
        for verb, operation in verbs.items():
            yield f"{verb.upper()} {path}", operation


def test_the_methods_that_the_config_may_name_are_those_of_the_document() -> None:
    assert [method for method, _ in operations()] == list(METHODS)


def test_no_method_is_open_to_callers_without_a_key() -> None:
    assert all(operation["security"] == [{"apiKey": []}] for _, operation in operations())


@pytest.mark.parametrize("kind", DOCUMENT["x-amazon-apigateway-gateway-responses"])
def test_every_refusal_has_the_documented_shape_and_status(kind: str) -> None:
    response = DOCUMENT["x-amazon-apigateway-gateway-responses"][kind]
    body = json.loads(response["responseTemplates"]["application/json"])
    OAS30Validator(DOCUMENT["components"]["schemas"]["Message"]).validate(body)
    documented = {status for _, operation in operations() for status in operation["responses"]}
    assert response["statusCode"] in {*documented, "404"}


@pytest.mark.parametrize(
    "answer", read_gateway_responses(DOCUMENT).values(), ids=attrgetter("type")
)
def test_every_answer_of_api_gateway_is_documented(answer: GatewayResponse) -> None:
    """Those that the document leaves as AWS has them, too."""
    body = json.loads(answer.body(request_id="id"))
    OAS30Validator(DOCUMENT["components"]["schemas"]["Message"]).validate(body)
    if answer.type == "MISSING_AUTHENTICATION_TOKEN":
        assert answer.status == 404, "of no operation, so no operation documents it"
        return
    for _, operation in operations():
        documented = operation["responses"][str(answer.status)]
        assert documented.get("headers", {}).keys() >= answer.headers.keys()


@pytest.mark.parametrize(
    ("rates", "seconds"),
    [([1000, 100, 500], 1), ([1], 1), ([5, 0.5], 2), ([0.3], 4), ([0.001, 7], 1000)],
)
def test_a_throttled_caller_waits_until_the_slowest_bucket_has_a_token(
    rates: list[float], seconds: int
) -> None:
    assert retry_after_seconds(rates) == seconds


# What the schema accepts, the function stores


def _pattern(_: object, pattern: str, value: object, __: object) -> Iterator[ValidationError]:
    """ECMA-262's `$` is the very end, where Python's may stand before a line break."""
    if isinstance(value, str) and not re.search(pattern.replace("$", r"\Z"), value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


_Validator = extend(OAS30Validator, {"pattern": _pattern})  # type: ignore[no-untyped-call]
RECORDS = _Validator(DOCUMENT["components"]["schemas"]["Record"])

text = st.builds(
    lambda text, times: text * times,
    st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
    st.sampled_from([1, 2, 3, 255, 256, 257, 511, 512, 513, 1023, 1024, 1025]),
)
whole = st.integers() | st.sampled_from([2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 0])
year = whole | st.floats() | st.booleans() | st.from_regex(r"[+-]?[0-9]{1,40}\n?", fullmatch=True)
records = st.fixed_dictionaries(
    {"id": text, "title": text, "year": year | st.text(max_size=5)},
    optional={"extra": text},
)
LARGEST = {
    "id": "🎬" * (MAX_ID_BYTES // 4),
    "title": "🎬" * MAX_TITLE_CHARACTERS,
    "year": "-" + "9" * 38,
}


def as_stored(record: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": {"S": record["id"]},
        "title": {"S": record["title"]},
        "year": {"N": str(int(record["year"]))},
    }


@given(record=records, ascii=st.booleans())
@example(record=LARGEST, ascii=True)
@example(record={**LARGEST, "year": -(2**63)}, ascii=False)
def test_every_record_that_fits_the_schema_is_stored_exactly(
    record: dict[str, Any], ascii: bool
) -> None:
    if RECORDS.is_valid(record):
        assert to_item(json.dumps(record, ensure_ascii=ascii)) == as_stored(record)


@pytest.mark.parametrize(
    "record",
    [LARGEST, {**LARGEST, "year": 2**63 - 1}, {"id": "x", "title": "x", "year": -(2**63)}],
)
def test_the_schema_takes_the_largest_records(record: dict[str, Any]) -> None:
    assert RECORDS.is_valid(record)


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"id": "1", "title": "x"},
        {"id": "", "title": "x", "year": 1},
        {"id": "1", "title": "", "year": 1},
        {"id": "x" * 513, "title": "x", "year": 1},
        {"id": "1", "title": "x" * 1025, "year": 1},
        {"id": 1, "title": "x", "year": 1},
        {"id": "1", "title": "x", "year": 1.5},
        {"id": "1", "title": "x", "year": True},
        {"id": "1", "title": "x", "year": 2**63},
        {"id": "1", "title": "x", "year": "x"},
        {"id": "1", "title": "x", "year": "1" * 39},
        {"id": "1", "title": "x", "year": "2023\n"},
        {"id": "1", "title": "x", "year": 1, "extra": 1},
    ],
)
def test_the_schema_refuses_what_is_no_record(record: dict[str, Any]) -> None:
    assert not RECORDS.is_valid(record)


def test_the_example_is_stored() -> None:
    sample = DOCUMENT["components"]["schemas"]["Record"]["example"]
    assert RECORDS.is_valid(sample)
    assert to_item(json.dumps(sample)) == {
        "id": {"S": "12"},
        "title": {"S": "Test Movie"},
        "year": {"N": "2023"},
    }
