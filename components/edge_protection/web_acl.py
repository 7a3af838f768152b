"""The web ACL in front of the stage: its rules as documents, and its resources."""

import hashlib
import json
from typing import Any, Final

import pulumi_aws as aws

from components.component import Component
from components.edge_protection.openapi import API_KEY_HEADER
from settings.schema import (
    LONGEST_METRIC_NAME,
    NO_ADDRESS_RULE,
    RATE_METRIC,
    RATE_RULE,
    SHADOW_RULE,
    SOURCE_RULE,
    WafSettings,
)

Document = dict[str, Any]

_TOO_MANY_REQUESTS: Final = "too-many-requests"
"""Key of the body that a blocked caller gets."""


def create_web_acl(
    parent: Component, stage: aws.apigateway.Stage
) -> tuple[aws.wafv2.WebAcl, aws.wafv2.WebAclAssociation]:
    """Create the web ACL, put it in front of the stage, and log its verdicts if configured."""
    name, settings = parent.name, parent.settings
    # In the same shape as the API's own refusals.
    body = {"message": "Too Many Requests", "reason": "too many requests from this address"}
    acl = aws.wafv2.WebAcl(
        f"{name}-web-acl",
        description=f"In front of a stage of {settings.label}",
        scope="REGIONAL",
        default_action={"allow": {}},
        custom_response_bodies=[
            {
                "key": _TOO_MANY_REQUESTS,
                "content_type": "APPLICATION_JSON",
                "content": json.dumps(body),
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
        opts=parent.child(),
    )
    # Never rename this: deleting the old association would remove the new one.
    association = aws.wafv2.WebAclAssociation(
        f"{name}-web-acl-association",
        resource_arn=stage.arn,
        web_acl_arn=acl.arn,
        opts=parent.child(),
    )
    if settings.waf.logging:
        logs = aws.cloudwatch.LogGroup(
            f"{name}-waf-logs",
            # AWS WAF requires this beginning of the name.
            name_prefix=f"aws-waf-logs-{name}-",
            retention_in_days=settings.monitoring.log_retention_days,
            opts=parent.child(),
        )
        condition = {"action": settings.waf.log_only.removesuffix("ED")}  # ALLOW or BLOCK
        keep: Any = {
            "behavior": "KEEP",
            "requirement": "MEETS_ANY",
            "conditions": [{"action_condition": condition}],
        }
        everything = settings.waf.log_only == "ALL"
        aws.wafv2.WebAclLoggingConfiguration(
            f"{name}-waf-logging",
            resource_arn=acl.arn,
            log_destination_configs=[logs.arn],
            redacted_fields=[{"single_header": {"name": API_KEY_HEADER}}],
            logging_filter=None if everything else {"default_behavior": "DROP", "filters": [keep]},
            opts=parent.child(),
        )
    return acl, association


def rules(settings: WafSettings, metric_prefix: str) -> list[Any]:
    """Return the web ACL's rules by priority, its own before the managed groups.

    They are sorted, because the provider compares them as a list. The own rules come first, so
    that a flood is blocked before the other rules are evaluated. The shadow rule comes before the
    rule that blocks, because a blocked request meets no rule after that.

    With FORWARDED_IP a request without the header is blocked, because AWS WAF applies no rule on
    forwarded addresses to it. Then each forwarded address has its limit, and each source address a
    larger one: callers that reach the API around the CDN can write any address into the header.
    https://docs.aws.amazon.com/waf/latest/APIReference/API_ForwardedIPConfig.html
    """
    # AWS WAF would answer 403, which clients do not retry.
    too_many: Document = {
        "response_code": 429,
        "custom_response_body_key": _TOO_MANY_REQUESTS,
        "response_headers": [{"name": "Retry-After", "value": str(settings.window_seconds)}],
    }

    def own(name: str, statement: Document, metric: str | None = None, **action: Document) -> None:
        rule = _rule(len(made), name, statement, metric or name, metric_prefix)
        made.append(rule | {"action": action or {"block": {"custom_response": too_many}}})

    def rate(limit: int, window_seconds: int, by: Document) -> Document:
        rate = {"limit": limit, "evaluation_window_sec": window_seconds}
        return {"rate_based_statement": rate | by}

    made: list[Document] = []
    by_source: Document = {"aggregate_key_type": "IP"}
    by_address = by_source
    if settings.aggregate_by == "FORWARDED_IP":
        header = settings.forwarded_header
        own(NO_ADDRESS_RULE, _without(header), block={})
        # MATCH blocks requests whose header does not begin with a valid address, or gives all of
        # them one limit: AWS's pages differ. throttling/choices.py names these pages.
        by_address = {
            "aggregate_key_type": "FORWARDED_IP",
            "forwarded_ip_config": {"header_name": header, "fallback_behavior": "MATCH"},
        }
    if shadow := settings.shadow:
        counted = rate(shadow.rate_limit, shadow.window_seconds, by_address)
        own(SHADOW_RULE, counted, count={})
    own(RATE_RULE, rate(settings.rate_limit, settings.window_seconds, by_address), RATE_METRIC)
    if by_address != by_source:
        own(SOURCE_RULE, rate(settings.source_rate_limit, settings.window_seconds, by_source))
    for group in settings.managed_rule_groups:
        managed = {"vendor_name": group.vendor_name, "name": group.name}
        statement = {"managed_rule_group_statement": managed}
        rule = _rule(len(made), group.name, statement, group.name, metric_prefix)
        made.append(rule | {"override_action": {"none": {}}})
    return made


def _rule(
    priority: int, name: str, statement: Document, metric: str, metric_prefix: str
) -> Document:
    """Return a rule without its action."""
    return {
        "name": name,
        "priority": priority,
        "statement": statement,
        "visibility_config": _visibility(metric_name(metric_prefix, metric)),
    }


def _visibility(metric: str) -> Any:  # noqa: ANN401  for the web ACL's arguments and a rule's
    return {
        "cloudwatch_metrics_enabled": True,
        "metric_name": metric,
        "sampled_requests_enabled": True,
    }


def metric_name(prefix: str, metric: str) -> str:
    """Return the name of a rule's metric, shortened to the length that AWS WAF allows."""
    whole = f"{prefix}-{metric}"
    if len(whole) <= LONGEST_METRIC_NAME:
        return whole
    digest = hashlib.sha256(whole.encode()).hexdigest()[:8]
    return f"{whole[: LONGEST_METRIC_NAME - 9]}-{digest}"


def _without(header: str) -> Document:
    """Return the statement that matches requests without a header, or with an empty one.

    https://docs.aws.amazon.com/waf/latest/developerguide/waf-rate-based-example-limit-missing-header.html
    """
    present = {
        # The provider takes lower case only.
        "field_to_match": {"single_header": {"name": header.lower()}},
        "comparison_operator": "GT",
        "size": 0,
        "text_transformations": [{"priority": 0, "type": "NONE"}],
    }
    return {"not_statement": {"statement": {"size_constraint_statement": present}}}
