"""IAM and endpoint policies name the actions that they allow, and the resources."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from .model import Each, Resource, Rule, at, given, listed

_ENDPOINT: Final = "aws:ec2/vpcEndpoint:VpcEndpoint"
_ATTACHMENTS: Final = {
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
    "aws:iam/userPolicyAttachment:UserPolicyAttachment",
    "aws:iam/groupPolicyAttachment:GroupPolicyAttachment",
    "aws:iam/policyAttachment:PolicyAttachment",
}
_WITH_POLICY: Final = {
    _ENDPOINT,
    "aws:ec2/vpcEndpointPolicy:VpcEndpointPolicy",
    "aws:iam/role:Role",
    "aws:iam/rolePolicy:RolePolicy",
    "aws:iam/policy:Policy",
    "aws:iam/userPolicy:UserPolicy",
    "aws:iam/groupPolicy:GroupPolicy",
}
_ALLOWS_EVERYTHING: Final = re.compile(
    r"arn:[\w-]+:iam::aws:policy/(.*/)?(\w*FullAccess|AdministratorAccess|PowerUserAccess)"
)
TAKES_NO_ARN: Final = {
    # https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsx-ray.html
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
    # Lambda checks these against any resource before it attaches a function to a VPC.
    # https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
    # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatch.html
    "cloudwatch:PutMetricData",
}
"""Actions that a policy can allow on `*` only."""
# A whole service, or all resources of a type: `arn:...:table/*`. In S3 ARNs a bucket's name comes
# first: `arn:aws:s3:::bucket/*` is one bucket.
_EVERYTHING: Final = re.compile(
    r"[*?]+|arn(:[^:]*){0,4}[*?]|arn(:[^:]*){4}:[*?]+"
    r"|arn:[^:]*:(?!s3:)[^:]*:[^:]*:[^:]*:[\w-]+[/:][*?]+"
)


def _allowing(resource: Resource) -> Iterator[dict[str, Any]]:
    """Return the statements that allow something, of all policies that are known."""
    policies = [resource.get("policy")]
    policies += [at(policy, "policy") for policy in resource.items("inlinePolicies")]
    for policy in policies:
        with suppress(ValueError, TypeError, LookupError):  # AWS refuses what is not a policy
            for statement in listed(json.loads(policy)["Statement"]):
                if statement["Effect"] == "Allow":
                    yield statement


def _wide_actions(resource: Resource) -> Iterator[str]:
    arn = resource.get("policyArn")
    if isinstance(arn, str) and _ALLOWS_EVERYTHING.fullmatch(arn):
        yield f"it attaches {arn.rpartition('/')[2]}"
    if resource.type == _ENDPOINT and not given(resource.get("policy")):
        yield "no policy, and AWS's default allows every action on every resource"
    for statement in _allowing(resource):
        if "NotAction" in statement:
            yield "it allows every action except those of NotAction"
        for action in listed(statement.get("Action")):
            if "*" in action or "?" in action:
                yield f"it allows {action}"


def _wide_resources(resource: Resource) -> Iterator[str]:
    for statement in _allowing(resource):
        actions = listed(statement.get("Action"))
        if "NotResource" in statement:
            yield f"it allows {', '.join(actions)} on all resources except those of NotResource"
        narrowable = [action for action in actions if action not in TAKES_NO_ARN]
        for name in listed(statement.get("Resource")):
            if narrowable and _EVERYTHING.fullmatch(name):
                yield f"it allows {', '.join(narrowable)} on {name}"


RULES: Final = (
    Rule(
        name="no-wildcard-actions",
        why="The function stores items and does nothing else. Whatever a wildcard allows besides, "
        "an attacker who takes over the function may do too.",
        reference="https://docs.aws.amazon.com/IAM/latest/UserGuide/best-practices.html",
        fix="Name the exact actions in components/iam.py.",
        check=Each(_WITH_POLICY | _ATTACHMENTS, _wide_actions),
    ),
    Rule(
        name="no-wildcard-resources",
        why="A permission on every resource reaches the tables, logs and keys of all other stacks "
        "in the account.",
        reference="https://docs.aws.amazon.com/service-authorization/latest/reference/"
        "reference_policies_actions-resources-contextkeys.html",
        fix="Name the resource's ARN in components/iam.py. If AWS has no resource for an action, "
        "add it with its reference to TAKES_NO_ARN in policy/rules/permissions.py.",
        check=Each(_WITH_POLICY, _wide_resources),
    ),
)
