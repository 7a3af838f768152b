"""The API, who may invoke the function through it, and when it is deployed again."""

import pytest

from components.edge_protection import rest_api
from components.edge_protection.openapi import openapi
from tests.stacks import PROJECT, STACKS, deploy, run
from tests.stacks.resources import API, FUNCTION, document, only
from tools.recorder.program import Program

SLOW = {"rateLimit": 0.25, "burstLimit": 1}


@pytest.mark.parametrize("stack", STACKS)
def test_the_api_is_one_document(stack: str) -> None:
    program = deploy(stack)
    api = only(program, API)
    function = only(program, FUNCTION)
    assert {**api.inputs, "body": document(api, "body")} == {
        "name": f"{PROJECT}-{stack}",
        "body": openapi(
            title=f"{PROJECT}-{stack}",
            invoke_arn=function.outputs["invokeArn"],
            retry_after_seconds=1,
        ),
        "endpointConfiguration": {"types": "REGIONAL"},
    }


def test_only_the_route_of_this_stage_may_invoke_the_function() -> None:
    program = deploy(stageName="v2")
    assert only(program, "lambda/permission:Permission").inputs == {
        "action": "lambda:InvokeFunction",
        "function": only(program, FUNCTION).outputs["name"],
        "principal": "apigateway.amazonaws.com",
        "sourceArn": f"{only(program, API).outputs['executionArn']}/v2/POST/data",
    }


@pytest.mark.parametrize("snap_start", [False, True])
def test_no_document_is_deployed_whose_function_the_api_may_not_invoke(snap_start: bool) -> None:
    program = deploy(function={"snapStart": snap_start})
    permission = only(program, "lambda/permission:Permission")
    assert permission.urn in only(program, "apigateway/deployment:Deployment").depends_on


def retry_after(program: Program) -> str:
    responses = document(only(program, API), "body")["x-amazon-apigateway-gateway-responses"]
    header: str = responses["THROTTLED"]["responseParameters"]["gatewayresponse.header.Retry-After"]
    return header


def test_a_throttled_caller_waits_for_the_slowest_bucket() -> None:
    assert retry_after(deploy("dev")) == "'1'"
    assert retry_after(deploy(usagePlans={"slow": {**SLOW, "quota": {"limit": 1}}})) == "'4'"
    assert retry_after(deploy(throttle={"methods": {"POST /data": SLOW}})) == "'4'"


def trigger(program: Program) -> str:
    deployment = only(program, "apigateway/deployment:Deployment")
    assert deployment.inputs["restApi"] == only(program, API).id
    assert set(deployment.inputs) == {"restApi", "triggers"}
    value: str = deployment.inputs["triggers"]["redeployment"]
    return value


def test_the_api_is_deployed_again_when_its_document_or_endpoint_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other_document = deploy(throttle={"methods": {"POST /data": SLOW}})
    monkeypatch.setattr(rest_api, "_ENDPOINT_TYPE", "EDGE")
    other_endpoint = run("dev")
    assert only(other_endpoint, API).inputs["endpointConfiguration"] == {"types": "EDGE"}
    assert len({trigger(made) for made in (deploy("dev"), other_document, other_endpoint)}) == 3


def test_the_api_is_not_deployed_again_for_anything_else() -> None:
    changed = deploy(
        throttle={"rateLimit": 60, "burstLimit": 120},
        waf={"rateLimit": 5000},
        function={"memoryMb": 256, "reservedConcurrency": 30},
        table={"maxWriteRequestUnits": 200},
        monitoring={"logRetentionDays": 30},
    )
    assert trigger(changed) == trigger(deploy("dev"))
