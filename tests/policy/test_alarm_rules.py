"""Alarms."""

import pytest

from policy.rules import alarms
from policy.rules.model import UNKNOWN, Resource
from tests.policy.resources import fits, made, violations

FILTER = made(
    "aws:cloudwatch/logMetricFilter:LogMetricFilter",
    metricTransformation={"namespace": "mine/dev", "name": "ThrottledRequests"},
)
BY_KEY = made(
    "aws:cloudwatch/logMetricFilter:LogMetricFilter",
    "by key",
    metricTransformation={
        "namespace": "mine/dev",
        "name": "ThrottledRequestsByKey",
        "dimensions": {"ApiKeyId": "$.apiKeyId"},
    },
)


def alarm(namespace: object, name: object, *dimensions: str) -> Resource:
    return made(
        "aws:cloudwatch/metricAlarm:MetricAlarm",
        namespace=namespace,
        metricName=name,
        dimensions={key: UNKNOWN for key in dimensions} or None,
    )


def wrong(*resources: Resource) -> list[str]:
    return violations(alarms.ALARMS_NAME_METRICS, *resources)


def test_an_alarm_needs_an_action_that_is_on() -> None:
    rule = alarms.ALARMS_HAVE_ACTIONS

    assert fits(rule, alarmActions=[UNKNOWN])
    assert fits(rule, alarmActions=UNKNOWN)
    assert not fits(rule)
    assert not fits(rule, alarmActions=[])
    assert not fits(rule, alarmActions=[UNKNOWN], actionsEnabled=False)


@pytest.mark.parametrize(
    ("namespace", "name", "dimensions"),
    [
        ("AWS/ApiGateway", "5XXError", ("ApiName", "Stage")),
        ("AWS/WAFV2", "BlockedRequests", ("WebACL", "Region", "Rule")),
        ("AWS/Lambda", "Throttles", ("FunctionName",)),
        ("AWS/Lambda", "ConcurrentExecutions", ()),
        ("AWS/DynamoDB", "WriteThrottleEvents", ("TableName",)),
        ("AWS/DynamoDB", "ThrottledRequests", ("TableName", "Operation")),
    ],
)
def test_metrics_that_aws_publishes_are_fine(
    namespace: str, name: str, dimensions: tuple[str, ...]
) -> None:
    assert not wrong(alarm(namespace, name, *dimensions))


def test_a_metric_that_aws_does_not_have_is_found() -> None:
    assert wrong(alarm("AWS/ApiGateway", "ThrottledRequests", "ApiName", "Stage")) == [
        "it: AWS has no metric ThrottledRequests in AWS/ApiGateway"
    ]


def test_dimensions_that_aws_does_not_keep_are_found() -> None:
    assert wrong(alarm("AWS/ApiGateway", "5XXError", "Stage")) == [
        "it: AWS keeps no 5XXError by these dimensions: Stage"
    ]
    assert wrong(alarm("AWS/DynamoDB", "ThrottledRequests", "TableName"))


def test_metrics_that_a_filter_of_the_stack_writes_are_fine() -> None:
    assert not wrong(alarm("mine/dev", "ThrottledRequests"), FILTER)
    assert not wrong(alarm("mine/dev", "ThrottledRequestsByKey", "ApiKeyId"), BY_KEY)


def test_metrics_that_nobody_writes_are_found() -> None:
    assert wrong(alarm("mine/dev", "ThrottledRequests")) == [
        "it: no metric filter of this stack writes ThrottledRequests in mine/dev"
    ]
    assert wrong(alarm("mine/prod", "ThrottledRequests"), FILTER)
    assert wrong(alarm("mine/dev", "ThrottledRequestsByKey"), BY_KEY) == [
        "it: no metric filter writes ThrottledRequestsByKey by: none"
    ]


def test_the_metrics_of_metric_math_are_read() -> None:
    query = {"id": "m1", "metric": {"namespace": "AWS/ApiGateway", "metricName": "Throttled"}}
    resource = made(
        "aws:cloudwatch/metricAlarm:MetricAlarm",
        metricQueries=[{"id": "e1", "expression": "m1 * 2"}, query],
    )

    assert wrong(resource) == ["it: AWS has no metric Throttled in AWS/ApiGateway"]


def test_a_metric_that_is_not_known_yet_is_fine() -> None:
    assert not wrong(alarm(UNKNOWN, "ThrottledRequests"))
    assert not wrong(alarm("AWS/Lambda", UNKNOWN))
