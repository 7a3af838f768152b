"""A public API on AWS that throttles every caller.

    caller -> EdgeProtection -> Compute -> Network -> Data
              web ACL           function   VPC with   table
              API keys                     one way
              quotas                       out
              throttles
                     Monitoring watches all of them

A request goes from left to right. The components are created from right to left, because each one
needs outputs of the component behind it. Only the function's role comes before its network.

settings/errors.py words a refused config. throttling/gate.py has the order in which a request meets
the limits, and throttling/simulation/simulator.py simulates a day of requests.
"""

import pulumi

from components.compute import Compute, ComputeArgs
from components.data import Data, DataArgs
from components.edge_protection import EdgeProtection, EdgeProtectionArgs
from components.monitoring import Monitoring, MonitoringArgs
from components.network import Network, NetworkArgs
from components.provider import aws_provider
from settings.program import load_settings

settings = load_settings()
name = settings.project
opts = pulumi.ResourceOptions(provider=aws_provider(settings))

data = Data(
    name,
    DataArgs(settings=settings.table, protect=settings.deletion_protection),
    opts,
)

compute = Compute(
    name,
    ComputeArgs(
        settings=settings.function,
        table_name=data.table_name,
        table_arn=data.table_arn,
        log_retention_days=settings.monitoring.log_retention_days,
    ),
    opts,
)

network = Network(
    name,
    NetworkArgs(
        settings=settings.network,
        table_arn=data.table_arn,
        function_policy=compute.policy,
        log_retention_days=settings.monitoring.log_retention_days,
        protect=settings.deletion_protection,
    ),
    opts,
)

compute.create_function(network)

edge = EdgeProtection(
    name,
    EdgeProtectionArgs(
        settings=settings,
        function_name=compute.function_name,
        function_invoke_arn=compute.invoke_arn,
        function_alias_name=compute.alias_name,
        protect=settings.deletion_protection,
    ),
    opts,
)

monitoring = Monitoring(
    name,
    MonitoringArgs(
        settings=settings,
        api_name=edge.api_name,
        stage_name=edge.stage_name,
        access_log_group_name=edge.access_log_group_name,
        web_acl_metric_name=edge.web_acl_metric_name,
        function_name=compute.function_name,
        table_name=data.table_name,
    ),
    opts,
)

pulumi.export("apiUrl", edge.api_url)
pulumi.export("dataUrl", edge.data_url)
# The provider marks each value as a secret. Marked here too, so as not to depend on that.
pulumi.export("apiKeys", pulumi.Output.secret(edge.api_keys))
pulumi.export("apiKeyIds", edge.api_key_ids)
pulumi.export("usagePlanIds", edge.usage_plan_ids)
pulumi.export("webAclArn", edge.web_acl_arn)
pulumi.export("accessLogGroup", edge.access_log_group_name)
pulumi.export("functionName", compute.function_name)
pulumi.export("tableName", data.table_name)
pulumi.export("alarmTopicArn", monitoring.topic_arn)
pulumi.export("dashboardUrl", monitoring.dashboard_url)
