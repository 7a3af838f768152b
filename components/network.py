"""The VPC the function runs in: no way in, and one way out, to the table."""

from ipaddress import IPv4Network

import pulumi
import pulumi_aws as aws

from components import iam
from components.component import Component
from components.data import Data
from routes import TABLE_ACTIONS
from settings.schema import Settings


class Network(Component):
    """Isolated subnets in one or more zones, with a gateway endpoint to DynamoDB."""

    vpc_id: pulumi.Output[str]
    subnet_ids: list[pulumi.Output[str]]
    function_security_group_id: pulumi.Output[str]
    default_security_group_id: pulumi.Output[str]
    way_out: list[pulumi.Resource]
    """What must exist before the function can reach the table."""

    def __init__(
        self,
        settings: Settings,
        region: str,
        data: Data,
        function_policy: pulumi.Resource,
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__(settings, opts)
        vpc = aws.ec2.Vpc(
            f"{self.name}-vpc",
            cidr_block=str(settings.network.cidr),
            enable_dns_support=True,  # the function finds the DynamoDB endpoint by DNS
            enable_dns_hostnames=True,
            tags={"Name": self.name},
            # Changing the CIDR replaces the VPC that the function runs in. Pulumi refuses this
            # before it changes anything.
            opts=self.child(protect=settings.deletion_protection),
        )
        self.vpc_id = vpc.id
        # AWS creates this group with every VPC and lets its members reach each other. Adopted here
        # without rules, it allows nothing.
        default_group = aws.ec2.DefaultSecurityGroup(
            f"{self.name}-default-security-group", vpc_id=vpc.id, opts=self.child()
        )
        self.default_security_group_id = default_group.id
        route_table = aws.ec2.RouteTable(
            f"{self.name}-route-table", vpc_id=vpc.id, tags={"Name": self.name}, opts=self.child()
        )
        self.subnet_ids, self.way_out = [], []
        self._create_subnets(function_policy, route_table)
        self._create_way_out(region, data, route_table)
        if settings.network.flow_logs:
            self._log_flows()
        self.register(
            *("vpc_id", "subnet_ids", "function_security_group_id", "default_security_group_id")
        )

    def _create_subnets(
        self, function_policy: pulumi.Resource, route_table: aws.ec2.RouteTable
    ) -> None:
        wanted = self.settings.network.availability_zones
        # The program waits for this answer instead of using an Output, so that it can end here.
        zones = aws.get_availability_zones(
            state="available",
            # Leaves out Local Zones and Wavelength Zones.
            filters=[{"name": "zone-type", "values": ["availability-zone"]}],
            opts=pulumi.InvokeOptions(parent=self),
        ).names
        if len(zones) < wanted:
            raise pulumi.RunError(
                f"network.availabilityZones: {wanted} is more than this Region has "
                f"({', '.join(zones)}). Set it to at most {len(zones)}."
            )
        for index, cidr in enumerate(subnet_cidrs(self.settings.network.cidr, wanted)):
            subnet = aws.ec2.Subnet(
                f"{self.name}-subnet-{index}",
                vpc_id=self.vpc_id,
                cidr_block=str(cidr),
                availability_zone=zones[index],
                tags={"Name": f"{self.name}-isolated-{index}"},
                opts=self.child(
                    # Deleted before the policy: without it, Lambda could not delete the function's
                    # network interfaces, on which a subnet's deletion waits. Lambda deletes them
                    # up to 45 minutes after the function.
                    # https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html#configuration-vpc-enis
                    depends_on=[function_policy],
                    custom_timeouts=pulumi.CustomTimeouts(delete="60m"),
                ),
            )
            self.subnet_ids.append(subnet.id)
            routes = aws.ec2.RouteTableAssociation(
                f"{self.name}-subnet-{index}-routes",
                subnet_id=subnet.id,
                route_table_id=route_table.id,
                opts=self.child(),
            )
            self.way_out.append(routes)

    def _create_way_out(self, region: str, data: Data, route_table: aws.ec2.RouteTable) -> None:
        """Create the endpoint, and the security group whose only egress leads to it."""
        endpoint = aws.ec2.VpcEndpoint(
            f"{self.name}-dynamodb-endpoint",
            vpc_id=self.vpc_id,
            service_name=f"com.amazonaws.{region}.dynamodb",
            vpc_endpoint_type="Gateway",
            route_table_ids=[route_table.id],
            policy=pulumi.Output.json_dumps(
                data.table_arn.apply(lambda arn: iam.table_endpoint(arn, TABLE_ACTIONS))
            ),
            tags={"Name": f"{self.name}-dynamodb"},
            opts=self.child(),
        )
        group = aws.ec2.SecurityGroup(
            f"{self.name}-function-security-group",
            vpc_id=self.vpc_id,
            description="The function: HTTPS to DynamoDB, and nothing else",
            tags={"Name": f"{self.name}-function"},
            opts=self.child(),
        )
        self.function_security_group_id = group.id
        egress = aws.vpc.SecurityGroupEgressRule(
            f"{self.name}-function-to-dynamodb",
            security_group_id=group.id,
            description="HTTPS to DynamoDB",
            prefix_list_id=endpoint.prefix_list_id,
            ip_protocol="tcp",
            from_port=443,
            to_port=443,
            opts=self.child(),
        )
        self.way_out += [endpoint, egress]

    def _log_flows(self) -> None:
        account = aws.get_caller_identity_output(opts=pulumi.InvokeOutputOptions(parent=self))
        log_group = aws.cloudwatch.LogGroup(
            f"{self.name}-flow-logs",
            retention_in_days=self.settings.monitoring.log_retention_days,
            opts=self.child(),
        )
        role = aws.iam.Role(
            f"{self.name}-flow-logs-role",
            assume_role_policy=pulumi.Output.json_dumps(
                account.account_id.apply(
                    lambda account_id: iam.trust("vpc-flow-logs.amazonaws.com", account_id)
                )
            ),
            opts=self.child(),
        )
        policy = aws.iam.RolePolicy(
            f"{self.name}-flow-logs-policy",
            role=role.id,
            policy=pulumi.Output.json_dumps(log_group.arn.apply(iam.flow_logs)),
            opts=self.child(),
        )
        aws.ec2.FlowLog(
            f"{self.name}-flow-log",
            vpc_id=self.vpc_id,
            traffic_type="ALL",
            log_destination_type="cloud-watch-logs",
            log_destination=log_group.arn,
            iam_role_arn=role.arn,
            tags={"Name": self.name},
            # Deliveries fail until the role may write.
            opts=self.child(depends_on=[policy]),
        )


def subnet_cidrs(vpc: IPv4Network, zones: int) -> list[IPv4Network]:
    """Return the CIDR of each zone's subnet.

    Each is an eighth of the VPC, whatever the number of zones. If the share depended on that
    number, adding a zone would replace the subnets of all zones.
    """
    return list(vpc.subnets(prefixlen_diff=3))[:zones]
