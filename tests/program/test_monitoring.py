"""What counts, alarms and shows."""

import json
from typing import Any

from components.monitoring.alarms import Names
from components.monitoring.dashboard import dashboard
from tests.program.conftest import (
    FUNCTION,
    REGION,
    TABLE,
    Deploy,
    document,
    find,
    only,
    settings_of,
    types,
)


def test_the_access_log_is_counted(deploy: Deploy) -> None:
    program = deploy("dev")
    group = only(program, "cloudwatch/logGroup:LogGroup", "access-logs").outputs["name"]

    def counted(response_type: str, metric: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401
        return {
            "logGroupName": group,
            "pattern": f'{{ $.responseType = "{response_type}" }}',
            "metricTransformation": {
                "namespace": "throttled-api/dev",
                "name": metric,
                "value": "1",
                "unit": "Count",
                **more,
            },
        }

    by_key = {"dimensions": {"ApiKeyId": "$.apiKeyId"}}
    filters = find(program, "cloudwatch/logMetricFilter:LogMetricFilter")
    assert {
        resource.name.removeprefix("throttled-api-"): resource.inputs for resource in filters
    } == {
        "throttled-requests": counted("THROTTLED", "ThrottledRequests", defaultValue="0"),
        "quota-exceeded-requests": counted(
            "QUOTA_EXCEEDED", "QuotaExceededRequests", defaultValue="0"
        ),
        "invalid-key-requests": counted(
            "INVALID_API_KEY", "InvalidApiKeyRequests", defaultValue="0"
        ),
        "waf-filtered-requests": counted("WAF_FILTERED", "WafFilteredRequests", defaultValue="0"),
        "throttled-requests-by-key": counted("THROTTLED", "ThrottledRequestsByKey", **by_key),
        "quota-exceeded-by-key": counted("QUOTA_EXCEEDED", "QuotaExceededRequestsByKey", **by_key),
    }


def test_alarms_go_to_the_topic_and_watch_the_stacks_own_parts(deploy: Deploy) -> None:
    program = deploy("prod")
    alarms = find(program, "cloudwatch/metricAlarm:MetricAlarm")
    dimensions = {
        alarm.name.removeprefix("throttled-api-"): alarm.inputs.get("dimensions", {})
        for alarm in alarms
    }
    api = {"ApiName": "throttled-api-prod", "Stage": "prod"}
    function = {"FunctionName": only(program, FUNCTION).outputs["name"]}
    assert dimensions == {
        "waf-blocked-requests": {
            "WebACL": only(program, "wafv2/webAcl:WebAcl").inputs["visibilityConfig"]["metricName"],
            "Region": REGION,
            "Rule": "ALL",
        },
        "throttled-requests": {},
        "quota-exceeded-requests": {},
        "server-errors": api,
        "latency-p99": api,
        "function-throttles": function,
        "function-errors": function,
        "function-duration": function,
        "function-concurrency": function,
        "table-throttles": {"TableName": only(program, TABLE).outputs["name"]},
    }
    topic = only(program, "sns/topic:Topic").outputs["arn"]
    duration = only(program, "cloudwatch/metricAlarm:MetricAlarm", "function-duration")
    assert duration.inputs == {
        "alarmDescription": "throttled-api, stack prod: Invocations come near the timeout of 10 s.",
        "namespace": "AWS/Lambda",
        "metricName": "Duration",
        "dimensions": function,
        "extendedStatistic": "p99",
        "period": 300,
        "evaluationPeriods": 3,
        "comparisonOperator": "GreaterThanThreshold",
        "threshold": 8000,
        "treatMissingData": "notBreaching",
        "alarmActions": [topic],
        "okActions": [topic],
    }
    throttles = only(program, "cloudwatch/metricAlarm:MetricAlarm", "function-throttles")
    assert throttles.inputs["statistic"] == "Sum"
    assert "extendedStatistic" not in throttles.inputs, "CloudWatch takes only one of the two"


def test_each_address_is_subscribed_to_the_alarms(deploy: Deploy) -> None:
    emails = ["ops@example.com", "jane@example.org"]
    program = deploy(monitoring={"alarmEmails": emails})
    topic = only(program, "sns/topic:Topic").outputs["arn"]
    subscriptions = find(program, "sns/topicSubscription:TopicSubscription")
    assert {subscription.name: subscription.inputs for subscription in subscriptions} == {
        f"throttled-api-alarms-to-{email}": {"topic": topic, "protocol": "email", "endpoint": email}
        for email in emails
    }
    assert not find(deploy("dev"), "sns/topicSubscription:TopicSubscription")


def test_the_dashboard_shows_this_stack(deploy: Deploy) -> None:
    program = deploy("dev")
    shown = only(program, "cloudwatch/dashboard:Dashboard")
    body = document(shown, "dashboardBody")
    alarms = body["widgets"][1]["properties"]["alarms"]
    assert sorted(alarms) == sorted(
        alarm.outputs["arn"] for alarm in find(program, "cloudwatch/metricAlarm:MetricAlarm")
    )
    names = Names(
        namespace="throttled-api/dev",
        web_acl="throttled-api-dev",
        api="throttled-api-dev",
        stage="dev",
        function=only(program, FUNCTION).outputs["name"],
        table=only(program, TABLE).outputs["name"],
        region=REGION,
    )
    assert body == json.loads(json.dumps(dashboard(settings_of("dev"), names, alarms)))
    assert shown.inputs["dashboardName"] == "throttled-api-dev"


def test_the_dashboard_can_be_off(deploy: Deploy) -> None:
    program = deploy(monitoring={"dashboard": False})
    assert types(deploy("dev")) - types(program) == {"aws:cloudwatch/dashboard:Dashboard": 1}
    assert program.resources.exports["dashboardUrl"] is None
    assert program.resources.exports.keys() == deploy("dev").resources.exports.keys()
