"""The alarms: what each watches, and when it sounds."""

import re

from routes import READS
from tests.stacks import PROJECT, deploy, settings
from tests.stacks.resources import ALARM, FUNCTION, TABLE, find, inputs, only


def test_each_alarm_watches_its_metric_with_the_threshold_of_the_config() -> None:
    thresholds = {
        "wafBlockedRequests": 1,
        "throttledRequests": 2,
        "quotaExceededRequests": 3,
        "serverErrors": 4,
        "latencyP99Ms": 500,
        "functionThrottles": 6,
        "functionErrors": 7,
        "functionDurationPercent": 75,
        "functionConcurrencyPercent": 50,
        "tableThrottles": 9,
    }
    program = deploy("prod", monitoring={"thresholds": thresholds})
    api = {"ApiName": f"{PROJECT}-prod", "Stage": "prod"}
    web_acl = {"WebACL": f"{PROJECT}-prod", "Region": "eu-central-1", "Rule": "ALL"}
    function = {"FunctionName": only(program, FUNCTION).outputs["name"]}
    table = {"TableName": only(program, TABLE).outputs["name"]}
    own = f"{PROJECT}/prod"
    expected: dict[str, tuple[str, str, dict[str, str], str, float]] = {
        "waf-blocked-requests": ("AWS/WAFV2", "BlockedRequests", web_acl, "Sum", 1),
        "throttled-requests": (own, "ThrottledRequests", {}, "Sum", 2),
        "quota-exceeded-requests": (own, "QuotaExceededRequests", {}, "Sum", 3),
        "server-errors": ("AWS/ApiGateway", "5XXError", api, "Sum", 4),
        "latency-p99": ("AWS/ApiGateway", "Latency", api, "p99", 500),
        "function-throttles": ("AWS/Lambda", "Throttles", function, "Sum", 6),
        "function-errors": ("AWS/Lambda", "Errors", function, "Sum", 7),
        "function-duration": ("AWS/Lambda", "Duration", function, "p99", 7500),
        "function-concurrency": ("AWS/Lambda", "ConcurrentExecutions", function, "Maximum", 50),
        "table-throttles": ("AWS/DynamoDB", "WriteThrottleEvents", table, "Sum", 9),
    }
    if READS:
        expected["table-read-throttles"] = ("AWS/DynamoDB", "ReadThrottleEvents", table, "Sum", 9)
    topic = only(program, "sns/topic:Topic").outputs["arn"]
    alarms = inputs(program, ALARM)
    assert not alarms.keys() - expected, f"list in this test: {', '.join(alarms.keys() - expected)}"
    assert alarms == {
        name: {
            "alarmDescription": alarms[name]["alarmDescription"],
            "namespace": namespace,
            "metricName": metric,
            **({"dimensions": dimensions} if dimensions else {}),
            # CloudWatch takes only one of the two.
            ("extendedStatistic" if statistic == "p99" else "statistic"): statistic,
            "period": 300,
            "evaluationPeriods": 3 if statistic == "p99" else 1,
            "comparisonOperator": "GreaterThanThreshold",
            "threshold": threshold,
            "treatMissingData": "notBreaching",
            "alarmActions": [topic],
            "okActions": [topic],
        }
        for name, (namespace, metric, dimensions, statistic, threshold) in expected.items()
    }


def test_every_alarm_says_what_it_means_and_names_only_settings_that_exist() -> None:
    config = settings("prod").model_dump(by_alias=True)
    for alarm in inputs(deploy("prod"), ALARM).values():
        stack, _, meaning = alarm["alarmDescription"].partition(": ")
        assert stack == f"{PROJECT}, stack prod"
        assert len(meaning) > 20
        for section, setting in re.findall(r"\b([a-z]+)\.([a-z]+[A-Z][A-Za-z]+)", meaning):
            assert setting in config[section]


def test_each_address_is_subscribed_to_the_alarms() -> None:
    emails = ["ops@example.com", "jane@example.org"]
    program = deploy(monitoring={"alarmEmails": emails})
    topic = only(program, "sns/topic:Topic").outputs["arn"]
    assert inputs(program, "sns/topicSubscription:TopicSubscription") == {
        f"alarms-to-{email}": {"topic": topic, "protocol": "email", "endpoint": email}
        for email in emails
    }
    assert not find(deploy("dev"), "sns/topicSubscription:TopicSubscription")
