"""The table that holds the records."""

import pulumi
import pulumi_aws as aws

from components.component import Component
from settings.schema import TableSettings


class Data(Component):
    """An on-demand DynamoDB table whose key is `id`."""

    table_name: pulumi.Output[str]
    table_arn: pulumi.Output[str]

    def __init__(
        self, name: str, args: TableSettings, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, opts)
        cap = args.max_write_request_units
        table = aws.dynamodb.Table(
            f"{name}-table",
            billing_mode="PAY_PER_REQUEST",
            hash_key="id",
            attributes=[{"name": "id", "type": "S"}],
            # One more best-effort throttle, and a ceiling on the bill.
            on_demand_throughput={"max_write_request_units": cap} if cap else None,
            point_in_time_recovery={"enabled": args.point_in_time_recovery},
            # With AWS's managed key, whose use CloudTrail records, not DynamoDB's own.
            server_side_encryption={"enabled": True},
            deletion_protection_enabled=args.deletion_protection,
            # Pulumi refuses what AWS would refuse, but before it changes anything else.
            opts=self.child(protect=args.deletion_protection),
        )
        self.table_name = table.name
        self.table_arn = table.arn
        self.register_outputs({"tableName": self.table_name, "tableArn": self.table_arn})
