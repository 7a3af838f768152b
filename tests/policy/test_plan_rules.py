"""Usage plans and keys."""

from policy.rules import usage_plans
from policy.rules.model import UNKNOWN, Resource
from tests.policy.resources import fits, made, violations

PLAN = made("aws:apigateway/usagePlan:UsagePlan", "plan", id=UNKNOWN)
KEY = made("aws:apigateway/apiKey:ApiKey", "key", id=UNKNOWN)


def joined(*resources: Resource) -> Resource:
    return made(
        "aws:apigateway/usagePlanKey:UsagePlanKey",
        "join",
        on=resources,
        keyId=UNKNOWN,
        usagePlanId=UNKNOWN,
    )


def test_a_plan_needs_rate_and_burst() -> None:
    rule = usage_plans.PLAN_THROTTLES

    assert fits(rule, throttleSettings={"rateLimit": 1.0, "burstLimit": 1.0})
    assert fits(rule, throttleSettings={"rateLimit": UNKNOWN, "burstLimit": 1.0})
    assert not fits(rule)
    assert not fits(rule, throttleSettings={"rateLimit": 1.0})
    assert not fits(rule, throttleSettings={"rateLimit": 0.0, "burstLimit": 1.0})


def test_a_plan_needs_a_quota() -> None:
    rule = usage_plans.PLAN_HAS_QUOTA

    assert fits(rule, quotaSettings={"limit": 1.0, "period": "DAY"})
    assert fits(rule, quotaSettings=UNKNOWN)
    assert not fits(rule)
    assert not fits(rule, quotaSettings={"period": "DAY"})


def test_a_key_in_a_plan_is_fine() -> None:
    assert not violations(usage_plans.KEYS_BELONG_TO_A_PLAN, PLAN, KEY, joined(PLAN, KEY))


def test_a_key_without_a_plan_is_found() -> None:
    found = ["key: no usage plan of this stack has this key"]

    assert violations(usage_plans.KEYS_BELONG_TO_A_PLAN, PLAN, KEY) == found
    assert violations(usage_plans.KEYS_BELONG_TO_A_PLAN, PLAN, KEY, joined(PLAN)) == found
    assert violations(usage_plans.KEYS_BELONG_TO_A_PLAN, KEY, joined(KEY)) == found


def test_known_ids_decide_which_key_is_meant() -> None:
    plan = made("aws:apigateway/usagePlan:UsagePlan", "plan", id="p1")
    first, second = (
        made("aws:apigateway/apiKey:ApiKey", name, id=name) for name in ("first", "second")
    )
    token = "aws:apigateway/usagePlanKey:UsagePlanKey"
    join = made(token, on=[first, second], keyId="first", usagePlanId="p1")

    assert violations(usage_plans.KEYS_BELONG_TO_A_PLAN, plan, first, second, join) == [
        "second: no usage plan of this stack has this key"
    ]


def test_the_one_key_without_a_plan_is_found_among_ten_thousand() -> None:
    keys = [made("aws:apigateway/apiKey:ApiKey", f"key-{n}", id=f"k{n}") for n in range(10_000)]
    plan = made("aws:apigateway/usagePlan:UsagePlan", "plan", id="p1")
    joins = [
        made("aws:apigateway/usagePlanKey:UsagePlanKey", f"j{n}", keyId=f"k{n}", usagePlanId="p1")
        for n in range(9_999)
    ]

    assert violations(usage_plans.KEYS_BELONG_TO_A_PLAN, plan, *keys, *joins) == [
        "key-9999: no usage plan of this stack has this key"
    ]
