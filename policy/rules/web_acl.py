"""A web ACL with a rate-based rule is in front of every stage, and its log keeps no keys."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from .model import UNKNOWN, Level, Resource, ResourceRule, Stack, StackRule, Violation
from .model import is_production as _is_production

_GUIDE: Final = "https://docs.aws.amazon.com/waf/latest/developerguide"
_STAGE: Final = "aws:apigateway/stage:Stage"
_WEB_ACL: Final = "aws:wafv2/webAcl:WebAcl"
_ASSOCIATION: Final = "aws:wafv2/webAclAssociation:WebAclAssociation"
_LOGGING: Final = "aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration"
_API_KEY_HEADER: Final = "x-api-key"
_WHY: Final = (
    "Requests without a valid key meet no plan and no quota: only the web ACL's rate-based rule "
    "bounds what one address may send."
)


def _turned_off(stack: Stack) -> bool:
    """Whether the config says so, outside of production, and there is indeed no web ACL."""
    waf = stack.settings.get("waf")
    off = isinstance(waf, Mapping) and waf.get("enabled") in (False, "false")
    return off and not _is_production(stack.name) and not stack.of_type(_WEB_ACL)


def _unprotected(stack: Stack) -> Iterator[Violation]:
    if _turned_off(stack):
        return
    protected: dict[str, list[Resource]] = {}
    for association in stack.of_type(_ASSOCIATION):
        acls = stack.referred(association, association.get("webAclArn"), _WEB_ACL, "arn")
        target = association.get("resourceArn")
        for stage in stack.referred(association, target, _STAGE, "arn"):
            protected.setdefault(stage.urn, []).extend(acls)
    for stage in stack.of_type(_STAGE):
        acls = protected.get(stage.urn, [])
        if not acls:
            yield Violation(stage, "no web ACL of this stack is associated with this stage")
        elif not any(_limits_rate(rule) for acl in acls for rule in _rules(acl)):
            yield Violation(acls[0], "no rate-based rule that blocks")


def _rules(acl: Resource) -> list[Any]:
    return [UNKNOWN] if acl.get("rules") is UNKNOWN else list(acl.items("rules"))


def _limits_rate(rule: Any) -> bool:  # noqa: ANN401  JSON
    if not isinstance(rule, Mapping):
        return rule is UNKNOWN
    statement, action = rule.get("statement"), rule.get("action")
    rated = statement is UNKNOWN or (
        isinstance(statement, Mapping) and statement.get("rateBasedStatement") is not None
    )
    blocks = action is UNKNOWN or (isinstance(action, Mapping) and action.get("block") is not None)
    return rated and blocks


STAGE_HAS_WEB_ACL: Final = StackRule(
    name="stage-has-web-acl",
    why=_WHY,
    reference=f"{_GUIDE}/waf-rule-statement-type-rate-based.html",
    fix="Associate the web ACL with stage.arn in EdgeProtection._web_acl of "
    "components/edge_protection/__init__.py, keep the rate rule first in rules() of "
    "components/edge_protection/web_acl.py, and in production keep the config's waf.enabled true.",
    check=_unprotected,
)


def _unprotected_by_choice(stack: Stack) -> Iterator[Violation]:
    if _turned_off(stack):
        for stage in stack.of_type(_STAGE):
            yield Violation(stage, "the config turns the web ACL off")


WEB_ACL_TURNED_OFF: Final = StackRule(
    name="web-acl-turned-off",
    level=Level.ADVISORY,
    why=_WHY,
    reference=f"{_GUIDE}/waf-rule-statement-type-rate-based.html",
    fix="Set the config's waf.enabled to true.",
    check=_unprotected_by_choice,
)


def _logs_keys(logging: Resource) -> Iterator[str]:
    fields = logging.get("redactedFields")
    if fields is UNKNOWN:
        return
    headers = [
        field.get("singleHeader")
        for field in logging.items("redactedFields")
        if isinstance(field, Mapping)
    ]
    names = [header.get("name") for header in headers if isinstance(header, Mapping)]
    if not any(name is UNKNOWN or str(name).lower() == _API_KEY_HEADER for name in names):
        yield f"the header {_API_KEY_HEADER} is not redacted"


WAF_LOGS_REDACT_API_KEY: Final = ResourceRule(
    name="waf-logs-redact-api-key",
    why="WAF logs carry all headers: whoever may read the log could call the API as any client.",
    reference=f"{_GUIDE}/logging-management.html",
    fix='Set redacted_fields=[{"single_header": {"name": API_KEY_HEADER}}] in '
    "EdgeProtection._web_acl of components/edge_protection/__init__.py.",
    types=frozenset({_LOGGING}),
    check=_logs_keys,
)

RULES: Final = (STAGE_HAS_WEB_ACL, WEB_ACL_TURNED_OFF, WAF_LOGS_REDACT_API_KEY)
