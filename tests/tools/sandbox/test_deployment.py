"""The sandbox serves what the program registered: what is not there is not enforced either."""

import functools
import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from settings import UserError
from tests.stacks import deploy
from throttling import Client, Throttle, WafRateLimit
from tools.recorder.resources import Properties, Resource, Resources
from tools.sandbox.deployment import Deployment, read_deployment
from tools.sandbox.web_acl import address_header

STAGE = "aws:apigateway/stage:Stage"
API = "aws:apigateway/restApi:RestApi"
METHOD_SETTINGS = "aws:apigateway/methodSettings:MethodSettings"


def without(resources: Resources, token: str, name: str = "") -> Resources:
    """Return the resources without those of a type whose logical name contains `name`."""
    kept = tuple(r for r in resources.items if r.type != token or name not in r.name)
    assert len(kept) < len(resources.items), "nothing to leave out"
    return replace(resources, items=kept)


def changed(resources: Resources, token: str, **inputs: object) -> Resources:
    """Return the resources with other inputs for those of a type."""

    def change(resource: Resource) -> Resource:
        if resource.type != token:
            return resource
        given = {k: v for k, v in (resource.inputs | inputs).items() if v is not None}
        return replace(resource, inputs=given)

    return replace(resources, items=tuple(change(r) for r in resources.items))


def rewritten(resources: Resources, edit: Callable[[Properties], object]) -> Resources:
    """Return the resources with an edited OpenAPI document."""
    (api,) = resources.of_type(API)
    document = json.loads(api.inputs["body"])
    edit(document)
    return changed(resources, API, body=json.dumps(document))


def test_resources_survive_being_sent_as_json(resources: Resources) -> None:
    sent = Resources.from_json(resources.to_json())

    assert sent == resources
    assert read_deployment(sent) == read_deployment(resources)


ASSOCIATION = "aws:wafv2/webAclAssociation:WebAclAssociation"
PLAN = "aws:apigateway/usagePlan:UsagePlan"
NOWHERE = "arn:aws:execute-api:other"


@pytest.mark.parametrize(
    ("edit", "read", "expected"),
    [
        (lambda r: without(r, ASSOCIATION), lambda d: d.limits.waf, None),
        (lambda r: changed(r, ASSOCIATION, resourceArn=NOWHERE), lambda d: d.limits.waf, None),
        (lambda r: without(r, METHOD_SETTINGS), lambda d: d.limits.stage, None),
        (
            lambda r: changed(r, PLAN, throttleSettings=None, quotaSettings=None),
            lambda d: [(plan.throttle, plan.quota) for plan in d.limits.usage_plans.values()],
            [(None, None)] * 2,
        ),
        (
            lambda r: changed(r, "aws:lambda/function:Function", reservedConcurrentExecutions=None),
            lambda d: d.limits.concurrency,
            None,
        ),
        (
            lambda r: without(r, "aws:apigateway/usagePlanKey:UsagePlanKey", "basic"),
            lambda d: list(d.clients.values()),
            [Client("premium", "default")],
        ),
        (lambda r: changed(r, PLAN, apiStages=[]), lambda d: d.clients, {}),
        (
            lambda r: changed(r, "aws:apigateway/apiKey:ApiKey", enabled=False),
            lambda d: d.clients,
            {},
        ),
        (
            lambda r: rewritten(r, lambda d: d["paths"]["/data"]["post"].pop("security")),
            lambda d: d.routes["POST", "/data"].key_required,
            False,
        ),
        (
            lambda r: without(r, "aws:lambda/permission:Permission"),
            lambda d: d.routes["POST", "/data"].may_invoke,
            False,
        ),
    ],
)
def test_what_the_program_forgets_is_missing_here_too(
    resources: Resources,
    edit: Callable[[Resources], Resources],
    read: Callable[[Deployment], object],
    expected: object,
) -> None:
    assert read(read_deployment(resources)) != expected
    assert read(read_deployment(edit(resources))) == expected


def test_a_rate_rule_without_a_window_has_aws_default(resources: Resources) -> None:
    (acl,) = resources.of_type("aws:wafv2/webAcl:WebAcl")
    rule = acl.inputs["rules"][0] | {"statement": {"rateBasedStatement": {"limit": 10}}}

    waf = read_deployment(changed(resources, acl.type, rules=[rule])).limits.waf

    assert waf == WafRateLimit(limit=10, window_seconds=300)


def test_rules_are_read_by_their_priorities(resources: Resources) -> None:
    (acl,) = resources.of_type("aws:wafv2/webAcl:WebAcl")
    rules = [
        acl.inputs["rules"][0] | {"name": name, "priority": at}
        for name, at in (("b", 10), ("a", 9))
    ]

    deployment = read_deployment(changed(resources, acl.type, rules=rules))

    assert [rule.name for rule in deployment.web_acl] == ["a", "b"]


def test_behind_a_cdn_every_rule_of_the_web_acl_is_enforced() -> None:
    deployment = read_deployment(deploy(waf={"aggregateBy": "FORWARDED_IP"}).resources)

    names = ["no-address", "rate-per-address", "rate-per-source"]
    assert [rule.name for rule in deployment.web_acl] == names
    statuses = [rule.response.status for rule in deployment.web_acl if rule.response]
    assert statuses == [403, 429, 429]
    assert address_header(deployment.web_acl) == "True-Client-IP"


def test_a_shadow_limit_is_served_and_is_no_limit() -> None:
    deployment = read_deployment(deploy(waf={"shadow": {"rateLimit": 10}}).resources)

    counting, blocking = deployment.web_acl
    assert (counting.name, counting.response) == ("shadow-rate-per-address", None)
    assert blocking.name == "rate-per-address"
    assert deployment.limits.waf == WafRateLimit(limit=1500, window_seconds=60)


def test_throttles_of_single_methods_within_a_plan_count(resources: Resources) -> None:
    (stage,) = resources.of_type(STAGE)
    served = {
        "apiId": stage.inputs["restApi"],
        "stage": "dev",
        "throttles": [{"path": "/data/POST", "rateLimit": 2, "burstLimit": 3}],
    }

    plans = read_deployment(changed(resources, PLAN, apiStages=[served])).limits.usage_plans

    assert plans["basic"].methods == {"POST /data": Throttle(rate=2, burst=3)}


def test_a_template_knows_the_error_and_the_request(resources: Resources) -> None:
    def edit(document: Properties) -> None:
        document["x-amazon-apigateway-gateway-responses"]["THROTTLED"]["responseTemplates"] = {
            "application/json": "$context.error.responseType $context.requestId "
            "$context.error.message/$context.unknown."
        }

    responses = read_deployment(rewritten(resources, edit)).responses

    assert responses["THROTTLED"].body("r-1") == b"THROTTLED r-1 Too Many Requests/."


def test_what_the_sandbox_cannot_serve_is_refused_by_name(resources: Resources) -> None:
    def validate(document: Properties) -> None:
        document["x-amazon-apigateway-request-validator"] = "all"

    def compute(document: Properties) -> None:
        document["x-amazon-apigateway-gateway-responses"]["THROTTLED"]["responseParameters"] = {
            "gatewayresponse.header.X-Id": "context.requestId"
        }

    def move(document: Properties, path: str, verb: str) -> None:
        document["paths"] = {path: {verb: document["paths"]["/data"]["post"]}}

    with pytest.raises(UserError, match="POST /data has a request validator"):
        read_deployment(rewritten(resources, validate))
    with pytest.raises(UserError, match="THROTTLED maps gateway"):
        read_deployment(rewritten(resources, compute))
    for path, verb in (("/{proxy+}", "post"), ("/data", "x-amazon-apigateway-any-method")):
        with pytest.raises(UserError, match="serves neither greedy paths"):
            read_deployment(rewritten(resources, functools.partial(move, path=path, verb=verb)))
    with pytest.raises(UserError, match="0 stages"):
        read_deployment(without(resources, STAGE))


def test_the_functions_permissions_are_those_of_its_role_and_the_endpoint(
    resources: Resources,
) -> None:
    (table,) = read_deployment(resources).tables
    role, endpoint = "aws:iam/rolePolicy:RolePolicy", "aws:ec2/vpcEndpoint:VpcEndpoint"

    def refusal(resources: Resources, operation: str = "PutItem") -> str:
        deployment = read_deployment(resources)
        body = {"TableName": table.name}
        return deployment.permissions.refusal(operation, deployment.region, body)

    assert refusal(resources) == ""
    assert "no identity-based policy allows" in refusal(resources, "DeleteTable")
    assert "no identity-based policy allows" in refusal(without(resources, role, "function"))
    deny = json.dumps({"Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}})
    assert "deny in a VPC endpoint policy" in refusal(changed(resources, endpoint, policy=deny))
    assert refusal(changed(resources, endpoint, policy=None)) == "", "AWS's default allows all"


def test_a_policy_that_only_aws_knows_is_refused(resources: Resources) -> None:
    (role,) = (r for r in resources.of_type("aws:iam/role:Role") if "function" in r.name)
    arn = "arn:aws:iam::aws:policy/AmazonDynamoDBFullAccess"
    attached = replace(
        role,
        type="aws:iam/rolePolicyAttachment:RolePolicyAttachment",
        inputs={"role": role.id, "policyArn": arn},
    )

    with pytest.raises(UserError, match=f"cannot read the policy {arn}"):
        read_deployment(replace(resources, items=(*resources.items, attached)))
    with pytest.raises(UserError, match="has permissionsBoundary, which the sandbox does not read"):
        read_deployment(changed(resources, role.type, permissionsBoundary=arn))
    with pytest.raises(UserError, match="registered 0 roles of "):
        read_deployment(without(resources, role.type))


def test_what_is_not_served_is_named(resources: Resources) -> None:
    def authorizer(document: Properties) -> None:
        schemes = document["components"]["securitySchemes"]
        schemes["people"] = {"type": "apiKey", "name": "Authorization", "in": "header"}

    edited = rewritten(resources, authorizer)
    edited = changed(edited, STAGE, cacheClusterEnabled=True)
    edited = changed(edited, API, policy="{}")
    (stage,) = resources.of_type(STAGE)
    domain = replace(stage, type="aws:apigateway/domainName:DomainName", name="domain")
    edited = replace(edited, items=(*edited.items, domain))

    before = read_deployment(resources).not_enforced
    assert sorted({*read_deployment(edited).not_enforced} - {*before}) == [
        "apigateway/domainName domain",
        "authorizer people",
        f"cacheClusterEnabled of apigateway/stage {stage.name}",
        f"policy of apigateway/restApi {resources.of_type(API)[0].name}",
    ]
