"""Alarms reach somebody, and go by metrics that somebody writes."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from .aws_metrics import METRICS, Dimensions
from .model import UNKNOWN, Resource, ResourceRule, Stack, StackRule, Violation, given

_GUIDE: Final = "https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring"
_ALARM: Final = "aws:cloudwatch/metricAlarm:MetricAlarm"
_COMPOSITE: Final = "aws:cloudwatch/compositeAlarm:CompositeAlarm"
_FILTER: Final = "aws:cloudwatch/logMetricFilter:LogMetricFilter"


def _silent(alarm: Resource) -> Iterator[str]:
    if not given(alarm.get("alarmActions")):
        yield "no alarm action"
    if alarm.get("actionsEnabled") is False:
        yield "its actions are switched off"


ALARMS_HAVE_ACTIONS: Final = ResourceRule(
    name="alarms-have-actions",
    why="An alarm without an action changes its colour in a console that nobody looks at.",
    reference=f"{_GUIDE}/alarm-actions.html",
    fix="Set alarm_actions=[topic_arn] in Monitoring._alarm of components/monitoring/__init__.py.",
    types=frozenset({_ALARM, _COMPOSITE}),
    check=_silent,
)


def _never_sounding(stack: Stack) -> Iterator[Violation]:
    counted: dict[tuple[str, str], Dimensions] = {}
    for resource in stack.of_type(_FILTER):
        made = resource.get("metricTransformation")
        if isinstance(made, Mapping):
            keys = frozenset(made.get("dimensions") or ())
            counted[made.get("namespace", ""), made.get("name", "")] = keys
    for alarm in stack.of_type(_ALARM):
        for metric in _metrics(alarm):
            what = _missing(metric, counted)
            if what:
                yield Violation(alarm, what)


def _metrics(alarm: Resource) -> Iterator[Mapping[str, Any]]:
    """What an alarm goes by: one metric, or those of its metric math."""
    if alarm.get("metricName") is not None:
        yield alarm.properties
    for query in alarm.items("metricQueries"):
        if isinstance(query, Mapping) and isinstance(query.get("metric"), Mapping):
            yield query["metric"]


def _missing(
    metric: Mapping[str, Any], counted: Mapping[tuple[str, str], Dimensions]
) -> str | None:
    """Why there is no such metric; None when there is, or nobody knows yet."""
    namespace, name, dimensions = (
        metric.get(key) for key in ("namespace", "metricName", "dimensions")
    )
    if UNKNOWN in (namespace, name, dimensions):
        return None
    keys = frozenset(dimensions or ())
    in_order = ", ".join(sorted(keys)) or "none"
    if str(namespace).startswith("AWS/"):
        known = METRICS.get(str(namespace), {}).get(str(name))
        if known is None:
            return f"AWS has no metric {name} in {namespace}"
        return None if keys in known else f"AWS keeps no {name} by these dimensions: {in_order}"
    filtered = counted.get((str(namespace), str(name)))
    if filtered is None:
        return f"no metric filter of this stack writes {name} in {namespace}"
    return None if keys == filtered else f"no metric filter writes {name} by: {in_order}"


ALARMS_NAME_METRICS: Final = StackRule(
    name="alarms-name-metrics-that-exist",
    why="An alarm on a metric that nobody writes never sounds, and looks fine.",
    reference="https://docs.aws.amazon.com/apigateway/latest/developerguide/"
    "api-gateway-metrics-and-dimensions.html",
    fix="Correct the metric or its dimensions in components/monitoring/alarms.py, or count it in "
    "log_metrics() of components/monitoring/log_metrics.py. A metric of AWS that is missing here "
    "goes to METRICS in policy/rules/aws_metrics.py.",
    check=_never_sounding,
)

RULES: Final = (ALARMS_HAVE_ACTIONS, ALARMS_NAME_METRICS)
