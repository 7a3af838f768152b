"""The IAM and endpoint policies, as whole documents. `test_contracts` has rules for all of them."""

from typing import Any

import pytest

from components import iam

TABLE = "arn:aws:dynamodb:eu-central-1:111122223333:table/records"
ACTIONS = ["dynamodb:GetItem", "dynamodb:PutItem"]
LOGS = "arn:aws:logs:eu-central-1:111122223333:log-group:logs"


def policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", **statement} for statement in statements],
    }


LAMBDA = {"Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}


@pytest.mark.parametrize(
    ("account_id", "condition"),
    [
        (None, {}),
        ("111122223333", {"Condition": {"StringEquals": {"aws:SourceAccount": "111122223333"}}}),
    ],
)
def test_a_service_assumes_a_role_for_any_account_or_for_one_only(
    account_id: str | None, condition: dict[str, Any]
) -> None:
    assert iam.trust("lambda.amazonaws.com", account_id) == policy({**LAMBDA, **condition})


def test_only_the_actions_of_the_routes_on_the_table_pass_the_endpoint() -> None:
    assert iam.table_endpoint(TABLE, ACTIONS) == policy(
        {"Action": ACTIONS, "Resource": TABLE, "Principal": "*"}
    )


def test_flow_logs_write_to_their_own_group_only() -> None:
    actions = ["CreateLogStream", "DescribeLogGroups", "DescribeLogStreams", "PutLogEvents"]
    assert iam.flow_logs(LOGS) == policy(
        {"Action": [f"logs:{action}" for action in actions], "Resource": [LOGS, f"{LOGS}:*"]}
    )


def test_the_function_reaches_table_logs_traces_and_network_and_nothing_else() -> None:
    network = [
        *("AssignPrivateIpAddresses", "CreateNetworkInterface", "DeleteNetworkInterface"),
        *("DescribeNetworkInterfaces", "DescribeSubnets", "UnassignPrivateIpAddresses"),
    ]
    assert iam.function(TABLE, LOGS, ACTIONS) == policy(
        {"Action": ACTIONS, "Resource": TABLE},
        {"Action": ["logs:CreateLogStream", "logs:PutLogEvents"], "Resource": f"{LOGS}:*"},
        {"Action": ["xray:PutTelemetryRecords", "xray:PutTraceSegments"], "Resource": "*"},
        {"Action": [f"ec2:{action}" for action in network], "Resource": "*"},
        # Lambda may do it, with the role. The code of the function may not.
        {
            "Effect": "Deny",
            "Action": [f"ec2:{action}" for action in network],
            "Resource": "*",
            "Condition": {"ArnLike": {"lambda:SourceFunctionArn": "arn:aws:lambda:*:*:function:*"}},
        },
    )
