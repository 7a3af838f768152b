"""Read the registered resources as one API: its routes, keys, limits and answers.

References are followed as AWS does: a web ACL is used only if it is associated with the stage, a
key only if a plan of the stage has it, a route only if the OpenAPI body has it. What the program
forgets is missing here too.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from settings import UserError
from throttling import Client, Limits, Period, Quota, Throttle, UsagePlan, WafRateLimit
from tools.recorder.resources import Properties, Resource, Resources
from tools.sandbox.gateway_responses import GatewayResponse, read_gateway_responses
from tools.sandbox.permissions import Permissions, matches, read_policy
from tools.sandbox.web_acl import DEFAULT_WINDOW_SECONDS, Rule, is_understood

API_KEY_HEADER: Final = "x-api-key"
"""The one header in which API Gateway looks for API keys."""
_FUNCTION: Final = "aws:lambda/function:Function"
_SERVICES: Final = ("apigateway/", "apigatewayv2/", "cloudfront/", "dynamodb/", "lambda/", "wafv2/")
"""Services whose resources change what callers see."""
_SERVED: Final = frozenset(
    {
        *("apigateway/account", "apigateway/apiKey", "apigateway/deployment"),
        *("apigateway/methodSettings", "apigateway/restApi", "apigateway/stage"),
        *("apigateway/usagePlan", "apigateway/usagePlanKey", "dynamodb/table", "lambda/alias"),
        *("lambda/function", "lambda/permission", "wafv2/webAcl", "wafv2/webAclAssociation"),
        "wafv2/webAclLoggingConfiguration",
    }
)
"""Types of these services that are served, or that callers do not notice."""
_NOT_SERVED: Final = {
    "aws:apigateway/restApi:RestApi": (
        *("policy", "binaryMediaTypes", "minimumCompressionSize", "disableExecuteApiEndpoint"),
    ),
    "aws:apigateway/stage:Stage": ("cacheClusterEnabled", "canarySettings", "clientCertificateId"),
    _FUNCTION: ("layers", "fileSystemConfig"),
}
"""Inputs that change what callers see, and that are not served."""


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
    """Of API Gateway's deployment."""
    api_id: str
    account_id: str
    region: str
    url: str
    variables: Mapping[str, str]
    """The stage's."""
    limits: Limits
    routes: Mapping[tuple[str, str], Route]
    """By verb and path."""
    clients: Mapping[str, Client]
    """The holder of each API key, by the key's value."""
    key_ids: Mapping[str, str]
    """Likewise, the key's id."""
    web_acl: tuple[Rule, ...]
    """The rules that block, by priority."""
    permissions: Permissions
    """What the function may do with DynamoDB."""
    responses: Mapping[str, GatewayResponse]
    """What callers get without the function, by type."""
    function: Function
    tables: tuple[Table, ...]
    not_enforced: tuple[str, ...]
    """What the resources ask for that only AWS can do."""

    def route(self, verb: str, segments: Sequence[str]) -> tuple[Route, dict[str, str]] | None:
        """Return the route of a request and its path parameters; None without a route.

        Args:
            verb: of the request.
            segments: of the path behind the stage, without empty ones, as the caller wrote them.
        """
        found = [
            (route, parameters)
            for route in self.routes.values()
            if (parameters := route.parameters(segments)) is not None
        ]
        if not found:
            return None
        # A literal segment wins. API Gateway chooses the path first, then the verb.
        path = min((route.path for route, _ in found), key=_wildness)
        of_path = (one for one in found if (one[0].verb, one[0].path) == (verb, path))
        return next(of_path, None)


def _wildness(path: str) -> list[bool]:
    return [part.startswith("{") for part in path.split("/")]


def read_deployment(resources: Resources) -> Deployment:
    """Follow the resources from the stage to the table.

    Raises:
        UserError: the resources are not one API that the sandbox can serve.
    """
    reader = _Reader(resources)
    function = reader.function()
    plans, clients, key_ids = reader.usage_plans()
    rules, not_enforced = reader.web_acl()
    throttles = reader.throttles()
    routes = {
        (verb, path): reader.route(verb, path, operation, function)
        for (verb, path), operation in reader.operations.items()
    }
    return Deployment(
        stage=reader.stage.inputs["stageName"],
        id=reader.stage.inputs["deployment"],
        api_id=reader.stage.inputs["restApi"],
        account_id=function.arn.split(":")[4],
        region=reader.stage.outputs["arn"].split(":")[3],
        url=reader.stage.outputs["invokeUrl"],
        variables=reader.stage.inputs.get("variables") or {},
        limits=Limits(
            waf=_rate_limit(rules),
            usage_plans=plans,
            stage=throttles.pop("*/*", None),
            methods={_method(path): throttle for path, throttle in throttles.items()},
            keyless=tuple(sorted(one.method for one in routes.values() if not one.key_required)),
            concurrency=function.concurrency,
        ),
        routes=routes,
        clients=clients,
        key_ids=key_ids,
        web_acl=rules,
        permissions=reader.permissions(),
        responses=read_gateway_responses(reader.document),
        function=function,
        tables=reader.tables(),
        not_enforced=(*not_enforced, *reader.not_served()),
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
            if "x-amazon-apigateway-integration" in operation
        }

    def function(self) -> Function:
        """Return the function that the API's integrations invoke, directly or by its alias."""
        uris = {o["x-amazon-apigateway-integration"]["uri"] for o in self.operations.values()}
        aliased = {
            alias.inputs["functionName"]
            for alias in self._resources.of_type("aws:lambda/alias:Alias")
            if alias.outputs["invokeArn"] in uris
        }
        found = self._resources.of_type(_FUNCTION)
        function = _only(
            [f for f in found if f.outputs["invokeArn"] in uris or f.outputs["name"] in aliased],
            "functions behind the API",
        )
        self._function_id = function.id
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
        )
        source = f"{self._api.outputs['executionArn']}/{self._stage_name}/{verb}{path}"
        integration = operation["x-amazon-apigateway-integration"]
        required = (document | operation).get("security", [])
        content = operation.get("requestBody", {}).get("content", {})
        schema = content.get("application/json", {}).get("schema", {}).get("$ref", "")
        name = schema.removeprefix("#/components/schemas/")
        return Route(
            verb=verb,
            path=path,
            key_required=any(keys & set(names) for names in required),
            may_invoke=any(matches(one.inputs["sourceArn"], source) for one in permissions),
            timeout_seconds=integration.get("timeoutInMillis", 29_000) / 1000,
            example=components.get("schemas", {}).get(name, {}).get("example"),
        )

    def usage_plans(self) -> tuple[dict[str, UsagePlan], dict[str, Client], dict[str, str]]:
        """Return the plans of the stage, and by the value of each key its holder and its id."""
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
        ids = {key.outputs["value"]: key.id for key in keys.values()}
        return plans, clients, {value: ids[value] for value in clients}

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

    def web_acl(self) -> tuple[tuple[Rule, ...], list[str]]:
        """Return the blocking rules of the stage's web ACL by priority, and what others do."""
        associated = {
            association.inputs["webAclArn"]
            for association in self._resources.where(
                "aws:wafv2/webAclAssociation:WebAclAssociation",
                resourceArn=self.stage.outputs["arn"],
            )
        }
        rules: list[Rule] = []
        not_enforced = []
        for acl in self._resources.of_type("aws:wafv2/webAcl:WebAcl"):
            found = acl.inputs.get("rules", []) if acl.outputs["arn"] in associated else []
            for rule in sorted(found, key=lambda rule: int(rule["priority"])):
                if "block" in rule.get("action", {}) and is_understood(rule["statement"]):
                    own = rule["action"]["block"].get("customResponse")
                    responses = read_gateway_responses(self.document)
                    response = _block(acl, own) if own else responses["WAF_FILTERED"]
                    statement = rule["statement"]
                    rules.append(Rule(name=rule["name"], statement=statement, response=response))
                else:
                    not_enforced.append(f"web ACL rule {rule['name']}")
        return tuple(rules), not_enforced

    def permissions(self) -> Permissions:
        """Return the policies of the function's role, and of the endpoint that it must use.

        Raises:
            UserError: there is a policy that the sandbox cannot read.
        """
        (function,) = (f for f in self._resources.of_type(_FUNCTION) if f.id == self._function_id)
        roles = self._resources.of_type("aws:iam/role:Role")
        own = [role for role in roles if role.outputs["arn"] == function.inputs["role"]]
        role = _only(own, "roles of the function")
        for name in ("inlinePolicies", "permissionsBoundary"):
            if role.inputs.get(name):
                raise UserError(
                    f"{role.name} has {name}, which the sandbox does not read. Give the role its "
                    "statements in a RolePolicy."
                )
        policies = {p.outputs["arn"]: p for p in self._resources.of_type("aws:iam/policy:Policy")}
        documents = {
            policy.name: policy.inputs["policy"]
            for policy in self._resources.where("aws:iam/rolePolicy:RolePolicy", role=role.id)
        }
        attached = [
            *(role.inputs.get("managedPolicyArns") or []),
            *(
                link.inputs["policyArn"]
                for link in self._resources.of_type(
                    "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
                )
                if link.inputs["role"] == role.id
            ),
        ]
        for arn in attached:
            if arn not in policies:
                raise UserError(
                    f"{role.name}: the sandbox cannot read the policy {arn}. Give the role its "
                    "statements in a policy of the program."
                )
            documents[policies[arn].name] = policies[arn].inputs["policy"]
        found = [read_policy("identity-based policy", documents)]
        for endpoint in self._resources.of_type("aws:ec2/vpcEndpoint:VpcEndpoint"):
            if endpoint.inputs["serviceName"].endswith(".dynamodb") and "policy" in endpoint.inputs:
                document = {endpoint.name: endpoint.inputs["policy"]}
                found.append(read_policy("VPC endpoint policy", document))
        account_id, name = function.outputs["arn"].split(":")[4], function.outputs["name"]
        user = f"arn:aws:sts::{account_id}:assumed-role/{role.outputs['name']}/{name}"
        return Permissions(user=user, account_id=account_id, policies=tuple(found))

    def not_served(self) -> Iterator[str]:
        """Yield what changes what callers see on AWS, and does not here."""
        for one in self._resources.items:
            kind = one.type.removeprefix("aws:").partition(":")[0]
            if one.custom and kind.startswith(_SERVICES) and kind not in _SERVED:
                yield f"{kind} {one.name}"
            for name in _NOT_SERVED.get(one.type, ()):
                if one.inputs.get(name):
                    yield f"{name} of {kind} {one.name}"
            if kind == "apigateway/methodSettings" and one.inputs["settings"].get("cachingEnabled"):
                yield f"cache of {one.inputs['methodPath']}"
        schemes = self.document.get("components", {}).get("securitySchemes", {})
        for name, scheme in schemes.items():
            if scheme.get("name", "").lower() != API_KEY_HEADER:
                yield f"authorizer {name}"
        if "x-amazon-apigateway-policy" in self.document:
            yield "the API's resource policy"

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


def _rate_limit(rules: Sequence[Rule]) -> WafRateLimit | None:
    """Return the first rate rule as a limit."""
    for rule in rules:
        if rate := rule.statement.get("rateBasedStatement"):
            window = int(rate.get("evaluationWindowSec", DEFAULT_WINDOW_SECONDS))
            return WafRateLimit(limit=int(rate["limit"]), window_seconds=window)
    return None


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
