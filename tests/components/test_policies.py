"""The IAM and endpoint policies, whole."""

from collections.abc import Iterator
from typing import Any

import pytest

from components import iam

TABLE = "arn:aws:dynamodb:eu-central-1:111122223333:table/records"
LOGS = "arn:aws:logs:eu-central-1:111122223333:log-group:logs"


def test_a_service_may_take_a_role() -> None:
    assert iam.trust("lambda.amazonaws.com") == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "lambda.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
    }


def test_a_service_may_take_a_role_on_behalf_of_one_account_only() -> None:
    assert iam.trust("vpc-flow-logs.amazonaws.com", "111122223333") == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "vpc-flow-logs.amazonaws.com"},
                "Action": "sts:AssumeRole",
                "Condition": {"StringEquals": {"aws:SourceAccount": "111122223333"}},
            }
        ],
    }


def test_only_writes_of_items_to_the_table_pass_the_endpoint() -> None:
    assert iam.table_endpoint(TABLE) == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["dynamodb:PutItem"],
                "Resource": TABLE,
                "Principal": "*",
            }
        ],
    }


def test_flow_logs_write_to_their_own_group_only() -> None:
    assert iam.flow_logs(LOGS) == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": [
                    "logs:CreateLogStream",
                    "logs:DescribeLogGroups",
                    "logs:DescribeLogStreams",
                    "logs:PutLogEvents",
                ],
                "Resource": [LOGS, f"{LOGS}:*"],
            }
        ],
    }


def test_the_function_writes_items_logs_and_traces_and_nothing_else() -> None:
    assert iam.function(TABLE, LOGS) == {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": ["dynamodb:PutItem"], "Resource": TABLE},
            {
                "Effect": "Allow",
                "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
                "Resource": f"{LOGS}:*",
            },
            {
                "Effect": "Allow",
                "Action": ["xray:PutTelemetryRecords", "xray:PutTraceSegments"],
                "Resource": "*",
            },
            {
                "Effect": "Allow",
                "Action": [
                    "ec2:AssignPrivateIpAddresses",
                    "ec2:CreateNetworkInterface",
                    "ec2:DeleteNetworkInterface",
                    "ec2:DescribeNetworkInterfaces",
                    "ec2:DescribeSubnets",
                    "ec2:UnassignPrivateIpAddresses",
                ],
                "Resource": "*",
            },
        ],
    }


def statements() -> Iterator[dict[str, Any]]:
    for policy in (
        iam.trust("lambda.amazonaws.com"),
        iam.trust("vpc-flow-logs.amazonaws.com", "111122223333"),
        iam.table_endpoint(TABLE),
        iam.flow_logs(LOGS),
        iam.function(TABLE, LOGS),
    ):
        yield from policy["Statement"]


@pytest.mark.parametrize("statement", list(statements()), ids=str)
def test_actions_are_exact_and_resources_too_where_aws_has_any_to_name(
    statement: dict[str, Any],
) -> None:
    actions = statement["Action"]
    actions = [actions] if isinstance(actions, str) else actions
    assert not any("*" in action for action in actions)
    if statement.get("Resource") == "*":
        assert {action.partition(":")[0] for action in actions} <= {"xray", "ec2"}, (
            "only traces and the VPC's network interfaces have no resource to name"
        )
