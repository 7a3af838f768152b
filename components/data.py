"""The table that holds the records."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import Component
from settings.schema import TableSettings


@dataclass(frozen=True, kw_only=True)
class DataArgs:
    """The table's settings."""

    settings: TableSettings
    protect: bool
    """Whether AWS and Pulumi refuse to delete or replace the table."""


class Data(Component):
    """An on-demand DynamoDB table whose key is `id`."""

    table_name: pulumi.Output[str]
    table_arn: pulumi.Output[str]

    def __init__(
        self, name: str, args: DataArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, opts)
        settings = args.settings
        cap = settings.max_write_request_units
        table = aws.dynamodb.Table(
            f"{name}-table",
            billing_mode="PAY_PER_REQUEST",
            hash_key="id",
            attributes=[{"name": "id", "type": "S"}],
            # One more best-effort throttle.
            on_demand_throughput={"max_write_request_units": cap} if cap else None,
            point_in_time_recovery={"enabled": settings.point_in_time_recovery},
            # Encrypts with a key in KMS that AWS manages, so that CloudTrail records its use.
            # Without this, DynamoDB uses a key of its own, and CloudTrail records nothing.
            server_side_encryption={"enabled": True},
            deletion_protection_enabled=args.protect,
            # AWS would refuse in the middle of an update. Pulumi refuses before it starts.
            opts=self.child(protect=args.protect),
        )
        self.table_name = table.name
        self.table_arn = table.arn
        self.register_outputs({"tableName": self.table_name, "tableArn": self.table_arn})
