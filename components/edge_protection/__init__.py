"""The API and everything that stands between a caller and the function."""

from dataclasses import dataclass

import pulumi

from components.component import Component
from components.edge_protection.rest_api import create_rest_api, deploy, permit_invocations
from components.edge_protection.stage import create_stage, create_throttles
from components.edge_protection.usage_plans import create_usage_plans
from components.edge_protection.web_acl import create_web_acl
from routes import ROUTES
from settings.schema import Settings


@dataclass(frozen=True, kw_only=True)
class EdgeProtectionArgs:
    """The limits, and the function that requests reach within them."""

    settings: Settings
    function_name: pulumi.Input[str]
    function_invoke_arn: pulumi.Input[str]
    function_alias_name: pulumi.Input[str] | None
    protect: bool
    """Whether Pulumi refuses to delete or replace the stage, and with it the URL."""


class EdgeProtection(Component):
    """REST API, stage with its throttles, usage plans with their keys, and the web ACL."""

    api_name: pulumi.Output[str]
    api_url: pulumi.Output[str]
    data_url: pulumi.Output[str]
    """URL of the first route."""
    stage_name: pulumi.Output[str]
    access_log_group_name: pulumi.Output[str]
    usage_plan_ids: dict[str, pulumi.Output[str]]
    api_key_ids: dict[str, dict[str, pulumi.Output[str]]]
    api_keys: dict[str, dict[str, pulumi.Output[str]]]
    """The value of each client's newest key, by plan and client: secrets."""
    web_acl_arn: pulumi.Output[str] | None
    web_acl_metric_name: str | None
    """The web ACL's name in CloudWatch; None without a web ACL."""

    def __init__(
        self, name: str, args: EdgeProtectionArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, opts)
        settings = args.settings
        api, body = create_rest_api(self, name, settings, args.function_invoke_arn)
        permissions = permit_invocations(
            self, name, settings, api, args.function_name, args.function_alias_name
        )
        deployment = deploy(self, name, api, body, permissions)
        stage, access_logs = create_stage(self, name, settings, api, deployment, args.protect)
        limits: list[pulumi.Resource] = [*create_throttles(self, name, settings.throttle, stage)]
        web_acl = None
        if settings.waf.enabled:
            web_acl, association = create_web_acl(self, name, settings, stage)
            limits.append(association)
        # AWS sets a stage's throttles and web ACL only once it serves. Until then it answers 403 to
        # everyone, because no API key is in a plan.
        plans = create_usage_plans(self, name, settings.usage_plans, stage, limits)

        self.api_name = api.name
        self.api_url = stage.invoke_url
        self.data_url = pulumi.Output.concat(stage.invoke_url, ROUTES[0].path)
        self.stage_name = stage.stage_name
        self.access_log_group_name = access_logs.name
        self.usage_plan_ids = plans.ids
        self.api_key_ids = plans.key_ids
        self.api_keys = plans.keys
        self.web_acl_arn = web_acl.arn if web_acl else None
        self.web_acl_metric_name = settings.label if web_acl else None
        self.register_outputs(
            {
                "apiName": self.api_name,
                "apiUrl": self.api_url,
                "dataUrl": self.data_url,
                "stageName": self.stage_name,
                "accessLogGroupName": self.access_log_group_name,
                "usagePlanIds": self.usage_plan_ids,
                "apiKeyIds": self.api_key_ids,
                "apiKeys": pulumi.Output.secret(self.api_keys),
                "webAclArn": self.web_acl_arn,
            }
        )
