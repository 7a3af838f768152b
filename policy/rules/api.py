"""No method without a key, no stage without throttles, logs and traces, and no other way in."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from .model import (
    UNKNOWN,
    Resource,
    ResourceRule,
    Stack,
    StackRule,
    Violation,
    given,
    positive,
    true,
)

_GUIDE: Final = "https://docs.aws.amazon.com/apigateway/latest/developerguide"
_REST_API: Final = "aws:apigateway/restApi:RestApi"
_METHOD: Final = "aws:apigateway/method:Method"
_STAGE: Final = "aws:apigateway/stage:Stage"
_METHOD_SETTINGS: Final = "aws:apigateway/methodSettings:MethodSettings"
_OPERATIONS: Final = frozenset(
    {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
    | {"x-amazon-apigateway-any-method"}
)
_API_KEY_HEADER: Final = "x-api-key"
_ALL_METHODS: Final = "*/*"


def _open_methods(resource: Resource) -> Iterator[str]:
    if resource.type == _METHOD:
        if not true(resource.get("apiKeyRequired")):
            yield f"method {resource.get('httpMethod')} takes requests without an API key"
        return
    body = resource.get("body")
    if body is UNKNOWN or body is None:
        return
    try:
        document = json.loads(body)
    except ValueError:
        yield "its body is not JSON, so nobody can tell which methods need an API key"
        return
    schemes = _api_key_schemes(document)
    for path, methods in document.get("paths", {}).items():
        for verb, operation in methods.items():
            if verb not in _OPERATIONS:
                continue
            # API Gateway goes by the operation's own security alone, and each of its items is an
            # alternative: one without the key is a way in.
            # https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html
            alternatives = operation.get("security") or [{}]
            if not all(schemes & set(alternative) for alternative in alternatives):
                yield f"{verb.upper()} {path} takes requests without an API key"


def _api_key_schemes(document: Mapping[str, Any]) -> set[str]:
    """Names of the security schemes that API Gateway takes for its API keys."""
    schemes = {
        **document.get("securityDefinitions", {}),  # where Swagger 2.0 has them
        **document.get("components", {}).get("securitySchemes", {}),
    }
    return {
        name
        for name, scheme in schemes.items()
        if scheme.get("type") == "apiKey"
        and scheme.get("in") == "header"
        and scheme.get("name", "").lower() == _API_KEY_HEADER
        and "x-amazon-apigateway-authorizer" not in scheme
    }


METHODS_NEED_API_KEY: Final = ResourceRule(
    name="methods-need-api-key",
    why="A request without an API key belongs to no usage plan: no plan's rate and no quota "
    "applies to it, and nobody can tell whose it is.",
    reference=f"{_GUIDE}/api-gateway-api-usage-plans.html",
    fix='Give the operation "security": [{"apiKey": []}] in openapi() of components/openapi.py, '
    "and keep the scheme apiKey there a header named x-api-key.",
    types=frozenset({_REST_API, _METHOD}),
    check=_open_methods,
)


def _unthrottled_stages(stack: Stack) -> Iterator[Violation]:
    settings = stack.of_type(_METHOD_SETTINGS)
    for resource in settings:
        for limit in ("throttlingRateLimit", "throttlingBurstLimit"):
            if not positive(resource.get("settings", limit)):
                yield Violation(resource, f"no {limit} for {resource.get('methodPath')}")
    for stage in stack.of_type(_STAGE):
        paths = {resource.get("methodPath") for resource in settings if _of(stage, resource)}
        if not paths & {UNKNOWN, _ALL_METHODS}:
            yield Violation(stage, f"no method settings for {_ALL_METHODS} throttle this stage")


def _of(stage: Resource, settings: Resource) -> bool:
    """Whether method settings are a stage's: by API and name, or while these are unknown, by what
    both depend on."""
    for key in ("restApi", "stageName"):
        named, name = settings.get(key), stage.get(key)
        if UNKNOWN not in (named, name):
            if named != name:
                return False
        elif not settings.dependencies & (stage.dependencies | {stage.urn}):
            return False
    return True


STAGE_THROTTLES: Final = StackRule(
    name="stage-throttles",
    why="Without a rate and a burst of its own, a stage takes whatever the account has left, and "
    "one flood on it throttles every other API of the account and Region.",
    reference=f"{_GUIDE}/api-gateway-request-throttling.html",
    fix="Set throttling_rate_limit and throttling_burst_limit for */* and each method in "
    "EdgeProtection._throttle of components/edge_protection/__init__.py, from the config's "
    "throttle.rateLimit and throttle.burstLimit.",
    check=_unthrottled_stages,
)


def _unlogged(stage: Resource) -> Iterator[str]:
    if not given(stage.get("accessLogSettings", "destinationArn")):
        yield "no access log"
    elif not given(stage.get("accessLogSettings", "format")):
        yield "an access log without a format"


STAGE_LOGS_ACCESS: Final = ResourceRule(
    name="stage-logs-access",
    why="The access log is the only place that tells which caller was refused and by which limit: "
    "API Gateway has no metric of throttled requests.",
    reference=f"{_GUIDE}/set-up-logging.html",
    fix="Set access_log_settings with destination_arn and format=access_log_format() on the Stage "
    "in EdgeProtection._stage of components/edge_protection/__init__.py.",
    types=frozenset({_STAGE}),
    check=_unlogged,
)


def _untraced(stage: Resource) -> Iterator[str]:
    if not true(stage.get("xrayTracingEnabled")):
        yield "no X-Ray tracing"


STAGE_TRACES: Final = ResourceRule(
    name="stage-traces",
    why="Without traces nobody can tell whether a slow answer waits for the function or the table.",
    reference=f"{_GUIDE}/apigateway-xray.html",
    fix="Set xray_tracing_enabled=True on the Stage in EdgeProtection._stage of "
    "components/edge_protection/__init__.py.",
    types=frozenset({_STAGE}),
    check=_untraced,
)


def _other_ways_in(resource: Resource) -> Iterator[str]:
    yield "it takes requests that pass no API key, no usage plan and no stage throttle"


NO_OTHER_WAY_IN: Final = ResourceRule(
    name="no-other-way-in",
    why="Usage plans and API keys exist for REST APIs only: an HTTP API or a function's own URL "
    "leads around every limit of this stack.",
    reference=f"{_GUIDE}/http-api-vs-rest.html",
    fix="Remove it, and add the route to components/openapi.py (METHODS and openapi()) instead.",
    types=frozenset({"aws:lambda/functionUrl:FunctionUrl", "aws:apigatewayv2/api:Api"}),
    check=_other_ways_in,
)

RULES: Final = (
    METHODS_NEED_API_KEY,
    STAGE_THROTTLES,
    STAGE_LOGS_ACCESS,
    STAGE_TRACES,
    NO_OTHER_WAY_IN,
)
