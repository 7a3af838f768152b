"""Metrics that CloudWatch counts in the access log, because API Gateway has none for refusals.

`AWS/ApiGateway` has no metric of throttled requests, and its 4XXError mixes 400, 403, 404 and 429.
Under a flood, API Gateway may log only some of its refusals. The web ACL's own metrics then show
the flood.
https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-metrics-and-dimensions.html
"""

from dataclasses import dataclass, field
from typing import Final

from components.edge_protection.access_log import API_KEY_ID_FIELD, RESPONSE_TYPE_FIELD

THROTTLED: Final = "ThrottledRequests"
QUOTA_EXCEEDED: Final = "QuotaExceededRequests"
INVALID_KEY: Final = "InvalidApiKeyRequests"
WAF_FILTERED: Final = "WafFilteredRequests"
THROTTLED_BY_KEY: Final = "ThrottledRequestsByKey"
QUOTA_EXCEEDED_BY_KEY: Final = "QuotaExceededRequestsByKey"
KEY_DIMENSION: Final = "ApiKeyId"


@dataclass(frozen=True, kw_only=True)
class LogMetric:
    """A metric filter: each log line that matches `pattern` counts as one."""

    name: str
    metric: str
    pattern: str
    dimensions: dict[str, str] = field(default_factory=dict)


def log_metrics() -> list[LogMetric]:
    """Return the metric filters on the access log.

    To count by API key, one filter takes the key from the line as a dimension. A filter for each
    key would exceed the 100 filters that a log group may have.
    """
    by_key = {KEY_DIMENSION: f"$.{API_KEY_ID_FIELD}"}
    return [
        _counted("throttled-requests", THROTTLED, "THROTTLED"),
        _counted("quota-exceeded-requests", QUOTA_EXCEEDED, "QUOTA_EXCEEDED"),
        _counted("invalid-key-requests", INVALID_KEY, "INVALID_API_KEY"),
        _counted("waf-filtered-requests", WAF_FILTERED, "WAF_FILTERED"),
        _counted("throttled-requests-by-key", THROTTLED_BY_KEY, "THROTTLED", by_key),
        _counted("quota-exceeded-by-key", QUOTA_EXCEEDED_BY_KEY, "QUOTA_EXCEEDED", by_key),
    ]


def _counted(
    name: str, metric: str, response_type: str, dimensions: dict[str, str] | None = None
) -> LogMetric:
    return LogMetric(
        name=name,
        metric=metric,
        pattern=f'{{ $.{RESPONSE_TYPE_FIELD} = "{response_type}" }}',
        dimensions=dimensions or {},
    )
