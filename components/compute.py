"""The function that answers the routes."""

from pathlib import Path
from typing import Final

import pulumi
import pulumi_aws as aws

from components import iam
from components.component import Component
from components.data import Data
from components.network import Network
from routes import METHODS, TABLE_ACTIONS
from settings.schema import Settings

_ROOT: Final = Path(__file__).parent.parent
FILES: Final = (
    "handler/__init__.py",
    "handler/app.py",
    "handler/record.py",
    "handler/table.py",
    "routes.py",
)
"""The deployment package. A whole folder would include `__pycache__`, which differs by machine."""


class Compute(Component):
    """A Lambda function in the isolated subnets, with its own log group and role.

    The log group and the role come first, because the network depends on the role's policy.
    """

    policy: aws.iam.RolePolicy
    """What the function's role may do."""
    function_name: pulumi.Output[str]
    invoke_arn: pulumi.Output[str]
    """URI by which API Gateway invokes the function; with SnapStart, its alias."""
    alias_name: pulumi.Output[str] | None
    """The alias that callers must name besides the function; None without SnapStart."""

    def __init__(self, settings: Settings, data: Data, opts: pulumi.ResourceOptions) -> None:
        super().__init__(settings, opts)
        self._table_name = data.table_name
        # Created before the function: Lambda would create a group that keeps its logs forever.
        self._log_group = log_group = aws.cloudwatch.LogGroup(
            f"{self.name}-function-logs",
            retention_in_days=settings.monitoring.log_retention_days,
            opts=self.child(),
        )
        self._role = role = aws.iam.Role(
            f"{self.name}-function-role",
            assume_role_policy=pulumi.Output.json_dumps(iam.trust("lambda.amazonaws.com")),
            opts=self.child(),
        )
        self.policy = aws.iam.RolePolicy(
            f"{self.name}-function-policy",
            role=role.id,
            policy=pulumi.Output.json_dumps(
                pulumi.Output.all(data.table_arn, log_group.arn).apply(
                    lambda arns: iam.function(arns[0], arns[1], TABLE_ACTIONS)
                )
            ),
            opts=self.child(),
        )

    def create_function(self, network: Network) -> None:
        """Create the function in its network."""
        settings = self.settings.function
        function = aws.lambda_.Function(
            f"{self.name}-function",
            description=f"Answers {', '.join(METHODS)}"[:256],
            code=pulumi.AssetArchive({file: pulumi.FileAsset(str(_ROOT / file)) for file in FILES}),
            handler="handler.app.handle",
            runtime=settings.runtime,
            architectures=[settings.architecture],
            memory_size=settings.memory_mb,
            timeout=settings.timeout_seconds,
            reserved_concurrent_executions=settings.reserved_concurrency,
            role=self._role.arn,
            environment={
                "variables": {
                    "TABLE_NAME": self._table_name,
                    "FUNCTION_TIMEOUT_SECONDS": str(settings.timeout_seconds),
                }
            },
            logging_config={"log_format": "JSON", "log_group": self._log_group.name},
            tracing_config={"mode": "Active"},
            vpc_config={
                "subnet_ids": network.subnet_ids,
                "security_group_ids": [network.function_security_group_id],
            },
            # Lambda keeps its network interfaces for up to 45 minutes after the function is
            # deleted, and what they use cannot be deleted. The VPC's default group takes this
            # one's place, so that only the subnets wait.
            replace_security_groups_on_destroy=True,
            replacement_security_group_ids=[network.default_security_group_id],
            snap_start={"apply_on": "PublishedVersions"} if settings.snap_start else None,
            publish=settings.snap_start,
            # Lambda refuses to create the function until the role may create network interfaces.
            # Without the way out, its first requests would fail, also in a new subnet.
            opts=self.child(depends_on=[self.policy, *network.way_out]),
        )
        self.function_name = function.name
        self.invoke_arn = function.invoke_arn
        self.alias_name = None
        if settings.snap_start:
            # Only published versions start from a snapshot. The alias points to the newest one.
            alias = aws.lambda_.Alias(
                f"{self.name}-function-live",
                name="live",
                function_name=function.name,
                function_version=function.version,
                opts=self.child(),
            )
            self.invoke_arn = alias.invoke_arn
            self.alias_name = alias.name
        self.register("function_name", "invoke_arn")
