"""The metrics that AWS publishes, of the services that the stack uses, with their dimensions.

https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-metrics-and-dimensions.html
https://docs.aws.amazon.com/waf/latest/developerguide/waf-metrics.html
https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/metrics-dimensions.html
"""

from collections.abc import Iterable

_API = ({"ApiName"}, {"ApiName", "Stage"}, {"ApiName", "Method", "Resource", "Stage"})
_METRICS: dict[str, dict[str, tuple[set[str], ...]]] = {
    # No metric of throttled requests, whatever one would expect.
    "AWS/ApiGateway": {
        "4XXError": _API,
        "5XXError": _API,
        "CacheHitCount": _API,
        "CacheMissCount": _API,
        "Count": _API,
        "IntegrationLatency": _API,
        "Latency": _API,
    },
    "AWS/WAFV2": {
        "AllowedRequests": ({"WebACL", "Region", "Rule"},),
        "BlockedRequests": ({"WebACL", "Region", "Rule"},),
        "CountedRequests": ({"WebACL", "Region", "Rule"},),
    },
    "AWS/Lambda": {
        "ConcurrentExecutions": ({"FunctionName"},),
        "Duration": ({"FunctionName"},),
        "Errors": ({"FunctionName"},),
        "Invocations": ({"FunctionName"},),
        "Throttles": ({"FunctionName"},),
    },
    "AWS/DynamoDB": {
        "ConsumedWriteCapacityUnits": ({"TableName"},),
        "ThrottledRequests": ({"TableName", "Operation"},),
        "WriteThrottleEvents": ({"TableName"},),
    },
}


def aws_publishes(namespace: str, metric: str, dimensions: Iterable[str]) -> bool:
    """Whether AWS has a metric with exactly these dimensions."""
    return set(dimensions) in _METRICS.get(namespace, {}).get(metric, ())
