"""Methods, stages and their web ACL."""

import json

from policy.rules import api, web_acl
from policy.rules.model import UNKNOWN, Resource
from tests.policy.resources import fits, made, violations

API = made("aws:apigateway/restApi:RestApi", "api", id=UNKNOWN)
STAGE = made(
    "aws:apigateway/stage:Stage",
    "stage",
    on=[API],
    restApi=UNKNOWN,
    stageName="dev",
    arn=UNKNOWN,
)
RATE_RULE = {
    "name": "rate",
    "statement": {"rateBasedStatement": {"limit": 100}},
    "action": {"block": {}},
}
OFF = {"waf": {"enabled": False}}


def api_with(security: object, **scheme: str) -> Resource:
    """An API with one method."""
    operation = {} if security is None else {"security": security}
    header = {"type": "apiKey", "in": "header", "name": "x-api-key"}
    document = {
        "paths": {"/data": {"post": operation, "parameters": []}},
        "components": {"securitySchemes": {"apiKey": header | scheme, "other": {"type": "http"}}},
    }
    return made("aws:apigateway/restApi:RestApi", "api", body=json.dumps(document))


def throttle(path: str = "*/*", **settings: object) -> Resource:
    limits = {"throttlingRateLimit": 5.0, "throttlingBurstLimit": 10.0} | settings
    return made(
        "aws:apigateway/methodSettings:MethodSettings",
        f"throttle {path}",
        on=[STAGE],
        restApi=UNKNOWN,
        stageName="dev",
        methodPath=path,
        settings=limits,
    )


def acl(*rules: object) -> Resource:
    return made("aws:wafv2/webAcl:WebAcl", "acl", arn=UNKNOWN, rules=list(rules))


def associated(*with_what: Resource) -> Resource:
    return made(
        "aws:wafv2/webAclAssociation:WebAclAssociation",
        "association",
        on=with_what,
        resourceArn=UNKNOWN,
        webAclArn=UNKNOWN,
    )


def test_a_method_that_needs_an_api_key_is_fine() -> None:
    assert not violations(api.METHODS_NEED_API_KEY, api_with([{"apiKey": []}]))
    assert not violations(api.METHODS_NEED_API_KEY, api_with([{"apiKey": [], "other": []}]))
    assert not violations(
        api.METHODS_NEED_API_KEY, made("aws:apigateway/method:Method", apiKeyRequired=True)
    )


def test_a_method_without_an_api_key_is_found() -> None:
    found = ["api: POST /data takes requests without an API key"]

    assert violations(api.METHODS_NEED_API_KEY, api_with(None)) == found
    assert violations(api.METHODS_NEED_API_KEY, api_with([])) == found
    assert violations(api.METHODS_NEED_API_KEY, api_with([{"other": []}])) == found
    assert violations(
        api.METHODS_NEED_API_KEY, made("aws:apigateway/method:Method", httpMethod="GET")
    ) == ["it: method GET takes requests without an API key"]


def test_an_alternative_without_the_key_is_a_way_in() -> None:
    assert violations(api.METHODS_NEED_API_KEY, api_with([{"apiKey": []}, {}]))
    assert violations(api.METHODS_NEED_API_KEY, api_with([{"apiKey": []}, {"other": []}]))


def test_a_key_anywhere_but_in_the_header_of_api_gateway_is_none() -> None:
    assert violations(api.METHODS_NEED_API_KEY, api_with([{"apiKey": []}], name="x-my-key"))
    assert violations(api.METHODS_NEED_API_KEY, api_with([{"apiKey": []}], **{"in": "query"}))


def test_a_swagger_document_is_read_too() -> None:
    needed: list[dict[str, list[str]]] = [{"key": []}]
    for security, found in ((needed, 0), (needed[1:], 1)):
        document = {
            "swagger": "2.0",
            "securityDefinitions": {"key": {"type": "apiKey", "in": "header", "name": "x-api-key"}},
            "paths": {"/data": {"x-amazon-apigateway-any-method": {"security": security}}},
        }
        resource = made("aws:apigateway/restApi:RestApi", body=json.dumps(document))

        assert len(violations(api.METHODS_NEED_API_KEY, resource)) == found


def test_a_body_that_is_not_json_is_not_taken_on_trust() -> None:
    resource = made("aws:apigateway/restApi:RestApi", body="openapi: 3.0.1")

    assert "not JSON" in violations(api.METHODS_NEED_API_KEY, resource)[0]


def test_a_body_that_is_not_known_yet_is_fine() -> None:
    resource = made("aws:apigateway/restApi:RestApi", body=UNKNOWN)

    assert not violations(api.METHODS_NEED_API_KEY, resource)


def test_a_throttled_stage_is_fine() -> None:
    assert not violations(api.STAGE_THROTTLES, STAGE, throttle())
    assert not violations(api.STAGE_THROTTLES, STAGE, throttle(), throttle("data/POST"))


def test_a_stage_without_throttles_is_found() -> None:
    assert violations(api.STAGE_THROTTLES, STAGE) == [
        "stage: no method settings for */* throttle this stage"
    ]
    assert violations(api.STAGE_THROTTLES, STAGE, throttle("data/POST"))


def test_the_throttle_of_another_stage_does_not_count() -> None:
    token = "aws:apigateway/stage:Stage"
    named = made(token, "named", restApi=UNKNOWN, stageName="test")
    of_api = made(token, "of another API", restApi=UNKNOWN, stageName="dev")

    for other in (named, of_api):
        assert violations(api.STAGE_THROTTLES, STAGE, throttle(), other) == [
            f"{other.name}: no method settings for */* throttle this stage"
        ]


def test_method_settings_that_name_the_api_and_not_the_stage_count() -> None:
    settings = made(
        "aws:apigateway/methodSettings:MethodSettings",
        on=[API],
        restApi=UNKNOWN,
        stageName="dev",
        methodPath="*/*",
        settings={"throttlingRateLimit": 5.0, "throttlingBurstLimit": 10.0},
    )

    assert not violations(api.STAGE_THROTTLES, STAGE, settings)


def test_a_throttle_without_rate_or_burst_is_found() -> None:
    assert violations(api.STAGE_THROTTLES, STAGE, throttle(throttlingRateLimit=None)) == [
        "throttle */*: no throttlingRateLimit for */*"
    ]
    # The provider writes -1 for a throttle that is not there.
    assert violations(api.STAGE_THROTTLES, STAGE, throttle(throttlingBurstLimit=-1.0))


def test_a_throttle_that_is_not_known_yet_is_fine() -> None:
    assert not violations(api.STAGE_THROTTLES, STAGE, throttle(throttlingRateLimit=UNKNOWN))


def test_a_stage_needs_an_access_log_with_a_format() -> None:
    rule = api.STAGE_LOGS_ACCESS

    assert fits(rule, accessLogSettings={"destinationArn": UNKNOWN, "format": "{}"})
    assert fits(rule, accessLogSettings=UNKNOWN)
    assert not fits(rule)
    assert not fits(rule, accessLogSettings={"format": "{}"})
    assert not fits(rule, accessLogSettings={"destinationArn": "arn", "format": ""})


def test_a_stage_needs_tracing() -> None:
    assert fits(api.STAGE_TRACES, xrayTracingEnabled=True)
    assert fits(api.STAGE_TRACES, xrayTracingEnabled=UNKNOWN)
    assert not fits(api.STAGE_TRACES, xrayTracingEnabled=False)
    assert not fits(api.STAGE_TRACES)


def test_ways_around_the_stage_are_found() -> None:
    url = made("aws:lambda/functionUrl:FunctionUrl")

    assert violations(api.NO_OTHER_WAY_IN, url)
    assert violations(api.NO_OTHER_WAY_IN, made("aws:apigatewayv2/api:Api"))
    assert not violations(api.NO_OTHER_WAY_IN, STAGE, API)


def test_a_stage_behind_a_web_acl_with_a_rate_rule_is_fine() -> None:
    front = acl(RATE_RULE)

    assert not violations(web_acl.STAGE_HAS_WEB_ACL, STAGE, front, associated(STAGE, front))


def test_a_stage_without_an_associated_web_acl_is_found() -> None:
    front = acl(RATE_RULE)
    found = ["stage: no web ACL of this stack is associated with this stage"]

    assert violations(web_acl.STAGE_HAS_WEB_ACL, STAGE) == found
    assert violations(web_acl.STAGE_HAS_WEB_ACL, STAGE, front) == found
    assert violations(web_acl.STAGE_HAS_WEB_ACL, STAGE, front, associated(front)) == found
    assert violations(web_acl.STAGE_HAS_WEB_ACL, STAGE, front, associated(STAGE)) == found


def test_one_association_does_not_protect_two_stages() -> None:
    front, other = acl(RATE_RULE), made("aws:apigateway/stage:Stage", "other", arn=UNKNOWN)

    found = violations(web_acl.STAGE_HAS_WEB_ACL, STAGE, other, front, associated(STAGE, front))

    assert found == ["other: no web ACL of this stack is associated with this stage"]


def test_an_association_with_known_arns_goes_by_them() -> None:
    stage = made("aws:apigateway/stage:Stage", "stage", arn="arn:stage")
    front = made("aws:wafv2/webAcl:WebAcl", "acl", arn="arn:acl", rules=[RATE_RULE])
    token = "aws:wafv2/webAclAssociation:WebAclAssociation"
    right = made(token, resourceArn="arn:stage", webAclArn="arn:acl")
    wrong = made(token, on=[stage, front], resourceArn="arn:elsewhere", webAclArn="arn:acl")

    assert not violations(web_acl.STAGE_HAS_WEB_ACL, stage, front, right)
    assert violations(web_acl.STAGE_HAS_WEB_ACL, stage, front, wrong)


def test_a_web_acl_that_blocks_no_rate_is_found() -> None:
    managed: object = {
        "statement": {"managedRuleGroupStatement": {}},
        "overrideAction": {"none": {}},
    }
    counting = RATE_RULE | {"action": {"count": {}}}
    for rules in ([], [managed], [counting]):
        front = acl(*rules)

        found = violations(web_acl.STAGE_HAS_WEB_ACL, STAGE, front, associated(STAGE, front))

        assert found == ["acl: no rate-based rule that blocks"]


def test_rules_that_are_not_known_yet_are_fine() -> None:
    front = made("aws:wafv2/webAcl:WebAcl", "acl", arn=UNKNOWN, rules=UNKNOWN)

    assert not violations(web_acl.STAGE_HAS_WEB_ACL, STAGE, front, associated(STAGE, front))


def test_a_web_acl_that_settings_turn_off_is_advised_against_outside_production() -> None:
    mandatory, advisory = web_acl.STAGE_HAS_WEB_ACL, web_acl.WEB_ACL_TURNED_OFF

    assert not violations(mandatory, STAGE, settings=OFF)
    assert violations(advisory, STAGE, settings=OFF) == ["stage: the config turns the web ACL off"]


def test_production_has_a_web_acl_whatever_the_settings() -> None:
    for stack in ("prod", "production", "prod-eu"):
        assert violations(web_acl.STAGE_HAS_WEB_ACL, STAGE, stack=stack, settings=OFF)
        assert not violations(web_acl.WEB_ACL_TURNED_OFF, STAGE, stack=stack, settings=OFF)


def test_settings_do_not_excuse_a_web_acl_that_stands_beside_the_stage() -> None:
    assert violations(web_acl.STAGE_HAS_WEB_ACL, STAGE, acl(RATE_RULE), settings=OFF)


def test_waf_logs_redact_the_api_key() -> None:
    rule = web_acl.WAF_LOGS_REDACT_API_KEY

    assert fits(rule, redactedFields=[{"singleHeader": {"name": "X-API-Key"}}])
    assert fits(rule, redactedFields=UNKNOWN)
    assert not fits(rule)
    assert not fits(rule, redactedFields=[{"singleHeader": {"name": "cookie"}}])
    assert not fits(rule, redactedFields=[{"method": {}}])
