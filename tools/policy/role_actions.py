"""The IAM actions that deploying each type of resource needs.

They are what the provider calls to create, read, change and delete it, from AWS's service
authorization reference (https://docs.aws.amazon.com/service-authorization/latest/reference/).
Physical names begin with the project's name. Where AWS gives an id instead, the project's tag or
the Region limits the actions.
"""

import re
from collections.abc import Mapping
from itertools import accumulate
from typing import Any, Final, NamedTuple

_IN_REGIONS: Final = {"aws:RequestedRegion": "{regions}"}
CONDITIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    # Resources named after the project, or without a name.
    "Named": {"StringEquals": _IN_REGIONS},
    # Anything, because AWS has no resource for an action, or it has no name and no tag.
    "Any": {"StringEquals": _IN_REGIONS},
    "Tagged": {"StringEquals": {**_IN_REGIONS, "aws:ResourceTag/project": "{project}"}},
    # IAM has no Regions.
    "Roles": {},
    "Passed": {
        "StringEquals": {
            "iam:PassedToService": [
                "apigateway.amazonaws.com",
                "lambda.amazonaws.com",
                "vpc-flow-logs.amazonaws.com",
            ]
        }
    },
    # Of AWS's managed policies, the stack attaches only this one.
    "Managed": {
        "ArnEquals": {
            "iam:PolicyARN": "arn:aws:iam::aws:policy/service-role/"
            "AmazonAPIGatewayPushToCloudWatchLogs"
        }
    },
    # The role that API Gateway creates for itself when a stage is traced.
    "Linked": {"StringEquals": {"iam:AWSServiceName": "ops.apigateway.amazonaws.com"}},
}
"""The statements of a role's policy, each with its condition."""


class Grant(NamedTuple):
    """Actions on resources.

    `{project}` stands for the project's name, and `{regions}` for those of the stacks.
    """

    statement: str
    actions: str
    """`iam:GetRole TagRole`: an action without a service has the one before it."""
    on: tuple[str, ...] = ("*",)
    """ARNs."""

    @property
    def names(self) -> set[str]:
        """The actions with their services."""
        words = re.findall(r"(?:(\w+):)?(\w+)", self.actions)
        in_full = accumulate(words, lambda old, new: (new[0] or old[0], new[1]))
        return {":".join(word) for word in in_full}


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
    "Any", "logs:CreateLogDelivery DeleteLogDelivery DescribeResourcePolicies PutResourcePolicy"
)
_PASS_ROLE: Final = Grant("Passed", "iam:PassRole", _ROLES)


def _named(actions: str, *on: str) -> tuple[Grant, ...]:
    return (Grant("Named", actions, on),)


def _api_gateway(*paths: str) -> tuple[Grant, ...]:
    """API Gateway's actions are HTTP methods, and its resources are paths without an account."""
    return _named(
        "apigateway:DELETE GET PATCH POST PUT",
        *(f"arn:aws:apigateway:*::/{path}" for path in paths),
    )


def _ec2(anything: str, tagged: str = "") -> tuple[Grant, ...]:
    """EC2's ids are random. Existing resources have the project's tag, new ones not yet."""
    grants = (Grant("Any", f"ec2:CreateTags DeleteTags {anything}"),)
    return (*grants, Grant("Tagged", f"ec2:{tagged}")) if tagged else grants


ACTIONS: Final[Mapping[str, tuple[Grant, ...]]] = {
    "aws:apigateway/account:Account": (*_api_gateway("account"), _PASS_ROLE),
    "aws:apigateway/apiKey:ApiKey": _api_gateway("apikeys", "apikeys/*", "tags/*"),
    "aws:apigateway/deployment:Deployment": _api_gateway("restapis/*"),
    "aws:apigateway/methodSettings:MethodSettings": _api_gateway("restapis/*"),
    "aws:apigateway/restApi:RestApi": _api_gateway("restapis", "restapis/*", "tags/*"),
    "aws:apigateway/stage:Stage": (
        *_api_gateway("restapis/*", "tags/*"),
        Grant("Linked", "iam:CreateServiceLinkedRole", _LINKED_ROLE),
    ),
    "aws:apigateway/usagePlan:UsagePlan": _api_gateway("usageplans", "usageplans/*", "tags/*"),
    "aws:apigateway/usagePlanKey:UsagePlanKey": _api_gateway("usageplans/*"),
    "aws:cloudwatch/dashboard:Dashboard": _named(
        "cloudwatch:DeleteDashboards GetDashboard PutDashboard",
        "arn:aws:cloudwatch::*:dashboard/{project}-*",
    ),
    "aws:cloudwatch/logGroup:LogGroup": (
        *_named(
            "logs:CreateLogGroup DeleteLogGroup DeleteRetentionPolicy ListTagsForResource "
            "PutRetentionPolicy TagResource UntagResource",
            *_LOG_GROUPS,
        ),
        Grant("Any", "logs:DescribeLogGroups"),
    ),
    "aws:cloudwatch/logMetricFilter:LogMetricFilter": _named(
        "logs:DeleteMetricFilter DescribeMetricFilters PutMetricFilter", *_LOG_GROUPS
    ),
    "aws:cloudwatch/metricAlarm:MetricAlarm": (
        Grant(
            "Named",
            "cloudwatch:DeleteAlarms ListTagsForResource PutMetricAlarm TagResource UntagResource",
            ("arn:aws:cloudwatch:*:*:alarm:{project}-*",),
        ),
        # AWS checks some of its calls against all alarms.
        Grant("Any", "cloudwatch:DescribeAlarms"),
    ),
    "aws:dynamodb/table:Table": (
        # The provider reads the key that encrypts the table: AWS's own, which has no name.
        Grant("Any", "kms:DescribeKey"),
        *_named(
            "dynamodb:CreateTable DeleteTable DescribeContinuousBackups DescribeTable "
            "DescribeTimeToLive ListTagsOfResource TagResource UntagResource "
            "UpdateContinuousBackups UpdateTable",
            "arn:aws:dynamodb:*:*:table/{project}-*",
        ),
    ),
    # AWS creates this group, without a tag.
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": _ec2(
        "DescribeSecurityGroups RevokeSecurityGroupEgress RevokeSecurityGroupIngress"
    ),
    "aws:ec2/flowLog:FlowLog": (
        *_ec2("CreateFlowLogs DescribeFlowLogs", tagged="DeleteFlowLogs"),
        _LOG_DELIVERY,
        _PASS_ROLE,
    ),
    "aws:ec2/routeTable:RouteTable": _ec2(
        "CreateRouteTable DescribeRouteTables", tagged="DeleteRouteTable"
    ),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": _ec2(
        "DescribeRouteTables", tagged="AssociateRouteTable DisassociateRouteTable"
    ),
    # Lambda leaves network interfaces behind, without a tag.
    "aws:ec2/securityGroup:SecurityGroup": _ec2(
        "CreateSecurityGroup DeleteNetworkInterface DescribeNetworkInterfaces "
        "DescribeSecurityGroups DetachNetworkInterface RevokeSecurityGroupEgress",
        tagged="DeleteSecurityGroup",
    ),
    "aws:ec2/subnet:Subnet": _ec2(
        "CreateSubnet DescribeSubnets", tagged="DeleteSubnet ModifySubnetAttribute"
    ),
    "aws:ec2/vpc:Vpc": _ec2(
        "CreateVpc DescribeNetworkAcls DescribeRouteTables "
        "DescribeSecurityGroups DescribeVpcAttribute DescribeVpcs",
        tagged="DeleteVpc ModifyVpcAttribute",
    ),
    "aws:ec2/vpcEndpoint:VpcEndpoint": _ec2(
        "CreateVpcEndpoint DescribePrefixLists DescribeVpcEndpoints",
        tagged="DeleteVpcEndpoints ModifyVpcEndpoint",
    ),
    "aws:iam/role:Role": (
        Grant(
            "Roles",
            "iam:CreateRole DeleteRole GetRole ListAttachedRolePolicies "
            "ListInstanceProfilesForRole ListRolePolicies TagRole UntagRole "
            "UpdateAssumeRolePolicy UpdateRole",
            _ROLES,
        ),
    ),
    "aws:iam/rolePolicy:RolePolicy": (
        Grant("Roles", "iam:DeleteRolePolicy GetRolePolicy PutRolePolicy", _ROLES),
    ),
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": (
        Grant("Roles", "iam:ListAttachedRolePolicies", _ROLES),
        Grant("Managed", "iam:AttachRolePolicy DetachRolePolicy", _ROLES),
    ),
    "aws:lambda/alias:Alias": _named(
        "lambda:CreateAlias DeleteAlias GetAlias UpdateAlias", *_FUNCTIONS
    ),
    "aws:lambda/function:Function": (
        Grant(
            "Named",
            "lambda:CreateFunction DeleteFunction DeleteFunctionConcurrency GetFunction "
            "GetFunctionCodeSigningConfig GetFunctionConfiguration ListTags "
            "ListVersionsByFunction PublishVersion PutFunctionConcurrency TagResource "
            "UntagResource UpdateFunctionCode UpdateFunctionConfiguration",
            _FUNCTIONS,
        ),
        # Lambda looks up the function's network with the caller's permissions.
        Grant("Any", "ec2:DescribeSecurityGroups DescribeSubnets DescribeVpcs"),
        _PASS_ROLE,
    ),
    "aws:lambda/permission:Permission": _named(
        "lambda:AddPermission GetPolicy RemovePermission", *_FUNCTIONS
    ),
    "aws:sns/topic:Topic": _named(
        "sns:CreateTopic DeleteTopic GetTopicAttributes ListTagsForResource SetTopicAttributes "
        "TagResource UntagResource",
        *_TOPICS,
    ),
    "aws:sns/topicSubscription:TopicSubscription": (
        Grant("Named", "sns:Subscribe", _TOPICS),
        Grant("Any", "sns:GetSubscriptionAttributes SetSubscriptionAttributes Unsubscribe"),
    ),
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": _ec2(
        "AuthorizeSecurityGroupEgress DescribeSecurityGroupRules "
        "ModifySecurityGroupRules RevokeSecurityGroupEgress"
    ),
    "aws:wafv2/webAcl:WebAcl": _named(
        "wafv2:CreateWebACL DeleteWebACL GetWebACL ListTagsForResource TagResource UntagResource "
        "UpdateWebACL",
        # A web ACL is checked together with the managed groups in it.
        _WEB_ACLS,
        "arn:aws:wafv2:*:*:regional/managedruleset/*",
    ),
    "aws:wafv2/webAclAssociation:WebAclAssociation": _named(
        "apigateway:SetWebACL wafv2:AssociateWebACL DisassociateWebACL GetWebACLForResource",
        _WEB_ACLS,
        _API_STAGES,
    ),
    "aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration": (
        Grant(
            "Named",
            "wafv2:DeleteLoggingConfiguration GetLoggingConfiguration PutLoggingConfiguration",
            (_WEB_ACLS,),
        ),
        _LOG_DELIVERY,
    ),
}
"""Grants by type of resource; `python -m tools roles` refuses a type that is missing here."""

LOOKUPS: Final[Mapping[str, tuple[Grant, ...]]] = {
    "aws:index/getAvailabilityZones:getAvailabilityZones": (
        Grant("Any", "ec2:DescribeAvailabilityZones"),
    ),
    "aws:index/getCallerIdentity:getCallerIdentity": (),  # needs no permission
    "aws:index/getRegion:getRegion": (),  # the provider knows it
}
"""Grants by lookup of the program. A preview without refresh needs nothing else."""
