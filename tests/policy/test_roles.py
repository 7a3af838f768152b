"""The roles that CI takes hold what the program needs, and the documents are current."""

import json
from typing import Any

import boto3
import pytest
from pulumi.runtime.mocks import MockCallArgs

from settings.files import read_stack
from tools.policy.role_actions import ACTIONS, LOOKUPS, Limit
from tools.policy.roles import FOLDER, documents, registered
from policy.rules.permissions import NO_WILDCARD_ACTIONS
from tools.sandbox import program
from tests.policy.resources import made, violations

# What AWS checks that is no operation of an API.
PERMISSIONS_ONLY = {
    *("apigateway:DELETE", "apigateway:GET", "apigateway:PATCH", "apigateway:POST"),
    *("apigateway:PUT", "apigateway:SetWebACL"),
    *("iam:PassRole", "logs:CreateLogDelivery", "logs:DeleteLogDelivery"),
}
ALL_GRANTS = [grant for grants in (*ACTIONS.values(), *LOOKUPS.values()) for grant in grants]


@pytest.fixture(scope="module")
def current() -> dict[str, dict[str, Any]]:
    return documents()


@pytest.mark.parametrize("name", ["preview.json", "deploy.json"])
def test_the_documents_are_current(name: str, current: dict[str, dict[str, Any]]) -> None:
    kept = json.loads((FOLDER / name).read_text())

    assert kept == current[name], "run: .venv/bin/python -m tools.policy.roles"


def test_every_type_that_the_program_registers_has_its_actions() -> None:
    types, regions = registered("throttled-api")

    assert set(types) <= set(ACTIONS), "say in policy/role_actions.py what the new types need"
    assert set(ACTIONS) <= set(types), "take what nobody registers out of policy/role_actions.py"
    assert regions == ["eu-central-1"]


def test_everything_that_the_program_looks_up_has_its_actions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: set[str] = set()
    answer = program._Aws.call

    def call(aws: program._Aws, args: MockCallArgs) -> object:
        asked.add(args.token)
        return answer(aws, args)

    monkeypatch.setattr(program._Aws, "call", call)
    program.run_program(
        read_stack(program.ROOT, "prod"), project="throttled-api", stack="prod", preview=True
    )

    assert asked == set(LOOKUPS)


def test_every_action_is_one_that_aws_has() -> None:
    named = {action for grant in ALL_GRANTS for action in grant.actions.split()}

    for service in {action.partition(":")[0] for action in named - PERMISSIONS_ONLY}:
        operations = boto3.client(service, region_name="eu-central-1").meta.service_model
        known = {f"{service}:{name}" for name in operations.operation_names}
        of_service = {action for action in named if action.startswith(f"{service}:")}
        assert of_service - PERMISSIONS_ONLY <= known


def test_a_preview_may_look_up_zones_and_nothing_else(current: dict[str, dict[str, Any]]) -> None:
    assert current["preview.json"] == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "Any",
                "Effect": "Allow",
                "Action": ["ec2:DescribeAvailabilityZones"],
                "Resource": ["*"],
                "Condition": {"StringEquals": {"aws:RequestedRegion": ["eu-central-1"]}},
            }
        ],
    }


def test_the_role_that_deploys_is_bounded(current: dict[str, dict[str, Any]]) -> None:
    deploy = current["deploy.json"]
    by_sid = {statement["Sid"]: statement for statement in deploy["Statement"]}
    policy = made("aws:iam/policy:Policy", policy=json.dumps(deploy))

    assert not violations(NO_WILDCARD_ACTIONS, policy)
    assert set(by_sid) == {limit.name.capitalize() for limit in Limit}
    for sid, statement in by_sid.items():
        in_any_resource = statement["Resource"] == ["*"]
        assert in_any_resource == (sid in ("Any", "Tagged"))
        assert ("Condition" in statement) == (sid != "Roles")
    assert {action.partition(":")[0] for action in by_sid["Any"]["Action"]} == {
        "ec2",
        "logs",
        "sns",
    }
    assert by_sid["Passed"] == {
        "Sid": "Passed",
        "Effect": "Allow",
        "Action": ["iam:PassRole"],
        "Resource": ["arn:aws:iam::*:role/throttled-api-*"],
        "Condition": {
            "StringEquals": {
                "iam:PassedToService": [
                    "apigateway.amazonaws.com",
                    "lambda.amazonaws.com",
                    "vpc-flow-logs.amazonaws.com",
                ]
            }
        },
    }
    assert by_sid["Managed"]["Condition"] == {
        "ArnEquals": {
            "iam:PolicyARN": "arn:aws:iam::aws:policy/service-role/"
            "AmazonAPIGatewayPushToCloudWatchLogs"
        }
    }


def test_the_documents_fit_into_managed_policies(current: dict[str, dict[str, Any]]) -> None:
    for document in current.values():
        # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
        assert len(json.dumps(document, separators=(",", ":"))) <= 6_144
