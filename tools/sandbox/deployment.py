"""Read the registered resources as one API: its routes, keys, limits and answers.

References are followed as AWS does: a web ACL is used only if it is associated with the stage, a
key only if a plan of the stage has it, a route only if the OpenAPI body has it. What the program
forgets is missing here too.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from settings import UserError
from throttling import Client, Limits, Period, Quota, Throttle, UsagePlan, WafRateLimit
from tools.recorder.resources import Properties, Resource, Resources
from tools.sandbox.gateway_responses import GatewayResponse, read_gateway_responses

API_KEY_HEADER: Final = "x-api-key"
"""The one header in which API Gateway looks for API keys."""


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
    """What callers get without the function, by type."""
    function: Function
    tables: tuple[Table, ...]
    not_enforced: tuple[str, ...]
    """What the resources ask for that only AWS can do."""


def read_deployment(resources: Resources) -> Deployment:
    """Follow the resources from the stage to the table.

    Raises:
        UserError: the resources are not one API that the sandbox can serve.
    """
    reader = _Reader(resources)
    function = reader.function()
    plans, clients = reader.usage_plans()
    rate, block, not_enforced = reader.web_acl()
    throttles = reader.throttles()
    routes = {
        (verb, path): reader.route(verb, path, operation, function)
        for (verb, path), operation in reader.operations.items()
    }
    return Deployment(
        stage=reader.stage.inputs["stageName"],
        region=reader.stage.outputs["arn"].split(":")[3],
        url=reader.stage.outputs["invokeUrl"],
        limits=Limits(
            waf=rate,
            usage_plans=plans,
            stage=throttles.pop("*/*", None),
            methods={_method(path): throttle for path, throttle in throttles.items()},
            keyless=tuple(sorted(one.method for one in routes.values() if not one.key_required)),
            concurrency=function.concurrency,
        ),
        routes=routes,
        clients=clients,
        responses=read_gateway_responses(reader.document) | block,
        function=function,
        tables=reader.tables(),
        not_enforced=not_enforced,
    )


class _Reader:
    """Follows the references of the resources, from the one stage and its API.

    Raises:
        UserError: there is no such stage, or several.
    """

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self.stage = _only(resources.of_type("aws:apigateway/stage:Stage"), "stages")
        self._api_id, self._stage_name = (
            self.stage.inputs["restApi"],
            self.stage.inputs["stageName"],
        )
        apis = resources.of_type("aws:apigateway/restApi:RestApi")
        self._api = _only([api for api in apis if api.id == self._api_id], "APIs of the stage")
        self.document: Properties = json.loads(self._api.inputs["body"])
        self.operations: dict[tuple[str, str], Properties] = {
            (verb.upper(), path): operation
            for path, verbs in self.document["paths"].items()
            for verb, operation in verbs.items()
        }

    def function(self) -> Function:
        """Return the function that the API's integrations invoke, directly or by its alias."""
        uris = {o["x-amazon-apigateway-integration"]["uri"] for o in self.operations.values()}
        aliased = {
            alias.inputs["functionName"]
            for alias in self._resources.of_type("aws:lambda/alias:Alias")
            if alias.outputs["invokeArn"] in uris
        }
        found = self._resources.of_type("aws:lambda/function:Function")
        function = _only(
            [f for f in found if f.outputs["invokeArn"] in uris or f.outputs["name"] in aliased],
            "functions behind the API",
        )
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

    def route(self, verb: str, path: str, operation: Properties, function: Function) -> Route:
        """Return one route; `operation` is the document's part about it.

        Raises:
            UserError: the route needs what the sandbox cannot do.
        """
        document, components = self.document, self.document.get("components", {})
        if "x-amazon-apigateway-request-validator" in {*operation, *document}:
            raise UserError(
                f"{verb} {path} has a request validator, which the sandbox does not serve: let "
                "the function check the body."
            )
        schemes = components.get("securitySchemes", {})
        keys = {name for name, s in schemes.items() if s.get("name", "").lower() == API_KEY_HEADER}
        permissions = self._resources.where(
            "aws:lambda/permission:Permission",
            function=function.name,
            principal="apigateway.amazonaws.com",
            sourceArn=f"{self._api.outputs['executionArn']}/{self._stage_name}/{verb}"
            + re.sub(r"\{[^}]+\}", "*", path),
        )
        integration = operation["x-amazon-apigateway-integration"]
        required = (document | operation).get("security", [])
        content = operation.get("requestBody", {}).get("content", {})
        schema = content.get("application/json", {}).get("schema", {}).get("$ref", "")
        name = schema.removeprefix("#/components/schemas/")
        return Route(
            verb=verb,
            path=path,
            key_required=any(keys & set(names) for names in required),
            may_invoke=any(permissions),
            timeout_seconds=integration.get("timeoutInMillis", 29_000) / 1000,
            example=components.get("schemas", {}).get(name, {}).get("example"),
        )

    def usage_plans(self) -> tuple[dict[str, UsagePlan], dict[str, Client]]:
        """Return the plans of the stage, and the holder of each key."""
        plan_names = {id_: name for name, id_ in self._resources.exports["usagePlanIds"].items()}
        keys = {key.id: key for key in self._resources.of_type("aws:apigateway/apiKey:ApiKey")}
        members: dict[str, list[Resource]] = {}
        for link in self._resources.of_type("aws:apigateway/usagePlanKey:UsagePlanKey"):
            members.setdefault(link.inputs["usagePlanId"], []).append(keys[link.inputs["keyId"]])
        plans: dict[str, UsagePlan] = {}
        clients: dict[str, Client] = {}
        for plan in self._resources.of_type("aws:apigateway/usagePlan:UsagePlan"):
            here = {(s["apiId"], s["stage"]): s for s in plan.inputs.get("apiStages", [])}
            served = here.get((self._api_id, self._stage_name))
            if served is None:
                continue
            name = plan_names.get(plan.id, plan.name)
            holders = {
                key.outputs["value"]: Client(name, _holder(key))
                for key in members.get(plan.id, [])
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
                    for one in served.get("throttles", [])
                    if (throttle := _throttle(one))
                },
            )
        return plans, clients

    def throttles(self) -> dict[str, Throttle]:
        """Return the stage's throttles by method path; `*/*` is the whole stage."""
        found = self._resources.where(
            "aws:apigateway/methodSettings:MethodSettings",
            restApi=self._api_id,
            stageName=self._stage_name,
        )
        throttles = {
            one.inputs["methodPath"]: _throttle(
                one.inputs["settings"], "throttlingRateLimit", "throttlingBurstLimit"
            )
            for one in found
        }
        return {path: throttle for path, throttle in throttles.items() if throttle}

    def web_acl(
        self,
    ) -> tuple[WafRateLimit | None, dict[str, GatewayResponse], tuple[str, ...]]:
        """Return the rate rule of the stage's web ACL, its response, and the other rules."""
        associated = {
            association.inputs["webAclArn"]
            for association in self._resources.where(
                "aws:wafv2/webAclAssociation:WebAclAssociation",
                resourceArn=self.stage.outputs["arn"],
            )
        }
        rate: WafRateLimit | None = None
        responses: dict[str, GatewayResponse] = {}
        not_enforced = []
        for acl in self._resources.of_type("aws:wafv2/webAcl:WebAcl"):
            for rule in acl.inputs.get("rules", []) if acl.outputs["arn"] in associated else ():
                statement = rule["statement"].get("rateBasedStatement")
                if statement is None or "block" not in rule.get("action", {}):
                    not_enforced.append(f"web ACL rule {rule['name']}")
                    continue
                rate = WafRateLimit(
                    limit=int(statement["limit"]),
                    window_seconds=int(statement.get("evaluationWindowSec", 300)),
                )
                if own := rule["action"]["block"].get("customResponse"):
                    responses["WAF_FILTERED"] = _block(acl, own)
        return rate, responses, tuple(not_enforced)

    def tables(self) -> tuple[Table, ...]:
        """Return all tables."""
        return tuple(
            Table(
                name=table.outputs["name"],
                attributes={a["name"]: a["type"] for a in table.inputs["attributes"]},
                hash_key=table.inputs["hashKey"],
                range_key=table.inputs.get("rangeKey"),
            )
            for table in self._resources.of_type("aws:dynamodb/table:Table")
        )


def _only(found: list[Resource], what: str) -> Resource:
    if len(found) != 1:
        raise UserError(f"The program registered {len(found)} {what}; the sandbox serves one.")
    return found[0]


def _holder(key: Resource) -> str:
    """Return a key's client, with the key's number unless it is the first key."""
    tags = key.inputs.get("tags", {})
    client, number = tags.get("client", key.name), tags.get("key", "1")
    return client if number == "1" else f"{client}.{number}"


def _throttle(
    settings: Properties, rate: str = "rateLimit", burst: str = "burstLimit"
) -> Throttle | None:
    if settings.get(rate) is None or settings.get(burst) is None:
        return None
    return Throttle(rate=float(settings[rate]), burst=int(settings[burst]))


def _method(path: str) -> str:
    """Return `POST /data` for `data/POST`, and `GET /data/{id}` for `~1data~1{id}/GET`."""
    resource, _, verb = path.rpartition("/")
    return f"{verb} /{resource.replace('~1', '/').removeprefix('/')}"


def _block(acl: Resource, response: Properties) -> GatewayResponse:
    """Return the web ACL's own response, which replaces API Gateway's."""
    bodies = {body["key"]: body for body in acl.inputs.get("customResponseBodies", [])}
    body = bodies.get(response.get("customResponseBodyKey"), {})
    kind = {"APPLICATION_JSON": "application/json", "TEXT_HTML": "text/html"}
    return GatewayResponse(
        type="WAF_FILTERED",
        status=int(response["responseCode"]),
        error_type="ForbiddenException",
        template=body.get("content", ""),
        content_type=kind.get(body.get("contentType", ""), "text/plain"),
        headers={header["name"]: header["value"] for header in response.get("responseHeaders", [])},
    )
