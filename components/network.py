"""The VPC the function runs in: no way in, and one way out, to the table."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network

import pulumi
import pulumi_aws as aws

from components import iam
from components.component import Component
from settings.schema import NetworkSettings


@dataclass(frozen=True, kw_only=True)
class NetworkArgs:
    """What the network is built from."""

    settings: NetworkSettings
    table_arn: pulumi.Input[str]
    log_retention_days: int
    protect: bool


class Network(Component):
    """Isolated subnets over several zones, with a gateway endpoint to DynamoDB."""

    vpc_id: pulumi.Output[str]
    subnet_ids: list[pulumi.Output[str]]
    function_security_group_id: pulumi.Output[str]
    default_security_group_id: pulumi.Output[str]

    def __init__(
        self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, opts)
        settings = args.settings
        region = aws.get_region_output(opts=pulumi.InvokeOutputOptions(parent=self)).region
        vpc = aws.ec2.Vpc(
            f"{name}-vpc",
            cidr_block=str(settings.cidr),
            enable_dns_support=True,  # the DynamoDB endpoint is found by DNS
            enable_dns_hostnames=True,
            tags={"Name": name},
            # Another CIDR is another VPC, under the feet of the function. Pulumi refuses to replace
            # it before it changes anything else.
            opts=self.child(protect=args.protect),
        )
        # AWS makes this group with every VPC and lets it pass everything between its members.
        # Adopted here and left without rules, it passes nothing.
        default_group = aws.ec2.DefaultSecurityGroup(
            f"{name}-default-security-group", vpc_id=vpc.id, opts=self.child()
        )
        route_table = aws.ec2.RouteTable(
            f"{name}-route-table", vpc_id=vpc.id, tags={"Name": name}, opts=self.child()
        )
        # Waited for, unlike an output: a refusal inside an `apply` reaches everything that depends
        # on it, and each says so in a traceback of its own.
        available = aws.get_availability_zones(
            state="available",
            # Leaves out Local and Wavelength Zones.
            filters=[{"name": "zone-type", "values": ["availability-zone"]}],
            opts=pulumi.InvokeOptions(parent=self),
        )
        zones = enough_zones(available.names, settings.availability_zones)
        self.subnet_ids = []
        for index, cidr in enumerate(subnet_cidrs(settings.cidr, settings.availability_zones)):
            subnet = aws.ec2.Subnet(
                f"{name}-subnet-{index}",
                vpc_id=vpc.id,
                cidr_block=str(cidr),
                availability_zone=zones[index],
                tags={"Name": f"{name}-isolated-{index}"},
                opts=self.child(),
            )
            aws.ec2.RouteTableAssociation(
                f"{name}-subnet-{index}-routes",
                subnet_id=subnet.id,
                route_table_id=route_table.id,
                opts=self.child(),
            )
            self.subnet_ids.append(subnet.id)
        endpoint = aws.ec2.VpcEndpoint(
            f"{name}-dynamodb-endpoint",
            vpc_id=vpc.id,
            service_name=pulumi.Output.format("com.amazonaws.{0}.dynamodb", region),
            vpc_endpoint_type="Gateway",
            route_table_ids=[route_table.id],
            policy=pulumi.Output.json_dumps(
                pulumi.Output.from_input(args.table_arn).apply(iam.table_endpoint)
            ),
            tags={"Name": f"{name}-dynamodb"},
            opts=self.child(),
        )
        group = aws.ec2.SecurityGroup(
            f"{name}-function-security-group",
            vpc_id=vpc.id,
            description="The function: HTTPS to DynamoDB, and nothing else",
            tags={"Name": f"{name}-function"},
            opts=self.child(),
        )
        aws.vpc.SecurityGroupEgressRule(
            f"{name}-function-to-dynamodb",
            security_group_id=group.id,
            description="HTTPS to DynamoDB",
            prefix_list_id=endpoint.prefix_list_id,
            ip_protocol="tcp",
            from_port=443,
            to_port=443,
            opts=self.child(),
        )
        if settings.flow_logs:
            self._log_flows(name, vpc.id, args.log_retention_days)
        self.vpc_id = vpc.id
        self.function_security_group_id = group.id
        self.default_security_group_id = default_group.id
        self.register_outputs(
            {
                "vpcId": self.vpc_id,
                "subnetIds": self.subnet_ids,
                "functionSecurityGroupId": self.function_security_group_id,
                "defaultSecurityGroupId": self.default_security_group_id,
            }
        )

    def _log_flows(self, name: str, vpc_id: pulumi.Output[str], retention_days: int) -> None:
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
            vpc_id=vpc_id,
            traffic_type="ALL",
            log_destination_type="cloud-watch-logs",
            log_destination=log_group.arn,
            iam_role_arn=role.arn,
            tags={"Name": name},
            # Before the role may write, the flow log would start with failed deliveries.
            opts=self.child(depends_on=[policy]),
        )


def subnet_cidrs(vpc: IPv4Network, zones: int) -> list[IPv4Network]:
    """The network of each zone's subnet.

    Always an eighth of the VPC: with a share that depends on the number of zones, another zone
    would replace the subnets of all.
    """
    return list(vpc.subnets(prefixlen_diff=3))[:zones]


def enough_zones(names: Sequence[str], wanted: int) -> Sequence[str]:
    """The names of the zones to use.

    Raises:
        pulumi.RunError: when the Region has fewer than `wanted`.
    """
    if len(names) < wanted:
        raise pulumi.RunError(
            f"network.availabilityZones: {wanted} is more than this Region has "
            f"({', '.join(names)}). Set it to at most {len(names)}."
        )
    return names[:wanted]
