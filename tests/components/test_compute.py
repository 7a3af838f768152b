"""The function."""

from components import iam
from components.compute import FILES
from routes import METHODS, TABLE_ACTIONS
from tests.stacks import deploy
from tests.stacks.resources import API, FUNCTION, LOG_GROUP, TABLE, document, find, only
from tools.recorder.program import CODE


def test_the_function() -> None:
    program = deploy(function={"timeoutSeconds": 7})
    function = only(program, FUNCTION)
    logs = only(program, LOG_GROUP, "function-logs")
    role = only(program, "iam/role:Role", "function-role")
    policy = only(program, "iam/rolePolicy:RolePolicy", "function-policy")
    table = only(program, TABLE)
    assert function.inputs == {
        "description": f"Answers {', '.join(METHODS)}",
        "code": {file: str(CODE / file) for file in FILES},
        "handler": "handler.app.handle",
        "runtime": "python3.13",
        "architectures": ["arm64"],
        "memorySize": 512,
        "timeout": 7,
        "reservedConcurrentExecutions": 25,
        "role": role.outputs["arn"],
        "environment": {
            "variables": {"TABLE_NAME": table.outputs["name"], "FUNCTION_TIMEOUT_SECONDS": "7"}
        },
        "loggingConfig": {"logFormat": "JSON", "logGroup": logs.outputs["name"]},
        "tracingConfig": {"mode": "Active"},
        "vpcConfig": {
            "subnetIds": [subnet.id for subnet in find(program, "ec2/subnet:Subnet")],
            "securityGroupIds": [only(program, "ec2/securityGroup:SecurityGroup").id],
        },
        "replaceSecurityGroupsOnDestroy": True,
        "replacementSecurityGroupIds": [
            only(program, "ec2/defaultSecurityGroup:DefaultSecurityGroup").id
        ],
        "publish": False,
    }
    assert policy.urn in function.depends_on, "Lambda checks what the role may do"
    way_out = [
        *find(program, "ec2/routeTableAssociation:RouteTableAssociation"),
        only(program, "ec2/vpcEndpoint:VpcEndpoint"),
        only(program, "vpc/securityGroupEgressRule:SecurityGroupEgressRule"),
    ]
    assert {one.urn for one in way_out} <= {*function.depends_on}, "its first write would fail"
    assert document(role, "assumeRolePolicy") == iam.trust("lambda.amazonaws.com")
    assert policy.inputs["role"] == role.id
    assert document(policy, "policy") == iam.function(
        table.outputs["arn"], logs.outputs["arn"], TABLE_ACTIONS
    )


def test_the_package_is_the_handler_with_its_routes_and_nothing_else() -> None:
    sources = {str(path.relative_to(CODE)) for path in (CODE / "handler").rglob("*.py")}
    assert set(FILES) == {*sources, "routes.py"}, "a file that is missing here is missing in Lambda"


def test_with_snap_start_callers_reach_the_newest_version_by_its_alias() -> None:
    program = deploy(function={"snapStart": True})
    function, alias = only(program, FUNCTION), only(program, "lambda/alias:Alias")
    assert function.inputs["snapStart"] == {"applyOn": "PublishedVersions"}
    assert function.inputs["publish"] is True
    assert alias.inputs == {
        "name": "live",
        "functionName": function.outputs["name"],
        "functionVersion": function.outputs["version"],
    }
    operation = document(only(program, API), "body")["paths"]["/data"]["post"]
    integration = operation["x-amazon-apigateway-integration"]
    assert integration["uri"] == alias.outputs["invokeArn"]
    permission = find(program, "lambda/permission:Permission")[0].inputs
    assert permission["qualifier"] == alias.outputs["name"]
    assert permission["function"] == function.outputs["name"]
