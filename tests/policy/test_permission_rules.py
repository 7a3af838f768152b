"""Rules on IAM and endpoint policies."""

import json

import pytest

from policy.rules.model import UNKNOWN, Resource
from tests.policy.resources import made, violations

ACTIONS, RESOURCES = "no-wildcard-actions", "no-wildcard-resources"
TABLE = "arn:aws:dynamodb:eu-central-1:000000000000:table/records"
ENDPOINT, ROLE_POLICY = "ec2/vpcEndpoint:VpcEndpoint", "iam/rolePolicy:RolePolicy"
POLICIES = [ENDPOINT, ROLE_POLICY, "iam/policy:Policy"]


def allowing(token: str = ROLE_POLICY, **statement: object) -> Resource:
    document = {"Statement": [{"Effect": "Allow", **statement}]}
    return made(token, policy=json.dumps(document))


@pytest.mark.parametrize("token", POLICIES)
def test_exact_actions_on_exact_resources_are_fine(token: str) -> None:
    resource = allowing(token, Action=["dynamodb:PutItem"], Resource=TABLE)

    assert violations(ACTIONS, resource) == violations(RESOURCES, resource) == []


@pytest.mark.parametrize("token", POLICIES)
@pytest.mark.parametrize("action", ["*", "dynamodb:*", "dynamodb:Put*"])
def test_an_action_must_not_have_a_wildcard(token: str, action: str) -> None:
    for form in (action, [action]):
        resource = allowing(token, Action=form, Resource=TABLE)

        assert violations(ACTIONS, resource) == [f"it: it allows {action}"]


@pytest.mark.parametrize("token", POLICIES)
@pytest.mark.parametrize(
    "name",
    ["*", "arn:aws:dynamodb:*:*:table/*", "arn:aws:dynamodb:eu-central-1:000000000000:*"],
)
def test_a_resource_must_not_be_everything(token: str, name: str) -> None:
    for form in (name, [TABLE, name]):
        resource = allowing(token, Action="dynamodb:PutItem", Resource=form)

        assert violations(RESOURCES, resource) == [f"it: it allows dynamodb:PutItem on {name}"]


@pytest.mark.parametrize(
    "name",
    ["arn:aws:logs:eu-central-1:000000000000:log-group:mine:*", "arn:aws:s3:::bucket/*"],
)
def test_a_wildcard_within_one_resource_is_fine(name: str) -> None:
    assert violations(RESOURCES, allowing(Action="logs:PutLogEvents", Resource=name)) == []


def test_exceptions_are_no_limits() -> None:
    but_actions = allowing(NotAction="iam:*", Resource=TABLE)
    but_resources = allowing(Action="dynamodb:PutItem", NotResource=TABLE)

    assert violations(ACTIONS, but_actions) == [
        "it: it allows every action except those of NotAction"
    ]
    assert violations(RESOURCES, but_resources) == [
        "it: it allows dynamodb:PutItem on all resources except those of NotResource"
    ]


def test_an_action_without_resources_in_aws_may_name_any_but_excuses_no_other() -> None:
    alone = allowing(Action=["xray:PutTraceSegments"], Resource="*")
    beside = allowing(Action=["xray:PutTraceSegments", "dynamodb:PutItem"], Resource="*")

    assert violations(RESOURCES, alone) == []
    assert violations(RESOURCES, beside) == ["it: it allows dynamodb:PutItem on *"]


def test_a_denial_may_be_wide() -> None:
    statement = {"Effect": "Deny", "Action": "*", "Resource": "*"}
    resource = made(ROLE_POLICY, policy=json.dumps({"Statement": statement}))

    assert violations(ACTIONS, resource) == violations(RESOURCES, resource) == []


def test_an_endpoint_needs_a_policy() -> None:
    found = ["it: no policy, and AWS's default allows every action on every resource"]

    assert violations(ACTIONS, made(ENDPOINT)) == violations(ACTIONS, made(ENDPOINT, policy=""))
    assert violations(ACTIONS, made(ENDPOINT)) == found


def test_an_unknown_policy_is_fine() -> None:
    for resource in (
        made(ENDPOINT, policy=UNKNOWN),
        made("iam/role:Role", inlinePolicies=UNKNOWN),
        made("iam/role:Role", inlinePolicies=[{"name": "a", "policy": UNKNOWN}]),
    ):
        assert violations(ACTIONS, resource) == violations(RESOURCES, resource) == []


def test_the_policies_within_a_role_are_checked() -> None:
    document = json.dumps({"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}})
    role = made("iam/role:Role", inlinePolicies=[{"name": "all", "policy": document}])

    assert violations(ACTIONS, role) == ["it: it allows *"]
    assert violations(RESOURCES, role) == ["it: it allows * on *"]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("AdministratorAccess", ["it: it attaches AdministratorAccess"]),
        ("AmazonDynamoDBFullAccess", ["it: it attaches AmazonDynamoDBFullAccess"]),
        ("PowerUserAccess", ["it: it attaches PowerUserAccess"]),
        ("service-role/AmazonAPIGatewayPushToCloudWatchLogs", []),
    ],
)
def test_a_managed_policy_must_not_allow_everything(name: str, found: list[str]) -> None:
    token = "iam/rolePolicyAttachment:RolePolicyAttachment"

    assert violations(ACTIONS, made(token, policyArn=f"arn:aws:iam::aws:policy/{name}")) == found
    assert violations(ACTIONS, made(token, policyArn=UNKNOWN)) == []
