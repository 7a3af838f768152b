"""The IAM and endpoint policies of the stack, as documents: exact actions, exact ARNs."""

from typing import Any

Policy = dict[str, Any]


def _policy(*statements: Policy) -> Policy:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _allow(actions: list[str], resource: str | list[str], **more: object) -> Policy:
    return {"Effect": "Allow", "Action": actions, "Resource": resource, **more}


def trust(service: str, account_id: str | None = None) -> Policy:
    """Who may take a role: an AWS service, on behalf of `account_id` only if that is given.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html
    """
    statement: Policy = {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sts:AssumeRole",
    }
    if account_id:
        statement["Condition"] = {"StringEquals": {"aws:SourceAccount": account_id}}
    return _policy(statement)


def table_endpoint(table_arn: str) -> Policy:
    """What may pass the VPC's DynamoDB endpoint: writes of items to this table.

    The principal is everyone because the endpoint only narrows what the callers' own policies
    allow; its default policy would let any of them reach any table in any account.
    """
    return _policy(_allow(["dynamodb:PutItem"], table_arn, Principal="*"))


def flow_logs(log_group_arn: str) -> Policy:
    """What VPC flow logs do: write to their own log group.

    https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-iam-role.html
    """
    return _policy(
        _allow(
            [
                "logs:CreateLogStream",
                "logs:DescribeLogGroups",
                "logs:DescribeLogStreams",
                "logs:PutLogEvents",
            ],
            [log_group_arn, f"{log_group_arn}:*"],
        )
    )


def function(table_arn: str, log_group_arn: str) -> Policy:
    """What the function does: write items to its table, logs to its group, and traces."""
    return _policy(
        _allow(["dynamodb:PutItem"], table_arn),
        # Not CreateLogGroup: Lambda would make a group of its own, without retention.
        _allow(["logs:CreateLogStream", "logs:PutLogEvents"], f"{log_group_arn}:*"),
        # X-Ray has no resources to name.
        # https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsx-ray.html
        _allow(["xray:PutTelemetryRecords", "xray:PutTraceSegments"], "*"),
        # Lambda makes the network interfaces with the function's role, and checks the permission
        # against any of them.
        # https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html
        _allow(
            [
                "ec2:AssignPrivateIpAddresses",
                "ec2:CreateNetworkInterface",
                "ec2:DeleteNetworkInterface",
                "ec2:DescribeNetworkInterfaces",
                "ec2:DescribeSubnets",
                "ec2:UnassignPrivateIpAddresses",
            ],
            "*",
        ),
    )
