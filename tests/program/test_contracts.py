"""What holds for every resource of every stack, in a preview as in an update."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from components.component import Component
from components.compute import FILES
from tools.recorder.program import ROOT, Program
from tools.recorder.resources import Resource
from tests.components.aws_metrics import aws_publishes
from tests.program.conftest import Deploy, find, only

COMPONENTS = {"Data", "Network", "Compute", "EdgeProtection", "Monitoring"}
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
RETENTION_DAYS = {
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827),
    *(2192, 2557, 2922, 3288, 3653),
}


@pytest.fixture
def everything(deploy: Deploy) -> Program:
    """A stack with every option on."""
    return deploy(
        function={"snapStart": True},
        throttle={"methods": {"POST /data": {"rateLimit": 10, "burstLimit": 20}}},
        monitoring={"alarmEmails": ["ops@example.com"]},
        waf={"managedRuleGroups": ["AWSManagedRulesCommonRuleSet"]},
    )


# Identity and order


def test_each_component_has_a_type_token_of_its_own(program: Program) -> None:
    assert {component.__name__ for component in Component.__subclasses__()} == COMPONENTS
    tokens = [r.type for r in program.resources.items if not r.custom]
    assert sorted(tokens) == sorted(f"throttled-api:index:{name}" for name in COMPONENTS)


def test_no_two_resources_have_one_urn(program: Program, everything: Program) -> None:
    for run in (program, everything):
        urns = Counter(resource.urn for resource in run.resources.items)
        assert [urn for urn, times in urns.items() if times > 1] == []


def test_every_resource_belongs_to_a_component(program: Program, everything: Program) -> None:
    for run in (program, everything):
        [stack] = {r.parent for r in run.resources.items if not r.custom}
        assert "pulumi:pulumi:Stack" in stack
        assert only(run, "pulumi:providers:aws").parent == stack
        components = {r.urn for r in run.resources.items if not r.custom}
        for resource in children(run):
            assert resource.parent in components, f"{resource.name} has no component"


def children(program: Program) -> list[Resource]:
    """All resources of AWS."""
    return [r for r in program.resources.items if r.type.startswith("aws:")]


def test_every_resource_uses_the_provider_with_the_tags(
    program: Program, everything: Program
) -> None:
    for run in (program, everything):
        provider = only(run, "pulumi:providers:aws")
        assert set(json.loads(provider.inputs["defaultTags"])["tags"]) == {
            *("project", "stack", "managed-by")
        }
        for resource in children(run):
            assert resource.provider.startswith(f"{provider.urn}::"), (
                f"{resource.name} would be made untagged, in the account of the environment"
            )


def test_a_resource_adds_no_tag_of_the_providers(everything: Program) -> None:
    for resource in children(everything):
        assert set(resource.inputs.get("tags", {})) <= {"Name", "plan", "client", "key"}, (
            "what the provider tags too, a resource must not tag otherwise"
        )


def test_every_name_begins_with_the_projects(program: Program) -> None:
    assert all(child.name.startswith("throttled-api-") for child in children(program))


def test_only_what_aws_or_people_must_find_by_name_has_a_name(everything: Program) -> None:
    named = {
        resource.name.removeprefix("throttled-api-"): resource.inputs[key]
        for resource in children(everything)
        for key in ("name", "namePrefix", "dashboardName", "stageName")
        if key in resource.inputs and not resource.type.endswith(":MethodSettings")
    }
    api = only(everything, "apigateway/restApi:RestApi").id
    assert named == {
        "api": "throttled-api-dev",
        "stage": "dev",
        "function-live": "live",
        "execution-logs": f"API-Gateway-Execution-Logs_{api}/dev",
        "waf-logs": "aws-waf-logs-throttled-api-",
        "dashboard": "throttled-api-dev",
    }, "a name that is set cannot be replaced without a gap"


def test_all_dependencies_are_resources_of_the_program(program: Program) -> None:
    urns = {resource.urn for resource in program.resources.items}
    for resource in program.resources.items:
        assert set(resource.depends_on) <= urns
        assert resource.urn not in resource.depends_on


# Logs and alarms


def test_every_log_group_has_a_retention(program: Program, everything: Program) -> None:
    for run in (program, everything):
        for group in find(run, "cloudwatch/logGroup:LogGroup"):
            assert group.inputs.get("retentionInDays") in RETENTION_DAYS, group.name


def test_log_groups_are_kept_as_long_as_the_config_says(deploy: Deploy) -> None:
    groups = find(deploy(monitoring={"logRetentionDays": 7}), "cloudwatch/logGroup:LogGroup")
    assert {group.inputs["retentionInDays"] for group in groups} == {7}


def test_every_alarm_tells_somebody_and_watches_what_exists(
    program: Program, everything: Program
) -> None:
    for run in (program, everything):
        filters = [
            resource.inputs["metricTransformation"]
            for resource in find(run, "cloudwatch/logMetricFilter:LogMetricFilter")
        ]
        counted = {(f["namespace"], f["name"], *f.get("dimensions", ())) for f in filters}
        topic = only(run, "sns/topic:Topic")
        alarms = find(run, "cloudwatch/metricAlarm:MetricAlarm")
        assert alarms
        for alarm in alarms:
            inputs = alarm.inputs
            dimensions = inputs.get("dimensions", {})
            metric = (inputs["namespace"], inputs["metricName"])
            assert (*metric, *dimensions) in counted or aws_publishes(*metric, dimensions), (
                f"{alarm.name} would never sound"
            )
            assert inputs["treatMissingData"] == "notBreaching", alarm.name
            assert topic.urn in alarm.depends_on
            assert ("statistic" in inputs) != ("extendedStatistic" in inputs)


def test_every_alarm_goes_to_the_topic_when_it_sounds_and_when_it_stops(
    everything: Program,
) -> None:
    topic = [only(everything, "sns/topic:Topic").outputs["arn"]]
    for alarm in find(everything, "cloudwatch/metricAlarm:MetricAlarm"):
        assert alarm.inputs["alarmActions"] == topic
        assert alarm.inputs["okActions"] == topic


def test_metric_filters_stay_within_what_cloudwatch_takes(everything: Program) -> None:
    filters = find(everything, "cloudwatch/logMetricFilter:LogMetricFilter")
    a_group = Counter(resource.inputs["logGroupName"] for resource in filters)
    assert max(a_group.values()) <= 100
    for resource in filters:
        transformation = resource.inputs["metricTransformation"]
        dimensions = transformation.get("dimensions", {})
        assert len(dimensions) <= 3
        assert not (dimensions and "defaultValue" in transformation), (
            "CloudWatch takes no default value together with dimensions"
        )


# Policies


def policy_documents(program: Program) -> Iterator[tuple[Resource, dict[str, Any]]]:
    """Each statement of each policy, with the resource that has it."""
    for resource in program.resources.items:
        for key in ("policy", "assumeRolePolicy"):
            if key in resource.inputs:
                for statement in json.loads(resource.inputs[key])["Statement"]:
                    yield resource, statement


def test_no_policy_allows_any_action_or_anybody(everything: Program) -> None:
    statements = list(policy_documents(everything))
    assert len(statements) > 5
    for resource, statement in statements:
        actions = statement["Action"]
        for action in [actions] if isinstance(actions, str) else actions:
            assert "*" not in action, resource.name
        assert "NotAction" not in statement
        if resource.type == "aws:ec2/vpcEndpoint:VpcEndpoint":
            # It only narrows what the callers' own policies allow.
            assert statement["Principal"] == "*"
            assert statement["Resource"] == only(everything, "dynamodb/table:Table").outputs["arn"]
        else:
            assert statement.get("Principal") != "*", resource.name


def test_only_the_function_may_touch_any_resource_and_only_where_it_must(
    everything: Program,
) -> None:
    wide = [
        (resource.name, statement["Action"])
        for resource, statement in policy_documents(everything)
        if statement.get("Resource") == "*"
    ]
    assert {name for name, _ in wide} == {"throttled-api-function-policy"}
    assert {action.partition(":")[0] for _, actions in wide for action in actions} == {
        *("xray", "ec2")
    }


def test_roles_may_do_only_what_their_own_policies_say(everything: Program) -> None:
    managed = find(everything, "iam/rolePolicyAttachment:RolePolicyAttachment")
    assert [attachment.name for attachment in managed] == ["throttled-api-gateway-logs-policy"]
    for role in find(everything, "iam/role:Role"):
        assert set(role.inputs) == {"assumeRolePolicy"}, "no inline or managed policies besides"


# What outlives the stack, and what cannot go


def test_only_the_accounts_logging_outlives_a_stack(program: Program) -> None:
    assert {resource.type for resource in program.resources.items if resource.retain_on_delete} == {
        "aws:apigateway/account:Account",
        "aws:iam/role:Role",
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
    }


# The function's package


def test_the_package_is_the_handler_and_nothing_else(program: Program) -> None:
    code = only(program, "lambda/function:Function").inputs["code"]
    assert code == {file: str(ROOT / file) for file in FILES}
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "handler").rglob("*.py")}
    assert set(code) == sources, "a file that is missing here is missing in Lambda"
    assert all((ROOT / file).is_file() for file in code)
