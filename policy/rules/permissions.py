"""IAM and endpoint policies name what they allow, and on what."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from .model import Resource, ResourceRule

_ENDPOINT: Final = "aws:ec2/vpcEndpoint:VpcEndpoint"
_ATTACHMENTS: Final = frozenset(
    {
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
        "aws:iam/userPolicyAttachment:UserPolicyAttachment",
        "aws:iam/groupPolicyAttachment:GroupPolicyAttachment",
        "aws:iam/policyAttachment:PolicyAttachment",
    }
)
_WITH_POLICY: Final = frozenset(
    {
        _ENDPOINT,
        "aws:ec2/vpcEndpointPolicy:VpcEndpointPolicy",
        "aws:iam/rolePolicy:RolePolicy",
        "aws:iam/policy:Policy",
        "aws:iam/userPolicy:UserPolicy",
        "aws:iam/groupPolicy:GroupPolicy",
    }
)
_ROLE: Final = "aws:iam/role:Role"
_EVERYTHING_MANAGED: Final = re.compile(
    r"arn:[\w-]+:iam::aws:policy/(.*/)?(\w*FullAccess|AdministratorAccess|PowerUserAccess)"
)

TAKES_NO_ARN: Final = frozenset(
    {
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
)
"""Actions for which a policy has to say that it means any resource."""

_ALL_OF_A_TYPE: Final = re.compile(r"arn:[^:]*:(?P<service>[^:]*):[^:]*:[^:]*:(\*|[\w-]+[/:]\*)")


def _documents(resource: Resource) -> Iterator[str]:
    """The policies of a resource that are known."""
    policies = [resource.get("policy")]
    if resource.type == _ROLE:
        policies = [
            policy.get("policy")
            for policy in resource.items("inlinePolicies")
            if isinstance(policy, Mapping)
        ]
    yield from (policy for policy in policies if isinstance(policy, str) and policy)


def _allowing(resource: Resource) -> Iterator[dict[str, Any]]:
    for document in _documents(resource):
        statements = json.loads(document).get("Statement", [])
        for statement in [statements] if isinstance(statements, dict) else statements:
            if statement.get("Effect") == "Allow":
                yield statement


def _several(value: Any) -> list[str]:  # noqa: ANN401  JSON
    """A policy's element that may be one string or a list."""
    return [value] if isinstance(value, str) else list(value or ())


def _wide_actions(resource: Resource) -> Iterator[str]:
    if resource.type in _ATTACHMENTS:
        arn = resource.get("policyArn")
        if isinstance(arn, str) and _EVERYTHING_MANAGED.fullmatch(arn):
            yield f"it attaches {arn.rpartition('/')[2]}"
        return
    if resource.type == _ENDPOINT and resource.get("policy") in (None, ""):
        yield "no policy, which is AWS's default of every action on every resource"
    for statement in _allowing(resource):
        if "NotAction" in statement:
            yield "it allows every action but those of NotAction"
        for action in _several(statement.get("Action")):
            if "*" in action:
                yield f"it allows {action}"


NO_WILDCARD_ACTIONS: Final = ResourceRule(
    name="no-wildcard-actions",
    why="The function stores items and does nothing else. What a wildcard allows besides is what "
    "whoever takes the function over may do.",
    reference="https://docs.aws.amazon.com/IAM/latest/UserGuide/best-practices.html",
    fix="Name the exact actions in components/policies.py (function() for the function, "
    "table_endpoint() for the VPC endpoint).",
    types=_WITH_POLICY | _ATTACHMENTS | {_ROLE},
    check=_wide_actions,
)


def _wide_resources(resource: Resource) -> Iterator[str]:
    for statement in _allowing(resource):
        actions = _several(statement.get("Action"))
        if "NotResource" in statement:
            yield f"it allows {', '.join(actions)} on all but those of NotResource"
        if set(actions) <= TAKES_NO_ARN:
            continue
        narrowable = [action for action in actions if action not in TAKES_NO_ARN]
        for name in _several(statement.get("Resource")):
            if _is_everything(name):
                yield f"it allows {', '.join(narrowable)} on {name}"


def _is_everything(name: str) -> bool:
    """Whether a resource is `*`, or all of a service or of a type: `arn:...:table/*`."""
    if name == "*":
        return True
    match = _ALL_OF_A_TYPE.fullmatch(name)
    # In S3 ARNs, a name comes first: `arn:aws:s3:::bucket/*` is one bucket.
    return match is not None and match["service"] != "s3"


NO_WILDCARD_RESOURCES: Final = ResourceRule(
    name="no-wildcard-resources",
    why="A permission on every resource reaches the tables, logs and keys of all other stacks in "
    "the account.",
    reference="https://docs.aws.amazon.com/service-authorization/latest/reference/"
    "reference_policies_actions-resources-contextkeys.html",
    fix="Name the resource's ARN in the policies of components/policies.py. For an action that AWS "
    "gives no resource, add it with its reference to TAKES_NO_ARN in policy/rules/permissions.py.",
    types=_WITH_POLICY | {_ROLE},
    check=_wide_resources,
)

RULES: Final = (NO_WILDCARD_ACTIONS, NO_WILDCARD_RESOURCES)
