"""The alarms and the dashboard, as values."""

import json
import re
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest

from components.monitoring.alarms import Alarm, Names, alarms
from components.monitoring.dashboard import dashboard
from components.monitoring.log_metrics import log_metrics
from settings.schema import Settings, parse_settings
from tests.components.aws_metrics import aws_publishes

NAMES = Names(
    namespace="throttled-api/prod",
    web_acl="acl-metric",
    api="the-api",
    stage="live",
    function="the-function",
    table="the-table",
    region="eu-central-1",
)
NO_WEB_ACL = Names(
    namespace="throttled-api/prod",
    web_acl=None,
    api="the-api",
    stage="live",
    function="the-function",
    table="the-table",
    region="eu-central-1",
)


def settings(**config: object) -> Settings:
    """The settings of prod, its defaults apart from these."""
    values = {f"throttled-api:{name}": json.dumps(value) for name, value in config.items()}
    return parse_settings(values, project="throttled-api", stack="prod")


# Alarms

API = {"ApiName": "the-api", "Stage": "live"}
FUNCTION = {"FunctionName": "the-function"}


def watched(alarm: Alarm[str]) -> tuple[object, ...]:
    """All of an alarm but its description."""
    return (
        alarm.name,
        alarm.namespace,
        alarm.metric,
        dict(alarm.dimensions),
        alarm.statistic,
        alarm.threshold,
        alarm.periods,
    )


def test_all_alarms_with_the_documented_thresholds() -> None:
    web_acl = {"WebACL": "acl-metric", "Region": "eu-central-1", "Rule": "ALL"}
    own = "throttled-api/prod"
    assert [watched(alarm) for alarm in alarms(settings(), NAMES)] == [
        ("waf-blocked-requests", "AWS/WAFV2", "BlockedRequests", web_acl, "Sum", 100, 1),
        ("throttled-requests", own, "ThrottledRequests", {}, "Sum", 100, 1),
        ("quota-exceeded-requests", own, "QuotaExceededRequests", {}, "Sum", 100, 1),
        ("server-errors", "AWS/ApiGateway", "5XXError", API, "Sum", 5, 1),
        ("latency-p99", "AWS/ApiGateway", "Latency", API, "p99", 3000, 3),
        ("function-throttles", "AWS/Lambda", "Throttles", FUNCTION, "Sum", 10, 1),
        ("function-errors", "AWS/Lambda", "Errors", FUNCTION, "Sum", 0, 1),
        ("function-duration", "AWS/Lambda", "Duration", FUNCTION, "p99", 8000, 3),
        (
            *("function-concurrency", "AWS/Lambda", "ConcurrentExecutions", FUNCTION),
            *("Maximum", 80, 1),
        ),
        (
            *("table-throttles", "AWS/DynamoDB", "WriteThrottleEvents"),
            *({"TableName": "the-table"}, "Sum", 0, 1),
        ),
    ]


def test_thresholds_come_from_the_settings() -> None:
    changed = settings(
        function={"timeoutSeconds": 4, "reservedConcurrency": 30},
        monitoring={
            "thresholds": {
                "wafBlockedRequests": 1,
                "throttledRequests": 2,
                "quotaExceededRequests": 3,
                "serverErrors": 4,
                "latencyP99Ms": 500,
                "functionThrottles": 6,
                "functionErrors": 7,
                "functionDurationPercent": 75,
                "functionConcurrencyPercent": 50,
                "tableThrottles": 10,
            }
        },
    )
    assert {alarm.name: alarm.threshold for alarm in alarms(changed, NAMES)} == {
        "waf-blocked-requests": 1,
        "throttled-requests": 2,
        "quota-exceeded-requests": 3,
        "server-errors": 4,
        "latency-p99": 500,
        "function-throttles": 6,
        "function-errors": 7,
        "function-duration": 3000,  # ms: 75 % of 4 s
        "function-concurrency": 15,
        "table-throttles": 10,
    }


def names_of(found: list[Alarm[str]]) -> set[str]:
    return {alarm.name for alarm in found}


def test_what_is_not_there_is_not_watched() -> None:
    everything = names_of(alarms(settings(), NAMES))
    assert everything - names_of(alarms(settings(), NO_WEB_ACL)) == {"waf-blocked-requests"}
    unreserved = settings(function={"reservedConcurrency": "none"})
    assert everything - names_of(alarms(unreserved, NAMES)) == {"function-concurrency"}


def test_every_alarm_says_what_it_means_and_names_only_settings_that_exist() -> None:
    config = settings().model_dump(by_alias=True)
    for alarm in alarms(settings(), NAMES):
        assert len(alarm.description) > 20
        for section, name in re.findall(r"\b([a-z]+)\.([a-z]+[A-Z][A-Za-z]+)", alarm.description):
            assert name in config[section], alarm.description


def counted() -> set[str]:
    return {metric.metric for metric in log_metrics() if not metric.dimensions}


def test_every_alarm_watches_a_metric_that_exists() -> None:
    for alarm in alarms(settings(), NAMES):
        own = alarm.namespace == NAMES.namespace and alarm.metric in counted()
        assert own or aws_publishes(alarm.namespace, alarm.metric, alarm.dimensions), (
            f"{alarm.name} would never sound"
        )


# Dashboard


def document(**config: object) -> dict[str, Any]:
    """The dashboard of prod with these settings, as CloudWatch gets it."""
    body: dict[str, Any] = json.loads(json.dumps(dashboard(settings(**config), NAMES, ["a", "b"])))
    return body


def graph(
    x: int,
    y: int,
    width: int,
    title: str,
    *metrics: list[Any],
    limits: dict[str, float] | None = None,
) -> dict[str, Any]:
    """One graph as CloudWatch describes it."""
    return {
        **{"x": x, "y": y, "width": width, "height": 6, "type": "metric"},
        "properties": {
            "title": title,
            "region": "eu-central-1",
            "view": "timeSeries",
            "stat": "Sum",
            "period": 60,
            "yAxis": {"left": {"min": 0}},
            "metrics": list(metrics),
            "annotations": {
                "horizontal": [
                    {"label": label, "value": value} for label, value in (limits or {}).items()
                ]
            },
        },
    }


def test_the_whole_dashboard() -> None:
    api = ["ApiName", "the-api", "Stage", "live"]
    function = ["FunctionName", "the-function"]
    search = "SEARCH('{{\"throttled-api/prod\",ApiKeyId}} MetricName=\"{}\"', 'Sum', 60)"
    throttled = search.format("ThrottledRequestsByKey")
    over_quota = search.format("QuotaExceededRequestsByKey")
    assert document(table={"maxWriteRequestUnits": 50}) == {
        "start": "-PT3H",
        "widgets": [
            {
                **{"x": 0, "y": 0, "width": 24, "height": 6, "type": "text"},
                "properties": {
                    "markdown": (
                        "# throttled-api, stack prod\n"
                        "\n"
                        "Limit | Rate | Burst | Quota\n"
                        "---|---|---|---\n"
                        "stage, all clients | 1,000/s | 2,000 | \n"
                        "plan basic, each client | 100/s | 200 | 10,000 a day\n"
                        "plan premium, each client | 500/s | 1,000 | 100,000 a day\n"
                        "web ACL, each address | 2,000 per 300 s | | \n"
                        "\n"
                        "AWS applies throttles and quotas on a best-effort basis: targets, not "
                        "ceilings."
                    )
                },
            },
            {
                **{"x": 0, "y": 6, "width": 24, "height": 3, "type": "alarm"},
                "properties": {"title": "Alarms", "alarms": ["a", "b"]},
            },
            graph(
                *(0, 9, 12, "Requests a minute"),
                ["AWS/ApiGateway", "Count", *api, {"label": "all"}],
                ["AWS/ApiGateway", "4XXError", *api, {"label": "4XX"}],
                ["AWS/ApiGateway", "5XXError", *api, {"label": "5XX"}],
                limits={"stage: 1000/s": 60_000},
            ),
            graph(
                *(12, 9, 12, "Refused a minute, by reason"),
                ["throttled-api/prod", "ThrottledRequests", {"label": "rate or burst"}],
                ["throttled-api/prod", "QuotaExceededRequests", {"label": "quota"}],
                ["throttled-api/prod", "InvalidApiKeyRequests", {"label": "API key"}],
                [
                    *("AWS/WAFV2", "BlockedRequests", "WebACL", "acl-metric"),
                    *("Region", "eu-central-1", "Rule", "ALL", {"label": "web ACL"}),
                ],
            ),
            graph(
                *(0, 15, 12, "Throttled a minute, by API key ID"),
                [{"expression": throttled, "id": "keys"}],
            ),
            graph(
                *(12, 15, 12, "Over quota a minute, by API key ID"),
                [{"expression": over_quota, "id": "keys"}],
            ),
            graph(
                *(0, 21, 12, "Latency (ms)"),
                ["AWS/ApiGateway", "Latency", *api, {"stat": "p50", "label": "p50"}],
                ["AWS/ApiGateway", "Latency", *api, {"stat": "p99", "label": "p99"}],
                [
                    *("AWS/ApiGateway", "IntegrationLatency", *api),
                    {"stat": "p99", "label": "function"},
                ],
                limits={"alarm": 3000},
            ),
            graph(
                *(12, 21, 12, "Function duration (ms)"),
                ["AWS/Lambda", "Duration", *function, {"stat": "p50", "label": "p50"}],
                ["AWS/Lambda", "Duration", *function, {"stat": "p99", "label": "p99"}],
                limits={"timeout": 10_000},
            ),
            graph(
                *(0, 27, 8, "Function executions at once"),
                [
                    *("AWS/Lambda", "ConcurrentExecutions", *function),
                    {"stat": "Maximum", "label": "most"},
                ],
                limits={"reserved": 100},
            ),
            graph(
                *(8, 27, 8, "Function failures a minute"),
                ["AWS/Lambda", "Throttles", *function, {"label": "throttled"}],
                ["AWS/Lambda", "Errors", *function, {"label": "errors"}],
            ),
            graph(
                *(16, 27, 8, "Table writes a minute"),
                ["AWS/DynamoDB", "ConsumedWriteCapacityUnits", "TableName", "the-table"],
                ["AWS/DynamoDB", "WriteThrottleEvents", "TableName", "the-table"],
                limits={"cap": 3000},
            ),
        ],
    }


def widget(body: dict[str, Any], title: str) -> dict[str, Any]:
    """The one widget with a title."""
    [found] = [w["properties"] for w in body["widgets"] if w["properties"].get("title") == title]
    properties: dict[str, Any] = found
    return properties


def test_a_limit_that_is_not_there_is_not_drawn() -> None:
    body = document(function={"reservedConcurrency": "none"})
    assert widget(body, "Function executions at once")["annotations"]["horizontal"] == []
    assert widget(body, "Table writes a minute")["annotations"]["horizontal"] == []


def test_without_a_web_acl_the_dashboard_has_no_word_of_one() -> None:
    body = json.dumps(dashboard(settings(waf={"enabled": False}), NO_WEB_ACL, []))
    assert "WAF" not in body
    assert "web ACL" not in body


def test_of_many_plans_the_first_ten_are_written_out() -> None:
    plan = {"rateLimit": 1.5, "burstLimit": 2, "quota": {"limit": 1000, "period": "MONTH"}}
    body = document(usagePlans={f"p{i}": plan for i in range(12)})
    lines = body["widgets"][0]["properties"]["markdown"].splitlines()
    assert lines[5:16] == [
        *(f"plan p{i}, each client | 1.5/s | 2 | 1,000 a month" for i in range(10)),
        "and 2 more plans | | | ",
    ]


@pytest.mark.parametrize("names", [NAMES, NO_WEB_ACL])
def test_no_widget_covers_another_or_leaves_the_page(names: Names[str]) -> None:
    widgets = dashboard(settings(), names, [])["widgets"]
    for one in widgets:
        assert 0 <= one["x"] <= one["x"] + one["width"] <= 24
    for one, other in combinations(widgets, 2):
        beside = one["x"] + one["width"] <= other["x"] or other["x"] + other["width"] <= one["x"]
        below = one["y"] + one["height"] <= other["y"] or other["y"] + other["height"] <= one["y"]
        assert beside or below


def metrics_shown() -> Iterator[tuple[str, str, list[str]]]:
    """Namespace, metric and names of dimensions of every line on the dashboard."""
    for shown in document()["widgets"]:
        for metric in shown["properties"].get("metrics", []):
            if isinstance(metric[0], dict):
                search = re.fullmatch(
                    r"SEARCH\('\{\"([^\"]+)\",(\w+)\} MetricName=\"(\w+)\"', 'Sum', 60\)",
                    metric[0]["expression"],
                )
                assert search, (
                    f"{metric[0]['expression']}: a namespace with other characters than letters "
                    "and digits must be in double quotes"
                )
                yield search[1], search[3], [search[2]]
            else:
                words = [word for word in metric if isinstance(word, str)]
                yield words[0], words[1], words[2::2]


def test_every_line_on_the_dashboard_is_of_a_metric_that_exists() -> None:
    own = {metric.metric: sorted(metric.dimensions) for metric in log_metrics()}
    shown = list(metrics_shown())
    assert len(shown) > 10
    for namespace, metric, dimensions in shown:
        if namespace == NAMES.namespace:
            assert own[metric] == dimensions
        else:
            assert aws_publishes(namespace, metric, dimensions), f"{namespace} {metric} is empty"
