"""The REST API as one OpenAPI document: its route, who may call it, and what refusals look like.

One document instead of single resources and methods, because a Deployment is a snapshot: a route
that goes from the document is gone from the next Deployment, with no gap in between.
https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-swagger-extensions.html
"""

import math
from typing import Any, Final

from handler.record import MAX_ID_BYTES, MAX_TITLE_CHARACTERS, YEAR_PATTERN

API_KEY_HEADER: Final = "x-api-key"
JSON: Final = "application/json"

Document = dict[str, Any]

# Never wider than what the function takes (`handler/record.py`): what fits here is stored.
_INT64: Final = 2**63
_RECORD: Final[Document] = {
    "type": "object",
    "description": "One record, under its id.",
    "required": ["id", "title", "year"],
    "additionalProperties": False,
    "properties": {
        "id": {
            "type": "string",
            "description": f"At most {MAX_ID_BYTES} bytes of UTF-8, four to a character.",
            "minLength": 1,
            "maxLength": MAX_ID_BYTES // 4,
        },
        "title": {"type": "string", "minLength": 1, "maxLength": MAX_TITLE_CHARACTERS},
        "year": {
            "description": "A whole number, as such or as text; stored as a number.",
            "oneOf": [
                {"type": "integer", "minimum": -_INT64, "maximum": _INT64 - 1},
                {"type": "string", "pattern": YEAR_PATTERN},
            ],
        },
    },
    "example": {"id": "12", "title": "Test Movie", "year": "2023"},
}


def openapi(*, title: str, invoke_arn: str, retry_after_seconds: int) -> Document:
    """The OpenAPI document of the API.

    Args:
        title: the API's name.
        invoke_arn: URI with which API Gateway invokes the function.
        retry_after_seconds: when a throttled caller may try again.
    """
    unavailable = _gateway_response(
        503, "Service Unavailable", retry_after_seconds=retry_after_seconds
    )
    return {
        "openapi": "3.0.1",
        "info": {
            "title": title,
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
                        "content": {JSON: {"schema": {"$ref": "#/components/schemas/Record"}}},
                    },
                    "responses": {
                        "200": _answer("Stored"),
                        "400": _answer("The body is not a record: which field, and why"),
                        "403": _answer("No API key, or a wrong one"),
                        "413": _answer("The body or a field is too large"),
                        "415": _answer("The body is not JSON"),
                        "429": _answer("Over a rate, a burst or a quota", may_retry=True),
                        "500": _answer("Something inside failed"),
                        "502": _answer("The function crashed"),
                        "503": _answer("Too busy just now", may_retry=True),
                        "504": _answer("The function took too long"),
                    },
                    # The function checks the body, not API Gateway: its validator cannot name the
                    # field that is wrong, and lets other content types through unchecked.
                    "x-amazon-apigateway-integration": {
                        "type": "aws_proxy",
                        "httpMethod": "POST",
                        "uri": invoke_arn,
                        "passthroughBehavior": "when_no_match",
                        "timeoutInMillis": 29_000,
                    },
                }
            }
        },
        "components": {
            "securitySchemes": {
                "apiKey": {"type": "apiKey", "in": "header", "name": API_KEY_HEADER}
            },
            "schemas": {
                "Record": _RECORD,
                "Message": {
                    "type": "object",
                    "required": ["message"],
                    "properties": {"message": {"type": "string"}, "reason": {"type": "string"}},
                },
            },
        },
        "x-amazon-apigateway-api-key-source": "HEADER",
        "x-amazon-apigateway-gateway-responses": {
            "MISSING_AUTHENTICATION_TOKEN": _gateway_response(404, "Not Found"),
            # The same, for a caller who sends an Authorization header to where no route is. AWS's
            # own answer complains about that header, and quotes it.
            "INVALID_SIGNATURE": _gateway_response(404, "Not Found"),
            "INVALID_API_KEY": _gateway_response(403, "Forbidden"),
            "THROTTLED": _gateway_response(
                429,
                "Too Many Requests",
                reason="over the rate or burst of the usage plan, the method or the stage",
                retry_after_seconds=retry_after_seconds,
            ),
            "QUOTA_EXCEEDED": _gateway_response(
                429, "Limit Exceeded", reason="the API key's quota is used up until its period ends"
            ),
            # What API Gateway answers when Lambda throttles the function; reports differ on which.
            "API_CONFIGURATION_ERROR": unavailable,
            "INTEGRATION_FAILURE": unavailable,
        },
    }


def retry_after_seconds(rates: list[float]) -> int:
    """Whole seconds after which even the slowest of these buckets has a token again.

    API Gateway can only send a fixed Retry-After: it cannot be computed from the bucket.
    """
    return max(1, math.ceil(1 / min(rates)))


def _answer(description: str, *, may_retry: bool = False) -> Document:
    answer: Document = {
        "description": description,
        "content": {JSON: {"schema": {"$ref": "#/components/schemas/Message"}}},
    }
    if may_retry:
        seconds = {
            "description": "Seconds to wait; not with a quota",
            "schema": {"type": "integer"},
        }
        answer["headers"] = {"Retry-After": seconds}
    return answer


def _gateway_response(
    status: int,
    message: str,
    *,
    reason: str | None = None,
    retry_after_seconds: int | None = None,
) -> Document:
    because = f', "reason": "{reason}"' if reason else ""
    response: Document = {
        "statusCode": str(status),
        "responseTemplates": {JSON: f'{{"message": "{message}"{because}}}'},
    }
    if retry_after_seconds is not None:
        # The inner quotes make it a literal.
        response["responseParameters"] = {
            "gatewayresponse.header.Retry-After": f"'{retry_after_seconds}'"
        }
    return response
