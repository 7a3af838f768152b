"""The API, its throttles and keys, and the web ACL."""

from typing import Any

import pytest

from components import edge_protection, policies
from components.edge_protection.access_log import access_log_format
from components.edge_protection.openapi import openapi
from tools.sandbox.deployment import read_deployment
from tools.recorder.program import Program
from tests.program.conftest import (
    BASE_URL,
    FUNCTION,
    REGION,
    STACKS,
    STAGE,
    Deploy,
    document,
    find,
    only,
    types,
)


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
    monkeypatch.setattr(edge_protection, "_ENDPOINT_TYPE", "EDGE")
    program = deploy("dev", anew=True)
    assert only(program, "apigateway/restApi:RestApi").inputs["endpointConfiguration"] == {
        "types": "EDGE"
    }
    assert trigger(program) != trigger(deploy("dev"))


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
    assert document(role, "assumeRolePolicy") == iam.trust("apigateway.amazonaws.com")
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
        # Of the requests that it samples, which the log's redaction does not touch.
        "dataProtectionConfig": {
            "dataProtections": [
                {
                    "field": {"fieldType": "SINGLE_HEADER", "fieldKeys": ["x-api-key"]},
                    "action": "SUBSTITUTION",
                }
            ]
        },
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
