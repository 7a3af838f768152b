"""Read the registered resources as one API: its routes, keys, limits and answers.

References are followed as AWS does: a web ACL is used only if it is associated with the stage, a
key only if a plan of the stage has it, a route only if the OpenAPI body has it. What the program
forgets is missing here too.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final
from urllib.parse import unquote

from settings import UserError
from throttling import Client, Limits, Period, Quota, Throttle, UsagePlan
from tools.recorder.resources import Properties, Resource, Resources
from tools.sandbox.gateway_responses import GatewayResponse, read_gateway_responses
from tools.sandbox.not_served import not_served
from tools.sandbox.permissions import Permissions, matches, read_permissions
from tools.sandbox.web_acl import Rule, rate_limits, read_web_acl

API_KEY_HEADER: Final = "x-api-key"
"""The one header in which API Gateway looks for API keys."""
_INTEGRATION: Final = "x-amazon-apigateway-integration"


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

    def parameters(self, segments: Sequence[str]) -> dict[str, str] | None:
        """Return the path parameters, decoded, if the route has this path; None if not."""
        template = [part for part in self.path.split("/") if part]
        if len(template) != len(segments):
            return None
        pairs = list(zip(template, segments, strict=True))
        if any(part[0] != "{" and part != segment for part, segment in pairs):
            return None
        return {part[1:-1]: unquote(segment) for part, segment in pairs if part[0] == "{"}

    @property
    def method(self) -> str:
        """The method as limits name it: `POST /data`."""
        return f"{self.verb} {self.path}"


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
    id: str
    """ID of API Gateway's deployment."""
    api_id: str
    region: str
    url: str
    access_log_format: str
    """Format of a line of the access log; empty without a log."""
    variables: Mapping[str, str]
    """Stage variables."""
    limits: Limits
    routes: Mapping[tuple[str, str], Route]
    """Routes by verb and path."""
    clients: Mapping[str, Client]
    """The holder of each API key, by the key's value."""
    key_ids: Mapping[str, str]
    """The ID of each API key, by the key's value."""
    web_acl: tuple[Rule, ...]
    """The rules that block or count, by priority."""
    permissions: Permissions
    """What the function may do with DynamoDB."""
    responses: Mapping[str, GatewayResponse]
    """What callers get without the function, by type."""
    function: Function
    tables: tuple[Table, ...]
    not_enforced: tuple[str, ...]
    """What the resources ask for that only AWS can do."""

    @cached_property
    def _in_order(self) -> list[Route]:
        """The routes, sorted so that a literal segment wins over a parameter."""
        return sorted(
            self.routes.values(),
            key=lambda route: [part.startswith("{") for part in route.path.split("/")],
        )

    def route(self, verb: str, segments: Sequence[str]) -> tuple[Route, dict[str, str]] | None:
        """Return the route of a request and its path parameters; None without a route.

        The segments are those behind the stage, without empty ones, as the caller wrote them.
        """
        found = [
            (route, parameters)
            for route in self._in_order
            if (parameters := route.parameters(segments)) is not None
        ]
        # API Gateway chooses the path before the verb.
        of_path = (one for one in found if one[0].path == found[0][0].path)
        return next((one for one in of_path if one[0].verb == verb), None)


def read_deployment(resources: Resources) -> Deployment:
    """Follow the resources from the stage to the table.

    Raises:
        UserError: the resources are not one API that the sandbox can serve.
    """
    stage = _only(resources.of_type("aws:apigateway/stage:Stage"), "stages")
    api_id, stage_name = stage.inputs["restApi"], stage.inputs["stageName"]
    apis = resources.of_type("aws:apigateway/restApi:RestApi")
    api = _only([one for one in apis if one.id == api_id], "APIs of the stage")
    document: Properties = json.loads(api.inputs["body"])
    operations = {
        (verb.upper(), path): operation
        for path, verbs in document["paths"].items()
        for verb, operation in verbs.items()
        if _INTEGRATION in operation
    }
    behind = _function(resources, {one[_INTEGRATION]["uri"] for one in operations.values()})
    function = _read_function(behind)
    permissions = resources.of_type(
        "aws:lambda/permission:Permission",
        function=function.name,
        principal="apigateway.amazonaws.com",
    )
    arn = f"{api.outputs['executionArn']}/{stage_name}"
    routes = {
        (verb, path): _read_route(
            *(verb, path, document),
            may_invoke=any(
                matches(one.inputs["sourceArn"], f"{arn}/{verb}{path}") for one in permissions
            ),
        )
        for verb, path in operations
    }
    plans, clients = _usage_plans(resources, api_id, stage_name)
    responses = read_gateway_responses(document)
    rules, not_enforced = read_web_acl(resources, stage, responses["WAF_FILTERED"])
    settings = resources.of_type(
        "aws:apigateway/methodSettings:MethodSettings", restApi=api_id, stageName=stage_name
    )
    throttles = {
        one.inputs["methodPath"]: throttle
        for one in settings
        if (throttle := _throttle(one.inputs["settings"], "throttlingRate", "throttlingBurst"))
    }
    return Deployment(
        stage=stage_name,
        id=stage.inputs["deployment"],
        api_id=api_id,
        region=function.arn.split(":")[3],
        url=stage.outputs["invokeUrl"],
        access_log_format=(stage.inputs.get("accessLogSettings") or {}).get("format", ""),
        variables=stage.inputs.get("variables") or {},
        limits=Limits(
            # The model has one rate rule.
            waf=next(iter(rate_limits([rule for rule in rules if rule.response]).values()), None),
            usage_plans=plans,
            stage=throttles.pop("*/*", None),
            methods={_method(path): throttle for path, throttle in throttles.items()},
            keyless=tuple(sorted(one.method for one in routes.values() if not one.key_required)),
            concurrency=function.concurrency,
        ),
        routes=routes,
        clients=clients,
        key_ids={
            key.outputs["value"]: key.id
            for key in resources.of_type("aws:apigateway/apiKey:ApiKey")
        },
        web_acl=rules,
        permissions=read_permissions(resources, behind),
        responses=responses,
        function=function,
        tables=tuple(
            Table(
                name=table.outputs["name"],
                attributes={a["name"]: a["type"] for a in table.inputs["attributes"]},
                hash_key=table.inputs["hashKey"],
                range_key=table.inputs.get("rangeKey"),
            )
            for table in resources.of_type("aws:dynamodb/table:Table")
        ),
        not_enforced=(*not_enforced, *not_served(resources, document, _key_schemes(document))),
    )


def _only(found: list[Resource], what: str) -> Resource:
    if len(found) != 1:
        raise UserError(f"The program registered {len(found)} {what}; the sandbox serves one.")
    return found[0]


def _function(resources: Resources, uris: set[str]) -> Resource:
    """Return the function that the API's integrations invoke, directly or by its alias."""
    aliased = {
        alias.inputs["functionName"]
        for alias in resources.of_type("aws:lambda/alias:Alias")
        if alias.outputs["invokeArn"] in uris
    }
    functions = resources.of_type("aws:lambda/function:Function")
    found = [f for f in functions if f.outputs["invokeArn"] in uris or f.outputs["name"] in aliased]
    return _only(found, "functions behind the API")


def _read_function(function: Resource) -> Function:
    concurrency = function.inputs.get("reservedConcurrentExecutions")
    return Function(
        name=function.outputs["name"],
        arn=function.outputs["arn"],
        handler=function.inputs["handler"],
        files=function.inputs["code"],
        memory_mb=int(function.inputs.get("memorySize", 128)),
        timeout_seconds=int(function.inputs.get("timeout", 3)),
        concurrency=None if concurrency is None else int(concurrency),
        environment=function.inputs.get("environment", {}).get("variables", {}),
    )


def _read_route(verb: str, path: str, document: Properties, *, may_invoke: bool) -> Route:
    """Return one route of the OpenAPI document.

    Raises:
        UserError: the route needs what the sandbox cannot do.
    """
    operation = document["paths"][path][verb.lower()]
    if "x-amazon-apigateway-request-validator" in {*operation, *document}:
        raise UserError(
            f"{verb} {path} has a request validator, which the sandbox does not serve: let "
            "the function check the body."
        )
    if "+}" in path or verb.startswith("X-"):
        raise UserError(
            f"{verb} {path}: the sandbox serves neither greedy paths such as {{proxy+}} nor any "
            "method at once. Write each path and method as a route."
        )
    content = operation.get("requestBody", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema", {}).get("$ref", "")
    name = schema.removeprefix("#/components/schemas/")
    required = (document | operation).get("security", [])
    keys = _key_schemes(document)
    schemas = document.get("components", {}).get("schemas", {})
    return Route(
        verb=verb,
        path=path,
        key_required=any(keys & set(names) for names in required),
        may_invoke=may_invoke,
        timeout_seconds=operation[_INTEGRATION].get("timeoutInMillis", 29_000) / 1000,
        example=schemas.get(name, {}).get("example"),
    )


def _key_schemes(document: Properties) -> set[str]:
    """Return the names of the document's security schemes that ask for an API key."""
    schemes = document.get("components", {}).get("securitySchemes", {})
    return {name for name, s in schemes.items() if s.get("name", "").lower() == API_KEY_HEADER}


def _usage_plans(
    resources: Resources, api_id: str, stage: str
) -> tuple[dict[str, UsagePlan], dict[str, Client]]:
    """Return the usage plans of a stage by name, and the holder of each key by its value."""
    names = {id_: name for name, id_ in resources.exports["usagePlanIds"].items()}
    keys = {key.id: key for key in resources.of_type("aws:apigateway/apiKey:ApiKey")}
    members = defaultdict(list)
    for link in resources.of_type("aws:apigateway/usagePlanKey:UsagePlanKey"):
        members[link.inputs["usagePlanId"]].append(keys[link.inputs["keyId"]])
    plans: dict[str, UsagePlan] = {}
    clients: dict[str, Client] = {}
    for plan in resources.of_type("aws:apigateway/usagePlan:UsagePlan"):
        stages = {(s["apiId"], s["stage"]): s for s in plan.inputs.get("apiStages", [])}
        if (api_id, stage) not in stages:
            continue
        name = names.get(plan.id, plan.name)
        holders = {
            key.outputs["value"]: Client(name, _holder(key))
            for key in members[plan.id]
            if key.inputs.get("enabled", True)
        }
        clients |= holders
        quota = plan.inputs.get("quotaSettings")
        plans[name] = UsagePlan(
            clients=tuple(sorted(client.name for client in holders.values())),
            throttle=_throttle(plan.inputs.get("throttleSettings") or {}),
            quota=quota and Quota(limit=int(quota["limit"]), period=Period(quota["period"])),
            methods={
                _method(one["path"].strip("/")): throttle
                for one in stages[api_id, stage].get("throttles", [])
                if (throttle := _throttle(one))
            },
        )
    return plans, clients


def _holder(key: Resource) -> str:
    """Return a key's client, with the key's number unless it is the first key."""
    tags = key.inputs.get("tags", {})
    client, number = tags.get("client", key.name), tags.get("key", "1")
    return client if number == "1" else f"{client}.{number}"


def _throttle(settings: Properties, rate: str = "rate", burst: str = "burst") -> Throttle | None:
    rate_limit, burst_limit = settings.get(f"{rate}Limit"), settings.get(f"{burst}Limit")
    if rate_limit is None or burst_limit is None:
        return None
    return Throttle(rate=float(rate_limit), burst=int(burst_limit))


def _method(path: str) -> str:
    """Return `POST /data` for `data/POST`, and `GET /data/{id}` for `~1data~1{id}/GET`."""
    resource, _, verb = path.rpartition("/")
    return f"{verb} /{resource.replace('~1', '/').removeprefix('/')}"
