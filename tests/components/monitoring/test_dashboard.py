"""The dashboard."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.monitoring.alarms import Names
from components.monitoring.dashboard import dashboard
from components.monitoring.log_metrics import LOG_METRICS
from policy.rules.aws_metrics import METRICS
from tests.stacks import PROJECT, deploy, settings
from tests.stacks.resources import ALARM, FUNCTION, TABLE, document, find, only

NAMES = Names(
    namespace=f"{PROJECT}/prod",
    web_acl="acl-metric",
    api="the-api",
    stage="live",
    function="the-function",
    table="the-table",
    region="eu-central-1",
)
NO_WEB_ACL = replace(NAMES, web_acl=None)


def body(names: Names = NAMES, **changes: Any) -> dict[str, Any]:  # noqa: ANN401  JSON
    """Return the dashboard of prod with changed settings."""
    return dashboard(settings("prod", **changes), names, ["a", "b"])


def test_the_whole_dashboard() -> None:
    expected = json.loads(Path(__file__).with_name("dashboard.json").read_text())
    assert body(table={"maxWriteRequestUnits": 50}) == expected


def test_the_dashboard_shows_this_stack() -> None:
    program = deploy("dev")
    shown = only(program, "cloudwatch/dashboard:Dashboard")
    names = Names(
        namespace=f"{PROJECT}/dev",
        web_acl=f"{PROJECT}-dev",
        api=f"{PROJECT}-dev",
        stage="dev",
        function=only(program, FUNCTION).outputs["name"],
        table=only(program, TABLE).outputs["name"],
        region="eu-central-1",
    )
    made = document(shown, "dashboardBody")
    alarms = made["widgets"][1]["properties"]["alarms"]
    assert sorted(alarms) == sorted(alarm.outputs["arn"] for alarm in find(program, ALARM))
    assert made == json.loads(json.dumps(dashboard(settings("dev"), names, alarms)))
    assert shown.inputs["dashboardName"] == f"{PROJECT}-dev"


@pytest.mark.parametrize("title", ["Function executions at once", "Table writes a minute"])
def test_a_limit_that_is_not_set_is_not_drawn(title: str) -> None:
    widgets = [
        widget["properties"] for widget in body(function={"reservedConcurrency": "none"})["widgets"]
    ]
    [graph] = [properties for properties in widgets if properties.get("title") == title]
    assert graph["annotations"]["horizontal"] == []


def test_a_shadow_limit_is_shown_beside_what_is_refused() -> None:
    before = body()["widgets"]
    after = body(waf={"shadow": {"rateLimit": 1000, "windowSeconds": 60}})["widgets"]
    ((old_text, new_text), (old, new)) = [
        (old["properties"], new["properties"])
        for old, new in zip(before, after, strict=True)
        if old != new
    ]
    line = "\nshadow limit, each address, only counted | 1,000 per 60 s | | "
    assert new_text["markdown"].replace(line, "") == old_text["markdown"]
    acl = ["WebACL", "acl-metric", "Region", "eu-central-1"]
    rule = ["Rule", "acl-metric-shadow-rate-per-address"]
    label = {"label": "shadow limit, only counted"}
    counted = ["AWS/WAFV2", "CountedRequests", *acl, *rule, label]
    assert new["metrics"] == [*old["metrics"], counted]
    assert new["title"] == "Refused a minute, by reason"


def test_without_a_web_acl_the_dashboard_does_not_mention_one() -> None:
    text = json.dumps(body(NO_WEB_ACL, waf={"enabled": False}))
    assert "WAF" not in text
    assert "web ACL" not in text


def test_a_rate_is_shown_as_it_was_configured() -> None:
    text = "123,456.789"
    fast = {"rateLimit": 123_456.789, "burstLimit": 1}
    plan = {"slow": {**fast, "quota": {"limit": 1}}}
    changes: dict[str, Any] = {"throttle": fast, "usagePlans": json.dumps(plan)}
    limits = body(**changes)["widgets"][0]["properties"]["markdown"]
    assert f"stage, all clients | {text}/s | 1 | \n" in limits
    assert f"plan slow, each client | {text}/s | 1 | 1 a day" in limits
    assert f"stage: {text}/s" in json.dumps(body(**changes))
    described = only(deploy("prod", **changes), "apigateway/usagePlan:UsagePlan").inputs
    assert described["description"] == f"slow: {text} requests per second for each client"


def metrics_shown() -> Iterator[tuple[str, str, list[str]]]:
    """Yield namespace, metric and names of dimensions of every line on the dashboard."""
    for widget in body(waf={"shadow": {"rateLimit": 10}})["widgets"]:
        for metric in widget["properties"].get("metrics", []):
            if isinstance(metric[0], dict):
                search = re.fullmatch(
                    r"SEARCH\('\{\"([^\"]+)\",(\w+)\} MetricName=\"(\w+)\"', 'Sum', 60\)",
                    metric[0]["expression"],
                )
                assert search, "a namespace with / must be in double quotes"
                yield search[1], search[3], [search[2]]
            else:
                words = [word for word in metric if isinstance(word, str)]
                yield words[0], words[1], words[2::2]


def test_every_line_on_the_dashboard_is_of_a_metric_that_exists() -> None:
    own = {metric.metric: sorted(metric.dimensions or ()) for metric in LOG_METRICS}
    shown = list(metrics_shown())
    assert len(shown) > 10
    for namespace, metric, dimensions in shown:
        if namespace == NAMES.namespace:
            assert own[metric] == dimensions
        else:
            assert {*dimensions} in METRICS[namespace][metric], f"{namespace} {metric} is empty"
