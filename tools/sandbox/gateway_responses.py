"""API Gateway's own responses, and how an OpenAPI document changes them.

https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from settings import UserError

_EXTENSION: Final = "x-amazon-apigateway-gateway-responses"
_HEADER: Final = "gatewayresponse.header."
_LITERAL: Final = re.compile(r"'([^']*)'")
_VARIABLE: Final = re.compile(r"\$context\.([A-Za-z.]+[A-Za-z])")


@dataclass(frozen=True, kw_only=True)
class GatewayResponse:
    """One of API Gateway's own responses."""

    type: str
    """Such as THROTTLED."""
    status: int
    error_type: str
    """Value of the header `x-amzn-ErrorType`."""
    message: str
    """AWS's own message, which a template may use as `$context.error.messageString`."""
    template: str = '{"message":$context.error.messageString}'
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self, request_id: str) -> bytes:
        """Return the body for one request."""
        context = {
            "error.message": self.message,
            "error.messageString": json.dumps(self.message),
            "error.responseType": self.type,
            "requestId": request_id,
        }
        # API Gateway replaces an unknown variable with nothing.
        return _VARIABLE.sub(lambda found: context.get(found[1], ""), self.template).encode()


def _aws(type_: str, status: int, error_type: str, message: str) -> GatewayResponse:
    return GatewayResponse(type=type_, status=status, error_type=error_type, message=message)


_FAILURE: Final = "InternalServerErrorException"
_AWS_RESPONSES: Final = (
    _aws(
        "MISSING_AUTHENTICATION_TOKEN",
        403,
        "MissingAuthenticationTokenException",
        "Missing Authentication Token",
    ),
    _aws("INVALID_API_KEY", 403, "ForbiddenException", "Forbidden"),
    _aws("WAF_FILTERED", 403, "ForbiddenException", "Forbidden"),
    _aws("REQUEST_TOO_LARGE", 413, "RequestTooLargeException", "Request Too Long"),
    _aws("THROTTLED", 429, "TooManyRequestsException", "Too Many Requests"),
    _aws("QUOTA_EXCEEDED", 429, "LimitExceededException", "Limit Exceeded"),
    # When the function is at its concurrency: an error of the integration, never 429.
    _aws("INTEGRATION_FAILURE", 500, _FAILURE, "Internal server error"),
    # When the API may not invoke its function.
    _aws("API_CONFIGURATION_ERROR", 500, _FAILURE, "Internal server error"),
    # When the function fails, or its answer does not have the form of a proxy response.
    _aws("DEFAULT_5XX", 502, _FAILURE, "Internal server error"),
    _aws("INTEGRATION_TIMEOUT", 504, _FAILURE, "Endpoint request timed out"),
)


def read_gateway_responses(document: Mapping[str, Any]) -> dict[str, GatewayResponse]:
    """Return API Gateway's responses by type, with the changes of an OpenAPI document.

    Raises:
        UserError: the document sets a header to something other than a literal.
    """
    changes = document.get(_EXTENSION, {})
    responses = {}
    for response in _AWS_RESPONSES:
        family = f"DEFAULT_{response.status // 100}XX"
        change = changes.get(response.type) or changes.get(family) or {}
        responses[response.type] = replace(
            response,
            status=int(change.get("statusCode") or response.status),
            template=change.get("responseTemplates", {}).get("application/json", response.template),
            headers=_headers(response.type, change.get("responseParameters", {})),
        )
    return responses


def _headers(type_: str, parameters: Mapping[str, str]) -> dict[str, str]:
    headers = {}
    for name, value in parameters.items():
        literal = _LITERAL.fullmatch(value)
        if not name.startswith(_HEADER) or not literal:
            raise UserError(
                f"Gateway response {type_} maps {name} to {value}; the sandbox serves only "
                f"headers with literal values, in single quotes."
            )
        headers[name.removeprefix(_HEADER)] = literal[1]
    return headers
