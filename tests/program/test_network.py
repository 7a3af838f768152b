"""The isolated VPC: no way in, and one way out."""

import pytest

from components import iam
from tools.recorder.program import ACCOUNT_ID
from tests.program.conftest import (
    FUNCTION,
    REGION,
    TABLE,
    Deploy,
    document,
    find,
    only,
    types,
)


def test_the_vpc_has_no_way_in_and_one_way_out(deploy: Deploy) -> None:
    program = deploy("dev")
    vpc = only(program, "ec2/vpc:Vpc")
    assert vpc.inputs == {
        "cidrBlock": "10.0.0.0/20",
        "enableDnsSupport": True,
        "enableDnsHostnames": True,
        "tags": {"Name": "throttled-api"},
    }
    routes = only(program, "ec2/routeTable:RouteTable")
    assert routes.inputs == {"vpcId": vpc.id, "tags": {"Name": "throttled-api"}}, "no routes"
    endpoint = only(program, "ec2/vpcEndpoint:VpcEndpoint")
    policy = document(endpoint, "policy")
    assert {**endpoint.inputs, "policy": policy} == {
        "vpcId": vpc.id,
        "serviceName": f"com.amazonaws.{REGION}.dynamodb",
        "vpcEndpointType": "Gateway",
        "routeTableIds": [routes.id],
        "policy": iam.table_endpoint(only(program, TABLE).outputs["arn"]),
        "tags": {"Name": "throttled-api-dynamodb"},
    }
    group = only(program, "ec2/securityGroup:SecurityGroup")
    assert group.inputs == {
        "vpcId": vpc.id,
        "description": "The function: HTTPS to DynamoDB, and nothing else",
        "tags": {"Name": "throttled-api-function"},
    }
    assert only(program, "vpc/securityGroupEgressRule:SecurityGroupEgressRule").inputs == {
        "securityGroupId": group.id,
        "description": "HTTPS to DynamoDB",
        "prefixListId": endpoint.outputs["prefixListId"],
        "ipProtocol": "tcp",
        "fromPort": 443,
        "toPort": 443,
    }


def test_the_default_security_group_is_emptied(deploy: Deploy) -> None:
    program = deploy("dev")
    assert only(program, "ec2/defaultSecurityGroup:DefaultSecurityGroup").inputs == {
        "vpcId": only(program, "ec2/vpc:Vpc").id
    }


@pytest.mark.parametrize("zones", [1, 3])
def test_each_zone_has_a_subnet_with_the_route_to_the_table(deploy: Deploy, zones: int) -> None:
    program = deploy(network={"availabilityZones": zones})
    subnets = find(program, "ec2/subnet:Subnet")
    assert (
        sorted(
            (s.inputs["cidrBlock"], s.inputs["availabilityZone"], s.inputs["tags"]["Name"])
            for s in subnets
        )
        == [
            ("10.0.0.0/23", "eu-central-1a", "throttled-api-isolated-0"),
            ("10.0.2.0/23", "eu-central-1b", "throttled-api-isolated-1"),
            ("10.0.4.0/23", "eu-central-1c", "throttled-api-isolated-2"),
        ][:zones]
    )
    assert not any("mapPublicIpOnLaunch" in subnet.inputs for subnet in subnets)
    routes = find(program, "ec2/routeTableAssociation:RouteTableAssociation")
    table = only(program, "ec2/routeTable:RouteTable")
    assert sorted((r.inputs["subnetId"], r.inputs["routeTableId"]) for r in routes) == sorted(
        (subnet.id, table.id) for subnet in subnets
    )
    in_vpc = only(program, FUNCTION).inputs["vpcConfig"]["subnetIds"]
    assert sorted(in_vpc) == sorted(subnet.id for subnet in subnets)


def test_the_flows_are_logged(deploy: Deploy) -> None:
    program = deploy("dev")
    logs = only(program, "cloudwatch/logGroup:LogGroup", "flow-logs")
    role = only(program, "iam/role:Role", "flow-logs-role")
    policy = only(program, "iam/rolePolicy:RolePolicy", "flow-logs-policy")
    flow_log = only(program, "ec2/flowLog:FlowLog")
    assert flow_log.inputs == {
        "vpcId": only(program, "ec2/vpc:Vpc").id,
        "trafficType": "ALL",
        "logDestinationType": "cloud-watch-logs",
        "logDestination": logs.outputs["arn"],
        "iamRoleArn": role.outputs["arn"],
        "tags": {"Name": "throttled-api"},
    }
    assert policy.urn in flow_log.depends_on
    trust = iam.trust("vpc-flow-logs.amazonaws.com", ACCOUNT_ID)
    assert document(role, "assumeRolePolicy") == trust
    assert document(policy, "policy") == iam.flow_logs(logs.outputs["arn"])
    assert policy.inputs["role"] == role.id


def test_without_flow_logs_nothing_of_them_is_there(deploy: Deploy) -> None:
    less = types(deploy("dev")) - types(deploy(network={"flowLogs": False}))
    assert less == {
        "aws:ec2/flowLog:FlowLog": 1,
        "aws:cloudwatch/logGroup:LogGroup": 1,
        "aws:iam/role:Role": 1,
        "aws:iam/rolePolicy:RolePolicy": 1,
    }
