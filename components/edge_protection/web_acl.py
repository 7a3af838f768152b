"""The web ACL in front of the stage: its rules as documents, and its resources."""

import hashlib
import json
from typing import Final

import pulumi_aws as aws
from pulumi_aws.wafv2 import (
    WebAclLoggingConfigurationLoggingFilterArgsDict,
    WebAclRuleActionArgsDict,
    WebAclRuleArgsDict,
    WebAclRuleStatementArgsDict,
    WebAclRuleStatementRateBasedStatementArgsDict,
    WebAclVisibilityConfigArgsDict,
)

from components.component import Component
from components.edge_protection.openapi import API_KEY_HEADER
from settings.schema import (
    LONGEST_METRIC_NAME,
    NO_ADDRESS_RULE,
    RATE_METRIC,
    RATE_RULE,
    SHADOW_RULE,
    SOURCE_RULE,
    ManagedRuleGroupSettings,
    Settings,
    ShadowSettings,
    WafSettings,
)

_TOO_MANY_REQUESTS: Final = "too-many-requests"
"""Key of the body that a blocked caller gets."""
_BLOCK: Final[WebAclRuleActionArgsDict] = {"block": {}}


def create_web_acl(
    component: Component, name: str, settings: Settings, stage: aws.apigateway.Stage
) -> tuple[aws.wafv2.WebAcl, aws.wafv2.WebAclAssociation]:
    """Create the web ACL, put it in front of the stage, and log its verdicts if configured."""
    acl = aws.wafv2.WebAcl(
        f"{name}-web-acl",
        description=f"In front of a stage of {settings.label}",
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
    association = aws.wafv2.WebAclAssociation(
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
            logging_filter=_log_filter(settings.waf),
            opts=component.child(),
        )
    return acl, association


def rules(settings: WafSettings, metric_prefix: str) -> list[WebAclRuleArgsDict]:
    """Return the web ACL's rules by priority, its own before the managed groups.

    They are sorted, because the provider compares them as a list. The own rules come first, so
    that a flood is blocked before the other rules are evaluated. The shadow rule comes before the
    rule that blocks, because a blocked request meets no rule after that.

    With FORWARDED_IP a request without the header is blocked, because AWS WAF applies no rule on
    forwarded addresses to it. Then each forwarded address has its limit, and each source address a
    larger one: callers that reach the API around the CDN can write any address into the header.
    https://docs.aws.amazon.com/waf/latest/APIReference/API_ForwardedIPConfig.html
    """
    own: list[tuple[str, str, WebAclRuleStatementArgsDict, WebAclRuleActionArgsDict]]
    own = [(RATE_RULE, RATE_METRIC, _per_address(settings, settings), _too_many(settings))]
    if settings.shadow:
        counted = _per_address(settings, settings.shadow)
        own = [(SHADOW_RULE, SHADOW_RULE, counted, {"count": {}}), *own]
    if settings.aggregate_by == "FORWARDED_IP":
        missing = (NO_ADDRESS_RULE, NO_ADDRESS_RULE, _without(settings.forwarded_header), _BLOCK)
        per_source: WebAclRuleStatementArgsDict = {
            "rate_based_statement": _rate(settings.source_rate_limit, settings.window_seconds)
        }
        own = [missing, *own, (SOURCE_RULE, SOURCE_RULE, per_source, _too_many(settings))]
    made: list[WebAclRuleArgsDict] = [
        {
            "name": name,
            "priority": priority,
            "statement": statement,
            "action": action,
            "visibility_config": _visibility(metric_name(metric_prefix, metric)),
        }
        for priority, (name, metric, statement, action) in enumerate(own)
    ]
    made += (
        _managed_group(group, priority, metric_name(metric_prefix, group.name))
        for priority, group in enumerate(settings.managed_rule_groups, start=len(own))
    )
    return made


def _log_filter(settings: WafSettings) -> WebAclLoggingConfigurationLoggingFilterArgsDict | None:
    if settings.log_only == "ALL":
        return None
    action = settings.log_only.removesuffix("ED")  # ALLOW or BLOCK
    return {
        "default_behavior": "DROP",
        "filters": [
            {
                "behavior": "KEEP",
                "requirement": "MEETS_ANY",
                "conditions": [{"action_condition": {"action": action}}],
            }
        ],
    }


def _visibility(metric_name: str) -> WebAclVisibilityConfigArgsDict:
    """Return the settings that publish metrics under `metric_name`, and sample requests."""
    return {
        "cloudwatch_metrics_enabled": True,
        "metric_name": metric_name,
        "sampled_requests_enabled": True,
    }


def metric_name(prefix: str, name: str) -> str:
    """Return a rule's metric name, shortened to the length that AWS WAF allows."""
    whole = f"{prefix}-{name}"
    if len(whole) <= LONGEST_METRIC_NAME:
        return whole
    digest = hashlib.sha256(whole.encode()).hexdigest()[:8]
    return f"{whole[: LONGEST_METRIC_NAME - 9]}-{digest}"


def _per_address(
    settings: WafSettings, limit: WafSettings | ShadowSettings
) -> WebAclRuleStatementArgsDict:
    rate = _rate(limit.rate_limit, limit.window_seconds)
    if settings.aggregate_by == "FORWARDED_IP":
        rate["aggregate_key_type"] = "FORWARDED_IP"
        # A header that begins with no valid address counts as over the limit.
        rate["forwarded_ip_config"] = {
            "header_name": settings.forwarded_header,
            "fallback_behavior": "MATCH",
        }
    return {"rate_based_statement": rate}


def _rate(limit: int, window_seconds: int) -> WebAclRuleStatementRateBasedStatementArgsDict:
    """Return the statement that limits source addresses."""
    return {
        "limit": limit,
        "evaluation_window_sec": window_seconds,
        "aggregate_key_type": "IP",
    }


def _without(header: str) -> WebAclRuleStatementArgsDict:
    """Return the statement that matches requests without a header, or with an empty one.

    https://docs.aws.amazon.com/waf/latest/developerguide/waf-rate-based-example-limit-missing-header.html
    """
    return {
        "not_statement": {
            "statement": {
                "size_constraint_statement": {
                    # The provider takes lower case only.
                    "field_to_match": {"single_header": {"name": header.lower()}},
                    "comparison_operator": "GT",
                    "size": 0,
                    "text_transformations": [{"priority": 0, "type": "NONE"}],
                }
            }
        }
    }


def _too_many(settings: WafSettings) -> WebAclRuleActionArgsDict:
    """Return the action that answers 429. AWS WAF would answer 403, which clients do not retry."""
    return {
        "block": {
            "custom_response": {
                "response_code": 429,
                "custom_response_body_key": _TOO_MANY_REQUESTS,
                "response_headers": [
                    {"name": "Retry-After", "value": str(settings.window_seconds)}
                ],
            }
        }
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
