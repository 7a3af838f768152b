"""The access log: one line for each request, with the reason of each refusal."""

import json
from typing import Final

RESPONSE_TYPE_FIELD: Final = "responseType"
"""The kind of API Gateway's own answer: THROTTLED, QUOTA_EXCEEDED, ..., or - for none."""
API_KEY_ID_FIELD: Final = "apiKeyId"

# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-variables-for-access-logging.html
_FIELDS: Final = {
    # A caller can choose requestId with a header, but not extendedRequestId.
    "requestId": "requestId",
    "extendedRequestId": "extendedRequestId",
    "requestTime": "requestTime",
    # In milliseconds: whole seconds are too coarse to replay a log against limits.
    "requestTimeEpoch": "requestTimeEpoch",
    "sourceIp": "identity.sourceIp",
    # The ID of the key. identity.apiKey is its value, which must never be logged.
    API_KEY_ID_FIELD: "identity.apiKeyId",
    "method": "httpMethod",
    "path": "resourcePath",
    "status": "status",
    # Not error.message: it may quote a header, and a quotation mark would break the JSON.
    RESPONSE_TYPE_FIELD: "error.responseType",
    "wafStatus": "waf.status",
    "wafResponseCode": "wafResponseCode",
    "integrationStatus": "integration.integrationStatus",
    "integrationLatencyMs": "integrationLatency",
    "responseLatencyMs": "responseLatency",
    "xrayTraceId": "xrayTraceId",
}


def access_log_format() -> str:
    """Return the format of a line: a JSON object of texts, where - stands for an absent value."""
    return json.dumps({field: f"$context.{variable}" for field, variable in _FIELDS.items()})
