"""Logs expire, alarms notify people, and alarms watch metrics that exist."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from .aws_metrics import METRICS, Dimensions
from .model import UNKNOWN, Rule, Stack, Violation, at, given, needs, positive

_GUIDE: Final = "https://docs.aws.amazon.com/AmazonCloudWatch/latest"
_ALARM: Final = "aws:cloudwatch/metricAlarm:MetricAlarm"


def _without_metric(stack: Stack) -> Iterator[Violation]:
    written: dict[tuple[object, object], Dimensions] = {}
    for resource in stack.of_type("aws:cloudwatch/logMetricFilter:LogMetricFilter"):
        metric = resource.get("metricTransformation")
        name = at(metric, "namespace"), at(metric, "name")
        written[name] = frozenset(at(metric, "dimensions") or ())
    for alarm in stack.of_type(_ALARM):
        metrics = [at(query, "metric") for query in alarm.items("metricQueries")]
        if alarm.get("metricName") is not None:
            metrics.append(alarm.properties)
        for metric in metrics:
            if isinstance(metric, Mapping) and (what := _missing(metric, written)):
                yield Violation(alarm, what)


def _missing(
    metric: Mapping[str, Any], written: Mapping[tuple[object, object], Dimensions]
) -> str | None:
    """Return why a metric does not exist; None if it does, or may."""
    namespace, name, dimensions = map(metric.get, ("namespace", "metricName", "dimensions"))
    if UNKNOWN in (namespace, name, dimensions):
        return None
    keys = frozenset(dimensions or ())
    by = f"by these dimensions: {', '.join(sorted(keys)) or 'none'}"
    if str(namespace).startswith("AWS/"):
        known = METRICS.get(str(namespace), {}).get(str(name))
        if known is None:
            return f"AWS has no metric {name} in {namespace}"
        return None if keys in known else f"AWS keeps no {name} {by}"
    if (namespace, name) not in written:
        return f"no metric filter of this stack writes {name} in {namespace}"
    return None if keys == written[namespace, name] else f"no metric filter writes {name} {by}"


RULES: Final = (
    Rule(
        name="log-groups-have-retention",
        why="A log group without retention keeps callers' addresses, and costs money, forever.",
        reference=f"{_GUIDE}/logs/Working-with-log-groups-and-streams.html",
        fix="Set retention_in_days on the LogGroup, from the config's "
        "monitoring.logRetentionDays. The groups are in components/compute.py, "
        "components/network.py and components/edge_protection/.",
        check=needs(
            ("aws:cloudwatch/logGroup:LogGroup",),
            ("retentionInDays", positive, "no retention: it keeps everything forever"),
        ),
    ),
    Rule(
        name="alarms-have-actions",
        why="An alarm without an action notifies no one.",
        reference=f"{_GUIDE}/monitoring/alarm-actions.html",
        fix="Set alarm_actions in components/monitoring/__init__.py.",
        check=needs(
            (_ALARM, "aws:cloudwatch/compositeAlarm:CompositeAlarm"),
            ("alarmActions", given, "no alarm action"),
            ("actionsEnabled", lambda on: on is not False, "its actions are switched off"),
        ),
    ),
    Rule(
        name="alarms-name-metrics-that-exist",
        why="An alarm on a metric that is never written never goes off, and looks fine.",
        reference="https://docs.aws.amazon.com/apigateway/latest/developerguide/"
        "api-gateway-metrics-and-dimensions.html",
        fix="Correct the metric or its dimensions in components/monitoring/alarms.py, or count it "
        "in components/monitoring/log_metrics.py. If AWS has the metric, add it to METRICS in "
        "policy/rules/aws_metrics.py.",
        check=_without_metric,
    ),
)
