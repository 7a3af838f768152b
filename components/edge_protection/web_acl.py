"""The web ACL in front of the stage: its rules as documents, and its resources."""

import hashlib
import json
from typing import Final

import pulumi_aws as aws
from pulumi_aws.wafv2 import (
    WebAclRuleArgsDict,
    WebAclRuleStatementRateBasedStatementArgsDict,
    WebAclVisibilityConfigArgsDict,
)

from components.component import Component
from components.edge_protection.openapi import API_KEY_HEADER
from settings.schema import (
    RATE_METRIC,
    RATE_RULE,
    ManagedRuleGroupSettings,
    Settings,
    WafSettings,
)

# https://docs.aws.amazon.com/waf/latest/APIReference/API_VisibilityConfig.html
_LONGEST_METRIC_NAME: Final = 128
_TOO_MANY_REQUESTS: Final = "too-many-requests"
"""Key of the body that a blocked caller gets."""


def create_web_acl(
    component: Component, name: str, settings: Settings, stage: aws.apigateway.Stage
) -> aws.wafv2.WebAcl:
    """Create the web ACL, put it in front of the stage, and log its verdicts if configured."""
    acl = aws.wafv2.WebAcl(
        f"{name}-web-acl",
        description=f"In front of stage {settings.stage_name} of {settings.label}",
        scope="REGIONAL",
        default_action={"allow": {}},
        custom_response_bodies=[
            {
                "key": _TOO_MANY_REQUESTS,
                "content_type": "APPLICATION_JSON",
                # In the same shape as the API's own refusals.
                "content": json.dumps(
                    {
                        "message": "Too Many Requests",
                        "reason": "too many requests from this address",
                    }
                ),
            }
        ],
        rules=rules(settings.waf, settings.label),
        visibility_config=_visibility(settings.label),
        # AWS WAF also samples requests. The log's redaction does not apply to those.
        data_protection_config={
            "data_protections": [
                {
                    "field": {"field_type": "SINGLE_HEADER", "field_keys": [API_KEY_HEADER]},
                    "action": "SUBSTITUTION",
                }
            ]
        },
        opts=component.child(),
    )
    # Never rename this: deleting the old association would remove the new one.
    aws.wafv2.WebAclAssociation(
        f"{name}-web-acl-association",
        resource_arn=stage.arn,
        web_acl_arn=acl.arn,
        opts=component.child(),
    )
    if settings.waf.logging:
        logs = aws.cloudwatch.LogGroup(
            f"{name}-waf-logs",
            # AWS WAF requires this beginning of the name.
            name_prefix=f"aws-waf-logs-{name}-",
            retention_in_days=settings.monitoring.log_retention_days,
            opts=component.child(),
        )
        aws.wafv2.WebAclLoggingConfiguration(
            f"{name}-waf-logging",
            resource_arn=acl.arn,
            log_destination_configs=[logs.arn],
            redacted_fields=[{"single_header": {"name": API_KEY_HEADER}}],
            opts=component.child(),
        )
    return acl


def rules(settings: WafSettings, metric_prefix: str) -> list[WebAclRuleArgsDict]:
    """Return the web ACL's rules by priority, the rate rule first.

    They are sorted, because the provider compares them as a list. The rate rule comes first, so
    that a flood is blocked before the other rules are evaluated.
    """
    return [
        _rate_rule(settings, _metric_name(metric_prefix, RATE_METRIC)),
        *(
            _managed_group(group, priority, _metric_name(metric_prefix, group.name))
            for priority, group in enumerate(settings.managed_rule_groups, start=1)
        ),
    ]


def _visibility(metric_name: str) -> WebAclVisibilityConfigArgsDict:
    """Return the settings that publish metrics under `metric_name`, and sample requests."""
    return {
        "cloudwatch_metrics_enabled": True,
        "metric_name": metric_name,
        "sampled_requests_enabled": True,
    }


def _metric_name(prefix: str, name: str) -> str:
    """Return a rule's metric name, shortened to the length that AWS WAF allows."""
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
        # A request whose header begins with no valid address counts as over the limit. Without the
        # header, AWS WAF does not apply the rule: a CDN in front of this API must always set it.
        # https://docs.aws.amazon.com/waf/latest/APIReference/API_ForwardedIPConfig.html
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
                # AWS WAF would answer 403, which clients do not retry.
                "custom_response": {
                    "response_code": 429,
                    "custom_response_body_key": _TOO_MANY_REQUESTS,
                    "response_headers": [
                        {"name": "Retry-After", "value": str(settings.window_seconds)}
                    ],
                }
            }
        },
        "visibility_config": _visibility(metric_name),
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
        "visibility_config": _visibility(metric_name),
    }
