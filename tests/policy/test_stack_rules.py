"""Rules on several resources together, and on the API's document."""

import json
from typing import Any

import pytest

from policy.rules.model import UNKNOWN, Resource
from tests.policy.resources import made, violations

REST_API, STAGE_TYPE = "apigateway/restApi:RestApi", "apigateway/stage:Stage"
FUNCTION, ALARM = "lambda/function:Function", "cloudwatch/metricAlarm:MetricAlarm"
NEEDED: list[dict[str, list[str]]] = [{"apiKey": []}]


def api(security: object, **scheme: str) -> Resource:
    """Return an API with one method."""
    header = {"type": "apiKey", "in": "header", "name": "x-api-key"}
    document = {
        "paths": {
            "/data": {"post": {} if security is None else {"security": security}, "parameters": []}
        },
        "components": {"securitySchemes": {"apiKey": header | scheme, "other": {"type": "http"}}},
    }
    return made(REST_API, "api", body=json.dumps(document))


@pytest.mark.parametrize(
    ("resource", "fine"),
    [
        (api(NEEDED), True),
        (api([]), True),  # open on purpose
        (made(REST_API, body=UNKNOWN), True),
        (made("apigateway/method:Method", apiKeyRequired=True), True),
        (api(None), False),
        (api([{"apiKey": []}, {}]), False),  # an alternative without the key is a way in
        (api(NEEDED, name="x-my-key"), False),  # API Gateway looks at the header x-api-key alone
        (api(NEEDED, **{"in": "query"}), False),
        (api(NEEDED, **{"x-amazon-apigateway-authorizer": "own"}), False),
    ],
)
def test_a_method_without_an_api_key_is_found(resource: Resource, fine: bool) -> None:
    found = violations("methods-need-api-key", resource)
    assert found == ([] if fine else ["api: POST /data takes requests without an API key"])


def test_methods_of_other_forms_are_checked_too() -> None:
    any_method = {"paths": {"/open": {"x-amazon-apigateway-any-method": {}, "summary": "x"}}}

    assert violations(
        "methods-need-api-key",
        made("apigateway/method:Method", "method", httpMethod="GET"),
        made(REST_API, "any", body=json.dumps(any_method)),
        made(REST_API, "yaml", body="openapi: 3.0.1"),
    ) == [
        "method: method GET takes requests without an API key",
        "any: X-AMAZON-APIGATEWAY-ANY-METHOD /open takes requests without an API key",
        "yaml: its body is not JSON, so this rule cannot see which methods need an API key",
    ]


API = made(REST_API, "api", id=UNKNOWN)
STAGE = made(STAGE_TYPE, "stage", on=[API], restApi=UNKNOWN, stageName="dev", arn=UNKNOWN)
OTHER_NAME = made(STAGE_TYPE, "other name", restApi=UNKNOWN, stageName="test")
OTHER_API = made(STAGE_TYPE, "other API", restApi=UNKNOWN, stageName="dev")


def throttle(path: str = "*/*", on: Resource = STAGE, **settings: object) -> Resource:
    limits = {"throttlingRateLimit": 5.0, "throttlingBurstLimit": 10.0} | settings
    return made(
        "apigateway/methodSettings:MethodSettings",
        "throttle",
        on=[on],
        restApi=UNKNOWN,
        stageName="dev",
        methodPath=path,
        settings=limits,
    )


@pytest.mark.parametrize(
    ("resources", "found"),
    [
        ([throttle()], []),
        ([throttle(on=API)], []),
        ([throttle(throttlingRateLimit=UNKNOWN)], []),
        ([], ["stage: no method settings for */* throttle this stage"]),
        ([throttle("data/POST")], ["stage: no method settings for */* throttle this stage"]),
        ([throttle(), OTHER_NAME], ["other name: no method settings for */* throttle this stage"]),
        ([throttle(), OTHER_API], ["other API: no method settings for */* throttle this stage"]),
        ([throttle(throttlingRateLimit=None)], ["throttle: no throttlingRateLimit for */*"]),
        # The provider writes -1 for no throttle.
        ([throttle(throttlingBurstLimit=-1.0)], ["throttle: no throttlingBurstLimit for */*"]),
    ],
)
def test_every_stage_is_throttled(resources: list[Resource], found: list[str]) -> None:
    assert violations("stage-throttles", STAGE, *resources) == found


RATE_RULE = {"statement": {"rateBasedStatement": {"limit": 100}}, "action": {"block": {}}}
MANAGED: dict[str, Any] = {
    "statement": {"managedRuleGroupStatement": {}},
    "overrideAction": {"none": {}},
}


def acl(rules: object, arn: object = UNKNOWN) -> Resource:
    return made("wafv2/webAcl:WebAcl", "acl", arn=arn, rules=rules)


def associated(*with_what: Resource, stage: object = UNKNOWN, acl: object = UNKNOWN) -> Resource:
    return made(
        "wafv2/webAclAssociation:WebAclAssociation", on=with_what, resourceArn=stage, webAclArn=acl
    )


ACL = acl([RATE_RULE])
OTHER_STAGE = made(STAGE_TYPE, "other", arn=UNKNOWN)
KNOWN, KNOWN_ACL = made(STAGE_TYPE, "known", arn="arn:stage"), acl([RATE_RULE], "arn:acl")


@pytest.mark.parametrize(
    ("resources", "unprotected"),
    [
        ([STAGE, ACL, associated(STAGE, ACL)], []),
        ([STAGE], ["stage"]),
        ([STAGE, ACL, associated(ACL)], ["stage"]),
        ([STAGE, ACL, associated(STAGE)], ["stage"]),
        ([STAGE, OTHER_STAGE, ACL, associated(STAGE, ACL)], ["other"]),
        ([KNOWN, KNOWN_ACL, associated(stage="arn:stage", acl="arn:acl")], []),
        ([KNOWN, KNOWN_ACL, associated(KNOWN, KNOWN_ACL, stage="arn:x", acl="arn:acl")], ["known"]),
    ],
)
def test_every_stage_has_a_web_acl(resources: list[Resource], unprotected: list[str]) -> None:
    what = "no web ACL of this stack is associated with this stage"

    found = violations("stage-has-web-acl", *resources)

    assert found == [f"{name}: {what}" for name in unprotected]


@pytest.mark.parametrize(
    ("rules", "fine"),
    [
        ([RATE_RULE], True),
        (UNKNOWN, True),
        ([], False),
        ([MANAGED], False),
        ([RATE_RULE | {"action": {"count": {}}}], False),
    ],
)
def test_a_web_acl_has_a_rate_rule_that_blocks(rules: object, fine: bool) -> None:
    one = acl(rules)

    found = violations("stage-has-web-acl", STAGE, one, associated(STAGE, one))

    assert found == ([] if fine else ["acl: no rate-based rule that blocks"])


@pytest.mark.parametrize("enabled", [False, "false"])
def test_the_config_may_turn_the_web_acl_off_outside_production(enabled: object) -> None:
    rule, advice, off = "stage-has-web-acl", "web-acl-turned-off", {"waf": {"enabled": enabled}}

    assert violations(rule, STAGE, settings=off) == []
    assert violations(advice, STAGE, settings=off) == ["stage: the config turns the web ACL off"]
    assert violations(advice, STAGE) == []
    assert violations(rule, STAGE, ACL, settings=off), "there is a web ACL, and it is idle"
    for stack in ("prod", "production", "prod-eu"):
        assert violations(rule, STAGE, stack=stack, settings=off)
        assert violations(advice, STAGE, stack=stack, settings=off) == []


@pytest.mark.parametrize("known", [True, False], ids=["known", "preview"])
def test_the_keys_without_a_plan_are_found_among_ten_thousand(known: bool) -> None:
    def identity(name: str) -> object:
        return name if known else UNKNOWN

    plan = made("apigateway/usagePlan:UsagePlan", id=identity("plan"))
    keys = [
        made("apigateway/apiKey:ApiKey", f"key-{n}", id=identity(f"k{n}")) for n in range(10_000)
    ]
    links = [
        made(
            "apigateway/usagePlanKey:UsagePlanKey",
            # Known ids decide, and not what the link waits for.
            on=keys[-2:] if known else [plan, key],
            keyId=key.get("id"),
            usagePlanId=plan.get("id"),
        )
        for key in keys[:-2]
    ]
    no_plan = made("apigateway/usagePlanKey:UsagePlanKey", on=keys[-1:], keyId=UNKNOWN)

    assert violations("keys-belong-to-a-plan", plan, *keys, *links, no_plan) == [
        "key-9998: no usage plan of this stack has this key",
        "key-9999: no usage plan of this stack has this key",
    ]


@pytest.mark.parametrize(
    ("timeout", "principal", "found"),
    [
        (29.0, "apigateway", []),
        (UNKNOWN, "apigateway", []),
        (30.0, "apigateway", ["function: a timeout of 30 s, above 29 s"]),
        (900.0, "events", []),
    ],
)
def test_a_function_behind_the_api_ends_before_the_gateway_stops_waiting(
    timeout: object, principal: str, found: list[str]
) -> None:
    function = made(FUNCTION, "function", name=UNKNOWN, timeout=timeout)
    may_invoke: dict[str, Any] = {"principal": f"{principal}.amazonaws.com", "function": UNKNOWN}
    permission = made("lambda/permission:Permission", on=[function], **may_invoke)

    assert violations("function-timeout-within-gateways", function, permission) == found


GROUP = made("cloudwatch/logGroup:LogGroup", "logs", name="function-logs")


@pytest.mark.parametrize(
    ("group", "on", "fine"),
    [
        ("function-logs", [], True),
        (UNKNOWN, [GROUP], True),
        ("other", [], False),
        (UNKNOWN, [], False),
    ],
)
def test_a_function_logs_to_a_log_group_of_the_stack(
    group: object, on: list[Resource], fine: bool
) -> None:
    function = made(FUNCTION, on=on, loggingConfig={"logGroup": group})

    found = violations("function-has-log-group", function, GROUP)

    assert found == ([] if fine else ["it: it does not log to a log group of this stack"])


@pytest.mark.parametrize("reserved", [None, -1.0])
def test_a_function_reserves_concurrency_unless_the_config_says_none(reserved: object) -> None:
    rule, advice = "function-reserves-concurrency", "function-reservation-turned-off"
    function = made(FUNCTION, reservedConcurrentExecutions=reserved)
    found = ["it: no reserved concurrency"]

    for value in (25.0, 0.0, UNKNOWN):
        assert violations(rule, made(FUNCTION, reservedConcurrentExecutions=value)) == []
    on: list[dict[str, Any]] = [{}, {"function": {"reservedConcurrency": 25}}]
    for settings in on:
        assert violations(rule, function, settings=settings) == found
        assert violations(advice, function, settings=settings) == []
    for off in ("none", None):
        settings = {"function": {"reservedConcurrency": off}}
        assert violations(rule, function, settings=settings) == []
        assert violations(advice, function, settings=settings) == found


def counting(name: str, *dimensions: str) -> Resource:
    metric = {"namespace": "mine/dev", "name": name, "dimensions": dict.fromkeys(dimensions, "$.x")}
    return made("cloudwatch/logMetricFilter:LogMetricFilter", name, metricTransformation=metric)


def alarm(namespace: object, name: object, *dimensions: str) -> Resource:
    keys: dict[str, Any] = {"dimensions": dict.fromkeys(dimensions, UNKNOWN) or None}
    return made(ALARM, namespace=namespace, metricName=name, **keys)


MATH = {"id": "m1", "metric": {"namespace": "AWS/ApiGateway", "metricName": "Throttled"}}


@pytest.mark.parametrize(
    ("resource", "what"),
    [
        (alarm("AWS/WAFV2", "BlockedRequests", "WebACL", "Region", "Rule"), None),
        (alarm("AWS/DynamoDB", "ThrottledRequests", "TableName", "Operation"), None),
        (alarm("mine/dev", "ByKey", "ApiKeyId"), None),
        (alarm(UNKNOWN, "Throttled"), None),
        (alarm("AWS/ApiGateway", "Throttled"), "AWS has no metric Throttled in AWS/ApiGateway"),
        (
            made(ALARM, metricQueries=[{"id": "e1", "expression": "m1 * 2"}, MATH]),
            "AWS has no metric Throttled in AWS/ApiGateway",
        ),
        (
            alarm("AWS/DynamoDB", "ThrottledRequests", "TableName"),
            "AWS keeps no ThrottledRequests by these dimensions: TableName",
        ),
        (
            alarm("mine/prod", "Throttled"),
            "no metric filter of this stack writes Throttled in mine/prod",
        ),
        (
            alarm("mine/dev", "ByKey"),
            "no metric filter writes ByKey by these dimensions: none",
        ),
    ],
)
def test_an_alarm_watches_a_metric_that_exists(resource: Resource, what: str | None) -> None:
    filters = [counting("Throttled"), counting("ByKey", "ApiKeyId")]

    found = violations("alarms-name-metrics-that-exist", resource, *filters)

    assert found == ([f"it: {what}"] if what else [])
