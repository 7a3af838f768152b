"""The table that holds the records."""

import pulumi
import pulumi_aws as aws

from components.component import Component
from settings.schema import Settings


class Data(Component):
    """An on-demand DynamoDB table whose key is `id`."""

    table_name: pulumi.Output[str]
    table_arn: pulumi.Output[str]

    def __init__(self, settings: Settings, opts: pulumi.ResourceOptions) -> None:
        super().__init__(settings, opts)
        protect = settings.deletion_protection
        cap = settings.table.max_write_request_units
        table = aws.dynamodb.Table(
            f"{self.name}-table",
            billing_mode="PAY_PER_REQUEST",
            hash_key="id",
            attributes=[{"name": "id", "type": "S"}],
            # One more best-effort throttle.
            on_demand_throughput={"max_write_request_units": cap} if cap else None,
            point_in_time_recovery={"enabled": settings.table.point_in_time_recovery},
            # Encrypts with a key in KMS that AWS manages, so that CloudTrail records its use.
            # Without this, DynamoDB uses a key of its own, and CloudTrail records nothing.
            server_side_encryption={"enabled": True},
            deletion_protection_enabled=protect,
            # AWS would refuse in the middle of an update. Pulumi refuses before it starts.
            opts=self.child(protect=protect),
        )
        self.table_name = table.name
        self.table_arn = table.arn
        self.register("table_name", "table_arn")
