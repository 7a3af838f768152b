"""The alarms, as values: what each one watches, its threshold, and what to do when it sounds."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import pulumi

from components.monitoring import log_metrics
from routes import READS
from settings.schema import Settings

# https://docs.aws.amazon.com/waf/latest/developerguide/waf-metrics.html
ALL_RULES: Final = "ALL"


@dataclass(frozen=True, kw_only=True)
class Names:
    """The names by which CloudWatch knows the parts of the stack."""

    namespace: str
    """Namespace of the metrics counted in the access log."""
    web_acl: str | None
    """The web ACL's metric name, not its resource name; None without a web ACL."""
    api: pulumi.Input[str]
    stage: pulumi.Input[str]
    function: pulumi.Input[str]
    table: pulumi.Input[str]
    region: pulumi.Input[str]


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """Sounds when `statistic` of a metric over five minutes is above `threshold`."""

    name: str
    description: str
    namespace: str
    metric: str
    dimensions: Mapping[str, pulumi.Input[str]]
    threshold: float
    statistic: str = "Sum"
    periods: int = 1
    """How many five-minute periods in a row must be above the threshold."""


def alarms(settings: Settings, names: Names) -> Iterator[Alarm]:
    """Yield all alarms of a stack, in the order in which a request passes what they watch."""
    thresholds = settings.monitoring.thresholds
    counted = partial(Alarm, namespace=names.namespace, dimensions={})
    api = partial(
        Alarm, namespace="AWS/ApiGateway", dimensions={"ApiName": names.api, "Stage": names.stage}
    )
    # Counts calls of all versions and aliases, also of SnapStart's.
    # https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-view.html
    function = partial(Alarm, namespace="AWS/Lambda", dimensions={"FunctionName": names.function})
    table = partial(Alarm, namespace="AWS/DynamoDB", dimensions={"TableName": names.table})
    if names.web_acl:
        yield Alarm(
            name="waf-blocked-requests",
            description="The web ACL blocks callers: a flood from few addresses, or a per-address "
            "limit (waf.rateLimit) below what honest callers need.",
            namespace="AWS/WAFV2",
            metric="BlockedRequests",
            dimensions={"WebACL": names.web_acl, "Region": names.region, "Rule": ALL_RULES},
            threshold=thresholds.waf_blocked_requests,
        )
    yield counted(
        name="throttled-requests",
        description="Callers get 429 for their rate: see on the dashboard whether it is one key "
        "(its plan) or all of them (the stage's throttle).",
        metric=log_metrics.THROTTLED,
        threshold=thresholds.throttled_requests,
    )
    yield counted(
        name="quota-exceeded-requests",
        description="A client has used up its quota and is refused until the period ends.",
        metric=log_metrics.QUOTA_EXCEEDED,
        threshold=thresholds.quota_exceeded_requests,
    )
    yield api(
        name="server-errors",
        description="Callers get 5XX: the function failed, timed out or was at its concurrency.",
        metric="5XXError",
        threshold=thresholds.server_errors,
    )
    yield api(
        name="latency-p99",
        description="One request in a hundred takes longer than the threshold.",
        metric="Latency",
        statistic="p99",
        threshold=thresholds.latency_p99_ms,
        periods=3,
    )
    yield function(
        name="function-throttles",
        description="Lambda refuses invocations, and callers get 503: more requests at once than "
        "function.reservedConcurrency, or than the account has left.",
        metric="Throttles",
        threshold=thresholds.function_throttles,
    )
    yield function(
        name="function-errors",
        description="The function crashed or timed out; its log says why.",
        metric="Errors",
        threshold=thresholds.function_errors,
    )
    yield function(
        name="function-duration",
        description=f"Invocations come near the timeout of {settings.function.timeout_seconds} s.",
        metric="Duration",
        statistic="p99",
        threshold=settings.function.timeout_seconds * 10 * thresholds.function_duration_percent,
        periods=3,
    )
    if settings.function.reserved_concurrency:
        reserved = settings.function.reserved_concurrency
        yield function(
            name="function-concurrency",
            description=f"The function comes near its reserved concurrency of {reserved}; past "
            "it, callers get 503.",
            metric="ConcurrentExecutions",
            statistic="Maximum",
            threshold=reserved * thresholds.function_concurrency_percent / 100,
        )
    yield table(
        name="table-throttles",
        description="DynamoDB refuses writes, and callers get 503: more than "
        "table.maxWriteRequestUnits, or one key written too often.",
        metric="WriteThrottleEvents",
        threshold=thresholds.table_throttles,
    )
    if READS:
        yield table(
            name="table-read-throttles",
            description="DynamoDB refuses reads, and callers get 503: one key read too often.",
            metric="ReadThrottleEvents",
            threshold=thresholds.table_throttles,
        )
