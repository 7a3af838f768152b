"""Rules on several resources together, and on the API's document."""

import json
from typing import Any

import pytest

from policy.rules.model import UNKNOWN, Resource
from tests.policy.resources import made, violations

REST_API, STAGE_TYPE = "apigateway/restApi:RestApi", "apigateway/stage:Stage"
FUNCTION, ALARM = "lambda/function:Function", "cloudwatch/metricAlarm:MetricAlarm"
KEY, PLAN = "apigateway/apiKey:ApiKey", "apigateway/usagePlan:UsagePlan"
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


API = made(REST_API, "api", id=UNKNOWN)
STAGE = made(STAGE_TYPE, "stage", on=[API], restApi=UNKNOWN, stageName="dev", arn=UNKNOWN)
OTHER_NAME = made(STAGE_TYPE, "other name", restApi=UNKNOWN, stageName="test")
OTHER_API = made(STAGE_TYPE, "other API", restApi=UNKNOWN, stageName="dev")
KNOWN = made(STAGE_TYPE, "known", arn="arn:stage")


def throttle(path: str = "*/*", on: Resource = STAGE, **settings: object) -> Resource:
    return made(
        "apigateway/methodSettings:MethodSettings",
        "throttle",
        on=[on],
        restApi=UNKNOWN,
        stageName="dev",
        methodPath=path,
        settings={"throttlingRateLimit": 5.0, "throttlingBurstLimit": 10.0} | settings,
    )


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


def behind_acl(rules: object) -> list[Resource]:
    """Return a stage with a web ACL of these rules."""
    return [STAGE, acl(rules), associated(STAGE, acl(rules))]


ACL, KNOWN_ACL = acl([RATE_RULE]), acl([RATE_RULE], "arn:acl")


def invoked(by: str, timeout: object) -> list[Resource]:
    """Return a function that a service may invoke."""
    function = made(FUNCTION, "function", name=UNKNOWN, timeout=timeout)
    may: dict[str, Any] = {"principal": f"{by}.amazonaws.com", "function": UNKNOWN}
    return [function, made("lambda/permission:Permission", on=[function], **may)]


GROUP = made("cloudwatch/logGroup:LogGroup", "logs", name="function-logs")


def logging(group: object, *on: Resource) -> list[Resource]:
    return [made(FUNCTION, "function", on=on, loggingConfig={"logGroup": group}), GROUP]


def counting(name: str, *dimensions: str) -> Resource:
    metric = {"namespace": "mine/dev", "name": name, "dimensions": dict.fromkeys(dimensions, "$.x")}
    return made("cloudwatch/logMetricFilter:LogMetricFilter", name, metricTransformation=metric)


FILTERS = [counting("Throttled"), counting("ByKey", "ApiKeyId")]


def alarm(namespace: object, name: object, *dimensions: str) -> list[Resource]:
    keys: dict[str, Any] = {"dimensions": dict.fromkeys(dimensions, UNKNOWN) or None}
    return [made(ALARM, "alarm", namespace=namespace, metricName=name, **keys), *FILTERS]


MATH = {"id": "m1", "metric": {"namespace": "AWS/ApiGateway", "metricName": "Throttled"}}
OPEN = "api: POST /data takes requests without an API key"
NO_DOCUMENT = "OpenAPI document in JSON, so this rule cannot see its methods"
NOT_THROTTLED = "no method settings for */* throttle this stage"
NO_ACL = "no web ACL of this stack is associated with this stage"
NO_RULE = "acl: no rate-based rule that blocks"
NO_GROUP = "function: it does not log to a log group of this stack"
ANY_METHOD = {"paths": {"/open": {"x-amazon-apigateway-any-method": {}, "summary": "x"}}}


CASES: dict[str, list[tuple[list[Resource], list[str]]]] = {
    "methods-need-api-key": [
        ([api(NEEDED)], []),
        ([api([])], []),  # open on purpose
        ([made(REST_API, body=UNKNOWN)], []),
        ([made("apigateway/method:Method", apiKeyRequired=True)], []),
        ([api(None)], [OPEN]),
        # An alternative without the key is a way in.
        ([api([{"apiKey": []}, {}])], [OPEN]),
        # API Gateway looks at the header x-api-key alone.
        ([api(NEEDED, name="x-my-key")], [OPEN]),
        ([api(NEEDED, **{"in": "query"})], [OPEN]),
        ([api(NEEDED, **{"x-amazon-apigateway-authorizer": "own"})], [OPEN]),
        (
            [
                made("apigateway/method:Method", "method", httpMethod="GET"),
                made(REST_API, "any", body=json.dumps(ANY_METHOD)),
                made(REST_API, "yaml", body="openapi: 3.0.1"),
                made(REST_API, "list", body="[]"),
            ],
            [
                "method: method GET takes requests without an API key",
                "any: X-AMAZON-APIGATEWAY-ANY-METHOD /open takes requests without an API key",
                *(f"{name}: its body is not an {NO_DOCUMENT}" for name in ("yaml", "list")),
            ],
        ),
    ],
    "stage-throttles": [
        ([STAGE, throttle()], []),
        ([STAGE, throttle(on=API)], []),
        ([STAGE, throttle(throttlingRateLimit=UNKNOWN)], []),
        ([STAGE], [f"stage: {NOT_THROTTLED}"]),
        ([STAGE, throttle("data/POST")], [f"stage: {NOT_THROTTLED}"]),
        ([STAGE, throttle(), OTHER_NAME], [f"other name: {NOT_THROTTLED}"]),
        ([STAGE, throttle(), OTHER_API], [f"other API: {NOT_THROTTLED}"]),
        ([STAGE, throttle(throttlingRateLimit=None)], ["throttle: no throttlingRateLimit for */*"]),
        # The provider writes -1 for no throttle.
        (
            [STAGE, throttle(throttlingBurstLimit=-1.0)],
            ["throttle: no throttlingBurstLimit for */*"],
        ),
    ],
    "stage-has-web-acl": [
        (behind_acl([RATE_RULE]), []),
        (behind_acl(UNKNOWN), []),
        (behind_acl([]), [NO_RULE]),
        (behind_acl([MANAGED]), [NO_RULE]),
        (behind_acl([RATE_RULE | {"action": {"count": {}}}]), [NO_RULE]),
        ([STAGE], [f"stage: {NO_ACL}"]),
        ([STAGE, ACL, associated(ACL)], [f"stage: {NO_ACL}"]),
        ([STAGE, ACL, associated(STAGE)], [f"stage: {NO_ACL}"]),
        ([*behind_acl([RATE_RULE]), OTHER_NAME], [f"other name: {NO_ACL}"]),
        ([KNOWN, KNOWN_ACL, associated(stage="arn:stage", acl="arn:acl")], []),
        (
            [KNOWN, KNOWN_ACL, associated(KNOWN, KNOWN_ACL, stage="arn:x", acl="arn:acl")],
            [f"known: {NO_ACL}"],
        ),
    ],
    "function-timeout-within-gateways": [
        (invoked("apigateway", 29.0), []),
        (invoked("apigateway", UNKNOWN), []),
        (invoked("apigateway", 30.0), ["function: a timeout of 30 s, above 29 s"]),
        (invoked("events", 900.0), []),
    ],
    "function-has-log-group": [
        (logging("function-logs"), []),
        (logging(UNKNOWN, GROUP), []),
        (logging("other"), [NO_GROUP]),
        (logging(UNKNOWN), [NO_GROUP]),
    ],
    "alarms-name-metrics-that-exist": [
        (alarm("AWS/WAFV2", "BlockedRequests", "WebACL", "Region", "Rule"), []),
        (alarm("AWS/DynamoDB", "ThrottledRequests", "TableName", "Operation"), []),
        (alarm("mine/dev", "ByKey", "ApiKeyId"), []),
        (alarm(UNKNOWN, "Throttled"), []),
        (
            alarm("AWS/ApiGateway", "Throttled"),
            ["alarm: AWS has no metric Throttled in AWS/ApiGateway"],
        ),
        (
            [made(ALARM, "alarm", metricQueries=[{"id": "e1", "expression": "m1 * 2"}, MATH])],
            ["alarm: AWS has no metric Throttled in AWS/ApiGateway"],
        ),
        (
            alarm("AWS/DynamoDB", "ThrottledRequests", "TableName"),
            ["alarm: AWS keeps no ThrottledRequests by these dimensions: TableName"],
        ),
        (
            alarm("mine/prod", "Throttled"),
            ["alarm: no metric filter of this stack writes Throttled in mine/prod"],
        ),
        (
            alarm("mine/dev", "ByKey"),
            ["alarm: no metric filter writes ByKey by these dimensions: none"],
        ),
    ],
}


@pytest.mark.parametrize(
    ("rule", "resources", "found"),
    [(rule, *case) for rule, cases in CASES.items() for case in cases],
)
def test_what_breaks_a_rule_is_found(
    rule: str, resources: list[Resource], found: list[str]
) -> None:
    assert violations(rule, *resources) == found


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

    plan = made(PLAN, id=identity("plan"))
    keys = [made(KEY, f"key-{n}", id=identity(f"k{n}")) for n in range(10_000)]
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
