"""Rules on several resources together, and on the API's document."""

import json
from typing import Any

import pytest

from policy.rules.model import UNKNOWN, Resource
from tests.policy.resources import made, violations

REST_API, STAGE_TYPE = "apigateway/restApi:RestApi", "apigateway/stage:Stage"
FUNCTION, ALARM = "lambda/function:Function", "cloudwatch/metricAlarm:MetricAlarm"
API = made(REST_API, "api", id=UNKNOWN)
STAGE = made(STAGE_TYPE, "stage", on=[API], restApi=UNKNOWN, stageName="dev", arn=UNKNOWN)
RATE_RULE = {"statement": {"rateBasedStatement": {"limit": 100}}, "action": {"block": {}}}
ACL = made("wafv2/webAcl:WebAcl", "acl", arn=UNKNOWN, rules=[RATE_RULE])
PLAN = made("apigateway/usagePlan:UsagePlan", "plan", id=UNKNOWN)
KEY = made("apigateway/apiKey:ApiKey", "key", id=UNKNOWN)
GROUP = made("cloudwatch/logGroup:LogGroup", "logs", name="function-logs")
NEEDED: list[dict[str, list[str]]] = [{"apiKey": []}]


def api_with(security: object, **scheme: str) -> Resource:
    """Return an API with one method."""
    header = {"type": "apiKey", "in": "header", "name": "x-api-key"}
    document = {
        "paths": {"/data": {"post": {"security": security} if security else {}, "parameters": []}},
        "components": {"securitySchemes": {"apiKey": header | scheme, "other": {"type": "http"}}},
    }
    return made(REST_API, "api", body=json.dumps(document))


@pytest.mark.parametrize("security", [NEEDED, [{"apiKey": [], "other": []}]])
def test_a_method_that_needs_an_api_key_is_fine(security: object) -> None:
    assert violations("methods-need-api-key", api_with(security)) == []


@pytest.mark.parametrize(
    ("security", "scheme"),
    [
        (None, {}),
        ([], {}),
        ([{"other": []}], {}),
        ([{"apiKey": []}, {}], {}),  # an alternative without the key is a way in
        ([{"apiKey": []}, {"other": []}], {}),
        (NEEDED, {"name": "x-my-key"}),  # API Gateway looks at the header x-api-key alone
        (NEEDED, {"in": "query"}),
        (NEEDED, {"x-amazon-apigateway-authorizer": "own"}),
    ],
)
def test_a_method_without_an_api_key_is_found(security: object, scheme: dict[str, str]) -> None:
    found = violations("methods-need-api-key", api_with(security, **scheme))

    assert found == ["api: POST /data takes requests without an API key"]


def test_methods_of_other_forms_are_checked_too() -> None:
    swagger = {
        "securityDefinitions": {"apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"}},
        "paths": {
            "/open": {"x-amazon-apigateway-any-method": {}},
            "/data": {"x-amazon-apigateway-any-method": {"security": NEEDED}},
        },
    }
    method = "apigateway/method:Method"

    assert violations(
        "methods-need-api-key",
        made(REST_API, body=json.dumps(swagger)),
        made(method, "open", httpMethod="GET"),
        made(method, "closed", httpMethod="GET", apiKeyRequired=True),
    ) == [
        "open: method GET takes requests without an API key",
        "it: X-AMAZON-APIGATEWAY-ANY-METHOD /open takes requests without an API key",
    ]


def test_an_unknown_body_is_fine_and_one_that_is_not_json_is_found() -> None:
    (found,) = violations("methods-need-api-key", made(REST_API, body="openapi: 3.0.1"))

    assert "not JSON" in found
    assert violations("methods-need-api-key", made(REST_API, body=UNKNOWN)) == []


def throttle(path: str = "*/*", on: Resource = STAGE, **settings: object) -> Resource:
    limits = {"throttlingRateLimit": 5.0, "throttlingBurstLimit": 10.0} | settings
    return made(
        "apigateway/methodSettings:MethodSettings",
        f"throttle {path}",
        on=[on],
        restApi=UNKNOWN,
        stageName="dev",
        methodPath=path,
        settings=limits,
    )


@pytest.mark.parametrize(
    "settings",
    [
        [throttle()],
        [throttle(), throttle("data/POST")],
        [throttle(on=API)],
        [throttle(throttlingRateLimit=UNKNOWN)],
    ],
)
def test_a_throttled_stage_is_fine(settings: list[Resource]) -> None:
    assert violations("stage-throttles", STAGE, *settings) == []


@pytest.mark.parametrize(
    ("resources", "found"),
    [
        ([STAGE], "stage: no method settings for */* throttle this stage"),
        (
            [STAGE, throttle("data/POST")],
            "stage: no method settings for */* throttle this stage",
        ),
        (
            [STAGE, throttle(), made(STAGE_TYPE, "other name", restApi=UNKNOWN, stageName="test")],
            "other name: no method settings for */* throttle this stage",
        ),
        (
            [STAGE, throttle(), made(STAGE_TYPE, "other API", restApi=UNKNOWN, stageName="dev")],
            "other API: no method settings for */* throttle this stage",
        ),
        (
            [STAGE, throttle(throttlingRateLimit=None)],
            "throttle */*: no throttlingRateLimit for */*",
        ),
        # The provider writes -1 for no throttle.
        (
            [STAGE, throttle(throttlingBurstLimit=-1.0)],
            "throttle */*: no throttlingBurstLimit for */*",
        ),
    ],
)
def test_an_unthrottled_stage_is_found(resources: list[Resource], found: str) -> None:
    assert violations("stage-throttles", *resources) == [found]


def associated(*with_what: Resource, stage: object = UNKNOWN, acl: object = UNKNOWN) -> Resource:
    return made(
        "wafv2/webAclAssociation:WebAclAssociation", on=with_what, resourceArn=stage, webAclArn=acl
    )


def acl_with(rules: object) -> Resource:
    return made("wafv2/webAcl:WebAcl", "acl", arn=UNKNOWN, rules=rules)


@pytest.mark.parametrize("rules", [[RATE_RULE], UNKNOWN, [UNKNOWN]])
def test_a_stage_behind_a_web_acl_with_a_rate_rule_is_fine(rules: object) -> None:
    acl = acl_with(rules)

    assert violations("stage-has-web-acl", STAGE, acl, associated(STAGE, acl)) == []


@pytest.mark.parametrize("resources", [[], [ACL], [ACL, associated(ACL)], [ACL, associated(STAGE)]])
def test_a_stage_without_an_associated_web_acl_is_found(resources: list[Resource]) -> None:
    found = violations("stage-has-web-acl", STAGE, *resources)

    assert found == ["stage: no web ACL of this stack is associated with this stage"]


def test_one_association_does_not_protect_two_stages() -> None:
    other = made(STAGE_TYPE, "other", arn=UNKNOWN)

    found = violations("stage-has-web-acl", STAGE, other, ACL, associated(STAGE, ACL))

    assert found == ["other: no web ACL of this stack is associated with this stage"]


def test_known_arns_decide_which_stage_is_protected() -> None:
    stage = made(STAGE_TYPE, "stage", arn="arn:stage")
    acl = made("wafv2/webAcl:WebAcl", "acl", arn="arn:acl", rules=[RATE_RULE])
    right = associated(stage="arn:stage", acl="arn:acl")
    wrong = associated(stage, acl, stage="arn:elsewhere", acl="arn:acl")

    assert violations("stage-has-web-acl", stage, acl, right) == []
    assert violations("stage-has-web-acl", stage, acl, wrong)


@pytest.mark.parametrize(
    "rules",
    [
        [],
        [{"statement": {"managedRuleGroupStatement": {}}, "overrideAction": {"none": {}}}],
        [RATE_RULE | {"action": {"count": {}}}],
    ],
)
def test_a_web_acl_that_blocks_no_rate_is_found(rules: object) -> None:
    acl = acl_with(rules)

    found = violations("stage-has-web-acl", STAGE, acl, associated(STAGE, acl))

    assert found == ["acl: no rate-based rule that blocks"]


@pytest.mark.parametrize("enabled", [False, "false"])
def test_the_config_may_turn_the_web_acl_off_outside_production(enabled: object) -> None:
    off = {"waf": {"enabled": enabled}}
    advice = ["stage: the config turns the web ACL off"]

    assert violations("stage-has-web-acl", STAGE, settings=off) == []
    assert violations("web-acl-turned-off", STAGE, settings=off) == advice
    assert violations("web-acl-turned-off", STAGE) == []
    assert violations("stage-has-web-acl", STAGE, ACL, settings=off), "an idle web ACL"
    for stack in ("prod", "production", "prod-eu"):
        assert violations("stage-has-web-acl", STAGE, stack=stack, settings=off)
        assert violations("web-acl-turned-off", STAGE, stack=stack, settings=off) == []


def joined(*resources: Resource) -> Resource:
    return made(
        "apigateway/usagePlanKey:UsagePlanKey", on=resources, keyId=UNKNOWN, usagePlanId=UNKNOWN
    )


@pytest.mark.parametrize("resources", [[PLAN], [PLAN, joined(PLAN)], [joined(KEY)]])
def test_a_key_without_a_plan_is_found(resources: list[Resource]) -> None:
    assert violations("keys-belong-to-a-plan", PLAN, KEY, joined(PLAN, KEY)) == []
    assert violations("keys-belong-to-a-plan", KEY, *resources) == [
        "key: no usage plan of this stack has this key"
    ]


@pytest.mark.parametrize("known", [True, False], ids=["known", "preview"])
def test_the_one_key_without_a_plan_is_found_among_ten_thousand(known: bool) -> None:
    plan = made("apigateway/usagePlan:UsagePlan", "plan", id="p1" if known else UNKNOWN)
    keys = [
        made("apigateway/apiKey:ApiKey", f"key-{n}", id=f"k{n}" if known else UNKNOWN)
        for n in range(10_000)
    ]
    joins = [
        made(
            "apigateway/usagePlanKey:UsagePlanKey",
            on=keys[-2:] if known else [plan, key],  # known ids decide, not what it waits for
            keyId=key.get("id"),
            usagePlanId=plan.get("id"),
        )
        for key in keys[:-1]
    ]

    assert violations("keys-belong-to-a-plan", plan, *keys, *joins) == [
        "key-9999: no usage plan of this stack has this key"
    ]


@pytest.mark.parametrize(
    ("timeout", "behind_api", "found"),
    [
        (29.0, True, []),
        (UNKNOWN, True, []),
        (None, True, []),
        (30.0, True, ["function: a timeout of 30 s, above 29 s"]),
        (900.0, False, []),
    ],
)
def test_a_function_behind_the_api_ends_before_the_gateway_stops_waiting(
    timeout: object, behind_api: bool, found: list[str]
) -> None:
    function = made(FUNCTION, "function", name=UNKNOWN, timeout=timeout)
    principal = "apigateway.amazonaws.com" if behind_api else "events.amazonaws.com"
    permission = made(
        "lambda/permission:Permission", on=[function], principal=principal, function=UNKNOWN
    )

    assert violations("function-timeout-within-gateways", function, permission) == found


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (made(FUNCTION, loggingConfig={"logGroup": "function-logs"}), False),
        (made(FUNCTION, on=[GROUP], loggingConfig={"logGroup": UNKNOWN}), False),
        (made(FUNCTION), True),
        (made(FUNCTION, loggingConfig={"logGroup": "other"}), True),
        (made(FUNCTION, loggingConfig={"logGroup": UNKNOWN}), True),
    ],
)
def test_a_function_logs_to_a_log_group_of_the_stack(function: Resource, found: bool) -> None:
    what = ["it: it does not log to a log group of this stack"] if found else []

    assert violations("function-has-log-group", function, GROUP) == what


@pytest.mark.parametrize("reserved", [None, -1.0])
def test_a_function_reserves_concurrency_unless_the_config_says_none(reserved: object) -> None:
    rule, advice = "function-reserves-concurrency", "function-reservation-turned-off"
    function = made(FUNCTION, reservedConcurrentExecutions=reserved)
    found = ["it: no reserved concurrency"]

    for value in (25.0, 0.0, UNKNOWN):
        assert violations(rule, made(FUNCTION, reservedConcurrentExecutions=value)) == []
    without: list[dict[str, Any]] = [{}, {"function": {}}]
    for settings in (*without, {"function": {"reservedConcurrency": 25}}):
        assert violations(rule, function, settings=settings) == found
        assert violations(advice, function, settings=settings) == []
    for off in ("none", None):
        settings = {"function": {"reservedConcurrency": off}}
        assert violations(rule, function, settings=settings) == []
        assert violations(advice, function, settings=settings) == found


def counting(name: str, **dimensions: str) -> Resource:
    metric = {"namespace": "mine/dev", "name": name, "dimensions": dimensions or None}
    return made("cloudwatch/logMetricFilter:LogMetricFilter", name, metricTransformation=metric)


def alarm(namespace: object, name: object, *dimensions: str) -> Resource:
    keys: dict[str, Any] = {"dimensions": {key: UNKNOWN for key in dimensions} or None}
    return made(ALARM, namespace=namespace, metricName=name, **keys)


@pytest.mark.parametrize(
    ("metric", "what"),
    [
        (("AWS/ApiGateway", "5XXError", "ApiName", "Stage"), None),
        (("AWS/WAFV2", "BlockedRequests", "WebACL", "Region", "Rule"), None),
        (("AWS/Lambda", "Throttles", "FunctionName"), None),
        (("AWS/Lambda", "ConcurrentExecutions"), None),
        (("AWS/DynamoDB", "WriteThrottleEvents", "TableName"), None),
        (("AWS/DynamoDB", "ThrottledRequests", "TableName", "Operation"), None),
        (("mine/dev", "Throttled"), None),
        (("mine/dev", "ByKey", "ApiKeyId"), None),
        ((UNKNOWN, "Throttled"), None),
        (("AWS/Lambda", UNKNOWN), None),
        (
            ("AWS/ApiGateway", "ThrottledRequests", "ApiName"),
            "AWS has no metric ThrottledRequests in AWS/ApiGateway",
        ),
        (
            ("AWS/ApiGateway", "5XXError", "Stage"),
            "AWS keeps no 5XXError by these dimensions: Stage",
        ),
        (
            ("AWS/DynamoDB", "ThrottledRequests", "TableName"),
            "AWS keeps no ThrottledRequests by these dimensions: TableName",
        ),
        (
            ("mine/prod", "Throttled"),
            "no metric filter of this stack writes Throttled in mine/prod",
        ),
        (
            ("mine/dev", "ByKey"),
            "no metric filter writes ByKey by these dimensions: none",
        ),
    ],
)
def test_an_alarm_watches_a_metric_that_exists(metric: tuple[Any, ...], what: str | None) -> None:
    filters = [counting("Throttled"), counting("ByKey", ApiKeyId="$.apiKeyId")]

    found = violations("alarms-name-metrics-that-exist", alarm(*metric), *filters)

    assert found == ([f"it: {what}"] if what else [])


def test_the_metrics_of_metric_math_are_checked() -> None:
    query = {"id": "m1", "metric": {"namespace": "AWS/ApiGateway", "metricName": "Throttled"}}
    math = made(ALARM, metricQueries=[{"id": "e1", "expression": "m1 * 2"}, query])

    assert violations("alarms-name-metrics-that-exist", math) == [
        "it: AWS has no metric Throttled in AWS/ApiGateway"
    ]
    assert violations("alarms-name-metrics-that-exist", made(ALARM, metricQueries=UNKNOWN)) == []
