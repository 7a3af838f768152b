"""The API and everything that stands between a caller and the function."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws

from components import iam
from components.component import Component
from components.edge_protection import web_acl
from components.edge_protection.access_log import access_log_format
from components.edge_protection.openapi import API_KEY_HEADER, openapi, retry_after_seconds
from routes import METHODS
from settings.schema import (
    Settings,
    ThrottleSettings,
    UsagePlanSettings,
    api_key_holder,
)

_ENDPOINT_TYPE: Final = "REGIONAL"


@dataclass(frozen=True, kw_only=True)
class EdgeProtectionArgs:
    """What the API and its protection are built from."""

    settings: Settings
    function_name: pulumi.Input[str]
    function_invoke_arn: pulumi.Input[str]
    function_alias_name: pulumi.Input[str] | None


class EdgeProtection(Component):
    """REST API, stage with its throttles, usage plans with their keys, and the web ACL."""

    api_name: pulumi.Output[str]
    api_url: pulumi.Output[str]
    data_url: pulumi.Output[str]
    stage_name: pulumi.Output[str]
    access_log_group_name: pulumi.Output[str]
    usage_plan_ids: dict[str, pulumi.Output[str]]
    api_key_ids: dict[str, dict[str, pulumi.Output[str]]]
    api_keys: dict[str, dict[str, pulumi.Output[str]]]
    """The value of each client's newest key, by plan and client: secrets."""
    web_acl_arn: pulumi.Output[str] | None
    web_acl_metric_name: str | None
    """What CloudWatch knows the web ACL by; None without one."""

    def __init__(
        self, name: str, args: EdgeProtectionArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, opts)
        settings = args.settings
        stage = self._stage(name, args)
        self._throttle(name, settings, stage)
        self.usage_plan_ids, self.api_key_ids, self.api_keys = {}, {}, {}
        for plan_name, plan in settings.usage_plans.items():
            self._usage_plan(name, plan_name, plan, stage)
        self.web_acl_arn, self.web_acl_metric_name = None, None
        if settings.waf.enabled:
            self.web_acl_metric_name = settings.label
            self.web_acl_arn = self._web_acl(name, settings, self.web_acl_metric_name, stage)
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

    def _stage(self, name: str, args: EdgeProtectionArgs) -> aws.apigateway.Stage:
        settings = args.settings
        throttle, plans = settings.throttle, settings.usage_plans
        buckets = (throttle, *throttle.methods.values(), *plans.values())
        retry_after = retry_after_seconds([bucket.rate_limit for bucket in buckets])
        body = pulumi.Output.from_input(args.function_invoke_arn).apply(
            lambda arn: json.dumps(
                openapi(title=settings.label, invoke_arn=arn, retry_after_seconds=retry_after)
            )
        )
        api = aws.apigateway.RestApi(
            f"{name}-api",
            name=settings.label,
            body=body,
            endpoint_configuration={"types": _ENDPOINT_TYPE},
            opts=self.child(),
        )
        for method in METHODS:
            verb, path = method.split()
            aws.lambda_.Permission(
                f"{name}-may-invoke-{verb.lower()}{path.replace('/', '-')}",
                action="lambda:InvokeFunction",
                function=args.function_name,
                qualifier=args.function_alias_name,
                principal="apigateway.amazonaws.com",
                source_arn=pulumi.Output.concat(
                    api.execution_arn, "/", settings.stage_name, "/", verb, path
                ),
                opts=self.child(),
            )
        # A stage serves a deployment, which is a snapshot: what the document or the endpoint says
        # now reaches callers only through a new one. Replaced by making the new one first, so
        # that the stage always has one.
        deployment = aws.apigateway.Deployment(
            f"{name}-deployment",
            rest_api=api.id,
            triggers={
                "redeployment": body.apply(
                    lambda text: hashlib.sha256(f"{text}{_ENDPOINT_TYPE}".encode()).hexdigest()
                )
            },
            opts=self.child(),
        )
        retention = settings.monitoring.log_retention_days
        access_logs = aws.cloudwatch.LogGroup(
            f"{name}-access-logs", retention_in_days=retention, opts=self.child()
        )
        # API Gateway writes its execution log to a group of this name, and would make one that
        # keeps everything for ever.
        execution_logs = aws.cloudwatch.LogGroup(
            f"{name}-execution-logs",
            name=pulumi.Output.concat(
                "API-Gateway-Execution-Logs_", api.id, "/", settings.stage_name
            ),
            retention_in_days=retention,
            opts=self.child(),
        )
        logging = self._account_logging(name) if settings.manage_api_gateway_logging else []
        stage = aws.apigateway.Stage(
            f"{name}-stage",
            rest_api=api.id,
            deployment=deployment.id,
            stage_name=settings.stage_name,
            access_log_settings={
                "destination_arn": access_logs.arn,
                "format": access_log_format(),
            },
            xray_tracing_enabled=True,
            opts=self.child(
                # A stage that logs is refused until the account has a role to log with.
                depends_on=[*logging, execution_logs],
                # Another name, or another API, is another URL, of which no caller knows.
                protect=settings.table.deletion_protection,
            ),
        )
        self.api_name = api.name
        self.api_url = stage.invoke_url
        self.data_url = pulumi.Output.concat(stage.invoke_url, "/data")
        self.stage_name = stage.stage_name
        self.access_log_group_name = access_logs.name
        return stage

    def _account_logging(self, name: str) -> list[pulumi.Resource]:
        """The role with which API Gateway writes logs: one for all APIs of an account and Region.

        Kept when the stack goes, because other APIs would fall silent with it.
        """
        kept = self.child(retain_on_delete=True)
        role = aws.iam.Role(
            f"{name}-gateway-logs-role",
            assume_role_policy=pulumi.Output.json_dumps(iam.trust("apigateway.amazonaws.com")),
            opts=kept,
        )
        # AWS's own policy for this: the role serves APIs that this stack knows nothing of.
        attachment = aws.iam.RolePolicyAttachment(
            f"{name}-gateway-logs-policy",
            role=role.name,
            policy_arn=aws.iam.ManagedPolicy.AMAZON_API_GATEWAY_PUSH_TO_CLOUD_WATCH_LOGS,
            opts=kept,
        )
        account = aws.apigateway.Account(
            f"{name}-gateway-account",
            cloudwatch_role_arn=role.arn,
            # API Gateway tries the role when it is set.
            opts=self.child(retain_on_delete=True, depends_on=[attachment]),
        )
        return [account]

    def _throttle(self, name: str, settings: Settings, stage: aws.apigateway.Stage) -> None:
        """Throttles, metrics and execution logs of the whole stage and of single methods."""
        buckets: Mapping[str, ThrottleSettings] = {
            "*/*": settings.throttle,
            **{_method_path(method): b for method, b in settings.throttle.methods.items()},
        }
        for path, bucket in buckets.items():
            suffix = "" if path == "*/*" else "-" + path.replace("/", "-").lower()
            aws.apigateway.MethodSettings(
                f"{name}-throttle{suffix}",
                rest_api=stage.rest_api,
                stage_name=stage.stage_name,
                method_path=path,
                settings={
                    "throttling_rate_limit": bucket.rate_limit,
                    "throttling_burst_limit": bucket.burst_limit,
                    "metrics_enabled": True,
                    "logging_level": "ERROR",
                    # Would log headers and bodies, and with them the keys.
                    "data_trace_enabled": False,
                },
                opts=self.child(),
            )

    def _usage_plan(
        self, name: str, plan_name: str, plan: UsagePlanSettings, stage: aws.apigateway.Stage
    ) -> None:
        """One tier, and an API key for each of its clients."""
        usage_plan = aws.apigateway.UsagePlan(
            f"{name}-plan-{plan_name}",
            description=f"{plan_name}: {plan.rate_limit:g} requests per second for each client",
            api_stages=[{"api_id": stage.rest_api, "stage": stage.stage_name}],
            throttle_settings={
                "rate_limit": plan.rate_limit,
                "burst_limit": plan.burst_limit,
            },
            quota_settings={"limit": plan.quota.limit, "period": plan.quota.period.value},
            opts=self.child(),
        )
        self.usage_plan_ids[plan_name] = usage_plan.id
        self.api_key_ids[plan_name], self.api_keys[plan_name] = {}, {}
        for client, number in plan.api_keys():
            holder = f"{plan_name}.{api_key_holder(client, number)}"
            key = aws.apigateway.ApiKey(
                f"{name}-key-{holder}",
                description=f"Client {client} of plan {plan_name}, key {number}",
                tags={"plan": plan_name, "client": client, "key": str(number)},
                opts=self.child(),
            )
            aws.apigateway.UsagePlanKey(
                f"{name}-plan-key-{holder}",
                key_id=key.id,
                key_type="API_KEY",
                usage_plan_id=usage_plan.id,
                # AWS tells the key's value here again, and the provider keeps it as plain text.
                opts=self.child(additional_secret_outputs=["value"]),
            )
            # The newest comes last, and is the one to hand out.
            self.api_key_ids[plan_name][client] = key.id
            self.api_keys[plan_name][client] = key.value

    def _web_acl(
        self, name: str, settings: Settings, metric_name: str, stage: aws.apigateway.Stage
    ) -> pulumi.Output[str]:
        acl = aws.wafv2.WebAcl(
            f"{name}-web-acl",
            description=f"In front of stage {settings.stage_name} of {metric_name}",
            scope="REGIONAL",
            default_action={"allow": {}},
            custom_response_bodies=web_acl.response_bodies(),
            rules=web_acl.rules(settings.waf, metric_name),
            visibility_config=web_acl.visibility(metric_name),
            # What the logs redact, the requests that AWS WAF samples would still show.
            data_protection_config={
                "data_protections": [
                    {
                        "field": {"field_type": "SINGLE_HEADER", "field_keys": [API_KEY_HEADER]},
                        "action": "SUBSTITUTION",
                    }
                ]
            },
            opts=self.child(),
        )
        # Never rename this: the old association's deletion would take the new one away.
        aws.wafv2.WebAclAssociation(
            f"{name}-web-acl-association",
            resource_arn=stage.arn,
            web_acl_arn=acl.arn,
            opts=self.child(),
        )
        if settings.waf.logging:
            logs = aws.cloudwatch.LogGroup(
                f"{name}-waf-logs",
                # WAF takes only log groups whose name begins so.
                name_prefix=f"aws-waf-logs-{name}-",
                retention_in_days=settings.monitoring.log_retention_days,
                opts=self.child(),
            )
            aws.wafv2.WebAclLoggingConfiguration(
                f"{name}-waf-logging",
                resource_arn=acl.arn,
                log_destination_configs=[logs.arn],
                redacted_fields=[{"single_header": {"name": API_KEY_HEADER}}],
                opts=self.child(),
            )
        arn: pulumi.Output[str] = acl.arn
        return arn


def _method_path(method: str) -> str:
    """A method as method settings name it: `data/POST` for `POST /data`."""
    verb, path = method.split()
    return f"{path.removeprefix('/')}/{verb}"
