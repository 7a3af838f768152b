"""`python -m tools roles`: the policies of the roles that CI assumes."""

import json
import re
from pathlib import Path
from typing import Any

import boto3
import pytest
from pulumi.runtime.mocks import MockMonitor

from settings import UserError
from tests.edits import edit
from tests.policy.resources import made, violations
from tests.stacks import PROJECT, config
from tools.__main__ import main
from tools.policy.roles import ACTIONS, Role, action_names, documents, registered_types
from tools.recorder.program import run_program

ALL = [config("dev"), config("prod")]
# Permissions that are not named after an operation of the service's API.
NO_OPERATIONS = {
    *("apigateway:DELETE", "apigateway:GET", "apigateway:PATCH", "apigateway:POST"),
    *("apigateway:PUT", "apigateway:SetWebACL"),
    *("iam:PassRole", "logs:CreateLogDelivery", "logs:DeleteLogDelivery"),
}
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def current() -> dict[Role, dict[str, Any]]:
    return documents(ALL)


def test_a_policy_is_printed_as_the_program_needs_it(project: Path, capsys: Capture) -> None:
    assert main(["roles", "deploy"]) == 0
    assert (
        json.loads(capsys.readouterr().out) == documents([config("dev"), config("prod")])["deploy"]
    )


def test_types_without_actions_are_an_error_that_says_what_to_add(
    project: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = ["aws:s3/bucket:Bucket", "aws:ssm/document:Document"]
    monkeypatch.setattr("tools.policy.roles.registered_types", lambda _: tokens)
    assert main(["roles"]) == 2
    error = capsys.readouterr().err
    assert f"The program registers {', '.join(tokens)}: the actions of the" in error
    assert "Add each type to `types` in tools/policy/role_actions.yaml" in error


def test_a_project_without_stacks_and_a_stack_without_region_are_errors(
    project: Path, capsys: Capture
) -> None:
    edit(project / "Pulumi.dev.yaml", "  aws:region: eu-central-1\n", "")
    assert main(["roles"]) == 2
    assert "pulumi config set aws:region eu-central-1 --stack dev" in capsys.readouterr().err
    with pytest.raises(UserError, match="There is no stack"):
        documents([])


def test_only_types_that_the_program_can_register_have_actions() -> None:
    off: dict[str, Any] = {"waf": {"enabled": False}, "manageApiGatewayLogging": False}

    assert registered_types([config("dev")]) == sorted(ACTIONS["types"])
    assert registered_types([config("dev", **off)]) == sorted(ACTIONS["types"]), (
        "whatever the settings"
    )


def test_everything_that_the_program_looks_up_has_its_actions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: set[str] = set()
    answer = MockMonitor.Invoke

    def invoke(monitor: MockMonitor, request: Any) -> Any:  # noqa: ANN401  a message
        asked.add(request.tok)
        return answer(monitor, request)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(MockMonitor, "Invoke", invoke)
    run_program(config("prod"), preview=True)

    assert asked == set(ACTIONS["lookups"])


def test_every_action_is_one_that_aws_has() -> None:
    grants = [*ACTIONS["types"].values(), *ACTIONS["lookups"].values()]
    assert {key for grant in grants for key in grant} <= {*ACTIONS["statements"], "Resource"}
    texts = [text for grant in grants for key, text in grant.items() if key != "Resource"]
    named = set().union(*map(action_names, texts)) - NO_OPERATIONS

    for service in {action.partition(":")[0] for action in named}:
        model = boto3.client(service, region_name="eu-central-1").meta.service_model
        known = {f"{service}:{name}" for name in model.operation_names}
        assert {action for action in named if action.startswith(f"{service}:")} <= known


def test_a_preview_may_look_up_zones_and_nothing_else(current: dict[Role, dict[str, Any]]) -> None:
    condition = {"StringEquals": {"aws:RequestedRegion": ["eu-central-1"]}}
    actions = {"Action": ["ec2:DescribeAvailabilityZones"], "Resource": ["*"]}

    assert current["preview"]["Statement"] == [
        {"Sid": "Any", "Effect": "Allow", **actions, "Condition": condition}
    ]


def test_the_role_that_deploys_is_bounded(current: dict[Role, dict[str, Any]]) -> None:
    deploy = current["deploy"]
    by_sid = {statement["Sid"]: statement for statement in deploy["Statement"]}
    policy = made("iam/policy:Policy", policy=json.dumps(deploy))
    services = ["apigateway.amazonaws.com", "lambda.amazonaws.com", "vpc-flow-logs.amazonaws.com"]
    managed = "arn:aws:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"
    region = {"aws:RequestedRegion": ["eu-central-1"]}

    assert violations("no-wildcard-actions", policy) == []
    assert {action.partition(":")[0] for action in by_sid["Any"]["Action"]} == {
        *("cloudwatch", "ec2", "kms", "logs", "sns")
    }
    assert {sid: one.get("Condition") for sid, one in by_sid.items()} == {
        "Named": {"StringEquals": region},
        "Any": {"StringEquals": region},
        "Tagged": {"StringEquals": {**region, "aws:ResourceTag/project": PROJECT}},
        "Roles": None,
        "Passed": {"StringEquals": {"iam:PassedToService": services}},
        "Managed": {"ArnEquals": {"iam:PolicyARN": managed}},
        "Linked": {"StringEquals": {"iam:AWSServiceName": "ops.apigateway.amazonaws.com"}},
        "NotItself": None,
    }
    resources = {sid: one["Resource"] for sid, one in by_sid.items()}
    # Only an ARN with a wildcard includes others.
    apis = [arn for arn in resources.pop("Named") if "/restapis" in arn]
    assert apis == ["arn:aws:apigateway:*::/restapis", "arn:aws:apigateway:*::/restapis/*"]
    assert resources == {
        **{key: ["*"] for key in ("Any", "Tagged")},
        **{key: [f"arn:aws:iam::*:role/{PROJECT}-*"] for key in ("Roles", "Passed", "Managed")},
        "Linked": ["arn:aws:iam::*:role/aws-service-role/ops.apigateway.amazonaws.com/*"],
        "NotItself": [f"arn:aws:iam::*:role/ci-{PROJECT}-*"],
    }
    # The roles of CI that docs/ci.md creates, whatever the other statements allow.
    assert (by_sid["NotItself"]["Effect"], by_sid["NotItself"]["Action"]) == ("Deny", ["iam:*"])
    commands = (Path(__file__).parents[3] / "docs/ci.md").read_text()
    assert set(re.findall(r"--role-name (\S+)", commands)) == {"ci-PROJECT-prod"}
    assert by_sid["Linked"]["Action"] == ["iam:CreateServiceLinkedRole"]
    assert by_sid["Passed"]["Action"] == ["iam:PassRole"]


def test_the_documents_fit_into_managed_policies(current: dict[Role, dict[str, Any]]) -> None:
    for document in current.values():
        # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
        assert len(json.dumps(document, separators=(",", ":"))) <= 6_144
