"""The REST API as one OpenAPI document: its routes, who may call it, and what refusals look like.

It is one document instead of a Pulumi resource for each route and method. A deployment is a
snapshot of the API: with one document, a removed route is really gone from the next deployment.
With single resources, the snapshot can be taken before the old route is deleted.
https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-swagger-extensions.html
"""

import math
from collections.abc import Sequence
from typing import Any, Final

from handler.record import MAX_ID_BYTES, MAX_TITLE_CHARACTERS, YEAR_PATTERN
from routes import ROUTES, Route
from throttling.account import MAX_INTEGRATION_SECONDS

API_KEY_HEADER: Final = "x-api-key"
JSON: Final = "application/json"

Document = dict[str, Any]

# The function stores every record that fits this schema. It also accepts some that do not fit,
# such as an id of 2,048 ASCII characters (`handler/record.py`).
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
}
_SCHEMAS: Final[Document] = {
    "Record": _RECORD,
    "Message": {
        "type": "object",
        "required": ["message"],
        "properties": {"message": {"type": "string"}, "reason": {"type": "string"}},
    },
}


def openapi(
    *, title: str, invoke_arn: str, retry_after_seconds: int, routes: Sequence[Route] = ROUTES
) -> Document:
    """Return the OpenAPI document of the API.

    API Gateway invokes the function by `invoke_arn`.
    """
    unavailable = _gateway_response(503, "Service Unavailable")
    paths: Document = {}
    schemas = {name: dict(schema) for name, schema in _SCHEMAS.items()}
    for route in routes:
        paths.setdefault(route.path, {})[route.verb.lower()] = _operation(route, invoke_arn)
        if route.body:
            schemas[route.body]["example"] = dict(route.example_body)
    keys = " Every caller needs an API key." if all(route.needs_key for route in routes) else ""
    return {
        "openapi": "3.0.1",
        "info": {
            "title": title,
            "version": "1.0.0",
            "description": ". ".join(route.summary for route in routes) + "." + keys,
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "apiKey": {"type": "apiKey", "in": "header", "name": API_KEY_HEADER}
            },
            "schemas": schemas,
        },
        "x-amazon-apigateway-api-key-source": "HEADER",
        # TLS 1.2 and 1.3; API Gateway's default takes 1.0 too. A policy whose name begins with
        # SecurityPolicy_ needs an access mode, TLS_1_0 and TLS_1_2 take none, and names that end
        # with EDGE are for edge-optimized APIs. STRICT would also refuse callers whose TLS
        # handshake names another host, such as those of another endpoint's domain name.
        # https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-security-policies.html
        "x-amazon-apigateway-security-policy": "SecurityPolicy_TLS13_1_2_2021_06",
        "x-amazon-apigateway-endpoint-access-mode": "BASIC",
        "x-amazon-apigateway-gateway-responses": {
            "MISSING_AUTHENTICATION_TOKEN": _gateway_response(404, "Not Found"),
            "INVALID_API_KEY": _gateway_response(403, "Forbidden"),
            "WAF_FILTERED": _gateway_response(403, "Forbidden"),
            "REQUEST_TOO_LARGE": _gateway_response(413, "Request Too Long"),
            # All others, each with its own status. To an unknown route with an Authorization
            # header, AWS's own answer would quote that header.
            "DEFAULT_4XX": _gateway_response(None, "Bad Request"),
            "THROTTLED": _gateway_response(
                429,
                "Too Many Requests",
                reason="over the rate or burst of the usage plan, the method or the stage",
                retry_after_seconds=retry_after_seconds,
            ),
            "QUOTA_EXCEEDED": _gateway_response(
                429, "Limit Exceeded", reason="the API key's quota is used up until its period ends"
            ),
            # Published access logs have INTEGRATION_FAILURE when Lambda throttles the function,
            # when the function crashes or reaches its timeout, and when its answer is too large.
            # Older reports have API_CONFIGURATION_ERROR for the first. AWS documents none of it.
            # There is no Retry-After: a record that crashes the function will do so again.
            # https://github.com/DataBiosphere/azul/pull/6624
            # https://github.com/DataBiosphere/azul/issues/8258
            # https://repost.aws/questions/QUL-z6rJbmR4meafB7MzYXxw
            "API_CONFIGURATION_ERROR": unavailable,
            "INTEGRATION_FAILURE": unavailable,
        },
    }


def retry_after_seconds(rates: list[float]) -> int:
    """Return the whole seconds in which even the slowest of these buckets gains a token.

    API Gateway sends the same Retry-After with every refusal: it cannot compute one from a bucket.
    """
    return max(1, math.ceil(1 / min(rates)))


def _operation(route: Route, invoke_arn: str) -> Document:
    answers = {status: _answer(meaning) for status, meaning in route.answers.items()}
    if 200 in answers:
        answers[200]["content"] = _content(route.returns)
    if route.needs_key:
        answers[403] = _answer("No API key, or a wrong one")
    answers |= {
        429: _answer("Over a rate, a burst or a quota", may_retry=True),
        500: _answer("Something inside failed"),
        502: _answer("The function's answer has a wrong form"),
        503: _answer("Too busy, or the function failed", may_retry=True),
        504: _answer("The function took too long"),
    }
    first, *words = route.operation.split("_")
    operation: Document = {
        "operationId": first + "".join(map(str.title, words)),
        "summary": route.summary,
        # An empty list, unlike no list, says that the route is open on purpose.
        "security": [{"apiKey": []}] if route.needs_key else [],
    }
    if route.parameters:
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            | {"example": route.example[name]}
            for name in route.parameters
        ]
    if route.body:
        operation["requestBody"] = {"required": True, "content": _content(route.body)}
    return operation | {
        "responses": {str(status): answers[status] for status in sorted(answers)},
        # The function checks the body. API Gateway's own validator cannot name the wrong field, and
        # does not check other content types.
        "x-amazon-apigateway-integration": {
            "type": "aws_proxy",
            "httpMethod": "POST",
            "uri": invoke_arn,
            "passthroughBehavior": "when_no_match",
            "timeoutInMillis": MAX_INTEGRATION_SECONDS * 1000,
        },
    }


def _content(schema: str) -> Document:
    return {JSON: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _answer(description: str, *, may_retry: bool = False) -> Document:
    answer: Document = {"description": description, "content": _content("Message")}
    if may_retry:
        seconds = {
            "description": "Seconds to wait before trying again; absent when waiting may not help",
            "schema": {"type": "integer"},
        }
        answer["headers"] = {"Retry-After": seconds}
    return answer


def _gateway_response(
    status: int | None,
    message: str,
    *,
    reason: str | None = None,
    retry_after_seconds: int | None = None,
) -> Document:
    because = f', "reason": "{reason}"' if reason else ""
    response: Document = {
        "responseTemplates": {JSON: f'{{"message": "{message}"{because}}}'},
    }
    if status is not None:
        response["statusCode"] = str(status)
    if retry_after_seconds is not None:
        # The inner quotes make it a literal value.
        response["responseParameters"] = {
            "gatewayresponse.header.Retry-After": f"'{retry_after_seconds}'"
        }
    return response
