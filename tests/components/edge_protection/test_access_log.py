"""What is logged of a request."""

import json

from components.edge_protection.access_log import access_log_format

# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-variables-for-access-logging.html


def test_a_line_says_who_asked_for_what_and_which_layer_answered() -> None:
    assert json.loads(access_log_format()) == {
        "requestId": "$context.requestId",
        "extendedRequestId": "$context.extendedRequestId",
        "requestTime": "$context.requestTime",
        "requestTimeEpoch": "$context.requestTimeEpoch",
        "sourceIp": "$context.identity.sourceIp",
        "apiKeyId": "$context.identity.apiKeyId",
        "method": "$context.httpMethod",
        "path": "$context.resourcePath",
        "status": "$context.status",
        "responseType": "$context.error.responseType",
        "wafStatus": "$context.waf.status",
        "wafResponseCode": "$context.wafResponseCode",
        "integrationStatus": "$context.integration.integrationStatus",
        "integrationLatencyMs": "$context.integrationLatency",
        "responseLatencyMs": "$context.responseLatency",
        "xrayTraceId": "$context.xrayTraceId",
    }


def test_no_line_holds_an_api_key() -> None:
    used = set(json.loads(access_log_format()).values())
    assert "$context.identity.apiKey" not in used, "its value is the key"
    assert not any("header" in value for value in used)
