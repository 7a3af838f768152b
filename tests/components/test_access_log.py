"""What is logged of a request, and that the metric filters find in it what they count."""

import json
import re

import pytest

from components.edge_protection.access_log import access_log_format
from components.monitoring.log_metrics import LogMetric, log_metrics

# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-variables-for-access-logging.html
VARIABLES = {
    *("accountId", "apiId", "awsEndpointRequestId", "deploymentId", "domainName", "domainPrefix"),
    *("error.message", "error.messageString", "error.responseType", "extendedRequestId"),
    *("error.validationErrorString", "httpMethod", "identity.accountId", "identity.apiKeyId"),
    *("identity.caller", "identity.sourceIp", "identity.userAgent", "integrationLatency"),
    *("integration.error", "integration.integrationStatus", "integration.latency"),
    *("integration.requestId", "integration.status", "integrationStatus", "path", "protocol"),
    *("requestId", "requestTime", "requestTimeEpoch", "resourceId", "resourcePath"),
    *("responseLatency", "responseLength", "stage", "status", "waf.error", "waf.latency"),
    *("waf.status", "wafResponseCode", "webaclArn", "xrayTraceId"),
}


def test_a_line_says_who_asked_for_what_and_which_layer_answered() -> None:
    assert json.loads(access_log_format()) == {
        "requestId": "$context.requestId",
        "requestTime": "$context.requestTime",
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


def test_every_variable_is_one_that_api_gateway_knows() -> None:
    used = set(re.findall(r"\$context\.([A-Za-z.]+)", access_log_format()))
    assert used
    assert used <= VARIABLES, "API Gateway refuses a format with a variable it does not know"


def test_the_format_is_one_that_api_gateway_takes() -> None:
    template = access_log_format()
    assert "\n" not in template
    assert len(template.encode()) <= 3 * 1024
    assert '"$context.requestId"' in template, "API Gateway wants requestId or extendedRequestId"


def test_no_line_holds_an_api_key() -> None:
    template = access_log_format()
    assert not re.search(r"\$context\.identity\.apiKey(?!Id)", template), (
        "identity.apiKey is the key's value"
    )
    assert "header" not in template


# Metric filters


def line(response_type: str, api_key_id: str = "abc123") -> dict[str, str]:
    """A line of the access log, where - stands for what a request does not have."""
    values = {"error.responseType": response_type, "identity.apiKeyId": api_key_id}
    rendered = re.sub(
        r"\$context\.([A-Za-z.]+)", lambda name: values.get(name[1], "-"), access_log_format()
    )
    fields: dict[str, str] = json.loads(rendered)
    return fields


def matches(pattern: str, fields: dict[str, str]) -> bool:
    """Whether CloudWatch counts a line, for patterns that compare one field with one text.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
    """
    parts = re.fullmatch(r'\{ \$\.([A-Za-z]+) = "([A-Z_]+)" \}', pattern)
    assert parts, f"no such pattern: {pattern}"
    return fields.get(parts[1]) == parts[2]


@pytest.mark.parametrize(
    ("response_type", "counted"),
    [
        ("THROTTLED", {"ThrottledRequests", "ThrottledRequestsByKey"}),
        ("QUOTA_EXCEEDED", {"QuotaExceededRequests", "QuotaExceededRequestsByKey"}),
        ("INVALID_API_KEY", {"InvalidApiKeyRequests"}),
        ("WAF_FILTERED", {"WafFilteredRequests"}),
        ("MISSING_AUTHENTICATION_TOKEN", set()),
        ("INTEGRATION_FAILURE", set()),
        ("-", set()),
    ],
)
def test_each_kind_of_refusal_is_counted_once(response_type: str, counted: set[str]) -> None:
    found = [m.metric for m in log_metrics() if matches(m.pattern, line(response_type))]
    assert sorted(found) == sorted(counted)


def test_metrics_by_key_take_the_key_from_the_line() -> None:
    by_key = [metric for metric in log_metrics() if metric.dimensions]
    assert {metric.metric for metric in by_key} == {
        "ThrottledRequestsByKey",
        "QuotaExceededRequestsByKey",
    }
    for metric in by_key:
        assert metric.dimensions == {"ApiKeyId": "$.apiKeyId"}
        assert line("THROTTLED", "k1")["apiKeyId"] == "k1"


def test_no_two_filters_count_into_the_same_metric() -> None:
    def unique(values: list[str]) -> bool:
        return len(values) == len(set(values))

    metrics: list[LogMetric] = log_metrics()
    assert unique([metric.name for metric in metrics])
    assert unique([metric.metric for metric in metrics]), "each request would count twice"
