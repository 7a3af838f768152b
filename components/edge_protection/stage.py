"""The stage that callers reach: its logs, and the throttles that all clients share."""

import pulumi
import pulumi_aws as aws

from components import iam
from components.component import Component
from components.edge_protection.access_log import access_log_format
from routes import ROUTES
from settings.schema import ThrottleSettings


def create_stage(
    parent: Component, api: aws.apigateway.RestApi, deployment: aws.apigateway.Deployment
) -> tuple[aws.apigateway.Stage, aws.cloudwatch.LogGroup]:
    """Create the stage that serves `deployment`, and its logs. Return the stage and access log."""
    name, settings = parent.name, parent.settings
    retention = settings.monitoring.log_retention_days
    access_logs = aws.cloudwatch.LogGroup(
        f"{name}-access-logs", retention_in_days=retention, opts=parent.child()
    )
    # API Gateway writes its execution log to a group with this name. If the group does not exist,
    # API Gateway creates one that keeps its logs forever.
    execution_logs = aws.cloudwatch.LogGroup(
        f"{name}-execution-logs",
        name=pulumi.Output.concat("API-Gateway-Execution-Logs_", api.id, "/", settings.stage_name),
        retention_in_days=retention,
        opts=parent.child(),
    )
    account = [_account_logging(parent)] if settings.manage_api_gateway_logging else []
    stage = aws.apigateway.Stage(
        f"{name}-stage",
        rest_api=api.id,
        deployment=deployment.id,
        stage_name=settings.stage_name,
        access_log_settings={"destination_arn": access_logs.arn, "format": access_log_format()},
        xray_tracing_enabled=True,
        opts=parent.child(
            # AWS refuses a stage that logs until the account has a role to log with.
            depends_on=[*account, execution_logs],
            # A stage with another name, or of another API, has another URL.
            protect=settings.deletion_protection,
        ),
    )
    return stage, access_logs


def _account_logging(parent: Component) -> aws.apigateway.Account:
    """Set the role with which API Gateway writes logs, for all APIs of the account and Region.

    It stays when the stack is destroyed: the logs of all other APIs depend on it.
    """
    role = aws.iam.Role(
        f"{parent.name}-gateway-logs-role",
        assume_role_policy=pulumi.Output.json_dumps(iam.trust("apigateway.amazonaws.com")),
        opts=parent.child(retain_on_delete=True),
    )
    # AWS's own policy, because the role serves all APIs of the account.
    attachment = aws.iam.RolePolicyAttachment(
        f"{parent.name}-gateway-logs-policy",
        role=role.name,
        policy_arn=aws.iam.ManagedPolicy.AMAZON_API_GATEWAY_PUSH_TO_CLOUD_WATCH_LOGS,
        opts=parent.child(retain_on_delete=True),
    )
    return aws.apigateway.Account(
        f"{parent.name}-gateway-account",
        cloudwatch_role_arn=role.arn,
        # API Gateway tests the role when it is set.
        opts=parent.child(retain_on_delete=True, depends_on=[attachment]),
    )


def create_throttles(parent: Component, stage: aws.apigateway.Stage) -> list[pulumi.Resource]:
    """Set throttles, metrics and execution logs of the whole stage, and of single methods."""
    throttle = parent.settings.throttle
    buckets: list[tuple[str, str, ThrottleSettings]] = [("", "*/*", throttle)]
    for route in ROUTES:
        if bucket := throttle.methods.get(route.method):
            suffix = f"-{route.path_label}-{route.verb.lower()}"
            buckets.append((suffix, route.stage_path, bucket))
    return [
        aws.apigateway.MethodSettings(
            f"{parent.name}-throttle{suffix}",
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
            opts=parent.child(),
        )
        for suffix, path, bucket in buckets
    ]
