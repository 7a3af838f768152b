"""The VPC the function runs in: no way in, and one way out, to the table."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network

import pulumi
import pulumi_aws as aws

from components import iam
from components.component import Component
from routes import TABLE_ACTIONS
from settings.schema import REGION, NetworkSettings


@dataclass(frozen=True, kw_only=True)
class NetworkArgs:
    """The network's settings, and the table that it leads to."""

    settings: NetworkSettings
    table_arn: pulumi.Input[str]
    function_policy: pulumi.Resource
    """Lets Lambda delete the function's network interfaces, on which the subnets' deletion waits.

    https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html#configuration-vpc-enis
    """
    log_retention_days: int
    protect: bool
    """Whether Pulumi refuses to delete or replace the VPC."""


class Network(Component):
    """Isolated subnets in one or more zones, with a gateway endpoint to DynamoDB."""

    vpc_id: pulumi.Output[str]
    subnet_ids: list[pulumi.Output[str]]
    function_security_group_id: pulumi.Output[str]
    default_security_group_id: pulumi.Output[str]
    way_out: list[pulumi.Resource]
    """What must exist before the function can reach the table."""

    def __init__(
        self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, opts)
        settings = args.settings
        vpc = aws.ec2.Vpc(
            f"{name}-vpc",
            cidr_block=str(settings.cidr),
            enable_dns_support=True,  # the function finds the DynamoDB endpoint by DNS
            enable_dns_hostnames=True,
            tags={"Name": name},
            # Changing the CIDR replaces the VPC that the function runs in. Pulumi refuses this
            # before it changes anything.
            opts=self.child(protect=args.protect),
        )
        # AWS creates this group with every VPC and lets its members reach each other. Adopted here
        # without rules, it allows nothing.
        default_group = aws.ec2.DefaultSecurityGroup(
            f"{name}-default-security-group", vpc_id=vpc.id, opts=self.child()
        )
        route_table = aws.ec2.RouteTable(
            f"{name}-route-table", vpc_id=vpc.id, tags={"Name": name}, opts=self.child()
        )
        self.vpc_id = vpc.id
        self.way_out = []
        self.subnet_ids = self._subnets(name, args, route_table)
        self.function_security_group_id = self._way_out(name, args.table_arn, route_table)
        self.default_security_group_id = default_group.id
        if settings.flow_logs:
            self._log_flows(name, args.log_retention_days)
        self.register_outputs(
            {
                "vpcId": self.vpc_id,
                "subnetIds": self.subnet_ids,
                "functionSecurityGroupId": self.function_security_group_id,
                "defaultSecurityGroupId": self.default_security_group_id,
            }
        )

    def _subnets(
        self, name: str, args: NetworkArgs, route_table: aws.ec2.RouteTable
    ) -> list[pulumi.Output[str]]:
        settings = args.settings
        # The program waits for this answer instead of using an Output: an error raised inside
        # `apply` is reported once for every dependent resource, each time with a traceback.
        available = aws.get_availability_zones(
            state="available",
            # Leaves out Local Zones and Wavelength Zones.
            filters=[{"name": "zone-type", "values": ["availability-zone"]}],
            opts=pulumi.InvokeOptions(parent=self),
        )
        if not re.fullmatch(REGION, available.id):  # the AWS environment may decide
            raise pulumi.RunError(
                f"aws:region: {available.id} is not supported. Allowed: Regions outside of China, "
                "GovCloud and isolated partitions."
            )
        zones = enough_zones(available.names, settings.availability_zones)
        subnet_ids = []
        for index, cidr in enumerate(subnet_cidrs(settings.cidr, settings.availability_zones)):
            subnet = aws.ec2.Subnet(
                f"{name}-subnet-{index}",
                vpc_id=self.vpc_id,
                cidr_block=str(cidr),
                availability_zone=zones[index],
                tags={"Name": f"{name}-isolated-{index}"},
                opts=self.child(
                    # Deleted before it: without the policy, Lambda's interfaces would stay.
                    depends_on=[args.function_policy],
                    # Lambda deletes them up to 45 minutes after the function.
                    custom_timeouts=pulumi.CustomTimeouts(delete="60m"),
                ),
            )
            routes = aws.ec2.RouteTableAssociation(
                f"{name}-subnet-{index}-routes",
                subnet_id=subnet.id,
                route_table_id=route_table.id,
                opts=self.child(),
            )
            self.way_out.append(routes)
            subnet_ids.append(subnet.id)
        return subnet_ids

    def _way_out(
        self, name: str, table_arn: pulumi.Input[str], route_table: aws.ec2.RouteTable
    ) -> pulumi.Output[str]:
        """Create the endpoint, and the security group whose only egress leads to it."""
        region = aws.get_region_output(opts=pulumi.InvokeOutputOptions(parent=self)).region
        endpoint = aws.ec2.VpcEndpoint(
            f"{name}-dynamodb-endpoint",
            vpc_id=self.vpc_id,
            service_name=pulumi.Output.format("com.amazonaws.{0}.dynamodb", region),
            vpc_endpoint_type="Gateway",
            route_table_ids=[route_table.id],
            policy=pulumi.Output.json_dumps(
                pulumi.Output.from_input(table_arn).apply(
                    lambda arn: iam.table_endpoint(arn, TABLE_ACTIONS)
                )
            ),
            tags={"Name": f"{name}-dynamodb"},
            opts=self.child(),
        )
        group = aws.ec2.SecurityGroup(
            f"{name}-function-security-group",
            vpc_id=self.vpc_id,
            description="The function: HTTPS to DynamoDB, and nothing else",
            tags={"Name": f"{name}-function"},
            opts=self.child(),
        )
        egress = aws.vpc.SecurityGroupEgressRule(
            f"{name}-function-to-dynamodb",
            security_group_id=group.id,
            description="HTTPS to DynamoDB",
            prefix_list_id=endpoint.prefix_list_id,
            ip_protocol="tcp",
            from_port=443,
            to_port=443,
            opts=self.child(),
        )
        self.way_out += [endpoint, egress]
        return group.id

    def _log_flows(self, name: str, retention_days: int) -> None:
        account = aws.get_caller_identity_output(opts=pulumi.InvokeOutputOptions(parent=self))
        log_group = aws.cloudwatch.LogGroup(
            f"{name}-flow-logs", retention_in_days=retention_days, opts=self.child()
        )
        role = aws.iam.Role(
            f"{name}-flow-logs-role",
            assume_role_policy=pulumi.Output.json_dumps(
                account.account_id.apply(
                    lambda account_id: iam.trust("vpc-flow-logs.amazonaws.com", account_id)
                )
            ),
            opts=self.child(),
        )
        policy = aws.iam.RolePolicy(
            f"{name}-flow-logs-policy",
            role=role.id,
            policy=pulumi.Output.json_dumps(log_group.arn.apply(iam.flow_logs)),
            opts=self.child(),
        )
        aws.ec2.FlowLog(
            f"{name}-flow-log",
            vpc_id=self.vpc_id,
            traffic_type="ALL",
            log_destination_type="cloud-watch-logs",
            log_destination=log_group.arn,
            iam_role_arn=role.arn,
            tags={"Name": name},
            # Deliveries fail until the role may write.
            opts=self.child(depends_on=[policy]),
        )


def subnet_cidrs(vpc: IPv4Network, zones: int) -> list[IPv4Network]:
    """Return the CIDR of each zone's subnet.

    Each is an eighth of the VPC, whatever the number of zones. If the share depended on that
    number, adding a zone would replace the subnets of all zones.
    """
    return list(vpc.subnets(prefixlen_diff=3))[:zones]


def enough_zones(names: Sequence[str], wanted: int) -> Sequence[str]:
    """Return the names of the first `wanted` zones.

    Raises:
        pulumi.RunError: when the Region has fewer.
    """
    if len(names) < wanted:
        raise pulumi.RunError(
            f"network.availabilityZones: {wanted} is more than this Region has "
            f"({', '.join(names)}). Set it to at most {len(names)}."
        )
    return names[:wanted]
