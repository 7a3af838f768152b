"""The web ACL's rules, as documents."""

import hashlib
import json
from typing import Final

from pulumi_aws.wafv2 import (
    WebAclCustomResponseBodyArgsDict,
    WebAclRuleArgsDict,
    WebAclRuleStatementRateBasedStatementArgsDict,
    WebAclVisibilityConfigArgsDict,
)

from settings.schema import RATE_METRIC, RATE_RULE, ManagedRuleGroupSettings, WafSettings

# https://docs.aws.amazon.com/waf/latest/APIReference/API_VisibilityConfig.html
_LONGEST_METRIC_NAME: Final = 128
TOO_MANY_REQUESTS: Final = "too-many-requests"
"""Key of the body that a blocked caller gets."""


def response_bodies() -> list[WebAclCustomResponseBodyArgsDict]:
    """The bodies that rules may answer with: the same shape as the API's own refusals."""
    body = {"message": "Too Many Requests", "reason": "too many requests from this address"}
    return [
        {
            "key": TOO_MANY_REQUESTS,
            "content_type": "APPLICATION_JSON",
            "content": json.dumps(body),
        }
    ]


def rules(settings: WafSettings, metric_prefix: str) -> list[WebAclRuleArgsDict]:
    """The web ACL's rules in the order of their priority, the rate rule first.

    Inline and sorted, because the provider compares them as a list. Being first, the rate rule
    also spares a flood the other rules' evaluation.
    """
    return [
        _rate_rule(settings, _metric_name(metric_prefix, RATE_METRIC)),
        *(
            _managed_group(group, priority, _metric_name(metric_prefix, group.name))
            for priority, group in enumerate(settings.managed_rule_groups, start=1)
        ),
    ]


def visibility(metric_name: str) -> WebAclVisibilityConfigArgsDict:
    """Metrics and sampled requests under `metric_name`, which is what alarms go by."""
    return {
        "cloudwatch_metrics_enabled": True,
        "metric_name": metric_name,
        "sampled_requests_enabled": True,
    }


def _metric_name(prefix: str, name: str) -> str:
    """A rule's own, within what WAF takes."""
    whole = f"{prefix}-{name}"
    if len(whole) <= _LONGEST_METRIC_NAME:
        return whole
    digest = hashlib.sha256(whole.encode()).hexdigest()[:8]
    return f"{whole[: _LONGEST_METRIC_NAME - 9]}-{digest}"


def _rate_rule(settings: WafSettings, metric_name: str) -> WebAclRuleArgsDict:
    statement: WebAclRuleStatementRateBasedStatementArgsDict = {
        "limit": settings.rate_limit,
        "evaluation_window_sec": settings.window_seconds,
        "aggregate_key_type": settings.aggregate_by,
    }
    if settings.aggregate_by == "FORWARDED_IP":
        # A request without a usable address counts as over the limit: leaving the header out
        # must not be a way around it.
        statement["forwarded_ip_config"] = {
            "header_name": "X-Forwarded-For",
            "fallback_behavior": "MATCH",
        }
    return {
        "name": RATE_RULE,
        "priority": 0,
        "statement": {"rate_based_statement": statement},
        "action": {
            "block": {
                # WAF's own answer would be 403, which tells a client not to come back.
                "custom_response": {
                    "response_code": 429,
                    "custom_response_body_key": TOO_MANY_REQUESTS,
                    "response_headers": [
                        {"name": "Retry-After", "value": str(settings.window_seconds)}
                    ],
                }
            }
        },
        "visibility_config": visibility(metric_name),
    }


def _managed_group(
    group: ManagedRuleGroupSettings, priority: int, metric_name: str
) -> WebAclRuleArgsDict:
    return {
        "name": group.name,
        "priority": priority,
        "statement": {
            "managed_rule_group_statement": {"vendor_name": group.vendor_name, "name": group.name}
        },
        "override_action": {"none": {}},
        "visibility_config": visibility(metric_name),
    }
