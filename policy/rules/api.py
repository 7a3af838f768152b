"""Every method needs a key or says that it is open; every stage has throttles, logs and traces."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from .model import UNKNOWN, Each, Resource, Rule, Stack, Violation, at, given, needs, positive, true

_GUIDE: Final = "https://docs.aws.amazon.com/apigateway/latest/developerguide"
_METHOD: Final = "aws:apigateway/method:Method"
_STAGE: Final = "aws:apigateway/stage:Stage"
_ALL_METHODS: Final = "*/*"
_NO_VERBS: Final = {"parameters", "summary", "description", "servers"}
"""What a path of an OpenAPI document holds besides its methods."""
_FILE: Final = "components/edge_protection/stage.py"


def _open_methods(resource: Resource) -> Iterator[str]:
    if resource.type == _METHOD and not true(resource.get("apiKeyRequired")):
        yield f"method {resource.get('httpMethod')} takes requests without an API key"
    body = resource.get("body")
    if body is UNKNOWN or body is None:
        return
    try:
        document = json.loads(body)
        schemes, paths = _api_key_schemes(document), document.get("paths", {})
    except (ValueError, AttributeError):
        yield "its body is not an OpenAPI document in JSON, so this rule cannot see its methods"
        return
    for path, methods in paths.items():
        for verb in sorted(methods.keys() - _NO_VERBS):
            # API Gateway looks at the operation's own security alone. Its items are alternatives:
            # one item without the key lets callers in.
            # https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html
            # An empty list says that the method is open on purpose.
            alternatives = methods[verb].get("security", [{}])
            if not all(schemes & alternative.keys() for alternative in alternatives):
                yield f"{verb.upper()} {path} takes requests without an API key"


def _api_key_schemes(document: Mapping[str, Any]) -> set[str]:
    """Return the names of the security schemes that API Gateway uses for its API keys."""
    schemes = at(document, "components.securitySchemes") or {}
    return {
        name
        for name, scheme in schemes.items()
        if (scheme.get("type"), scheme.get("in")) == ("apiKey", "header")
        and scheme.get("name", "").lower() == "x-api-key"
        and "x-amazon-apigateway-authorizer" not in scheme
    }


def _unthrottled_stages(stack: Stack) -> Iterator[Violation]:
    settings = stack.of_type("aws:apigateway/methodSettings:MethodSettings")
    for resource in settings:
        for limit in ("throttlingRateLimit", "throttlingBurstLimit"):
            if not positive(resource.get(f"settings.{limit}")):
                yield Violation(resource, f"no {limit} for {resource.get('methodPath')}")
    for stage in stack.of_type(_STAGE):
        paths = {resource.get("methodPath") for resource in settings if _belongs(resource, stage)}
        if not paths & {UNKNOWN, _ALL_METHODS}:
            yield Violation(stage, f"no method settings for {_ALL_METHODS} throttle this stage")


def _belongs(settings: Resource, stage: Resource) -> bool:
    """Return whether method settings are a stage's: by API and name, or by common dependencies."""
    for key in ("restApi", "stageName"):
        ours, theirs = settings.get(key), stage.get(key)
        if UNKNOWN not in (ours, theirs):
            if ours != theirs:
                return False
        elif not settings.dependencies & (stage.dependencies | {stage.urn}):
            return False
    return True


RULES: Final = (
    Rule(
        name="methods-need-api-key",
        why="A request without an API key belongs to no usage plan: no plan's rate or quota "
        "applies to it, and its sender stays unknown.",
        reference=f"{_GUIDE}/api-gateway-api-usage-plans.html",
        fix='Give the operation "security": [{"apiKey": []}] in components/edge_protection/'
        "openapi.py, and keep the scheme apiKey there a header named x-api-key. If it is open on "
        'purpose, give it "security": []: needs_key=False in routes.py.',
        check=Each(("aws:apigateway/restApi:RestApi", _METHOD), _open_methods),
    ),
    Rule(
        name="stage-throttles",
        why="A stage without its own rate and burst takes whatever the account has left: one "
        "flood throttles every other API of the account and Region.",
        reference=f"{_GUIDE}/api-gateway-request-throttling.html",
        fix=f"Set throttling_rate_limit and throttling_burst_limit for */* and each method in "
        f"{_FILE}, from the config's throttle.rateLimit and throttle.burstLimit.",
        check=_unthrottled_stages,
    ),
    Rule(
        name="stage-logs-access",
        why="Only the access log says which caller was refused by which limit: API Gateway has no "
        "metric of throttled requests.",
        reference=f"{_GUIDE}/set-up-logging.html",
        fix=f"Set access_log_settings with destination_arn and format on the Stage in {_FILE}.",
        check=needs(
            (_STAGE,),
            ("accessLogSettings.destinationArn", given, "no destination for an access log"),
            ("accessLogSettings.format", given, "no format for an access log"),
        ),
    ),
    Rule(
        name="stage-traces",
        why="Only a trace shows whether a slow answer waits for the function or for the table.",
        reference=f"{_GUIDE}/apigateway-xray.html",
        fix=f"Set xray_tracing_enabled=True on the Stage in {_FILE}.",
        check=needs((_STAGE,), ("xrayTracingEnabled", true, "no X-Ray tracing")),
    ),
    Rule(
        name="no-other-way-in",
        why="Only REST APIs have usage plans and API keys: an HTTP API or a function URL goes "
        "around every limit of this stack.",
        reference=f"{_GUIDE}/http-api-vs-rest.html",
        fix="Remove it, and add the route to routes.py.",
        check=Each(
            ("aws:lambda/functionUrl:FunctionUrl", "aws:apigatewayv2/api:Api"),
            lambda _: iter(["its requests pass no API key, no usage plan and no stage throttle"]),
        ),
    ),
)
