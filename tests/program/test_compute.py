"""The function."""

from components import iam
from tools.recorder.program import ROOT
from tests.program.conftest import (
    FUNCTION,
    TABLE,
    Deploy,
    document,
    find,
    only,
)


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
    assert document(role, "assumeRolePolicy") == iam.trust("lambda.amazonaws.com")
    assert policy.inputs["role"] == role.id
    assert document(policy, "policy") == iam.function(
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
