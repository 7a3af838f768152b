"""IAM and endpoint policies."""

import json

import pytest

from policy.rules import permissions
from policy.rules.model import UNKNOWN, Resource
from tests.policy.resources import made, violations

TABLE = "arn:aws:dynamodb:eu-central-1:000000000000:table/records"
ENDPOINT = "aws:ec2/vpcEndpoint:VpcEndpoint"
POLICIES = [ENDPOINT, "aws:iam/rolePolicy:RolePolicy", "aws:iam/policy:Policy"]


def allowing(token: str, **statement: object) -> Resource:
    document = {"Statement": [{"Effect": "Allow", **statement}]}
    return made(token, policy=json.dumps(document))


@pytest.mark.parametrize("token", POLICIES)
def test_exact_actions_on_exact_resources_are_fine(token: str) -> None:
    resource = allowing(token, Action=["dynamodb:PutItem"], Resource=TABLE)

    assert not violations(permissions.NO_WILDCARD_ACTIONS, resource)
    assert not violations(permissions.NO_WILDCARD_RESOURCES, resource)


@pytest.mark.parametrize("token", POLICIES)
@pytest.mark.parametrize("action", ["*", "dynamodb:*", "dynamodb:Put*"])
def test_actions_with_a_wildcard_are_found(token: str, action: str) -> None:
    for form in (action, [action]):
        resource = allowing(token, Action=form, Resource=TABLE)

        assert violations(permissions.NO_WILDCARD_ACTIONS, resource) == [f"it: it allows {action}"]


def test_all_actions_but_some_are_found() -> None:
    resource = allowing(POLICIES[1], NotAction="iam:*", Resource=TABLE)

    assert violations(permissions.NO_WILDCARD_ACTIONS, resource)


def test_what_is_denied_may_be_wide() -> None:
    statement = {"Effect": "Deny", "Action": "*", "Resource": "*"}
    resource = made(POLICIES[1], policy=json.dumps({"Statement": statement}))

    assert not violations(permissions.NO_WILDCARD_ACTIONS, resource)
    assert not violations(permissions.NO_WILDCARD_RESOURCES, resource)


def test_an_endpoint_without_a_policy_is_found() -> None:
    assert violations(permissions.NO_WILDCARD_ACTIONS, made(ENDPOINT)) == [
        "it: no policy, which is AWS's default of every action on every resource"
    ]


def test_a_policy_that_is_not_known_yet_is_fine() -> None:
    assert not violations(permissions.NO_WILDCARD_ACTIONS, made(ENDPOINT, policy=UNKNOWN))
    assert not violations(permissions.NO_WILDCARD_RESOURCES, made(ENDPOINT, policy=UNKNOWN))


def test_policies_within_a_role_are_read() -> None:
    document = json.dumps({"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}})
    role = made("aws:iam/role:Role", inlinePolicies=[{"name": "all", "policy": document}])

    assert violations(permissions.NO_WILDCARD_ACTIONS, role)
    assert violations(permissions.NO_WILDCARD_RESOURCES, role)


def test_managed_policies_that_allow_everything_are_found() -> None:
    token, prefix = "aws:iam/rolePolicyAttachment:RolePolicyAttachment", "arn:aws:iam::aws:policy"
    for name in ("AdministratorAccess", "AmazonDynamoDBFullAccess", "PowerUserAccess"):
        resource = made(token, policyArn=f"{prefix}/{name}")

        assert violations(permissions.NO_WILDCARD_ACTIONS, resource) == [f"it: it attaches {name}"]
    narrow = f"{prefix}/service-role/AmazonAPIGatewayPushToCloudWatchLogs"
    for arn in (narrow, UNKNOWN):
        assert not violations(permissions.NO_WILDCARD_ACTIONS, made(token, policyArn=arn))


@pytest.mark.parametrize("token", POLICIES)
@pytest.mark.parametrize(
    "name",
    ["*", "arn:aws:dynamodb:*:*:table/*", "arn:aws:dynamodb:eu-central-1:000000000000:*"],
)
def test_resources_that_are_everything_are_found(token: str, name: str) -> None:
    for form in (name, [TABLE, name]):
        resource = allowing(token, Action="dynamodb:PutItem", Resource=form)

        assert violations(permissions.NO_WILDCARD_RESOURCES, resource) == [
            f"it: it allows dynamodb:PutItem on {name}"
        ]


def test_all_resources_but_some_are_found() -> None:
    resource = allowing(POLICIES[1], Action="dynamodb:PutItem", NotResource=TABLE)

    assert violations(permissions.NO_WILDCARD_RESOURCES, resource)


def test_actions_that_aws_gives_no_resource_may_name_any() -> None:
    resource = allowing(POLICIES[1], Action=["xray:PutTraceSegments"], Resource="*")

    assert not violations(permissions.NO_WILDCARD_RESOURCES, resource)


def test_an_action_that_takes_a_resource_is_not_excused_by_one_that_does_not() -> None:
    actions = ["xray:PutTraceSegments", "dynamodb:PutItem"]
    resource = allowing(POLICIES[1], Action=actions, Resource="*")

    assert violations(permissions.NO_WILDCARD_RESOURCES, resource) == [
        "it: it allows dynamodb:PutItem on *"
    ]


def test_what_is_within_one_resource_is_not_everything() -> None:
    group = "arn:aws:logs:eu-central-1:000000000000:log-group:mine:*"
    for name in (group, "arn:aws:s3:::bucket/*"):
        resource = allowing(POLICIES[1], Action="logs:PutLogEvents", Resource=name)

        assert not violations(permissions.NO_WILDCARD_RESOURCES, resource)
