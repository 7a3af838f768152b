"""The dashboard, as a document that the person on call reads from top to bottom.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final

import pulumi

from components.edge_protection.web_acl import metric_name
from components.monitoring import log_metrics
from components.monitoring.alarms import ALL_RULES, Names
from settings.schema import SHADOW_RULE, Settings

Document = dict[str, Any]

_WIDTH: Final = 24
_HEIGHT: Final = 6


def dashboard(
    settings: Settings, names: Names, alarm_arns: Sequence[pulumi.Input[str]]
) -> Document:
    """Return the body of the dashboard: limits, alarms, then graphs in the order of the layers.

    Names and ARNs in it may be Outputs.
    """
    widgets: list[Document] = []
    y = 0
    for row, height in _rows(settings, names, alarm_arns):
        width = _WIDTH // len(row)
        for index, widget in enumerate(row):
            place = {"x": index * width, "y": y, "width": width, "height": height}
            widgets.append(place | widget)
        y += height
    return {"start": "-PT3H", "widgets": widgets}


def _rows(
    settings: Settings, names: Names, alarm_arns: Sequence[pulumi.Input[str]]
) -> Iterator[tuple[list[Document], int]]:
    """Yield rows of widgets, each with its height."""
    graph = partial(_graph, names)
    yield [{"type": "text", "properties": {"markdown": _limits(settings)}}], _HEIGHT
    yield [{"type": "alarm", "properties": {"title": "Alarms", "alarms": alarm_arns}}], 3
    stage = settings.throttle
    api = ["ApiName", names.api, "Stage", names.stage]
    requests = graph(
        "Requests a minute",
        [
            ["AWS/ApiGateway", "Count", *api, {"label": "all"}],
            ["AWS/ApiGateway", "4XXError", *api, {"label": "4XX"}],
            ["AWS/ApiGateway", "5XXError", *api, {"label": "5XX"}],
        ],
        limits={f"stage: {stage.rate_text}/s": stage.rate_limit * 60},
    )
    refused: list[list[Any]] = [
        [names.namespace, log_metrics.THROTTLED, {"label": "rate or burst"}],
        [names.namespace, log_metrics.QUOTA_EXCEEDED, {"label": "quota"}],
        [names.namespace, log_metrics.INVALID_KEY, {"label": "API key"}],
    ]
    if names.web_acl:
        acl = ["WebACL", names.web_acl, "Region", names.region, "Rule"]
        refused.append(["AWS/WAFV2", "BlockedRequests", *acl, ALL_RULES, {"label": "web ACL"}])
        if settings.waf.shadow:
            rule = metric_name(names.web_acl, SHADOW_RULE)
            label = {"label": "shadow limit, only counted"}
            refused.append(["AWS/WAFV2", "CountedRequests", *acl, rule, label])
    yield [requests, graph("Refused a minute, by reason", refused)], _HEIGHT
    yield (
        [
            _search(names, "Throttled a minute, by API key ID", log_metrics.THROTTLED_BY_KEY),
            _search(names, "Over quota a minute, by API key ID", log_metrics.QUOTA_EXCEEDED_BY_KEY),
        ],
        _HEIGHT,
    )
    latency = graph(
        "Latency (ms)",
        [
            ["AWS/ApiGateway", "Latency", *api, {"stat": "p50", "label": "p50"}],
            ["AWS/ApiGateway", "Latency", *api, {"stat": "p99", "label": "p99"}],
            ["AWS/ApiGateway", "IntegrationLatency", *api, {"stat": "p99", "label": "function"}],
        ],
        limits={"alarm": settings.monitoring.thresholds.latency_p99_ms},
    )
    function = ["FunctionName", names.function]
    duration = graph(
        "Function duration (ms)",
        [
            ["AWS/Lambda", "Duration", *function, {"stat": "p50", "label": "p50"}],
            ["AWS/Lambda", "Duration", *function, {"stat": "p99", "label": "p99"}],
        ],
        limits={"timeout": settings.function.timeout_seconds * 1000},
    )
    yield [latency, duration], _HEIGHT
    reserved = settings.function.reserved_concurrency
    concurrency = graph(
        "Function executions at once",
        [["AWS/Lambda", "ConcurrentExecutions", *function, {"stat": "Maximum", "label": "most"}]],
        limits={"reserved": reserved} if reserved else {},
    )
    failures = graph(
        "Function failures a minute",
        [
            ["AWS/Lambda", "Throttles", *function, {"label": "throttled"}],
            ["AWS/Lambda", "Errors", *function, {"label": "errors"}],
        ],
    )
    cap = settings.table.max_write_request_units
    writes = graph(
        "Table writes a minute",
        [
            ["AWS/DynamoDB", "ConsumedWriteCapacityUnits", "TableName", names.table],
            ["AWS/DynamoDB", "WriteThrottleEvents", "TableName", names.table],
        ],
        limits={"cap": cap * 60} if cap else {},
    )
    yield [concurrency, failures, writes], _HEIGHT


def _limits(settings: Settings) -> str:
    """Return the limits as a Markdown table, for comparison with the graphs below it."""
    stage, waf = settings.throttle, settings.waf
    lines = [
        f"# {settings.project}, stack {settings.stack}",
        "",
        "Limit | Rate | Burst | Quota",
        "---|---|---|---",
        f"stage, all clients | {stage.rate_text}/s | {stage.burst_limit:,} | ",
    ]
    for name, plan in settings.usage_plans.items():
        quota = f"{plan.quota.limit:,} a {plan.quota.period.value.lower()}"
        lines.append(
            f"plan {name}, each client | {plan.rate_text}/s | {plan.burst_limit:,} | {quota}"
        )
    if waf.enabled:
        lines.append(f"web ACL, each address | {waf.rate_limit:,} per {waf.window_seconds} s | | ")
        if shadow := waf.shadow:
            rate = f"{shadow.rate_limit:,} per {shadow.window_seconds} s"
            lines.append(f"shadow limit, each address, only counted | {rate} | | ")
    lines += ["", "AWS applies throttles and quotas on a best-effort basis: targets, not ceilings."]
    return "\n".join(lines)


def _graph(
    names: Names,
    title: str,
    metrics: list[list[Any]],
    *,
    limits: dict[str, float] | None = None,
) -> Document:
    """Return a graph of metrics over time, with their limits as horizontal lines."""
    lines = [{"label": label, "value": value} for label, value in (limits or {}).items()]
    return {
        "type": "metric",
        "properties": {
            "title": title,
            "region": names.region,
            "view": "timeSeries",
            "stat": "Sum",
            "period": 60,
            "yAxis": {"left": {"min": 0}},
            "metrics": metrics,
            "annotations": {"horizontal": lines},
        },
    }


def _search(names: Names, title: str, metric: str) -> Document:
    """Return a graph with one line for each API key that has the metric.

    The namespace is in quotes because of its slash and hyphens:
    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/search-expression-syntax.html
    """
    schema = f'{{"{names.namespace}",{log_metrics.KEY_DIMENSION}}}'
    expression = f"SEARCH('{schema} MetricName=\"{metric}\"', 'Sum', 60)"
    return _graph(names, title, [[{"expression": expression, "id": "keys"}]])
