"""API Gateway's own responses, and how an OpenAPI document changes them.

https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from settings import UserError

CONTEXT_VARIABLE: Final = re.compile(r"\$context\.([A-Za-z.]+[A-Za-z])")
_FAILURE: Final = "InternalServerErrorException"
_AWS_RESPONSES: Final = {
    "MISSING_AUTHENTICATION_TOKEN": (
        403,
        "MissingAuthenticationTokenException",
        "Missing Authentication Token",
    ),
    # The same with an Authorization header that is no signature. AWS's message quotes the header.
    "DEFAULT_4XX": (403, "IncompleteSignatureException", "Not a valid key=value pair"),
    "INVALID_API_KEY": (403, "ForbiddenException", "Forbidden"),
    "WAF_FILTERED": (403, "ForbiddenException", "Forbidden"),
    "REQUEST_TOO_LARGE": (413, "RequestTooLargeException", "Request Too Long"),
    "THROTTLED": (429, "TooManyRequestsException", "Too Many Requests"),
    "QUOTA_EXCEEDED": (429, "LimitExceededException", "Limit Exceeded"),
    # When the function crashes, reaches its own timeout, or answers with too much.
    "INTEGRATION_FAILURE": (502, _FAILURE, "Internal server error"),
    # The same type, when the function is at its concurrency: never 429.
    "INTEGRATION_FAILURE:concurrency": (500, _FAILURE, "Internal server error"),
    # When the API may not invoke its function.
    "API_CONFIGURATION_ERROR": (500, _FAILURE, "Internal server error"),
    # When the function's answer does not have the form of a proxy response.
    "DEFAULT_5XX": (502, _FAILURE, "Internal server error"),
    "INTEGRATION_TIMEOUT": (504, _FAILURE, "Endpoint request timed out"),
}
"""Status, error type and message that AWS gives each response by default.

Which types the integration's failures have is not documented; `throttling/choices.py` has sources.
"""


@dataclass(frozen=True, kw_only=True)
class GatewayResponse:
    """One of the responses that a caller gets without the function."""

    type: str
    """Such as THROTTLED."""
    status: int
    error_type: str
    """Value of the header `x-amzn-ErrorType`."""
    message: str = ""
    """AWS's own message, which a template may use as `$context.error.messageString`."""
    template: str = '{"message":$context.error.messageString}'
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self, request_id: str) -> bytes:
        """Return the body for one request."""

        def value(found: re.Match[str]) -> str:
            context = {
                "error.message": self.message,
                "error.messageString": json.dumps(self.message),
                "error.responseType": self.type,
                "requestId": request_id,
            }
            # API Gateway replaces an unknown variable with nothing.
            return context.get(found[1], "")

        return CONTEXT_VARIABLE.sub(value, self.template).encode()


NO_STAGE: Final = GatewayResponse(
    type="", status=403, error_type="ForbiddenException", message="Forbidden"
)
"""API Gateway's answer when a URL leads to no stage. No API can change it."""


def read_gateway_responses(document: Mapping[str, Any]) -> dict[str, GatewayResponse]:
    """Return API Gateway's responses by type, with the changes of an OpenAPI document.

    Raises:
        UserError: the document sets a header to something other than a literal.
    """
    changes = document.get("x-amazon-apigateway-gateway-responses", {})
    responses = {}
    for case, (status, error_type, message) in _AWS_RESPONSES.items():
        type_ = case.partition(":")[0]
        change = changes.get(type_) or changes.get(f"DEFAULT_{status // 100}XX") or {}
        template = change.get("responseTemplates", {}).get("application/json")
        responses[case] = GatewayResponse(
            type=type_,
            status=int(change.get("statusCode") or status),
            error_type=error_type,
            message=message,
            template=GatewayResponse.template if template is None else template,
            headers=_headers(type_, change.get("responseParameters", {})),
        )
    return responses


def _headers(type_: str, parameters: Mapping[str, str]) -> dict[str, str]:
    headers = {}
    for name, value in parameters.items():
        header = re.fullmatch(r"gatewayresponse\.header\.(.+)", name)
        literal = re.fullmatch("'([^']*)'", value)
        if not header or not literal:
            raise UserError(
                f"Gateway response {type_} maps {name} to {value}; the sandbox serves only "
                f"headers with literal values, in single quotes."
            )
        headers[header[1]] = literal[1]
    return headers
