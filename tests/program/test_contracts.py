"""What holds for every resource of every stack, in a preview as in an update."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from components.component import Component
from policy.rules.aws_metrics import METRICS
from tests.program.conftest import EVERY_OPTION, Sent
from tests.stacks import PROJECT, deploy, run
from tests.stacks.resources import ALARM, API, STAGE, TABLE, find, only, short
from tools.recorder.program import Program
from tools.recorder.resources import Resource

COMPONENTS = {"Data", "Network", "Compute", "EdgeProtection", "Monitoring"}


@pytest.fixture
def everything() -> Program:
    """A stack with every option, all outputs known."""
    return deploy(**EVERY_OPTION)


def of_aws(program: Program) -> list[Resource]:
    return [resource for resource in program.resources.items if resource.type.startswith("aws:")]


# Identity and order


def test_each_component_has_its_own_type_token(program: Program) -> None:
    assert {component.__name__ for component in Component.__subclasses__()} == COMPONENTS
    tokens = [r.type for r in program.resources.items if not r.custom]
    assert sorted(tokens) == sorted(f"throttled-api:index:{name}" for name in COMPONENTS)


def test_components_register_their_outputs(sent: Sent) -> None:
    run("dev")
    own = [one for one in sent.outputs if ":index:" in one.urn]
    assert {one.urn.split("::")[2].rpartition(":")[2] for one in own} == COMPONENTS
    assert all(one.outputs.fields for one in own)


def test_only_subnets_are_deleted_slowly_because_they_wait_for_lambda(sent: Sent) -> None:
    run("dev")
    waits = {request.type: request.customTimeouts.delete for request in sent.resources}
    assert {type_: time for type_, time in waits.items() if time} == {
        "aws:ec2/subnet:Subnet": "60m"
    }


def test_every_resource_belongs_to_a_component(program: Program) -> None:
    components = {r.urn: r.parent for r in program.resources.items if not r.custom}
    [stack] = set(components.values())
    assert "pulumi:pulumi:Stack" in stack
    assert only(program, "pulumi:providers:aws").parent == stack
    assert [r.name for r in of_aws(program) if r.parent not in components] == []


def test_every_resource_uses_the_provider_with_the_tags(program: Program) -> None:
    provider = only(program, "pulumi:providers:aws")
    tags = json.loads(provider.inputs["defaultTags"])["tags"]
    assert tags.keys() == {"project", "stack", "managed-by"}
    for resource in of_aws(program):
        assert resource.provider.startswith(f"{provider.urn}::"), (
            f"{resource.name} would have no tags, and the account of the environment"
        )
        assert not resource.inputs.get("tags", {}).keys() & tags.keys(), "a tag of the provider's"


def test_every_name_begins_with_the_name_of_the_project(program: Program) -> None:
    assert all(resource.name.startswith(f"{PROJECT}-") for resource in of_aws(program))


def test_only_what_aws_or_people_must_find_by_name_has_a_name(everything: Program) -> None:
    named = {
        short(resource): resource.inputs[key]
        for resource in of_aws(everything)
        for key in ("name", "namePrefix", "dashboardName", "stageName")
        if key in resource.inputs and (key != "stageName" or resource.type == f"aws:{STAGE}")
    }
    assert named == {
        "api": f"{PROJECT}-dev",
        "stage": "dev",
        "function-live": "live",
        "execution-logs": f"API-Gateway-Execution-Logs_{only(everything, API).id}/dev",
        "waf-logs": f"aws-waf-logs-{PROJECT}-",
        "dashboard": f"{PROJECT}-dev",
    }, "a resource with a fixed name cannot be replaced without a gap"


# Alarms


def test_every_alarm_watches_a_metric_that_exists(program: Program) -> None:
    filters = find(program, "cloudwatch/logMetricFilter:LogMetricFilter")
    counted = [made.inputs["metricTransformation"] for made in filters]
    own = {(made["namespace"], made["name"], *made.get("dimensions", ())) for made in counted}
    alarms = find(program, ALARM)
    assert alarms
    for alarm in alarms:
        namespace, metric = alarm.inputs["namespace"], alarm.inputs["metricName"]
        dimensions = alarm.inputs.get("dimensions", {})
        of_aws = METRICS.get(namespace, {}).get(metric, ())
        assert (namespace, metric, *dimensions) in own or {*dimensions} in of_aws, (
            f"{alarm.name} would never sound"
        )


# Policies


def statements(program: Program) -> Iterator[tuple[Resource, dict[str, Any]]]:
    """Yield each statement of each policy, with the resource that has it."""
    for resource in program.resources.items:
        for key in ("policy", "assumeRolePolicy"):
            if key in resource.inputs:
                for statement in json.loads(resource.inputs[key])["Statement"]:
                    yield resource, statement


def test_no_policy_allows_any_action_or_any_principal(everything: Program) -> None:
    found = list(statements(everything))
    assert len(found) > 5
    for resource, statement in found:
        assert "*" not in json.dumps(statement["Action"]), resource.name
        assert "NotAction" not in statement
        if resource.type == "aws:ec2/vpcEndpoint:VpcEndpoint":
            # It only narrows what the callers' own policies allow.
            assert statement["Principal"] == "*"
            assert statement["Resource"] == only(everything, TABLE).outputs["arn"]
        else:
            assert statement.get("Principal") != "*", resource.name


def test_roles_may_do_only_what_their_own_policies_say(everything: Program) -> None:
    managed = find(everything, "iam/rolePolicyAttachment:RolePolicyAttachment")
    assert [short(attachment) for attachment in managed] == ["gateway-logs-policy"]
    for role in find(everything, "iam/role:Role"):
        assert set(role.inputs) == {"assumeRolePolicy"}, "no other inline or managed policies"


def test_only_the_logging_of_the_account_outlives_a_stack(program: Program) -> None:
    assert {
        short(resource) for resource in program.resources.items if resource.retain_on_delete
    } == {
        *("gateway-account", "gateway-logs-role", "gateway-logs-policy"),
    }
