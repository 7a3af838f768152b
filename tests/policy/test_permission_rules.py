"""Rules on IAM and endpoint policies."""

import json
from typing import Any

import pytest

from policy.rules.model import UNKNOWN, Resource
from tests.policy.resources import made, violations

ACTIONS, RESOURCES = "no-wildcard-actions", "no-wildcard-resources"
TABLE = "arn:aws:dynamodb:eu-central-1:000000000000:table/records"
PUT, TRACE = "dynamodb:PutItem", "xray:PutTraceSegments"
ENDPOINT, ROLE = "ec2/vpcEndpoint:VpcEndpoint", "iam/role:Role"
POLICIES = [ENDPOINT, "iam/rolePolicy:RolePolicy", "iam/policy:Policy"]


def policy(token: str = POLICIES[1], /, effect: str = "Allow", **statement: object) -> Resource:
    return made(token, policy=json.dumps({"Statement": [{"Effect": effect, **statement}]}))


def attached(name: object) -> Resource:
    arn = name if name is UNKNOWN else f"arn:aws:iam::aws:policy/{name}"
    return made("iam/rolePolicyAttachment:RolePolicyAttachment", policyArn=arn)


ALL = json.dumps({"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}})
LOG_GROUP = "arn:aws:logs:eu-central-1:000000000000:log-group:mine:*"
WIDE = [
    "arn:aws:dynamodb:*:*:table/*",
    "arn:aws:dynamodb:eu-central-1:000000000000:*",
    *("arn:aws:s3:::*", "arn:aws:dynamodb:*", "?*"),
]
NO_POLICY = "no policy, and AWS's default allows every action on every resource"


@pytest.mark.parametrize(
    "resource",
    [
        *(policy(token, Action=[PUT], Resource=TABLE) for token in POLICIES),
        policy(Action="logs:PutLogEvents", Resource=[LOG_GROUP, "arn:aws:s3:::bucket/*"]),
        policy(Action=[TRACE], Resource="*"),  # AWS has no resource for it
        policy(effect="Deny", Action="*", Resource="*"),
        attached("service-role/AmazonAPIGatewayPushToCloudWatchLogs"),
        made(ENDPOINT, policy=UNKNOWN),
        *(made(POLICIES[1], policy=one) for one in ("", "{", "[]", '{"Statement": ["x"]}')),
        made(ROLE, inlinePolicies=[{"name": "a", "policy": UNKNOWN}]),
    ],
)
def test_narrow_and_unknown_policies_are_fine(resource: Resource) -> None:
    assert violations(ACTIONS, resource) == violations(RESOURCES, resource) == []


@pytest.mark.parametrize("token", POLICIES)
@pytest.mark.parametrize(
    ("rule", "key", "wide", "what"),
    [
        *((ACTIONS, "Action", wide, wide) for wide in ("*", "dynamodb:*", "dynamodb:Put?tem")),
        *((RESOURCES, "Resource", wide, f"{PUT} on {wide}") for wide in ("*", *WIDE)),
    ],
)
def test_a_policy_must_not_allow_everything(
    token: str, rule: str, key: str, wide: str, what: str
) -> None:
    narrow: dict[str, Any] = {"Action": [TRACE, PUT], "Resource": TABLE}
    for form in (wide, [TRACE if key == "Action" else TABLE, wide]):
        resource = policy(token, **{**narrow, key: form})
        assert violations(rule, resource) == [f"it: it allows {what}"]


@pytest.mark.parametrize(
    ("rule", "resource", "what"),
    [
        (ACTIONS, policy(NotAction="iam:*"), "it allows every action except those of NotAction"),
        (
            RESOURCES,
            policy(Action=PUT, NotResource=TABLE),
            f"it allows {PUT} on all resources except those of NotResource",
        ),
        (ACTIONS, made(ENDPOINT), NO_POLICY),
        (ACTIONS, made(ROLE, inlinePolicies=[{"policy": ALL}]), "it allows *"),
        (RESOURCES, made(ROLE, inlinePolicies=[{"policy": ALL}]), "it allows * on *"),
        (ACTIONS, attached("AdministratorAccess"), "it attaches AdministratorAccess"),
        (ACTIONS, attached("PowerUserAccess"), "it attaches PowerUserAccess"),
    ],
)
def test_other_ways_to_allow_everything_are_found(rule: str, resource: Resource, what: str) -> None:
    assert violations(rule, resource) == [f"it: {what}"]
