"""What the program registers, stack by stack and setting by setting."""

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pulumi.runtime import mocks
from pulumi.runtime.proto import resource_pb2

from components import edge_protection, policies
from components.edge_protection.access_log import access_log_format
from components.monitoring.alarms import Names
from components.monitoring.dashboard import dashboard
from components.openapi import openapi
from components.settings import parse_settings
from sandbox import program as sandbox_program
from sandbox.deployment import read_deployment
from sandbox.program import ACCOUNT_ID, ROOT, Program, ProgramError
from tests.program.conftest import (
    BASE_URL,
    STACKS,
    Deploy,
    document,
    find,
    only,
    settings_of,
)

REGION = "eu-central-1"
# https://github.com/pulumi/pulumi/blob/master/sdk/python/lib/pulumi/runtime/rpc.py
SECRET_MARK = "1b47061264138c4ac30d75fd1eb44270"
TABLE = "dynamodb/table:Table"
FUNCTION = "lambda/function:Function"
STAGE = "apigateway/stage:Stage"


def types(program: Program) -> Counter[str]:
    """How many resources there are of each type, components apart."""
    return Counter(resource.type for resource in program.resources.items if resource.custom)


def identity(program: Program) -> set[tuple[str, str, str]]:
    """All that a preview shows of the resources."""
    return {(r.type, r.name, r.parent) for r in program.resources.items}


# The whole


def test_every_resource_of_the_architecture_is_there(deploy: Deploy) -> None:
    assert types(deploy("prod")) == {
        "pulumi:providers:aws": 1,
        # Data
        "aws:dynamodb/table:Table": 1,
        # Network: no gateway, no route, no way in
        "aws:ec2/vpc:Vpc": 1,
        "aws:ec2/subnet:Subnet": 2,
        "aws:ec2/routeTable:RouteTable": 1,
        "aws:ec2/routeTableAssociation:RouteTableAssociation": 2,
        "aws:ec2/vpcEndpoint:VpcEndpoint": 1,
        "aws:ec2/securityGroup:SecurityGroup": 1,
        "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": 1,
        "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": 1,
        "aws:ec2/flowLog:FlowLog": 1,
        # Compute
        "aws:lambda/function:Function": 1,
        # EdgeProtection
        "aws:apigateway/restApi:RestApi": 1,
        "aws:lambda/permission:Permission": 1,
        "aws:apigateway/deployment:Deployment": 1,
        "aws:apigateway/stage:Stage": 1,
        "aws:apigateway/methodSettings:MethodSettings": 1,
        "aws:apigateway/account:Account": 1,
        "aws:apigateway/usagePlan:UsagePlan": 2,
        "aws:apigateway/apiKey:ApiKey": 2,
        "aws:apigateway/usagePlanKey:UsagePlanKey": 2,
        "aws:wafv2/webAcl:WebAcl": 1,
        "aws:wafv2/webAclAssociation:WebAclAssociation": 1,
        "aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration": 1,
        # Monitoring
        "aws:sns/topic:Topic": 1,
        "aws:cloudwatch/logMetricFilter:LogMetricFilter": 6,
        "aws:cloudwatch/metricAlarm:MetricAlarm": 10,
        "aws:cloudwatch/dashboard:Dashboard": 1,
        # Logs of the flows, the function, the API's accesses and executions, and the web ACL
        "aws:cloudwatch/logGroup:LogGroup": 5,
        # Flow logs, function, and the account's for API Gateway
        "aws:iam/role:Role": 3,
        "aws:iam/rolePolicy:RolePolicy": 2,
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment": 1,
    }


def test_both_stacks_have_the_same_resources(deploy: Deploy) -> None:
    assert types(deploy("dev")) == types(deploy("prod"))


@pytest.mark.parametrize("stack", STACKS)
def test_a_preview_shows_the_resources_of_the_update(deploy: Deploy, stack: str) -> None:
    assert identity(deploy(stack, preview=True)) == identity(deploy(stack))


def test_a_preview_of_every_option_shows_the_resources_of_the_update(deploy: Deploy) -> None:
    options: dict[str, Any] = {
        "function": {"snapStart": True},
        "throttle": {"methods": {"POST /data": {"rateLimit": 10, "burstLimit": 20}}},
        "monitoring": {"alarmEmails": ["ops@example.com"]},
        "waf": {"managedRuleGroups": ["AWSManagedRulesCommonRuleSet"]},
    }
    assert identity(deploy(preview=True, **options)) == identity(deploy(**options))


def test_the_stack_outputs(deploy: Deploy) -> None:
    program = deploy("dev")
    assert program.resources.exports == {
        "apiUrl": f"{BASE_URL}/dev",
        "dataUrl": f"{BASE_URL}/dev/data",
        "apiKeys": {
            plan: {
                "default": only(program, "apigateway/apiKey:ApiKey", f"key-{plan}.default").outputs[
                    "value"
                ]
            }
            for plan in ("basic", "premium")
        },
        "apiKeyIds": {
            plan: {"default": only(program, "apigateway/apiKey:ApiKey", f"key-{plan}.default").id}
            for plan in ("basic", "premium")
        },
        "usagePlanIds": {
            plan: only(program, "apigateway/usagePlan:UsagePlan", f"plan-{plan}").id
            for plan in ("basic", "premium")
        },
        "tableName": only(program, TABLE).outputs["name"],
        "functionName": only(program, FUNCTION).outputs["name"],
        "webAclArn": only(program, "wafv2/webAcl:WebAcl").outputs["arn"],
        "alarmTopicArn": only(program, "sns/topic:Topic").outputs["arn"],
        "dashboardUrl": f"https://{REGION}.console.aws.amazon.com/cloudwatch/home?region={REGION}"
        "#dashboards/dashboard/throttled-api-dev",
    }


def test_a_preview_has_the_same_stack_outputs(deploy: Deploy) -> None:
    preview = deploy("dev", preview=True)
    assert preview.resources.exports.keys() == deploy("dev").resources.exports.keys()
    assert preview.secret_exports == {"apiKeys"}


# Keys


def key_values(program: Program) -> list[str]:
    return [key.outputs["value"] for key in find(program, "apigateway/apiKey:ApiKey")]


def test_the_values_of_keys_are_in_one_secret_output_and_nowhere_else(deploy: Deploy) -> None:
    program = deploy("dev")
    assert program.secret_exports == {"apiKeys"}
    others = [
        *(value for name, value in program.resources.exports.items() if name != "apiKeys"),
        *(resource.inputs for resource in program.resources.items),
    ]
    assert len(key_values(program)) == 2
    for value in key_values(program):
        assert value in json.dumps(program.resources.exports["apiKeys"])
        assert value not in json.dumps(others)


def test_components_keep_the_values_of_keys_secret_too(
    deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered: dict[str, dict[str, str]] = {}

    def keep(
        self: mocks.MockMonitor, request: resource_pb2.RegisterResourceOutputsRequest
    ) -> object:
        component = request.urn.split("::")[2].rpartition(":")[2]
        registered[component] = {name: str(value) for name, value in request.outputs.items()}
        return None

    monkeypatch.setattr(mocks.MockMonitor, "RegisterResourceOutputs", keep)
    # With a stage name that no other run has, so that this one is made.
    program = deploy("dev", stageName="watched")
    assert registered.keys() - {"Stack"} == {
        *("Data", "Network", "Compute", "EdgeProtection", "Monitoring")
    }
    keys = registered["EdgeProtection"].pop("apiKeys")
    assert SECRET_MARK in keys, "not marked as a secret"
    for value in key_values(program):
        assert value in keys
        assert value not in str(registered)


def test_each_client_of_each_plan_has_a_key_of_its_own(deploy: Deploy) -> None:
    plan = {"rateLimit": 1, "burstLimit": 2, "quota": {"limit": 3}}
    program = deploy(
        usagePlans={
            "basic": {**plan, "clients": ["acme", "default"]},
            "premium": {**plan, "clients": []},
            "trial": {**plan, "clients": ["acme"]},
        }
    )
    keys = {key.id: key.name for key in find(program, "apigateway/apiKey:ApiKey")}
    plans = {plan.id: plan.name for plan in find(program, "apigateway/usagePlan:UsagePlan")}
    links = find(program, "apigateway/usagePlanKey:UsagePlanKey")
    assert sorted((plans[k.inputs["usagePlanId"]], keys[k.inputs["keyId"]]) for k in links) == [
        ("throttled-api-plan-basic", "throttled-api-key-basic.acme"),
        ("throttled-api-plan-basic", "throttled-api-key-basic.default"),
        ("throttled-api-plan-trial", "throttled-api-key-trial.acme"),
    ]
    assert {link.inputs["keyType"] for link in links} == {"API_KEY"}
    values = program.resources.exports["apiKeys"]
    assert {name: sorted(clients) for name, clients in values.items()} == {
        "basic": ["acme", "default"],
        "premium": [],
        "trial": ["acme"],
    }
    assert len(set(key_values(program))) == 3


# Data


def test_the_table(deploy: Deploy) -> None:
    table = {
        "billingMode": "PAY_PER_REQUEST",
        "hashKey": "id",
        "attributes": [{"name": "id", "type": "S"}],
        "pointInTimeRecovery": {"enabled": True},
        "serverSideEncryption": {"enabled": True},
    }
    assert only(deploy("dev"), TABLE).inputs == {
        **table,
        "onDemandThroughput": {"maxWriteRequestUnits": 100},
        "deletionProtectionEnabled": False,
    }
    assert only(deploy("prod"), TABLE).inputs == {**table, "deletionProtectionEnabled": True}


def test_recovery_of_the_table_can_be_off(deploy: Deploy) -> None:
    inputs = only(deploy(table={"pointInTimeRecovery": False}), TABLE).inputs
    assert inputs["pointInTimeRecovery"] == {"enabled": False}


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("protection", [True, False])
def test_only_a_table_with_deletion_protection_is_protected(
    deploy: Deploy, stack: str, protection: bool
) -> None:
    program = deploy(stack, table={"deletionProtection": protection})
    protected = [resource.type for resource in program.resources.items if resource.protect]
    assert protected == (["aws:dynamodb/table:Table"] if protection else [])


# Network


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
        "policy": policies.table_endpoint(only(program, TABLE).outputs["arn"]),
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
    trust = policies.trust("vpc-flow-logs.amazonaws.com", ACCOUNT_ID)
    assert document(role, "assumeRolePolicy") == trust
    assert document(policy, "policy") == policies.flow_logs(logs.outputs["arn"])
    assert policy.inputs["role"] == role.id


def test_without_flow_logs_nothing_of_them_is_there(deploy: Deploy) -> None:
    less = types(deploy("dev")) - types(deploy(network={"flowLogs": False}))
    assert less == {
        "aws:ec2/flowLog:FlowLog": 1,
        "aws:cloudwatch/logGroup:LogGroup": 1,
        "aws:iam/role:Role": 1,
        "aws:iam/rolePolicy:RolePolicy": 1,
    }


# Compute


def test_the_function(deploy: Deploy) -> None:
    program = deploy("dev")
    function = only(program, FUNCTION)
    logs = only(program, "cloudwatch/logGroup:LogGroup", "function-logs")
    role = only(program, "iam/role:Role", "function-role")
    policy = only(program, "iam/rolePolicy:RolePolicy", "function-policy")
    table = only(program, TABLE)
    inputs = {**function.inputs}
    inputs["vpcConfig"] = {
        name: sorted(values) for name, values in function.inputs["vpcConfig"].items()
    }
    files = ("__init__.py", "app.py", "record.py", "table.py")
    assert inputs == {
        "description": "Stores a record in the table",
        "code": {f"handler/{file}": str(ROOT / "handler" / file) for file in files},
        "handler": "handler.app.handle",
        "runtime": "python3.13",
        "architectures": ["arm64"],
        "memorySize": 512,
        "timeout": 5,
        "reservedConcurrentExecutions": 25,
        "role": role.outputs["arn"],
        "environment": {
            "variables": {
                "TABLE_NAME": table.outputs["name"],
                "FUNCTION_TIMEOUT_SECONDS": "5",
            }
        },
        "loggingConfig": {"logFormat": "JSON", "logGroup": logs.outputs["name"]},
        "tracingConfig": {"mode": "Active"},
        "vpcConfig": {
            "subnetIds": sorted(subnet.id for subnet in find(program, "ec2/subnet:Subnet")),
            "securityGroupIds": [only(program, "ec2/securityGroup:SecurityGroup").id],
        },
        "replaceSecurityGroupsOnDestroy": True,
        "replacementSecurityGroupIds": [
            only(program, "ec2/defaultSecurityGroup:DefaultSecurityGroup").id
        ],
        "publish": False,
    }
    assert policy.urn in function.depends_on, "Lambda checks what the role may do"
    assert document(role, "assumeRolePolicy") == policies.trust("lambda.amazonaws.com")
    assert policy.inputs["role"] == role.id
    assert document(policy, "policy") == policies.function(
        table.outputs["arn"], logs.outputs["arn"]
    )


def test_without_a_reservation_the_function_shares_the_accounts_concurrency(
    deploy: Deploy,
) -> None:
    program = deploy(function={"reservedConcurrency": "none"})
    assert "reservedConcurrentExecutions" not in only(program, FUNCTION).inputs
    assert not find(program, "cloudwatch/metricAlarm:MetricAlarm", "function-concurrency")


def test_the_functions_settings_reach_it(deploy: Deploy) -> None:
    changes = {"memoryMb": 256, "timeoutSeconds": 7, "architecture": "x86_64"}
    inputs = only(deploy(function={**changes, "runtime": "python3.14"}), FUNCTION).inputs
    assert inputs["memorySize"] == 256
    assert inputs["timeout"] == 7
    assert inputs["environment"]["variables"]["FUNCTION_TIMEOUT_SECONDS"] == "7"
    assert inputs["architectures"] == ["x86_64"]
    assert inputs["runtime"] == "python3.14"


def test_with_snap_start_callers_reach_the_newest_version_by_its_alias(deploy: Deploy) -> None:
    program = deploy(function={"snapStart": True})
    function, alias = only(program, FUNCTION), only(program, "lambda/alias:Alias")
    assert function.inputs["snapStart"] == {"applyOn": "PublishedVersions"}
    assert function.inputs["publish"] is True
    assert alias.inputs == {
        "name": "live",
        "functionName": function.outputs["name"],
        "functionVersion": function.outputs["version"],
    }
    body = document(only(program, "apigateway/restApi:RestApi"), "body")
    integration = body["paths"]["/data"]["post"]["x-amazon-apigateway-integration"]
    assert integration["uri"] == alias.outputs["invokeArn"]
    permission = only(program, "lambda/permission:Permission").inputs
    assert permission["qualifier"] == alias.outputs["name"]
    assert permission["function"] == function.outputs["name"]
    assert not find(deploy("dev"), "lambda/alias:Alias")


# EdgeProtection


@pytest.mark.parametrize("stack", STACKS)
def test_the_api_is_one_document(deploy: Deploy, stack: str) -> None:
    program = deploy(stack)
    api = only(program, "apigateway/restApi:RestApi")
    function = only(program, FUNCTION)
    assert {**api.inputs, "body": document(api, "body")} == {
        "name": f"throttled-api-{stack}",
        "body": openapi(
            title=f"throttled-api-{stack}",
            invoke_arn=function.outputs["invokeArn"],
            retry_after_seconds=1,
        ),
        "endpointConfiguration": {"types": "REGIONAL"},
    }
    assert only(program, "lambda/permission:Permission").inputs == {
        "action": "lambda:InvokeFunction",
        "function": function.outputs["name"],
        "principal": "apigateway.amazonaws.com",
        "sourceArn": f"{api.outputs['executionArn']}/{stack}/POST/data",
    }


def retry_after(program: Program) -> str:
    body = document(only(program, "apigateway/restApi:RestApi"), "body")
    throttled = body["x-amazon-apigateway-gateway-responses"]["THROTTLED"]
    header: str = throttled["responseParameters"]["gatewayresponse.header.Retry-After"]
    return header


def test_a_throttled_caller_is_told_to_wait_for_the_slowest_bucket(deploy: Deploy) -> None:
    slow = {"rateLimit": "0.25", "burstLimit": 1}
    assert retry_after(deploy("dev")) == "'1'"
    assert retry_after(deploy(usagePlans={"slow": {**slow, "quota": {"limit": 1}}})) == "'4'"
    assert retry_after(deploy(throttle={"methods": {"POST /data": slow}})) == "'4'"


def trigger(program: Program) -> str:
    deployment = only(program, "apigateway/deployment:Deployment")
    assert deployment.inputs["restApi"] == only(program, "apigateway/restApi:RestApi").id
    assert set(deployment.inputs) == {"restApi", "triggers"}
    value: str = deployment.inputs["triggers"]["redeployment"]
    return value


def test_the_api_is_deployed_anew_when_its_document_changes(deploy: Deploy) -> None:
    slow = {"rateLimit": "0.5", "burstLimit": 1, "quota": {"limit": 1}}
    assert trigger(deploy(usagePlans={"slow": slow})) != trigger(deploy("dev"))


def test_the_api_is_deployed_anew_when_its_endpoint_changes(
    deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = trigger(deploy("dev", function={"memoryMb": 1000}))
    monkeypatch.setattr(edge_protection, "_ENDPOINT_TYPE", "EDGE")
    program = deploy("dev", function={"memoryMb": 1001})
    assert only(program, "apigateway/restApi:RestApi").inputs["endpointConfiguration"] == {
        "types": "EDGE"
    }
    assert trigger(program) != before


def test_the_api_is_not_deployed_anew_for_anything_else(deploy: Deploy) -> None:
    changed = deploy(
        throttle={"rateLimit": 60, "burstLimit": 120},
        waf={"rateLimit": 5000},
        function={"memoryMb": 256, "reservedConcurrency": 30},
        table={"maxWriteRequestUnits": 200},
        monitoring={"logRetentionDays": 30},
    )
    assert trigger(changed) == trigger(deploy("dev"))


def test_the_stage_logs_and_traces(deploy: Deploy) -> None:
    program = deploy("dev")
    api = only(program, "apigateway/restApi:RestApi")
    stage = only(program, STAGE)
    access = only(program, "cloudwatch/logGroup:LogGroup", "access-logs")
    execution = only(program, "cloudwatch/logGroup:LogGroup", "execution-logs")
    assert stage.inputs == {
        "restApi": api.id,
        "deployment": only(program, "apigateway/deployment:Deployment").id,
        "stageName": "dev",
        "accessLogSettings": {
            "destinationArn": access.outputs["arn"],
            "format": access_log_format(),
        },
        "xrayTracingEnabled": True,
    }
    assert execution.inputs["name"] == f"API-Gateway-Execution-Logs_{api.id}/dev"
    assert execution.urn in stage.depends_on, "API Gateway would make it, without retention"
    account = only(program, "apigateway/account:Account")
    assert account.urn in stage.depends_on, "a stage that logs is refused before"


def test_the_stage_name_is_a_setting(deploy: Deploy) -> None:
    program = deploy(stageName="v2")
    assert only(program, STAGE).inputs["stageName"] == "v2"
    assert program.resources.exports["dataUrl"] == f"{BASE_URL}/v2/data"
    permission = only(program, "lambda/permission:Permission").inputs
    assert permission["sourceArn"].endswith("/v2/POST/data")


def throttles(program: Program) -> dict[str, Any]:
    found = find(program, "apigateway/methodSettings:MethodSettings")
    stage = only(program, STAGE)
    for resource in found:
        assert resource.inputs["restApi"] == stage.inputs["restApi"]
        assert resource.inputs["stageName"] == stage.inputs["stageName"]
        assert stage.urn in resource.depends_on
    return {resource.inputs["methodPath"]: resource.inputs["settings"] for resource in found}


def test_the_stage_is_throttled_and_so_are_the_methods_that_the_config_names(
    deploy: Deploy,
) -> None:
    both = {"metricsEnabled": True, "loggingLevel": "ERROR", "dataTraceEnabled": False}
    stage = {**both, "throttlingRateLimit": 50, "throttlingBurstLimit": 100}
    assert throttles(deploy("dev")) == {"*/*": stage}
    methods = {"POST /data": {"rateLimit": "12.5", "burstLimit": 7}}
    assert throttles(deploy(throttle={"methods": methods})) == {
        "*/*": stage,
        "data/POST": {**both, "throttlingRateLimit": 12.5, "throttlingBurstLimit": 7},
    }


def test_a_usage_plan_has_a_throttle_and_a_quota_on_the_stage(deploy: Deploy) -> None:
    program = deploy("prod")
    stages = [{"apiId": only(program, "apigateway/restApi:RestApi").id, "stage": "prod"}]
    plans = {plan.name: plan.inputs for plan in find(program, "apigateway/usagePlan:UsagePlan")}
    assert plans == {
        "throttled-api-plan-basic": {
            "description": "basic: 100 requests per second for each client",
            "apiStages": stages,
            "throttleSettings": {"rateLimit": 100, "burstLimit": 200},
            "quotaSettings": {"limit": 10_000, "period": "DAY"},
        },
        "throttled-api-plan-premium": {
            "description": "premium: 500 requests per second for each client",
            "apiStages": stages,
            "throttleSettings": {"rateLimit": 500, "burstLimit": 1000},
            "quotaSettings": {"limit": 100_000, "period": "DAY"},
        },
    }


def kept(program: Program) -> set[str]:
    return {r.name for r in program.resources.items if r.retain_on_delete}


def test_the_accounts_logging_outlives_the_stack(deploy: Deploy) -> None:
    program = deploy("dev")
    role = only(program, "iam/role:Role", "gateway-logs-role")
    attachment = only(program, "iam/rolePolicyAttachment:RolePolicyAttachment")
    account = only(program, "apigateway/account:Account")
    assert kept(program) == {role.name, attachment.name, account.name}, (
        "without them, every other API of the account falls silent"
    )
    assert document(role, "assumeRolePolicy") == policies.trust("apigateway.amazonaws.com")
    assert attachment.inputs == {
        "role": role.outputs["name"],
        "policyArn": "arn:aws:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs",
    }
    assert account.inputs == {"cloudwatchRoleArn": role.outputs["arn"]}
    assert attachment.urn in account.depends_on, "API Gateway tries the role when it is set"


def test_the_accounts_logging_can_be_left_to_others(deploy: Deploy) -> None:
    program = deploy(manageApiGatewayLogging=False)
    assert types(deploy("dev")) - types(program) == {
        "aws:apigateway/account:Account": 1,
        "aws:iam/role:Role": 1,
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment": 1,
    }
    assert not types(program) - types(deploy("dev"))
    assert kept(program) == set()
    assert only(program, STAGE).inputs["accessLogSettings"]["format"] == access_log_format()


def test_the_web_acl_stands_before_the_stage(deploy: Deploy) -> None:
    program = deploy("dev", waf={"managedRuleGroups": ["AWSManagedRulesAmazonIpReputationList"]})
    acl = only(program, "wafv2/webAcl:WebAcl")

    def metrics(name: str) -> dict[str, Any]:
        return {
            "cloudwatchMetricsEnabled": True,
            "sampledRequestsEnabled": True,
            "metricName": name,
        }

    assert acl.inputs == {
        "description": "In front of stage dev of throttled-api-dev",
        "scope": "REGIONAL",
        "defaultAction": {"allow": {}},
        "customResponseBodies": [
            {
                "key": "too-many-requests",
                "contentType": "APPLICATION_JSON",
                "content": '{"message": "Too Many Requests", '
                '"reason": "too many requests from this address"}',
            }
        ],
        "rules": [
            {
                "name": "rate-per-address",
                "priority": 0,
                "statement": {
                    "rateBasedStatement": {
                        "limit": 1500,
                        "evaluationWindowSec": 60,
                        "aggregateKeyType": "IP",
                    }
                },
                "action": {
                    "block": {
                        "customResponse": {
                            "responseCode": 429,
                            "customResponseBodyKey": "too-many-requests",
                            "responseHeaders": [{"name": "Retry-After", "value": "60"}],
                        }
                    }
                },
                "visibilityConfig": metrics("throttled-api-dev-rate"),
            },
            {
                "name": "AWSManagedRulesAmazonIpReputationList",
                "priority": 1,
                "statement": {
                    "managedRuleGroupStatement": {
                        "vendorName": "AWS",
                        "name": "AWSManagedRulesAmazonIpReputationList",
                    }
                },
                "overrideAction": {"none": {}},
                "visibilityConfig": metrics(
                    "throttled-api-dev-AWSManagedRulesAmazonIpReputationList"
                ),
            },
        ],
        "visibilityConfig": metrics("throttled-api-dev"),
    }
    association = only(program, "wafv2/webAclAssociation:WebAclAssociation")
    api = only(program, "apigateway/restApi:RestApi")
    assert association.inputs == {
        "resourceArn": f"arn:aws:apigateway:{REGION}::/restapis/{api.id}/stages/dev",
        "webAclArn": acl.outputs["arn"],
    }


def test_the_web_acls_log_holds_no_api_key(deploy: Deploy) -> None:
    program = deploy("dev")
    logs = only(program, "cloudwatch/logGroup:LogGroup", "waf-logs")
    assert logs.inputs["namePrefix"].startswith("aws-waf-logs-"), "WAF takes no other"
    assert only(program, "wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration").inputs == {
        "resourceArn": only(program, "wafv2/webAcl:WebAcl").outputs["arn"],
        "logDestinationConfigs": [logs.outputs["arn"]],
        "redactedFields": [{"singleHeader": {"name": "x-api-key"}}],
    }


def test_without_waf_nothing_of_it_is_there(deploy: Deploy) -> None:
    program = deploy(waf={"enabled": False})
    assert types(deploy("dev")) - types(program) == {
        "aws:wafv2/webAcl:WebAcl": 1,
        "aws:wafv2/webAclAssociation:WebAclAssociation": 1,
        "aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration": 1,
        "aws:cloudwatch/logGroup:LogGroup": 1,
        "aws:cloudwatch/metricAlarm:MetricAlarm": 1,
    }
    assert program.resources.exports["webAclArn"] is None
    assert read_deployment(program.resources).limits.waf is None


def test_without_waf_logging_only_the_log_is_gone(deploy: Deploy) -> None:
    assert types(deploy("dev")) - types(deploy(waf={"logging": False})) == {
        "aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration": 1,
        "aws:cloudwatch/logGroup:LogGroup": 1,
    }


# Monitoring


def test_the_access_log_is_counted(deploy: Deploy) -> None:
    program = deploy("dev")
    group = only(program, "cloudwatch/logGroup:LogGroup", "access-logs").outputs["name"]

    def counted(response_type: str, metric: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401
        return {
            "logGroupName": group,
            "pattern": f'{{ $.responseType = "{response_type}" }}',
            "metricTransformation": {
                "namespace": "throttled-api/dev",
                "name": metric,
                "value": "1",
                "unit": "Count",
                **more,
            },
        }

    by_key = {"dimensions": {"ApiKeyId": "$.apiKeyId"}}
    filters = find(program, "cloudwatch/logMetricFilter:LogMetricFilter")
    assert {
        resource.name.removeprefix("throttled-api-"): resource.inputs for resource in filters
    } == {
        "throttled-requests": counted("THROTTLED", "ThrottledRequests", defaultValue="0"),
        "quota-exceeded-requests": counted(
            "QUOTA_EXCEEDED", "QuotaExceededRequests", defaultValue="0"
        ),
        "invalid-key-requests": counted(
            "INVALID_API_KEY", "InvalidApiKeyRequests", defaultValue="0"
        ),
        "waf-filtered-requests": counted("WAF_FILTERED", "WafFilteredRequests", defaultValue="0"),
        "throttled-requests-by-key": counted("THROTTLED", "ThrottledRequestsByKey", **by_key),
        "quota-exceeded-by-key": counted("QUOTA_EXCEEDED", "QuotaExceededRequestsByKey", **by_key),
    }


def test_alarms_go_to_the_topic_and_watch_the_stacks_own_parts(deploy: Deploy) -> None:
    program = deploy("prod")
    alarms = find(program, "cloudwatch/metricAlarm:MetricAlarm")
    dimensions = {
        alarm.name.removeprefix("throttled-api-"): alarm.inputs.get("dimensions", {})
        for alarm in alarms
    }
    api = {"ApiName": "throttled-api-prod", "Stage": "prod"}
    function = {"FunctionName": only(program, FUNCTION).outputs["name"]}
    assert dimensions == {
        "waf-blocked-requests": {
            "WebACL": only(program, "wafv2/webAcl:WebAcl").inputs["visibilityConfig"]["metricName"],
            "Region": REGION,
            "Rule": "ALL",
        },
        "throttled-requests": {},
        "quota-exceeded-requests": {},
        "server-errors": api,
        "latency-p99": api,
        "function-throttles": function,
        "function-errors": function,
        "function-duration": function,
        "function-concurrency": function,
        "table-throttles": {"TableName": only(program, TABLE).outputs["name"]},
    }
    topic = only(program, "sns/topic:Topic").outputs["arn"]
    duration = only(program, "cloudwatch/metricAlarm:MetricAlarm", "function-duration")
    assert duration.inputs == {
        "alarmDescription": "throttled-api, stack prod: Invocations come near the timeout of 10 s.",
        "namespace": "AWS/Lambda",
        "metricName": "Duration",
        "dimensions": function,
        "extendedStatistic": "p99",
        "period": 300,
        "evaluationPeriods": 3,
        "comparisonOperator": "GreaterThanThreshold",
        "threshold": 8000,
        "treatMissingData": "notBreaching",
        "alarmActions": [topic],
        "okActions": [topic],
    }
    throttles = only(program, "cloudwatch/metricAlarm:MetricAlarm", "function-throttles")
    assert throttles.inputs["statistic"] == "Sum"
    assert "extendedStatistic" not in throttles.inputs, "CloudWatch takes only one of the two"


def test_each_address_is_subscribed_to_the_alarms(deploy: Deploy) -> None:
    emails = ["ops@example.com", "jane@example.org"]
    program = deploy(monitoring={"alarmEmails": emails})
    topic = only(program, "sns/topic:Topic").outputs["arn"]
    subscriptions = find(program, "sns/topicSubscription:TopicSubscription")
    assert {subscription.name: subscription.inputs for subscription in subscriptions} == {
        f"throttled-api-alarms-to-{email}": {"topic": topic, "protocol": "email", "endpoint": email}
        for email in emails
    }
    assert not find(deploy("dev"), "sns/topicSubscription:TopicSubscription")


def test_the_dashboard_shows_this_stack(deploy: Deploy) -> None:
    program = deploy("dev")
    shown = only(program, "cloudwatch/dashboard:Dashboard")
    body = document(shown, "dashboardBody")
    alarms = body["widgets"][1]["properties"]["alarms"]
    assert sorted(alarms) == sorted(
        alarm.outputs["arn"] for alarm in find(program, "cloudwatch/metricAlarm:MetricAlarm")
    )
    names = Names(
        namespace="throttled-api/dev",
        web_acl="throttled-api-dev",
        api="throttled-api-dev",
        stage="dev",
        function=only(program, FUNCTION).outputs["name"],
        table=only(program, TABLE).outputs["name"],
        region=REGION,
    )
    assert body == json.loads(json.dumps(dashboard(settings_of("dev"), names, alarms)))
    assert shown.inputs["dashboardName"] == "throttled-api-dev"


def test_the_dashboard_can_be_off(deploy: Deploy) -> None:
    program = deploy(monitoring={"dashboard": False})
    assert types(deploy("dev")) - types(program) == {"aws:cloudwatch/dashboard:Dashboard": 1}
    assert program.resources.exports["dashboardUrl"] is None
    assert program.resources.exports.keys() == deploy("dev").resources.exports.keys()


# The provider


def test_the_provider_is_given_region_profile_and_tags(deploy: Deploy) -> None:
    program = deploy("dev", aws={"region": "eu-south-1", "profile": "ops"})
    provider = only(program, "pulumi:providers:aws")
    assert provider.inputs["region"] == "eu-south-1"
    assert provider.inputs["profile"] == "ops"
    assert document(provider, "defaultTags") == {
        "tags": {"project": "throttled-api", "stack": "dev", "managed-by": "pulumi"}
    }
    assert "profile" not in only(deploy("dev"), "pulumi:providers:aws").inputs


def test_what_the_program_asks_aws_it_asks_with_its_own_provider(
    deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []
    original = sandbox_program._Aws.call

    def call(
        self: sandbox_program._Aws, args: mocks.MockCallArgs
    ) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        asked.append((args.token.rpartition(":")[2], args.provider))
        return original(self, args)

    monkeypatch.setattr(sandbox_program._Aws, "call", call)
    program = deploy("dev", function={"memoryMb": 1002})
    provider = only(program, "pulumi:providers:aws")
    assert {token for token, _ in asked} == {
        "getRegion",
        "getAvailabilityZones",
        "getCallerIdentity",
    }
    assert {used for _, used in asked} == {f"{provider.urn}::{provider.id}"}


# Errors and warnings


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The types of all resources that are registered from now on, failed runs included."""
    seen: list[str] = []
    original = sandbox_program._Aws.new_resource

    def new_resource(
        self: sandbox_program._Aws, args: mocks.MockResourceArgs
    ) -> tuple[str | None, dict[str, Any]]:
        seen.append(args.typ)
        return original(self, args)

    monkeypatch.setattr(sandbox_program._Aws, "new_resource", new_resource)
    return seen


def test_a_config_with_errors_registers_nothing(deploy: Deploy, registered: list[str]) -> None:
    with pytest.raises(ProgramError) as refused:
        deploy(function={"timeoutSeconds": 30}, network={"cidr": "10.0.0.0/28"}, stageName="a b")
    assert str(refused.value) == (
        "3 problems in the config of stack dev; nothing was changed.\n"
        "  throttled-api:stageName: 'a b' does not fit. Allowed: letters, digits, - and _.\n"
        "      pulumi config set --path throttled-api:stageName live --stack dev\n"
        "  throttled-api:function.timeoutSeconds: 30 is above what is allowed. Allowed: a whole "
        "number from 1 to 29.\n"
        "      pulumi config set --path throttled-api:function.timeoutSeconds 29 --stack dev\n"
        "  throttled-api:network.cidr: '10.0.0.0/28' is too small for its subnets. Allowed: an "
        "IPv4 network from /16 to /25, as each zone gets an eighth of it.\n"
        "      pulumi config set --path throttled-api:network.cidr 10.0.0.0/25 --stack dev"
    )
    assert registered == []


def test_the_recorder_of_failed_runs_sees_resources(deploy: Deploy, registered: list[str]) -> None:
    deploy("dev", function={"memoryMb": 1003})
    assert len(registered) == 63, "or the test above would pass whatever happens"


def test_a_secret_in_the_config_is_an_error() -> None:
    with pytest.raises(ProgramError) as refused:
        sandbox_program.run_program(
            {"throttled-api:throttle": "hush"},
            project="throttled-api",
            stack="dev",
            secret_keys=["throttled-api:throttle"],
        )
    assert str(refused.value) == (
        "1 problem in the config of stack dev; nothing was changed.\n"
        "  throttled-api:throttle: is stored as a secret, which a preview cannot show.\n"
        "      pulumi config rm --path throttled-api:throttle --stack dev"
    )


@pytest.fixture
def one_zone(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A Region with a single zone, until the patch is undone."""
    original = sandbox_program._Aws.call

    def call(
        self: sandbox_program._Aws, args: mocks.MockCallArgs
    ) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        if "getAvailabilityZones" in args.token:
            return {"names": ["xx-a"], "id": "xx"}, []
        return original(self, args)

    monkeypatch.setattr(sandbox_program._Aws, "call", call)
    return monkeypatch


TOO_FEW_ZONES = r"^network\.availabilityZones: 2 is more than this Region has \(xx-a\)\."


def test_a_region_with_too_few_zones_is_an_error(
    deploy: Deploy, one_zone: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ProgramError, match=TOO_FEW_ZONES):
        deploy("dev", function={"memoryMb": 1004})


def test_a_run_after_a_failed_one_is_as_good_as_new(
    deploy: Deploy, one_zone: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ProgramError, match=TOO_FEW_ZONES):
        deploy("dev", function={"memoryMb": 1005})
    one_zone.undo()
    assert identity(deploy("dev", function={"memoryMb": 1005})) == identity(deploy("dev"))


@pytest.mark.parametrize("preview", [False, True])
def test_prod_is_warned_of_its_limits_in_previews_too(deploy: Deploy, preview: bool) -> None:
    warnings = deploy("prod", preview=preview).warnings
    assert [warning.partition(": ")[0] for warning in warnings] == [
        "throttled-api:waf.rateLimit",
        "throttled-api:waf.rateLimit",
        "throttled-api:usagePlans.basic.quota.limit",
        "throttled-api:usagePlans.premium.quota.limit",
    ]
    assert list(warnings) == settings_of("prod").warnings()


def test_dev_is_not_warned(deploy: Deploy) -> None:
    assert deploy("dev").warnings == ()


# Limits


@pytest.mark.parametrize("stack", STACKS)
def test_the_limits_of_the_resources_are_those_of_the_settings(deploy: Deploy, stack: str) -> None:
    assert read_deployment(deploy(stack).resources).limits == settings_of(stack).limits()


rates = st.floats(0.001, 1_000_000) | st.integers(1, 1_000_000) | st.just("0.5")
buckets = st.fixed_dictionaries({"rateLimit": rates, "burstLimit": st.integers(1, 1_000_000)})
quotas = st.fixed_dictionaries(
    {"limit": st.integers(1, 2**31 - 1)},
    optional={"period": st.sampled_from(["DAY", "WEEK", "MONTH"])},
)
client_names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,9}", fullmatch=True)
limits = st.fixed_dictionaries(
    {
        "throttle": st.fixed_dictionaries(
            {"rateLimit": st.just(1_000_000), "burstLimit": st.just(1_000_000)},
            optional={"methods": st.fixed_dictionaries({"POST /data": buckets})},
        ),
        "usagePlans": st.dictionaries(
            client_names,
            st.builds(
                lambda bucket, quota, clients: {**bucket, "quota": quota, "clients": clients},
                buckets,
                quotas,
                st.lists(client_names, unique=True, max_size=3),
            ),
            min_size=1,
            max_size=3,
        ),
        "waf": st.fixed_dictionaries(
            {
                "enabled": st.booleans(),
                "rateLimit": st.integers(10, 2_000_000_000),
                "windowSeconds": st.sampled_from([60, 120, 300, 600]),
                "aggregateBy": st.sampled_from(["IP", "FORWARDED_IP"]),
            }
        ),
        "function": st.fixed_dictionaries(
            {
                "reservedConcurrency": st.integers(1, 100_000) | st.just("none"),
                "snapStart": st.booleans(),
            }
        ),
    }
)


@settings(max_examples=8, deadline=None)
@given(changes=limits)
def test_the_limits_of_any_config_are_enforced_as_they_are_set(
    environment: None, changes: dict[str, Any]
) -> None:
    handed = {f"throttled-api:{name}": json.dumps(value) for name, value in changes.items()}
    program = sandbox_program.run_program(handed, project="throttled-api", stack="dev")
    set_ = parse_settings(handed, project="throttled-api", stack="dev").limits()
    assert read_deployment(program.resources).limits == set_
