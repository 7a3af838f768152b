"""The API, and who may invoke the function through it. `test_change_safety` has deployments."""

from typing import Any

import pytest

from components.edge_protection.openapi import openapi
from routes import ROUTES
from tests.stacks import PROJECT, STACKS, deploy
from tests.stacks.resources import API, FUNCTION, document, find, only


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
    arn = only(program, API).outputs["executionArn"]
    permissions = find(program, "lambda/permission:Permission")
    assert {one.inputs["sourceArn"]: one.inputs for one in permissions} == {
        (source := f"{arn}/v2/{route.verb}{route.path_pattern}"): {
            "action": "lambda:InvokeFunction",
            "function": only(program, FUNCTION).outputs["name"],
            "principal": "apigateway.amazonaws.com",
            "sourceArn": source,
        }
        for route in ROUTES
    }


@pytest.mark.parametrize("snap_start", [False, True])
def test_no_document_is_deployed_whose_function_the_api_may_not_invoke(snap_start: bool) -> None:
    program = deploy(function={"snapStart": snap_start})
    permissions = {one.urn for one in find(program, "lambda/permission:Permission")}
    assert permissions
    assert permissions <= {*only(program, "apigateway/deployment:Deployment").depends_on}


def test_a_throttled_caller_waits_for_the_slowest_bucket() -> None:
    slow = {"rateLimit": 0.3, "burstLimit": 1}
    plan: dict[str, Any] = {"usagePlans": {"slow": {**slow, "quota": {"limit": 1}}}}
    method: dict[str, Any] = {"throttle": {"methods": {"POST /data": slow}}}
    for changes, seconds in ({}, 1), (plan, 4), (method, 4):
        body = document(only(deploy(**changes), API), "body")
        throttled = body["x-amazon-apigateway-gateway-responses"]["THROTTLED"]
        assert throttled["responseParameters"] == {
            "gatewayresponse.header.Retry-After": f"'{seconds}'"
        }
