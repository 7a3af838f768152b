"""A web ACL with a rate-based rule protects every stage, and its log holds no keys."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from .model import UNKNOWN, Each, Resource, Rule, Stack, Violation, at, is_production

_GUIDE: Final = "https://docs.aws.amazon.com/waf/latest/developerguide"
_STAGE: Final = "aws:apigateway/stage:Stage"
_WEB_ACL: Final = "aws:wafv2/webAcl:WebAcl"


def _turned_off(stack: Stack) -> bool:
    """Return whether the config turns the web ACL off, outside production, and there is none."""
    off = at(stack.settings, "waf.enabled") in (False, "false")
    return off and not is_production(stack.name) and not stack.of_type(_WEB_ACL)


def _unprotected(stack: Stack) -> Iterator[Violation]:
    if _turned_off(stack):
        return
    protected: dict[str, list[Resource]] = {}
    for link in stack.of_type("aws:wafv2/webAclAssociation:WebAclAssociation"):
        acls = stack.referred(link, link.get("webAclArn"), _WEB_ACL, "arn")
        for stage in stack.referred(link, link.get("resourceArn"), _STAGE, "arn"):
            protected.setdefault(stage.urn, []).extend(acls)
    for stage in stack.of_type(_STAGE):
        acls = protected.get(stage.urn, [])
        if not acls:
            yield Violation(stage, "no web ACL of this stack is associated with this stage")
        elif not any(_limits_rate(acl) for acl in acls):
            yield Violation(acls[0], "no rate-based rule that blocks")


def _limits_rate(acl: Resource) -> bool:
    return any(
        at(rule, "statement.rateBasedStatement") is not None
        and at(rule, "action.block") is not None
        for rule in acl.items("rules")
    )


def _unprotected_by_choice(stack: Stack) -> Iterator[Violation]:
    if _turned_off(stack):
        for stage in stack.of_type(_STAGE):
            yield Violation(stage, "the config turns the web ACL off")


def _logs_keys(logging: Resource) -> Iterator[str]:
    names = [at(field, "singleHeader.name") for field in logging.items("redactedFields")]
    if not any(name is UNKNOWN or str(name).lower() == "x-api-key" for name in names):
        yield "the header x-api-key is not redacted"


_PROTECTED: Final = Rule(
    name="stage-has-web-acl",
    why="Requests without a valid key meet no plan and no quota: only the web ACL's rate-based "
    "rule limits the requests of one address.",
    reference=f"{_GUIDE}/waf-rule-statement-type-rate-based.html",
    fix="Associate the web ACL with stage.arn and keep its rate rule first in "
    "components/edge_protection/web_acl.py. In production, keep the config's waf.enabled true.",
    check=_unprotected,
)

RULES: Final = (
    _PROTECTED,
    replace(
        _PROTECTED,
        name="web-acl-turned-off",
        level="advisory",
        fix="Set the config's waf.enabled to true.",
        check=_unprotected_by_choice,
    ),
    Rule(
        name="waf-logs-redact-api-key",
        why="WAF logs hold all headers: with the keys in them, anyone who may read the log could "
        "call the API as any client.",
        reference=f"{_GUIDE}/logging-management.html",
        fix='Set redacted_fields=[{"single_header": {"name": API_KEY_HEADER}}] on the logging '
        "configuration in components/edge_protection/web_acl.py.",
        check=Each(
            ("aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration",),
            _logs_keys,
        ),
    ),
)
