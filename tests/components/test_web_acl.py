"""The web ACL's rules, whole."""

import json
import re
from typing import Any

import pytest

from components.edge_protection import web_acl
from settings.schema import WafSettings


def settings(**changes: Any) -> WafSettings:  # noqa: ANN401  JSON
    return WafSettings.model_validate(changes)


def metrics(name: str) -> dict[str, Any]:
    return {
        "cloudwatch_metrics_enabled": True,
        "metric_name": name,
        "sampled_requests_enabled": True,
    }


def rate_rule(window: int, **statement: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        "name": "rate-per-address",
        "priority": 0,
        "statement": {"rate_based_statement": {"evaluation_window_sec": window, **statement}},
        "action": {
            "block": {
                "custom_response": {
                    "response_code": 429,
                    "custom_response_body_key": "too-many-requests",
                    "response_headers": [{"name": "Retry-After", "value": str(window)}],
                }
            }
        },
        "visibility_config": metrics("acl-rate"),
    }


def test_an_address_over_its_limit_gets_429_and_when_to_come_back() -> None:
    assert web_acl.rules(settings(rateLimit=2000, windowSeconds=300), "acl") == [
        rate_rule(300, limit=2000, aggregate_key_type="IP")
    ]
    assert web_acl.rules(settings(rateLimit=10, windowSeconds=60), "acl") == [
        rate_rule(60, limit=10, aggregate_key_type="IP")
    ]


def test_behind_a_cdn_a_request_without_an_address_counts_as_over_the_limit() -> None:
    assert web_acl.rules(settings(aggregateBy="FORWARDED_IP"), "acl") == [
        rate_rule(
            300,
            limit=2000,
            aggregate_key_type="FORWARDED_IP",
            forwarded_ip_config={
                "header_name": "X-Forwarded-For",
                "fallback_behavior": "MATCH",
            },
        )
    ]


def test_managed_groups_follow_the_rate_rule_in_the_order_of_the_config() -> None:
    groups = ["AWSManagedRulesCommonRuleSet", {"name": "Bots", "vendorName": "F5", "wcu": 90}]
    assert web_acl.rules(settings(managedRuleGroups=groups), "acl") == [
        rate_rule(300, limit=2000, aggregate_key_type="IP"),
        *(
            {
                "name": name,
                "priority": priority,
                "statement": {
                    "managed_rule_group_statement": {"vendor_name": vendor, "name": name}
                },
                "override_action": {"none": {}},
                "visibility_config": metrics(f"acl-{name}"),
            }
            for priority, vendor, name in (
                (1, "AWS", "AWSManagedRulesCommonRuleSet"),
                (2, "F5", "Bots"),
            )
        ),
    ]


@pytest.mark.parametrize("groups", [[], ["AWSManagedRulesAnonymousIpList"]])
def test_every_body_that_a_rule_names_is_there(groups: list[str]) -> None:
    named = {
        rule["action"]["block"]["custom_response"]["custom_response_body_key"]
        for rule in json.loads(json.dumps(web_acl.rules(settings(managedRuleGroups=groups), "a")))
        if "action" in rule
    }
    assert named == {body["key"] for body in web_acl.response_bodies()}


def test_a_blocked_caller_is_told_why_in_json() -> None:
    content = '{"message": "Too Many Requests", "reason": "too many requests from this address"}'
    assert web_acl.response_bodies() == [
        {"key": "too-many-requests", "content_type": "APPLICATION_JSON", "content": content}
    ]
    assert set(json.loads(content)) == {"message", "reason"}, "the shape of the API's own refusals"


def test_metrics_of_long_names_stay_apart_within_what_waf_takes() -> None:
    groups = [{"name": name, "wcu": 1} for name in ("a" * 128, "b" * 128, "a" * 127)]
    rules: Any = web_acl.rules(settings(managedRuleGroups=groups), "p" * 121)
    shown = [rule["visibility_config"]["metric_name"] for rule in rules]
    assert shown[0] == "p" * 121 + "-rate"
    assert len(set(shown)) == 4
    assert all(re.fullmatch("[A-Za-z0-9_-]{1,128}", name) for name in shown)
