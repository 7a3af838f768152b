"""An AWS account in one Region, asked with calls that change nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from settings.schema import Settings

ACTIONS: Final = {
    ("sts", "get_caller_identity"): "sts:GetCallerIdentity",
    ("resourcegroupstaggingapi", "get_resources"): "tag:GetResources",
    ("lambda", "get_account_settings"): "lambda:GetAccountSettings",
    ("lambda", "get_function_concurrency"): "lambda:GetFunctionConcurrency",
    # API Gateway has one action for all that is read.
    ("apigateway", "get_account"): "apigateway:GET",
    ("apigateway", "get_usage_plans"): "apigateway:GET",
    ("apigateway", "get_api_keys"): "apigateway:GET",
    ("apigateway", "get_rest_apis"): "apigateway:GET",
    ("ec2", "describe_vpcs"): "ec2:DescribeVpcs",
    ("ec2", "describe_availability_zones"): "ec2:DescribeAvailabilityZones",
    ("wafv2", "check_capacity"): "wafv2:CheckCapacity",
    ("wafv2", "get_web_acl_for_resource"): "wafv2:GetWebACLForResource",
    ("sns", "list_subscriptions_by_topic"): "sns:ListSubscriptionsByTopic",
    ("service-quotas", "get_service_quota"): "servicequotas:GetServiceQuota",
}
"""Every call of the doctor, and the IAM action that permits it."""

_DENIED: Final = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthorizationError",
        "AuthorizationErrorException",
        "UnauthorizedOperation",
        "UnauthorizedException",
    }
)
_CONFIG: Final = Config(
    connect_timeout=5, read_timeout=20, retries={"mode": "standard", "max_attempts": 3}
)


class Denied(Exception):
    """The credentials do not permit a call."""

    def __init__(self, action: str) -> None:
        super().__init__(action)
        self.action = action


class Unanswered(Exception):
    """A call failed for any other reason; its text says which."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """What the doctor asks.

    Each of its calls raises Denied when the credentials do not permit it, and Unanswered when it
    fails otherwise.
    """

    settings: Settings
    region: str
    session: boto3.Session
    endpoint_url: str | None = None
    _clients: dict[str, Any] = field(default_factory=dict, repr=False)

    def client(self, service: str) -> Any:  # noqa: ANN401  boto3's clients have no types
        """The client of a service."""
        if service not in self._clients:
            self._clients[service] = self.session.client(
                service, region_name=self.region, endpoint_url=self.endpoint_url, config=_CONFIG
            )
        return self._clients[service]

    def ask(self, service: str, operation: str, **parameters: object) -> dict[str, Any]:
        """One call's answer."""
        action = ACTIONS[service, operation]
        try:
            answer: dict[str, Any] = getattr(self.client(service), operation)(**parameters)
        except (ClientError, BotoCoreError) as error:
            raise _reason(error, action) from None
        return answer

    def ask_all(
        self, service: str, operation: str, key: str, **parameters: object
    ) -> list[dict[str, Any]]:
        """What all pages of a call have under `key`."""
        action = ACTIONS[service, operation]
        pages = self.client(service).get_paginator(operation)
        try:
            return [item for page in pages.paginate(**parameters) for item in page.get(key, [])]
        except (ClientError, BotoCoreError) as error:
            raise _reason(error, action) from None

    def ask_own(self) -> frozenset[str]:
        """ARNs of what this stack has already deployed, by the tags that everything of it has."""
        wanted = {"project": self.settings.project, "stack": self.settings.stack}
        found = self.ask_all(
            "resourcegroupstaggingapi",
            "get_resources",
            "ResourceTagMappingList",
            TagFilters=[{"Key": key, "Values": [value]} for key, value in wanted.items()],
        )
        # Deleted resources are listed for a while, without their tags.
        return frozenset(
            one["ResourceARN"]
            for one in found
            if wanted.items() <= {tag["Key"]: tag["Value"] for tag in one["Tags"]}.items()
        )

    @cached_property
    def own(self) -> frozenset[str]:
        """The same; nothing when that cannot be told, which a check of its own says."""
        try:
            return self.ask_own()
        except (Denied, Unanswered):
            return frozenset()

    def own_of(self, service: str, part: str = "") -> Sequence[str]:
        """ARNs of this stack's resources of a service whose ARN has `part`."""
        return sorted(
            arn for arn in self.own if arn.split(":")[2] == service and part in arn.split(":", 5)[5]
        )


def _reason(error: ClientError | BotoCoreError, action: str) -> Denied | Unanswered:
    if isinstance(error, ClientError):
        said = error.response.get("Error", {})
        if said.get("Code") in _DENIED:
            return Denied(action)
        return Unanswered(f"{said.get('Code')}: {said.get('Message')}")
    return Unanswered(" ".join(str(error).split()))
