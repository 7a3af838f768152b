"""The CloudWatch metrics of AWS that alarms may watch."""

from collections.abc import Mapping
from typing import Final

Dimensions = frozenset[str]


def _of(metrics: str, *dimensions: str) -> dict[str, frozenset[Dimensions]]:
    """Return each of the metrics with these sets of dimensions, all separated by spaces."""
    return {name: frozenset(frozenset(d.split()) for d in dimensions) for name in metrics.split()}


METRICS: Final[Mapping[str, Mapping[str, frozenset[Dimensions]]]] = {
    # None counts throttled requests: 4XXError mixes them with all other refusals.
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-metrics-and-dimensions.html
    "AWS/ApiGateway": _of(
        "4XXError 5XXError CacheHitCount CacheMissCount Count IntegrationLatency Latency",
        "ApiName",
        "ApiName Stage",
        "ApiName Method Resource Stage",
    ),
    # https://docs.aws.amazon.com/waf/latest/developerguide/waf-metrics.html
    "AWS/WAFV2": _of(
        "AllowedRequests BlockedRequests CountedRequests PassedRequests",
        "WebACL Region Rule",
    ),
    # https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
    "AWS/Lambda": _of(
        "Invocations Errors Throttles Duration ConcurrentExecutions DeadLetterErrors",
        "",
        "FunctionName",
        "FunctionName Resource",
    ),
    # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/metrics-dimensions.html
    "AWS/DynamoDB": {
        **_of(
            "ConsumedReadCapacityUnits ConsumedWriteCapacityUnits OnDemandMaxWriteRequestUnits "
            "ReadThrottleEvents WriteThrottleEvents",
            "TableName",
            "TableName GlobalSecondaryIndexName",
        ),
        **_of("SuccessfulRequestLatency SystemErrors ThrottledRequests", "TableName Operation"),
        **_of("ConditionalCheckFailedRequests", "TableName"),
        **_of("UserErrors", ""),
    },
}
"""Metrics by namespace and name, each with the sets of dimensions that AWS keeps it by."""
