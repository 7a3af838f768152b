"""What API Gateway logs of every request, and which of it means what."""

import json
from typing import Final

RESPONSE_TYPE_FIELD: Final = "responseType"
"""Which gateway response the caller got: THROTTLED, QUOTA_EXCEEDED, ..., or - for none."""
API_KEY_ID_FIELD: Final = "apiKeyId"

# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-variables-for-access-logging.html
_FIELDS: Final = {
    "requestId": "requestId",
    "requestTime": "requestTime",
    "sourceIp": "identity.sourceIp",
    # The key's ID. Its value, identity.apiKey, must never be logged.
    API_KEY_ID_FIELD: "identity.apiKeyId",
    "method": "httpMethod",
    "path": "resourcePath",
    "status": "status",
    # Not error.message: it may quote a caller's headers, and a quotation mark ends the JSON line.
    RESPONSE_TYPE_FIELD: "error.responseType",
    "wafStatus": "waf.status",
    "wafResponseCode": "wafResponseCode",
    "integrationStatus": "integration.integrationStatus",
    "integrationLatencyMs": "integrationLatency",
    "responseLatencyMs": "responseLatency",
    "xrayTraceId": "xrayTraceId",
}


def access_log_format() -> str:
    """One JSON object a request, with every value as text: API Gateway writes - for none."""
    return json.dumps({field: f"$context.{variable}" for field, variable in _FIELDS.items()})
