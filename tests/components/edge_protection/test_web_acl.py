"""The web ACL in front of the stage."""

from typing import Any

import pytest

from tests.stacks import PROJECT, deploy, settings
from tests.stacks.resources import LOG_GROUP, STAGE, WEB_ACL, find, only

LABEL = f"{PROJECT}-dev"
LOGGING = "wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration"


def metrics(name: str) -> dict[str, Any]:
    return {
        "cloudwatchMetricsEnabled": True,
        "sampledRequestsEnabled": True,
        "metricName": f"{LABEL}{name}",
    }


def rate_rule(window: int, *, name: Any = "address", **statement: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        "name": f"rate-per-{name}",
        "priority": 0,
        "statement": {"rateBasedStatement": {"evaluationWindowSec": window, **statement}},
        "action": {
            "block": {
                "customResponse": {
                    "responseCode": 429,
                    "customResponseBodyKey": "too-many-requests",
                    "responseHeaders": [{"name": "Retry-After", "value": str(window)}],
                }
            }
        },
        "visibilityConfig": metrics("-rate" if name == "address" else f"-rate-per-{name}"),
    }


def rules(**changes: Any) -> list[dict[str, Any]]:  # noqa: ANN401  JSON
    """Return the rules that are registered for such settings."""
    found: list[dict[str, Any]] = only(deploy(waf=changes), WEB_ACL).inputs["rules"]
    return found


def test_the_web_acl_lets_through_what_its_rules_do_not_block() -> None:
    program = deploy(waf={"windowSeconds": 300})
    acl = only(program, WEB_ACL)
    assert acl.inputs == {
        "description": f"In front of a stage of {LABEL}",
        "scope": "REGIONAL",
        "defaultAction": {"allow": {}},
        # In the shape of the API's own refusals.
        "customResponseBodies": [
            {
                "key": "too-many-requests",
                "contentType": "APPLICATION_JSON",
                "content": '{"message": "Too Many Requests", '
                '"reason": "too many requests from this address"}',
            }
        ],
        "rules": [rate_rule(300, limit=1500, aggregateKeyType="IP")],
        "visibilityConfig": metrics(""),
        # For the requests that it samples, which the redaction of the log does not cover.
        "dataProtectionConfig": {
            "dataProtections": [
                {
                    "field": {"fieldType": "SINGLE_HEADER", "fieldKeys": ["x-api-key"]},
                    "action": "SUBSTITUTION",
                }
            ]
        },
    }
    association = only(program, "wafv2/webAclAssociation:WebAclAssociation")
    assert association.inputs == {
        "resourceArn": only(program, STAGE).outputs["arn"],
        "webAclArn": acl.outputs["arn"],
    }


def test_behind_a_cdn_no_request_passes_uncounted() -> None:
    """AWS WAF applies no rule on forwarded addresses to a request without the header."""
    given = {"aggregateBy": "FORWARDED_IP", "managedRuleGroups": ["AWSManagedRulesCommonRuleSet"]}
    without, address, source, managed = rules(**given, forwardedHeader="CF-Connecting-IP")
    assert without == {
        "name": "no-address",
        "priority": 0,
        "statement": {
            "notStatement": {
                "statement": {
                    "sizeConstraintStatement": {
                        "fieldToMatch": {"singleHeader": {"name": "cf-connecting-ip"}},
                        "comparisonOperator": "GT",
                        "size": 0,
                        "textTransformations": [{"priority": 0, "type": "NONE"}],
                    }
                }
            }
        },
        "action": {"block": {}},
        "visibilityConfig": metrics("-no-address"),
    }
    # A header without a valid address counts as over the limit.
    forwarded = {"headerName": "CF-Connecting-IP", "fallbackBehavior": "MATCH"}
    limited = {"limit": 1500, "aggregateKeyType": "FORWARDED_IP", "forwardedIpConfig": forwarded}
    assert address == rate_rule(60, **limited) | {"priority": 1}
    # Callers that reach the API around the CDN can write any address into the header.
    coarse = rate_rule(60, name="source", limit=20_000, aggregateKeyType="IP")
    assert source == coarse | {"priority": 2}
    assert managed["priority"] == 3


def test_a_shadow_limit_counts_before_the_rule_that_blocks_and_takes_2_wcu() -> None:
    def shadow(priority: int, **statement: Any) -> dict[str, Any]:  # noqa: ANN401
        rule = rate_rule(600, limit=700, **statement)
        own = {"name": "shadow-rate-per-address", "priority": priority, "action": {"count": {}}}
        return rule | own | {"visibilityConfig": metrics("-shadow-rate-per-address")}

    given = {"shadow": {"rateLimit": 700, "windowSeconds": 600}}
    by_address = {"aggregateKeyType": "IP"}
    assert rules(**given) == [
        shadow(0, **by_address),
        rate_rule(60, limit=1500, **by_address) | {"priority": 1},
    ]
    without, counted, address, _ = rules(**given, aggregateBy="FORWARDED_IP")
    forwarded = {"headerName": "True-Client-IP", "fallbackBehavior": "MATCH"}
    by_header = {"aggregateKeyType": "FORWARDED_IP", "forwardedIpConfig": forwarded}
    assert counted == shadow(1, **by_header)
    assert (without["priority"], address["priority"]) == (0, 2)
    assert settings(waf=given).waf.wcu == settings().waf.wcu + 2


def test_managed_groups_follow_the_rate_rule_in_the_order_of_the_config() -> None:
    groups = ["AWSManagedRulesCommonRuleSet", {"name": "Bots", "vendorName": "F5", "wcu": 90}]
    rate, *managed = rules(managedRuleGroups=groups)
    assert rate["priority"] == 0
    assert managed == [
        {
            "name": name,
            "priority": priority,
            "statement": {"managedRuleGroupStatement": {"vendorName": vendor, "name": name}},
            "overrideAction": {"none": {}},
            "visibilityConfig": metrics(f"-{name}"),
        }
        for priority, vendor, name in (
            (1, "AWS", "AWSManagedRulesCommonRuleSet"),
            (2, "F5", "Bots"),
        )
    ]


def test_the_log_of_the_web_acl_holds_no_api_key() -> None:
    program = deploy("dev")
    logs = only(program, LOG_GROUP, "waf-logs")
    assert logs.inputs["namePrefix"] == f"aws-waf-logs-{PROJECT}-", "AWS WAF takes no other"
    assert only(program, LOGGING).inputs == {
        "resourceArn": only(program, WEB_ACL).outputs["arn"],
        "logDestinationConfigs": [logs.outputs["arn"]],
        "redactedFields": [{"singleHeader": {"name": "x-api-key"}}],
    }


@pytest.mark.parametrize(("log_only", "action"), [("ALLOWED", "ALLOW"), ("BLOCKED", "BLOCK")])
def test_the_web_acl_logs_only_what_the_config_asks_for(log_only: str, action: str) -> None:
    kept = {"behavior": "KEEP", "requirement": "MEETS_ANY"}
    assert only(deploy(waf={"logOnly": log_only}), LOGGING).inputs["loggingFilter"] == {
        "defaultBehavior": "DROP",
        "filters": [kept | {"conditions": [{"actionCondition": {"action": action}}]}],
    }


def test_a_web_acl_whose_log_is_turned_off_has_none() -> None:
    program = deploy(waf={"logging": False})
    assert find(program, WEB_ACL)
    assert not find(program, LOGGING)
    assert not find(program, LOG_GROUP, "waf-logs")
