"""Every client is throttled, has a quota, and is in a plan."""

from collections.abc import Iterator
from typing import Final

from .model import Rule, Stack, Violation, needs, positive

_GUIDE: Final = "https://docs.aws.amazon.com/apigateway/latest/developerguide"
_PLAN: Final = "aws:apigateway/usagePlan:UsagePlan"
_KEY: Final = "aws:apigateway/apiKey:ApiKey"
_FILE: Final = "components/edge_protection/usage_plans.py"


def _keys_without_plan(stack: Stack) -> Iterator[Violation]:
    planned = {
        key.urn
        for link in stack.of_type("aws:apigateway/usagePlanKey:UsagePlanKey")
        if stack.referred(link, link.get("usagePlanId"), _PLAN, "id")
        for key in stack.referred(link, link.get("keyId"), _KEY, "id")
    }
    for key in stack.of_type(_KEY):
        if key.urn not in planned:
            yield Violation(key, "no usage plan of this stack has this key")


RULES: Final = (
    Rule(
        name="plan-throttles",
        why="Without a rate and a burst for each key, one client of the plan can use up the whole "
        "stage.",
        reference=f"{_GUIDE}/api-gateway-request-throttling.html",
        fix=f"Set throttle_settings in {_FILE}, from the config's usagePlans.<plan>.rateLimit and "
        "usagePlans.<plan>.burstLimit.",
        check=needs(
            (_PLAN,),
            ("throttleSettings.rateLimit", positive, "no throttleSettings.rateLimit"),
            ("throttleSettings.burstLimit", positive, "no throttleSettings.burstLimit"),
        ),
    ),
    Rule(
        name="plan-has-quota",
        why="A throttle limits a client's requests per second. Only a quota limits its cost in a "
        "month.",
        reference=f"{_GUIDE}/api-gateway-api-usage-plans.html",
        fix=f"Set quota_settings in {_FILE}, from the config's usagePlans.<plan>.quota.limit and "
        "usagePlans.<plan>.quota.period.",
        check=needs((_PLAN,), ("quotaSettings.limit", positive, "no quotaSettings.limit")),
    ),
    Rule(
        name="keys-belong-to-a-plan",
        why="A key outside every plan opens nothing. A key in another stack's plan has limits "
        "that this stack does not show.",
        reference=f"{_GUIDE}/api-gateway-api-usage-plans.html",
        fix=f"Make a UsagePlanKey for the key in {_FILE}, as for each client in the config's "
        "usagePlans.<plan>.clients.",
        check=_keys_without_plan,
    ),
)
