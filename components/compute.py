"""The function that stores records."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pulumi
import pulumi_aws as aws

from components import iam
from components.component import Component
from settings.schema import FunctionSettings

_ROOT: Final = Path(__file__).parent.parent
FILES: Final = ("handler/__init__.py", "handler/app.py", "handler/record.py", "handler/table.py")
"""What is deployed. A whole folder would bring along __pycache__, which changes by itself."""


@dataclass(frozen=True, kw_only=True)
class ComputeArgs:
    """What the function is built from."""

    settings: FunctionSettings
    table_name: pulumi.Input[str]
    table_arn: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]
    security_group_id: pulumi.Input[str]
    default_security_group_id: pulumi.Input[str]
    log_retention_days: int


class Compute(Component):
    """A Lambda function with a log group and a role of its own, in the isolated subnets."""

    function_name: pulumi.Output[str]
    invoke_arn: pulumi.Output[str]
    """URI with which API Gateway invokes the function, or its alias with SnapStart."""
    alias_name: pulumi.Output[str] | None
    """What callers must name besides the function; None without SnapStart."""

    def __init__(
        self, name: str, args: ComputeArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, opts)
        settings = args.settings
        # Made first, with a retention: Lambda would make a group that keeps everything for ever.
        log_group = aws.cloudwatch.LogGroup(
            f"{name}-function-logs", retention_in_days=args.log_retention_days, opts=self.child()
        )
        role = aws.iam.Role(
            f"{name}-function-role",
            assume_role_policy=pulumi.Output.json_dumps(iam.trust("lambda.amazonaws.com")),
            opts=self.child(),
        )
        policy = aws.iam.RolePolicy(
            f"{name}-function-policy",
            role=role.id,
            policy=pulumi.Output.json_dumps(
                pulumi.Output.all(args.table_arn, log_group.arn).apply(
                    lambda arns: iam.function(*arns)
                )
            ),
            opts=self.child(),
        )
        function = aws.lambda_.Function(
            f"{name}-function",
            description="Stores a record in the table",
            code=pulumi.AssetArchive({file: pulumi.FileAsset(str(_ROOT / file)) for file in FILES}),
            handler="handler.app.handle",
            runtime=settings.runtime,
            architectures=[settings.architecture],
            memory_size=settings.memory_mb,
            timeout=settings.timeout_seconds,
            reserved_concurrent_executions=settings.reserved_concurrency,
            role=role.arn,
            environment={
                "variables": {
                    "TABLE_NAME": args.table_name,
                    "FUNCTION_TIMEOUT_SECONDS": str(settings.timeout_seconds),
                }
            },
            logging_config={"log_format": "JSON", "log_group": log_group.name},
            tracing_config={"mode": "Active"},
            vpc_config={
                "subnet_ids": args.subnet_ids,
                "security_group_ids": [args.security_group_id],
            },
            # Lambda holds on to its network interfaces for 20 to 45 minutes, and with them to
            # their security group. With this one swapped for the VPC's default, a destroy need
            # not wait for that.
            replace_security_groups_on_destroy=True,
            replacement_security_group_ids=[args.default_security_group_id],
            snap_start={"apply_on": "PublishedVersions"} if settings.snap_start else None,
            publish=settings.snap_start,
            # Lambda checks on creation that the role may make network interfaces.
            opts=self.child(depends_on=[policy]),
        )
        self.function_name = function.name
        self.invoke_arn = function.invoke_arn
        self.alias_name = None
        if settings.snap_start:
            # Only published versions start from a snapshot; the alias is the newest of them.
            alias = aws.lambda_.Alias(
                f"{name}-function-live",
                name="live",
                function_name=function.name,
                function_version=function.version,
                opts=self.child(),
            )
            self.invoke_arn = alias.invoke_arn
            self.alias_name = alias.name
        self.register_outputs({"functionName": self.function_name, "invokeArn": self.invoke_arn})
