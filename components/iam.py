"""The IAM and endpoint policies of the stack, as documents.

Actions are exact. Resources are exact too, except where AWS has no ARN to name: those statements
have `*`, with the reason beside it.
"""

from typing import Any, Final

Policy = dict[str, Any]
_BY_CODE: Final = {"ArnLike": {"lambda:SourceFunctionArn": "arn:aws:lambda:*:*:function:*"}}


def _policy(*statements: Policy) -> Policy:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _statement(actions: list[str], resource: str | list[str], **more: object) -> Policy:
    return {"Effect": "Allow", "Action": actions, "Resource": resource, **more}


def trust(service: str, account_id: str | None = None) -> Policy:
    """Return the trust policy of a role that an AWS service assumes, for one account or for any.

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


def table_endpoint(table_arn: str, actions: list[str]) -> Policy:
    """Return the policy of the VPC's DynamoDB endpoint: only these actions on this table pass.

    The principal is everyone, because an endpoint policy grants nothing: it narrows what the
    callers' own policies allow. AWS's default policy lets them reach any table in any account.
    """
    return _policy(_statement(actions, table_arn, Principal="*"))


def flow_logs(log_group_arn: str) -> Policy:
    """Return what the role of the VPC's flow logs may do: write to their own log group.

    https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-iam-role.html
    """
    return _policy(
        _statement(
            [
                "logs:CreateLogStream",
                "logs:DescribeLogGroups",
                "logs:DescribeLogStreams",
                "logs:PutLogEvents",
            ],
            # With `:*`, the log streams of the group.
            [log_group_arn, f"{log_group_arn}:*"],
        )
    )


def function(table_arn: str, log_group_arn: str, table_actions: list[str]) -> Policy:
    """Return what the function's role may do.

    It may take these actions on its table, write logs to its group, send traces, and attach the
    function to the VPC. The last is for Lambda itself: the function's code may not do it.
    """
    network = [
        "ec2:AssignPrivateIpAddresses",
        "ec2:CreateNetworkInterface",
        "ec2:DeleteNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:UnassignPrivateIpAddresses",
    ]
    return _policy(
        _statement(table_actions, table_arn),
        # Without CreateLogGroup: Lambda would create a group that keeps its logs forever.
        _statement(["logs:CreateLogStream", "logs:PutLogEvents"], f"{log_group_arn}:*"),
        # `*`, because X-Ray has no resource type for these actions.
        # https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsx-ray.html
        _statement(["xray:PutTelemetryRecords", "xray:PutTraceSegments"], "*"),
        # `*`, because Lambda creates the network interfaces itself, with this role: their ARNs are
        # not known beforehand. The Describe actions take no ARN at all.
        # https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html
        _statement(network, "*"),
        # Only calls by the code of a function have this key. Which function does not matter, and
        # this one's ARN is not known: it is created after its role's policy.
        # https://docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html
        _statement(network, "*", Effect="Deny", Condition=_BY_CODE),
    )
