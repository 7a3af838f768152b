"""Read the registered resources as one API: its routes, keys, limits and answers.

References are followed as AWS does: the web ACL counts if an association names the stage, a key if
a plan of the stage has it, a route if the OpenAPI body has it. What the program forgets is missing
here too.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from settings import UserError
from throttling import Client, Limits, Period, Quota, Throttle, UsagePlan, WafRateLimit
from tools.recorder.resources import Properties, Resource, Resources
from tools.sandbox.gateway_responses import GatewayResponse, read_gateway_responses

API_KEY_HEADER: Final = "x-api-key"
"""The one header in which API Gateway looks for API keys."""
_VERBS: Final = ("get", "put", "post", "delete", "options", "head", "patch")


@dataclass(frozen=True, kw_only=True)
class Route:
    """One method of the API."""

    verb: str
    path: str
    key_required: bool
    may_invoke: bool
    """Whether a permission lets the API invoke the function for this route."""
    timeout_seconds: float
    """How long API Gateway waits for the function."""
    example: object
    """The document's example of a body; None without one."""

    @property
    def method(self) -> str:
        """The method as limits name it: `POST /data`."""
        return f"{self.verb} {self.path}"


@dataclass(frozen=True, kw_only=True)
class WafBlock:
    """The web ACL's own response to a caller that its rate rule blocks."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    content_type: str


@dataclass(frozen=True, kw_only=True)
class Function:
    """The function behind the API."""

    name: str
    arn: str
    handler: str
    files: Mapping[str, str]
    """Path of each file of the deployment package, by its name in the package."""
    memory_mb: int
    timeout_seconds: int
    concurrency: int | None
    environment: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table, as DynamoDB's CreateTable takes it."""

    name: str
    attributes: Mapping[str, str]
    """Types of the key's attributes by name."""
    hash_key: str
    range_key: str | None


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """One stage of one API, with what stands before and behind it."""

    stage: str
    region: str
    url: str
    limits: Limits
    routes: Mapping[tuple[str, str], Route]
    """By verb and path."""
    clients: Mapping[str, Client]
    """The holder of each API key, by the key's value."""
    responses: Mapping[str, GatewayResponse]
    waf_block: WafBlock | None
    """None for API Gateway's 403."""
    function: Function
    tables: tuple[Table, ...]
    not_enforced: tuple[str, ...]
    """What the resources ask for that only AWS can do."""


def read_deployment(resources: Resources) -> Deployment:
    """Follow the resources from the stage to the table.

    Raises:
        UserError: the resources are not one API that the sandbox can serve.
    """
    stage = _only(resources.of_type("aws:apigateway/stage:Stage"), "stages")
    apis = resources.of_type("aws:apigateway/restApi:RestApi")
    api = _only([api for api in apis if api.id == stage.inputs["restApi"]], "APIs of the stage")
    document = json.loads(api.inputs["body"])
    function = _function(resources, document)
    plans, clients = _usage_plans(resources, stage)
    rate, waf_block, not_enforced = _web_acl(resources, stage)
    throttles = _throttles(resources, stage)
    return Deployment(
        stage=stage.inputs["stageName"],
        region=stage.outputs["arn"].split(":")[3],
        url=stage.outputs["invokeUrl"],
        limits=Limits(
            waf=rate,
            usage_plans=plans,
            stage=throttles.pop("*/*", None),
            methods={_method(path): throttle for path, throttle in throttles.items()},
            concurrency=function.concurrency,
        ),
        routes=_routes(resources, document, api, stage, function),
        clients=clients,
        responses=read_gateway_responses(document),
        waf_block=waf_block,
        function=function,
        tables=tuple(_table(table) for table in resources.of_type("aws:dynamodb/table:Table")),
        not_enforced=not_enforced,
    )


def _only(found: list[Resource], what: str) -> Resource:
    if len(found) != 1:
        raise UserError(f"The program registered {len(found)} {what}; the sandbox serves one.")
    return found[0]


def _operations(document: Mapping[str, Any]) -> dict[tuple[str, str], Properties]:
    return {
        (verb.upper(), path): operation
        for path, operations in document["paths"].items()
        for verb, operation in operations.items()
        if verb in _VERBS
    }


def _function(resources: Resources, document: Mapping[str, Any]) -> Function:
    """Return the function that the routes' integrations invoke, directly or by its alias."""
    invoked = {
        operation["x-amazon-apigateway-integration"]["uri"]
        for operation in _operations(document).values()
    }
    aliased = {
        alias.inputs["functionName"]
        for alias in resources.of_type("aws:lambda/alias:Alias")
        if alias.outputs["invokeArn"] in invoked
    }
    functions = resources.of_type("aws:lambda/function:Function")
    function = _only(
        [f for f in functions if f.outputs["invokeArn"] in invoked or f.outputs["name"] in aliased],
        "functions behind the API",
    )
    return Function(
        name=function.outputs["name"],
        arn=function.outputs["arn"],
        handler=function.inputs["handler"],
        files=function.inputs["code"],
        memory_mb=int(function.inputs.get("memorySize", 128)),
        timeout_seconds=int(function.inputs.get("timeout", 3)),
        concurrency=_whole(function.inputs.get("reservedConcurrentExecutions")),
        environment=function.inputs.get("environment", {}).get("variables", {}),
    )


def _routes(
    resources: Resources,
    document: Mapping[str, Any],
    api: Resource,
    stage: Resource,
    function: Function,
) -> dict[tuple[str, str], Route]:
    permitted = {
        permission.inputs.get("sourceArn")
        for permission in resources.where(
            "aws:lambda/permission:Permission",
            function=function.name,
            principal="apigateway.amazonaws.com",
        )
    }
    arn = f"{api.outputs['executionArn']}/{stage.inputs['stageName']}"
    schemes = _key_schemes(document)
    routes = {}
    for (verb, path), operation in _operations(document).items():
        integration = operation["x-amazon-apigateway-integration"]
        security = operation.get("security", document.get("security", []))
        if "x-amazon-apigateway-request-validator" in {*operation, *document}:
            raise UserError(
                f"{verb} {path} has a request validator, which the sandbox does not serve: let "
                "the function check the body."
            )
        routes[verb, path] = Route(
            verb=verb,
            path=path,
            key_required=any(schemes & set(scheme) for scheme in security),
            may_invoke=f"{arn}/{verb}{path}" in permitted,
            timeout_seconds=integration.get("timeoutInMillis", 29_000) / 1000,
            example=_example(document, operation),
        )
    return routes


def _example(document: Mapping[str, Any], operation: Properties) -> object:
    """Return the example of the schema that an operation's JSON body refers to."""
    content = operation.get("requestBody", {}).get("content", {})
    reference = content.get("application/json", {}).get("schema", {}).get("$ref", "")
    schemas = document.get("components", {}).get("schemas", {})
    return schemas.get(reference.removeprefix("#/components/schemas/"), {}).get("example")


def _key_schemes(document: Mapping[str, Any]) -> set[str]:
    """Return the names of the security schemes that stand for API keys."""
    schemes = document.get("components", {}).get("securitySchemes", {})
    key = ("apiKey", "header", API_KEY_HEADER)
    return {
        name
        for name, scheme in schemes.items()
        if (scheme["type"], scheme.get("in"), scheme.get("name", "").lower()) == key
    }


def _usage_plans(
    resources: Resources, stage: Resource
) -> tuple[dict[str, UsagePlan], dict[str, Client]]:
    """Return the plans of the stage, and the holder of each key as its tags name it."""
    plan_names = {id_: name for name, id_ in resources.exports["usagePlanIds"].items()}
    keys = {key.id: key for key in resources.of_type("aws:apigateway/apiKey:ApiKey")}
    members: dict[str, list[str]] = {}
    for link in resources.of_type("aws:apigateway/usagePlanKey:UsagePlanKey"):
        members.setdefault(link.inputs["usagePlanId"], []).append(link.inputs["keyId"])
    plans: dict[str, UsagePlan] = {}
    clients: dict[str, Client] = {}
    for plan in resources.of_type("aws:apigateway/usagePlan:UsagePlan"):
        served = [
            s
            for s in plan.inputs.get("apiStages", [])
            if (s["apiId"], s["stage"]) == (stage.inputs["restApi"], stage.inputs["stageName"])
        ]
        if not served:
            continue
        name = plan_names.get(plan.id, plan.name)
        names = []
        for key_id in members.get(plan.id, []):
            key = keys[key_id]
            if key.inputs.get("enabled", True):
                names.append(_holder(key))
                clients[key.outputs["value"]] = Client(name, names[-1])
        quota = plan.inputs.get("quotaSettings")
        plans[name] = UsagePlan(
            clients=tuple(sorted(names)),
            throttle=_throttle(plan.inputs.get("throttleSettings"), "rateLimit", "burstLimit"),
            quota=quota and Quota(limit=int(quota["limit"]), period=Period(quota["period"])),
            methods={
                _method(throttle["path"].strip("/")): Throttle(
                    rate=float(throttle["rateLimit"]), burst=int(throttle["burstLimit"])
                )
                for throttle in served[0].get("throttles", [])
            },
        )
    return plans, clients


def _holder(key: Resource) -> str:
    """Return a key's client, with the key's number unless it is the first key."""
    tags = key.inputs.get("tags", {})
    client, number = tags.get("client", key.name), tags.get("key", "1")
    return client if number == "1" else f"{client}.{number}"


def _throttles(resources: Resources, stage: Resource) -> dict[str, Throttle]:
    """Return the stage's throttles by method path; `*/*` is the whole stage."""
    found = {}
    for settings in resources.where(
        "aws:apigateway/methodSettings:MethodSettings",
        restApi=stage.inputs["restApi"],
        stageName=stage.inputs["stageName"],
    ):
        throttle = _throttle(
            settings.inputs["settings"], "throttlingRateLimit", "throttlingBurstLimit"
        )
        if throttle:
            found[settings.inputs["methodPath"]] = throttle
    return found


def _throttle(settings: Properties | None, rate: str, burst: str) -> Throttle | None:
    if settings is None or settings.get(rate) is None or settings.get(burst) is None:
        return None
    return Throttle(rate=float(settings[rate]), burst=int(settings[burst]))


def _method(path: str) -> str:
    """Return `POST /data` for `data/POST`."""
    resource, _, verb = path.rpartition("/")
    return f"{verb} /{resource}"


def _web_acl(
    resources: Resources, stage: Resource
) -> tuple[WafRateLimit | None, WafBlock | None, tuple[str, ...]]:
    """Return the rate rule of the web ACL before the stage, its response, and the other rules."""
    associated = {
        association.inputs["webAclArn"]
        for association in resources.where(
            "aws:wafv2/webAclAssociation:WebAclAssociation", resourceArn=stage.outputs["arn"]
        )
    }
    acls = resources.of_type("aws:wafv2/webAcl:WebAcl")
    rate: WafRateLimit | None = None
    block: WafBlock | None = None
    not_enforced = []
    for acl in (acl for acl in acls if acl.outputs["arn"] in associated):
        for rule in acl.inputs.get("rules", []):
            statement = rule["statement"].get("rateBasedStatement")
            if statement is None or "block" not in rule.get("action", {}):
                not_enforced.append(f"web ACL rule {rule['name']}")
                continue
            rate = WafRateLimit(
                limit=int(statement["limit"]),
                window_seconds=int(statement.get("evaluationWindowSec", 300)),
            )
            block = _block(acl, rule["action"]["block"].get("customResponse"))
    return rate, block, tuple(not_enforced)


def _block(acl: Resource, response: Properties | None) -> WafBlock | None:
    if response is None:
        return None
    bodies = {body["key"]: body for body in acl.inputs.get("customResponseBodies", [])}
    body = bodies.get(response.get("customResponseBodyKey"), {})
    kind = {"APPLICATION_JSON": "application/json", "TEXT_HTML": "text/html"}
    return WafBlock(
        status=int(response["responseCode"]),
        headers={h["name"]: h["value"] for h in response.get("responseHeaders", [])},
        body=body.get("content", "").encode(),
        content_type=kind.get(body.get("contentType", ""), "text/plain"),
    )


def _table(table: Resource) -> Table:
    return Table(
        name=table.outputs["name"],
        attributes={a["name"]: a["type"] for a in table.inputs["attributes"]},
        hash_key=table.inputs["hashKey"],
        range_key=table.inputs.get("rangeKey"),
    )


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
