"""Every client is throttled, has a quota, and is in a plan."""

from collections.abc import Iterator
from typing import Final

from .model import Resource, ResourceRule, Stack, StackRule, Violation, positive

_GUIDE: Final = "https://docs.aws.amazon.com/apigateway/latest/developerguide"
_PLAN: Final = "aws:apigateway/usagePlan:UsagePlan"
_KEY: Final = "aws:apigateway/apiKey:ApiKey"
_PLAN_KEY: Final = "aws:apigateway/usagePlanKey:UsagePlanKey"


def _unthrottled(plan: Resource) -> Iterator[str]:
    for limit in ("rateLimit", "burstLimit"):
        if not positive(plan.get("throttleSettings", limit)):
            yield f"no throttleSettings.{limit}"


PLAN_THROTTLES: Final = ResourceRule(
    name="plan-throttles",
    why="Without a rate and a burst for each of its keys, one client of the plan can use up all "
    "that the stage takes.",
    reference=f"{_GUIDE}/api-gateway-request-throttling.html",
    fix="Set throttle_settings in EdgeProtection._usage_plan of "
    "components/edge_protection/__init__.py, from the config's usagePlans.<plan>.rateLimit and "
    "usagePlans.<plan>.burstLimit.",
    types=frozenset({_PLAN}),
    check=_unthrottled,
)


def _without_quota(plan: Resource) -> Iterator[str]:
    if not positive(plan.get("quotaSettings", "limit")):
        yield "no quotaSettings.limit"


PLAN_HAS_QUOTA: Final = ResourceRule(
    name="plan-has-quota",
    why="A throttle bounds a client's requests per second, not what it costs in a month: only a "
    "quota does.",
    reference=f"{_GUIDE}/api-gateway-api-usage-plans.html",
    fix="Set quota_settings in EdgeProtection._usage_plan of "
    "components/edge_protection/__init__.py, from the config's usagePlans.<plan>.quota.limit and "
    "usagePlans.<plan>.quota.period.",
    types=frozenset({_PLAN}),
    check=_without_quota,
)


def _keys_without_plan(stack: Stack) -> Iterator[Violation]:
    planned = {
        key.urn
        for plan_key in stack.of_type(_PLAN_KEY)
        if stack.referred(plan_key, plan_key.get("usagePlanId"), _PLAN, "id")
        for key in stack.referred(plan_key, plan_key.get("keyId"), _KEY, "id")
    }
    for key in stack.of_type(_KEY):
        if key.urn not in planned:
            yield Violation(key, "no usage plan of this stack has this key")


KEYS_BELONG_TO_A_PLAN: Final = StackRule(
    name="keys-belong-to-a-plan",
    why="A key outside of every plan opens nothing; one that some other stack's plan takes has "
    "limits that nobody sees here.",
    reference=f"{_GUIDE}/api-gateway-api-usage-plans.html",
    fix="Make the key's UsagePlanKey in EdgeProtection._usage_plan of "
    "components/edge_protection/__init__.py: each client in usagePlans.<plan>.clients gets both.",
    check=_keys_without_plan,
)

RULES: Final = (PLAN_THROTTLES, PLAN_HAS_QUOTA, KEYS_BELONG_TO_A_PLAN)
