"""The stage: its logs, and the throttles that all clients share."""

from typing import Any

import pytest

from components import iam
from components.edge_protection.access_log import access_log_format
from tests.stacks import deploy
from tests.stacks.resources import API, LOG_GROUP, STAGE, document, find, inputs, only


def test_the_stage_logs_and_traces() -> None:
    program = deploy("dev")
    api = only(program, API)
    stage = only(program, STAGE)
    execution = only(program, LOG_GROUP, "execution-logs")
    assert stage.inputs == {
        "restApi": api.id,
        "deployment": only(program, "apigateway/deployment:Deployment").id,
        "stageName": "dev",
        "accessLogSettings": {
            "destinationArn": only(program, LOG_GROUP, "access-logs").outputs["arn"],
            "format": access_log_format(),
        },
        "xrayTracingEnabled": True,
    }
    assert execution.inputs["name"] == f"API-Gateway-Execution-Logs_{api.id}/dev"
    assert execution.urn in stage.depends_on, "API Gateway would create it, without retention"


def test_the_account_may_log_before_the_stage_does() -> None:
    program = deploy("dev")
    role = only(program, "iam/role:Role", "gateway-logs-role")
    attachment = only(program, "iam/rolePolicyAttachment:RolePolicyAttachment")
    account = only(program, "apigateway/account:Account")
    assert document(role, "assumeRolePolicy") == iam.trust("apigateway.amazonaws.com")
    assert attachment.inputs == {
        "role": role.outputs["name"],
        "policyArn": "arn:aws:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs",
    }
    assert account.inputs == {"cloudwatchRoleArn": role.outputs["arn"]}
    assert attachment.urn in account.depends_on, "API Gateway tests the role when it is set"
    assert account.urn in only(program, STAGE).depends_on, "AWS refuses a stage that logs before"


def test_the_logging_of_the_account_can_be_left_to_others() -> None:
    program = deploy(manageApiGatewayLogging=False)
    assert not find(program, "apigateway/account:Account")
    assert not any(resource.retain_on_delete for resource in program.resources.items)
    assert only(program, STAGE).inputs["accessLogSettings"]["format"] == access_log_format()


@pytest.mark.parametrize(
    ("methods", "more"),
    [
        ({}, {}),
        (
            {"POST /data": {"rateLimit": 12.5, "burstLimit": 7}},
            {"throttle-data-post": ("data/POST", 12.5, 7)},
        ),
    ],
)
def test_the_stage_is_throttled_and_so_are_the_methods_that_the_config_names(
    methods: dict[str, Any], more: dict[str, tuple[str, float, int]]
) -> None:
    program = deploy(throttle={"methods": methods})
    stage = only(program, STAGE)
    expected = {"throttle": ("*/*", 50, 100), **more}
    assert inputs(program, "apigateway/methodSettings:MethodSettings") == {
        name: {
            "restApi": stage.inputs["restApi"],
            "stageName": "dev",
            "methodPath": path,
            "settings": {
                "throttlingRateLimit": rate,
                "throttlingBurstLimit": burst,
                "metricsEnabled": True,
                "loggingLevel": "ERROR",
                "dataTraceEnabled": False,
            },
        }
        for name, (path, rate, burst) in expected.items()
    }
    for resource in find(program, "apigateway/methodSettings:MethodSettings"):
        assert stage.urn in resource.depends_on
