"""Metrics that CloudWatch counts in the access log, because API Gateway has none for refusals.

`AWS/ApiGateway` has no metric of throttled requests, and its 4XXError mixes 400, 403, 404 and 429.
Under a flood, API Gateway may log only some of its refusals. The web ACL's own metrics then show
the flood.
https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-metrics-and-dimensions.html
"""

from typing import Final, NamedTuple

from components.edge_protection.access_log import API_KEY_ID_FIELD, RESPONSE_TYPE_FIELD

THROTTLED: Final = "ThrottledRequests"
QUOTA_EXCEEDED: Final = "QuotaExceededRequests"
INVALID_KEY: Final = "InvalidApiKeyRequests"
WAF_FILTERED: Final = "WafFilteredRequests"
THROTTLED_BY_KEY: Final = "ThrottledRequestsByKey"
QUOTA_EXCEEDED_BY_KEY: Final = "QuotaExceededRequestsByKey"
KEY_DIMENSION: Final = "ApiKeyId"


class LogMetric(NamedTuple):
    """A metric filter: each log line with this type of response counts as one."""

    name: str
    metric: str
    response_type: str
    dimensions: dict[str, str] | None = None

    @property
    def pattern(self) -> str:
        """The lines that count, in CloudWatch's syntax."""
        return f'{{ $.{RESPONSE_TYPE_FIELD} = "{self.response_type}" }}'


# To count by API key, one filter takes the key from the line as a dimension. A filter for each key
# would exceed the 100 filters that a log group may have.
_BY_KEY: Final = {KEY_DIMENSION: f"$.{API_KEY_ID_FIELD}"}
LOG_METRICS: Final = (
    LogMetric("throttled-requests", THROTTLED, "THROTTLED"),
    LogMetric("quota-exceeded-requests", QUOTA_EXCEEDED, "QUOTA_EXCEEDED"),
    LogMetric("invalid-key-requests", INVALID_KEY, "INVALID_API_KEY"),
    LogMetric("waf-filtered-requests", WAF_FILTERED, "WAF_FILTERED"),
    LogMetric("throttled-requests-by-key", THROTTLED_BY_KEY, "THROTTLED", _BY_KEY),
    LogMetric("quota-exceeded-by-key", QUOTA_EXCEEDED_BY_KEY, "QUOTA_EXCEEDED", _BY_KEY),
)
"""The metric filters on the access log."""
