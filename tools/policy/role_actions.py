"""The IAM actions that deploying each type of resource needs.

They are what the provider calls to create, read, change and delete it, from AWS's service
authorization reference (https://docs.aws.amazon.com/service-authorization/latest/reference/).
Physical names begin with the project's name. Where AWS gives an id instead, the project's tag or
the Region limits the actions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final


class Limit(Enum):
    """The resources that a statement allows its actions on."""

    NAMED = "resources named after the project, or without a name, in the stacks' Regions"
    ANY = "anything in the stacks' Regions: AWS has no resource, or it has no name and no tag"
    TAGGED = "resources with the project's tag, in the stacks' Regions"
    ROLES = "the stack's roles; IAM has no Regions"
    PASSED = "the stack's roles, passed to the services that assume them"
    MANAGED = "the stack's roles, and the one managed policy that the stack attaches"
    LINKED = "the role that API Gateway creates for itself when a stage is traced"


@dataclass(frozen=True)
class Grant:
    """Actions, separated by spaces, on resources."""

    limit: Limit
    actions: str
    on: tuple[str, ...] = ("*",)
    """ARNs, in which `{project}` stands for the project's name."""


_NAMED, _ANY = Limit.NAMED, Limit.ANY
_API_STAGES: Final = "arn:aws:apigateway:*::/restapis/*/stages/*"
_WEB_ACLS: Final = "arn:aws:wafv2:*:*:regional/webacl/{project}-*/*"
_ROLES: Final = ("arn:aws:iam::*:role/{project}-*",)
_LINKED_ROLE: Final = ("arn:aws:iam::*:role/aws-service-role/ops.apigateway.amazonaws.com/*",)
_FUNCTIONS: Final = ("arn:aws:lambda:*:*:function:{project}-*",)
_TOPICS: Final = ("arn:aws:sns:*:*:{project}-*",)
_LOG_GROUPS: Final = (
    "arn:aws:logs:*:*:log-group:{project}-*",
    "arn:aws:logs:*:*:log-group:aws-waf-logs-{project}-*",
    "arn:aws:logs:*:*:log-group:API-Gateway-Execution-Logs_*",
)
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/AWS-logs-and-resource-policy.html
_LOG_DELIVERY: Final = Grant(
    _ANY,
    "logs:CreateLogDelivery logs:DeleteLogDelivery logs:DescribeResourcePolicies "
    "logs:PutResourcePolicy",
)
_PASS_ROLE: Final = Grant(Limit.PASSED, "iam:PassRole", _ROLES)


def _named(actions: str, *on: str) -> tuple[Grant, ...]:
    return (Grant(_NAMED, actions, on),)


def _api_gateway(*paths: str) -> tuple[Grant, ...]:
    """API Gateway's actions are HTTP methods, and its resources are paths without an account."""
    verbs = "apigateway:DELETE apigateway:GET apigateway:PATCH apigateway:POST apigateway:PUT"
    return _named(verbs, *(f"arn:aws:apigateway:*::/{path}" for path in paths))


def _ec2(anything: str, tagged: str = "") -> tuple[Grant, ...]:
    """EC2's ids are random. Existing resources have the project's tag, new ones not yet."""
    grants = (Grant(_ANY, f"ec2:CreateTags ec2:DeleteTags {anything}"),)
    return (*grants, Grant(Limit.TAGGED, tagged)) if tagged else grants


ACTIONS: Final[Mapping[str, tuple[Grant, ...]]] = {
    "aws:apigateway/account:Account": (*_api_gateway("account"), _PASS_ROLE),
    "aws:apigateway/apiKey:ApiKey": _api_gateway("apikeys", "apikeys/*", "tags/*"),
    "aws:apigateway/deployment:Deployment": _api_gateway("restapis/*"),
    "aws:apigateway/methodSettings:MethodSettings": _api_gateway("restapis/*"),
    "aws:apigateway/restApi:RestApi": _api_gateway("restapis", "restapis/*", "tags/*"),
    "aws:apigateway/stage:Stage": (
        *_api_gateway("restapis/*", "tags/*"),
        Grant(Limit.LINKED, "iam:CreateServiceLinkedRole", _LINKED_ROLE),
    ),
    "aws:apigateway/usagePlan:UsagePlan": _api_gateway("usageplans", "usageplans/*", "tags/*"),
    "aws:apigateway/usagePlanKey:UsagePlanKey": _api_gateway("usageplans/*"),
    "aws:cloudwatch/dashboard:Dashboard": _named(
        "cloudwatch:DeleteDashboards cloudwatch:GetDashboard cloudwatch:PutDashboard",
        "arn:aws:cloudwatch::*:dashboard/{project}-*",
    ),
    "aws:cloudwatch/logGroup:LogGroup": (
        Grant(
            _NAMED,
            "logs:CreateLogGroup logs:DeleteLogGroup logs:DeleteRetentionPolicy "
            "logs:ListTagsForResource logs:PutRetentionPolicy logs:TagResource logs:UntagResource",
            _LOG_GROUPS,
        ),
        Grant(_ANY, "logs:DescribeLogGroups"),
    ),
    "aws:cloudwatch/logMetricFilter:LogMetricFilter": _named(
        "logs:DeleteMetricFilter logs:DescribeMetricFilters logs:PutMetricFilter",
        *_LOG_GROUPS,
    ),
    "aws:cloudwatch/metricAlarm:MetricAlarm": (
        Grant(
            _NAMED,
            "cloudwatch:DeleteAlarms cloudwatch:ListTagsForResource cloudwatch:PutMetricAlarm "
            "cloudwatch:TagResource cloudwatch:UntagResource",
            ("arn:aws:cloudwatch:*:*:alarm:{project}-*",),
        ),
        # AWS checks some of its calls against all alarms.
        Grant(_ANY, "cloudwatch:DescribeAlarms"),
    ),
    "aws:dynamodb/table:Table": (
        # The provider reads the key that encrypts the table: AWS's own, which has no name.
        Grant(_ANY, "kms:DescribeKey"),
        *_named(
            "dynamodb:CreateTable dynamodb:DeleteTable dynamodb:DescribeContinuousBackups "
            "dynamodb:DescribeTable dynamodb:DescribeTimeToLive dynamodb:ListTagsOfResource "
            "dynamodb:TagResource dynamodb:UntagResource dynamodb:UpdateContinuousBackups "
            "dynamodb:UpdateTable",
            "arn:aws:dynamodb:*:*:table/{project}-*",
        ),
    ),
    # AWS creates this group, without a tag.
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": _ec2(
        "ec2:DescribeSecurityGroups ec2:RevokeSecurityGroupEgress ec2:RevokeSecurityGroupIngress"
    ),
    "aws:ec2/flowLog:FlowLog": (
        *_ec2("ec2:CreateFlowLogs ec2:DescribeFlowLogs", tagged="ec2:DeleteFlowLogs"),
        _LOG_DELIVERY,
        _PASS_ROLE,
    ),
    "aws:ec2/routeTable:RouteTable": _ec2(
        "ec2:CreateRouteTable ec2:DescribeRouteTables", tagged="ec2:DeleteRouteTable"
    ),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": _ec2(
        "ec2:DescribeRouteTables",
        tagged="ec2:AssociateRouteTable ec2:DisassociateRouteTable",
    ),
    # Lambda leaves network interfaces behind, without a tag.
    "aws:ec2/securityGroup:SecurityGroup": _ec2(
        "ec2:CreateSecurityGroup ec2:DeleteNetworkInterface ec2:DescribeNetworkInterfaces "
        "ec2:DescribeSecurityGroups ec2:DetachNetworkInterface ec2:RevokeSecurityGroupEgress",
        tagged="ec2:DeleteSecurityGroup",
    ),
    "aws:ec2/subnet:Subnet": _ec2(
        "ec2:CreateSubnet ec2:DescribeSubnets",
        tagged="ec2:DeleteSubnet ec2:ModifySubnetAttribute",
    ),
    "aws:ec2/vpc:Vpc": _ec2(
        "ec2:CreateVpc ec2:DescribeNetworkAcls ec2:DescribeRouteTables "
        "ec2:DescribeSecurityGroups ec2:DescribeVpcAttribute ec2:DescribeVpcs",
        tagged="ec2:DeleteVpc ec2:ModifyVpcAttribute",
    ),
    "aws:ec2/vpcEndpoint:VpcEndpoint": _ec2(
        "ec2:CreateVpcEndpoint ec2:DescribePrefixLists ec2:DescribeVpcEndpoints",
        tagged="ec2:DeleteVpcEndpoints ec2:ModifyVpcEndpoint",
    ),
    "aws:iam/role:Role": (
        Grant(
            Limit.ROLES,
            "iam:CreateRole iam:DeleteRole iam:GetRole iam:ListAttachedRolePolicies "
            "iam:ListInstanceProfilesForRole iam:ListRolePolicies iam:TagRole iam:UntagRole "
            "iam:UpdateAssumeRolePolicy iam:UpdateRole",
            _ROLES,
        ),
    ),
    "aws:iam/rolePolicy:RolePolicy": (
        Grant(Limit.ROLES, "iam:DeleteRolePolicy iam:GetRolePolicy iam:PutRolePolicy", _ROLES),
    ),
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": (
        Grant(Limit.ROLES, "iam:ListAttachedRolePolicies", _ROLES),
        Grant(Limit.MANAGED, "iam:AttachRolePolicy iam:DetachRolePolicy", _ROLES),
    ),
    "aws:lambda/alias:Alias": _named(
        "lambda:CreateAlias lambda:DeleteAlias lambda:GetAlias lambda:UpdateAlias",
        *_FUNCTIONS,
    ),
    "aws:lambda/function:Function": (
        Grant(
            _NAMED,
            "lambda:CreateFunction lambda:DeleteFunction lambda:DeleteFunctionConcurrency "
            "lambda:GetFunction lambda:GetFunctionCodeSigningConfig "
            "lambda:GetFunctionConfiguration lambda:ListTags lambda:ListVersionsByFunction "
            "lambda:PublishVersion lambda:PutFunctionConcurrency lambda:TagResource "
            "lambda:UntagResource lambda:UpdateFunctionCode lambda:UpdateFunctionConfiguration",
            _FUNCTIONS,
        ),
        # Lambda looks up the function's network with the caller's permissions.
        Grant(_ANY, "ec2:DescribeSecurityGroups ec2:DescribeSubnets ec2:DescribeVpcs"),
        _PASS_ROLE,
    ),
    "aws:lambda/permission:Permission": _named(
        "lambda:AddPermission lambda:GetPolicy lambda:RemovePermission", *_FUNCTIONS
    ),
    "aws:sns/topic:Topic": _named(
        "sns:CreateTopic sns:DeleteTopic sns:GetTopicAttributes sns:ListTagsForResource "
        "sns:SetTopicAttributes sns:TagResource sns:UntagResource",
        *_TOPICS,
    ),
    "aws:sns/topicSubscription:TopicSubscription": (
        Grant(_NAMED, "sns:Subscribe", _TOPICS),
        Grant(_ANY, "sns:GetSubscriptionAttributes sns:SetSubscriptionAttributes sns:Unsubscribe"),
    ),
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": _ec2(
        "ec2:AuthorizeSecurityGroupEgress ec2:DescribeSecurityGroupRules "
        "ec2:ModifySecurityGroupRules ec2:RevokeSecurityGroupEgress"
    ),
    "aws:wafv2/webAcl:WebAcl": _named(
        "wafv2:CreateWebACL wafv2:DeleteWebACL wafv2:GetWebACL wafv2:ListTagsForResource "
        "wafv2:TagResource wafv2:UntagResource wafv2:UpdateWebACL",
        # A web ACL is checked together with the managed groups in it.
        _WEB_ACLS,
        "arn:aws:wafv2:*:*:regional/managedruleset/*",
    ),
    "aws:wafv2/webAclAssociation:WebAclAssociation": _named(
        "apigateway:SetWebACL wafv2:AssociateWebACL wafv2:DisassociateWebACL "
        "wafv2:GetWebACLForResource",
        _WEB_ACLS,
        _API_STAGES,
    ),
    "aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration": (
        Grant(
            _NAMED,
            "wafv2:DeleteLoggingConfiguration wafv2:GetLoggingConfiguration "
            "wafv2:PutLoggingConfiguration",
            (_WEB_ACLS,),
        ),
        _LOG_DELIVERY,
    ),
}
"""Grants by type of resource; `python -m tools roles` refuses a type that is missing here."""

LOOKUPS: Final[Mapping[str, tuple[Grant, ...]]] = {
    "aws:index/getAvailabilityZones:getAvailabilityZones": (
        Grant(_ANY, "ec2:DescribeAvailabilityZones"),
    ),
    "aws:index/getCallerIdentity:getCallerIdentity": (),  # needs no permission
    "aws:index/getRegion:getRegion": (),  # the provider knows it
}
"""Grants by lookup of the program. A preview without refresh needs nothing else."""
