"""Calls of DynamoDB, held against the policies that the program registers."""

from dataclasses import replace
from typing import Any

import pytest

from settings import UserError
from tests.stacks import deploy
from tools.recorder.resources import Resource
from tools.sandbox.permissions import Permissions, read_policy

TABLE = "arn:aws:dynamodb:eu-central-1:000000000000:table/records"
PUT = {"Effect": "Allow", "Action": "dynamodb:PutItem", "Resource": TABLE}


def holder(name: str, statements: object) -> Resource:
    """Return a resource with a policy of these statements."""
    (sample,) = deploy().resources.of_type("aws:dynamodb/table:Table")
    return replace(sample, name=name, inputs={"policy": {"Statement": statements}})


def refusal(
    statements: list[dict[str, Any]],
    operation: str,
    endpoint: dict[str, Any] | None = None,
    **body: object,
) -> str:
    policies = [read_policy("identity-based policy", [holder("role", statements)])]
    if endpoint:
        policies.append(read_policy("VPC endpoint policy", [holder("endpoint", endpoint)]))
    permissions = Permissions(user="USER", account_id="0" * 12, policies=policies)
    sent = Permissions.model_validate_json(permissions.model_dump_json())
    return sent.refusal(operation, "eu-central-1", body)


def test_a_missing_permission_is_refused_in_the_words_of_aws() -> None:
    assert refusal([PUT], "GetItem", TableName="records") == (
        f"User: USER is not authorized to perform: dynamodb:GetItem on resource: {TABLE} "
        "because no identity-based policy allows the dynamodb:GetItem action"
    )
    get = PUT | {"Action": ["dynamodb:GetItem"]}
    assert refusal([get], "GetItem", PUT | {"Principal": "*"}, TableName="records").endswith(
        "because no VPC endpoint policy allows the dynamodb:GetItem action"
    )
    assert refusal(
        [PUT, PUT | {"Effect": "Deny", "Action": "*"}], "PutItem", TableName="records"
    ).endswith("with an explicit deny in an identity-based policy")


@pytest.mark.parametrize(
    ("statement", "operation", "body", "passes"),
    [
        ({}, "PutItem", {"TableName": "records"}, True),
        ({}, "PutItem", {"TableName": TABLE}, True),
        ({}, "PutItem", {"TableName": "other"}, False),
        ({"Action": "DynamoDB:put*"}, "PutItem", {"TableName": "records"}, True),
        ({"Action": "dynamodb:P?tItem"}, "PutItem", {"TableName": "records"}, True),
        ({"Action": "*", "Resource": "*"}, "ListTables", {}, True),
        ({"Action": "*"}, "ListTables", {}, False),
        ({"Resource": [f"{TABLE}/index/*"]}, "PutItem", {"TableName": "records"}, False),
        (
            {"Action": "dynamodb:Query", "Resource": f"{TABLE}/index/*"},
            "Query",
            {"TableName": "records", "IndexName": "by-year"},
            True,
        ),
        ({}, "BatchWriteItem", {"RequestItems": {"records": []}}, False),
        (
            {"Action": "dynamodb:BatchWriteItem"},
            "BatchWriteItem",
            {"RequestItems": {"records": [], "other": []}},
            False,
        ),
        ({}, "TransactWriteItems", {"TransactItems": [{"Put": {"TableName": "records"}}]}, True),
        (
            {},
            "TransactWriteItems",
            {"TransactItems": [{"ConditionCheck": {"TableName": "records"}}]},
            False,
        ),
        ({}, "ExecuteStatement", {"Statement": "INSERT INTO records"}, False),
    ],
)
def test_each_call_needs_its_actions_on_its_tables(
    statement: dict[str, Any], operation: str, body: dict[str, Any], passes: bool
) -> None:
    assert (refusal([PUT | statement], operation, **body) == "") == passes


@pytest.mark.parametrize(
    "change",
    [
        {"Condition": {"StringEquals": {"aws:SourceVpce": "vpce-1"}}},
        {"NotResource": "x"},
        {"NotAction": "dynamodb:PutItem", "Action": []},
        {"Principal": {"AWS": "arn:aws:iam::1:root"}},
    ],
)
def test_what_is_not_understood_is_refused_by_name(change: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=rf"^role: .* understand {next(iter(change))} in"):
        refusal([PUT | change], "PutItem")
    elsewhere = PUT | change | {"Action": "ec2:DescribeSubnets"}
    refusal([elsewhere | {"Action": ["ec2:*", "logs:*"]}], "PutItem")
