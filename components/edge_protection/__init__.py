"""The API and everything that stands between a caller and the function."""

import pulumi

from components.component import Component
from components.compute import Compute
from components.edge_protection.rest_api import create_rest_api
from components.edge_protection.stage import create_stage, create_throttles
from components.edge_protection.usage_plans import ByClient, create_usage_plans
from components.edge_protection.web_acl import create_web_acl
from routes import ROUTES
from settings.schema import Settings


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
    api_keys: pulumi.Output[ByClient]
    """The value of each client's newest key, by plan and client: a secret."""
    web_acl_arn: pulumi.Output[str] | None

    def __init__(self, settings: Settings, compute: Compute, opts: pulumi.ResourceOptions) -> None:
        super().__init__(settings, opts)
        api, deployment = create_rest_api(self, compute)
        stage, access_logs = create_stage(self, api, deployment)
        limits = create_throttles(self, stage)
        self.web_acl_arn = None
        if settings.waf.enabled:
            web_acl, association = create_web_acl(self, stage)
            self.web_acl_arn = web_acl.arn
            limits.append(association)
        # AWS sets a stage's throttles and web ACL only once it serves. Until then it answers 403 to
        # everyone, because no API key is in a plan. Only routes without keys are open meanwhile.
        self.usage_plan_ids, self.api_key_ids, keys = create_usage_plans(self, stage, limits)
        # The provider marks each value as a secret. It is marked here too, to be safe.
        self.api_keys = pulumi.Output.secret(keys)
        self.api_name = api.name
        self.api_url = stage.invoke_url
        self.data_url = pulumi.Output.concat(stage.invoke_url, ROUTES[0].path)
        self.stage_name = stage.stage_name
        self.access_log_group_name = access_logs.name
        self.register(
            *("api_name", "api_url", "data_url", "stage_name", "access_log_group_name"),
            *("usage_plan_ids", "api_key_ids", "api_keys", "web_acl_arn"),
        )
