"""The isolated VPC: no way in, and one way out."""

from ipaddress import IPv4Network
from itertools import pairwise
from types import SimpleNamespace

import pulumi_aws as aws
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components import iam
from components.network import subnet_cidrs
from routes import TABLE_ACTIONS
from tests.fuzzing import examples
from tests.stacks import PROJECT, deploy, run
from tests.stacks.resources import FUNCTION, LOG_GROUP, TABLE, document, find, only
from tools.recorder.program import ProgramError


def test_the_vpc_has_no_way_in_and_one_way_out() -> None:
    program = deploy("dev")
    vpc = only(program, "ec2/vpc:Vpc")
    assert vpc.inputs == {
        "cidrBlock": "10.0.0.0/20",
        "enableDnsSupport": True,
        "enableDnsHostnames": True,
        "tags": {"Name": PROJECT},
    }
    routes = only(program, "ec2/routeTable:RouteTable")
    assert routes.inputs == {"vpcId": vpc.id, "tags": {"Name": PROJECT}}, "no routes"
    endpoint = only(program, "ec2/vpcEndpoint:VpcEndpoint")
    assert {**endpoint.inputs, "policy": document(endpoint, "policy")} == {
        "vpcId": vpc.id,
        "serviceName": "com.amazonaws.eu-central-1.dynamodb",
        "vpcEndpointType": "Gateway",
        "routeTableIds": [routes.id],
        "policy": iam.table_endpoint(only(program, TABLE).outputs["arn"], TABLE_ACTIONS),
        "tags": {"Name": f"{PROJECT}-dynamodb"},
    }
    group = only(program, "ec2/securityGroup:SecurityGroup")
    assert group.inputs == {
        "vpcId": vpc.id,
        "description": "The function: HTTPS to DynamoDB, and nothing else",
        "tags": {"Name": f"{PROJECT}-function"},
    }
    assert only(program, "vpc/securityGroupEgressRule:SecurityGroupEgressRule").inputs == {
        "securityGroupId": group.id,
        "description": "HTTPS to DynamoDB",
        "prefixListId": endpoint.outputs["prefixListId"],
        "ipProtocol": "tcp",
        "fromPort": 443,
        "toPort": 443,
    }
    default_group = only(program, "ec2/defaultSecurityGroup:DefaultSecurityGroup")
    assert default_group.inputs == {"vpcId": vpc.id}, "no rules"


def test_lambda_may_delete_its_network_interfaces_while_subnets_wait_for_that() -> None:
    """A resource is deleted before those that it depends on."""
    program = deploy("dev")
    policy = only(program, "iam/rolePolicy:RolePolicy", "function-policy")
    assert all(policy.urn in subnet.depends_on for subnet in find(program, "ec2/subnet:Subnet"))


@pytest.mark.parametrize("zones", [1, 3])
def test_each_zone_has_a_subnet_with_the_route_to_the_table(zones: int) -> None:
    program = deploy(network={"availabilityZones": zones})
    vpc = only(program, "ec2/vpc:Vpc")
    subnets = find(program, "ec2/subnet:Subnet")
    assert [subnet.inputs for subnet in subnets] == [
        {
            "vpcId": vpc.id,
            "cidrBlock": f"10.0.{2 * index}.0/23",
            "availabilityZone": f"eu-central-1{'abc'[index]}",
            "tags": {"Name": f"{PROJECT}-isolated-{index}"},
        }
        for index in range(zones)
    ]
    table = only(program, "ec2/routeTable:RouteTable")
    routes = find(program, "ec2/routeTableAssociation:RouteTableAssociation")
    assert [route.inputs for route in routes] == [
        {"subnetId": subnet.id, "routeTableId": table.id} for subnet in subnets
    ]
    in_vpc = only(program, FUNCTION).inputs["vpcConfig"]["subnetIds"]
    assert in_vpc == [subnet.id for subnet in subnets]


@examples()
@given(
    # The bounds of the settings.
    vpc=st.builds(
        lambda address, prefix: IPv4Network((address, prefix), strict=False),
        st.integers(0, 2**32 - 1),
        st.integers(16, 25),
    ),
    zones=st.integers(1, 6),
)
def test_subnets_are_apart_large_enough_and_do_not_move_when_a_zone_is_added(
    vpc: IPv4Network, zones: int
) -> None:
    subnets = subnet_cidrs(vpc, zones)
    assert len(subnets) == zones
    assert all(subnet.subnet_of(vpc) for subnet in subnets)
    assert all(subnet.prefixlen <= 28 for subnet in subnets), "AWS takes no smaller subnet"
    assert all(a.broadcast_address < b.network_address for a, b in pairwise(subnets))
    assert subnet_cidrs(vpc, zones + 1)[:zones] == subnets, (
        "a subnet whose network changes is replaced, and with it the function's interfaces"
    )


def test_a_region_with_too_few_zones_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    one_zone = SimpleNamespace(names=["xx-a"])
    monkeypatch.setattr(aws, "get_availability_zones", lambda **_: one_zone)
    assert len(find(run(network={"availabilityZones": 1}), "ec2/subnet:Subnet")) == 1
    with pytest.raises(ProgramError) as refused:
        run()
    assert str(refused.value) == (
        "network.availabilityZones: 2 is more than this Region has (xx-a). Set it to at most 1."
    )


def test_the_flows_are_logged() -> None:
    program = deploy("dev")
    logs = only(program, LOG_GROUP, "flow-logs")
    role = only(program, "iam/role:Role", "flow-logs-role")
    policy = only(program, "iam/rolePolicy:RolePolicy", "flow-logs-policy")
    flow_log = only(program, "ec2/flowLog:FlowLog")
    assert flow_log.inputs == {
        "vpcId": only(program, "ec2/vpc:Vpc").id,
        "trafficType": "ALL",
        "logDestinationType": "cloud-watch-logs",
        "logDestination": logs.outputs["arn"],
        "iamRoleArn": role.outputs["arn"],
        "tags": {"Name": PROJECT},
    }
    assert policy.urn in flow_log.depends_on
    account = logs.outputs["arn"].split(":")[4]
    trust = iam.trust("vpc-flow-logs.amazonaws.com", account)
    assert document(role, "assumeRolePolicy") == trust
    assert document(policy, "policy") == iam.flow_logs(logs.outputs["arn"])
    assert policy.inputs["role"] == role.id
