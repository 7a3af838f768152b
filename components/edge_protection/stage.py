"""The stage that callers reach: its logs, and the throttles that all clients share."""

from collections.abc import Iterator

import pulumi
import pulumi_aws as aws

from components import iam
from components.component import Component
from components.edge_protection.access_log import access_log_format
from routes import ROUTES
from settings.schema import Settings, StageThrottleSettings, ThrottleSettings


def create_stage(
    component: Component,
    name: str,
    settings: Settings,
    api: aws.apigateway.RestApi,
    deployment: aws.apigateway.Deployment,
    protect: bool,
) -> tuple[aws.apigateway.Stage, aws.cloudwatch.LogGroup]:
    """Create the stage that serves `deployment`, and its logs. Return the stage and access log."""
    retention = settings.monitoring.log_retention_days
    access_logs = aws.cloudwatch.LogGroup(
        f"{name}-access-logs", retention_in_days=retention, opts=component.child()
    )
    # API Gateway writes its execution log to a group with this name. If the group does not exist,
    # API Gateway creates one that keeps its logs forever.
    execution_logs = aws.cloudwatch.LogGroup(
        f"{name}-execution-logs",
        name=pulumi.Output.concat("API-Gateway-Execution-Logs_", api.id, "/", settings.stage_name),
        retention_in_days=retention,
        opts=component.child(),
    )
    account = [_account_logging(component, name)] if settings.manage_api_gateway_logging else []
    stage = aws.apigateway.Stage(
        f"{name}-stage",
        rest_api=api.id,
        deployment=deployment.id,
        stage_name=settings.stage_name,
        access_log_settings={"destination_arn": access_logs.arn, "format": access_log_format()},
        xray_tracing_enabled=True,
        opts=component.child(
            # AWS refuses a stage that logs until the account has a role to log with.
            depends_on=[*account, execution_logs],
            # A stage with another name, or of another API, has another URL.
            protect=protect,
        ),
    )
    return stage, access_logs


def _account_logging(component: Component, name: str) -> aws.apigateway.Account:
    """Set the role with which API Gateway writes logs, for all APIs of the account and Region.

    It stays when the stack is destroyed: the logs of all other APIs depend on it.
    """
    kept = component.child(retain_on_delete=True)
    role = aws.iam.Role(
        f"{name}-gateway-logs-role",
        assume_role_policy=pulumi.Output.json_dumps(iam.trust("apigateway.amazonaws.com")),
        opts=kept,
    )
    # AWS's own policy, because the role serves all APIs of the account.
    attachment = aws.iam.RolePolicyAttachment(
        f"{name}-gateway-logs-policy",
        role=role.name,
        policy_arn=aws.iam.ManagedPolicy.AMAZON_API_GATEWAY_PUSH_TO_CLOUD_WATCH_LOGS,
        opts=kept,
    )
    return aws.apigateway.Account(
        f"{name}-gateway-account",
        cloudwatch_role_arn=role.arn,
        # API Gateway tests the role when it is set.
        opts=component.child(retain_on_delete=True, depends_on=[attachment]),
    )


def create_throttles(
    component: Component, name: str, throttle: StageThrottleSettings, stage: aws.apigateway.Stage
) -> Iterator[aws.apigateway.MethodSettings]:
    """Set throttles, metrics and execution logs of the whole stage, and of single methods."""
    buckets: list[tuple[str, str, ThrottleSettings]] = [("", "*/*", throttle)]
    for route in ROUTES:
        if bucket := throttle.methods.get(route.method):
            suffix = f"-{route.path_label}-{route.verb.lower()}"
            buckets.append((suffix, route.stage_path, bucket))
    for suffix, path, bucket in buckets:
        yield aws.apigateway.MethodSettings(
            f"{name}-throttle{suffix}",
            rest_api=stage.rest_api,
            stage_name=stage.stage_name,
            method_path=path,
            settings={
                "throttling_rate_limit": bucket.rate_limit,
                "throttling_burst_limit": bucket.burst_limit,
                "metrics_enabled": True,
                "logging_level": "ERROR",
                # True would log headers and bodies, and with them the API keys.
                "data_trace_enabled": False,
            },
            opts=component.child(),
        )
