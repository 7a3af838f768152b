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

from components.compute import Compute
from components.data import Data
from components.edge_protection import EdgeProtection
from components.monitoring import Monitoring
from components.network import Network
from components.provider import aws_provider
from settings.program import load_settings

settings = load_settings()
provider, region = aws_provider(settings)
opts = pulumi.ResourceOptions(provider=provider)

data = Data(settings, opts)
compute = Compute(settings, data, opts)
network = Network(settings, region, data, compute.policy, opts)
compute.create_function(network)
edge = EdgeProtection(settings, compute, opts)
monitoring = Monitoring(settings, region, edge, compute, data, opts)

pulumi.export("apiUrl", edge.api_url)
pulumi.export("dataUrl", edge.data_url)
pulumi.export("apiKeys", edge.api_keys)
pulumi.export("apiKeyIds", edge.api_key_ids)
pulumi.export("usagePlanIds", edge.usage_plan_ids)
pulumi.export("webAclArn", edge.web_acl_arn)
pulumi.export("accessLogGroup", edge.access_log_group_name)
pulumi.export("functionName", compute.function_name)
pulumi.export("tableName", data.table_name)
pulumi.export("alarmTopicArn", monitoring.topic_arn)
pulumi.export("dashboardUrl", monitoring.dashboard_url)
