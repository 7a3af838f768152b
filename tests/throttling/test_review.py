"""Every contradiction is found, and the fix that its finding names resolves it."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from settings.paths import config_key
from tests.throttling.examples import PROD
from throttling import Limits, Period, Quota, Throttle, UsagePlan, WafRateLimit
from throttling.review import Expectations, LimitFinding, not_among, review

EXPECTED = Expectations(
    region="eu-central-1", duration_seconds=0.1, max_write_request_units=600, wcu=1500
)
AGREEING = Limits(
    waf=WafRateLimit(limit=150_000, window_seconds=300),
    usage_plans={
        name: replace(plan, quota=Quota(limit=limit, period=Period.DAY))
        for (name, plan), limit in zip(PROD.usage_plans.items(), (360_000, 1_800_000), strict=True)
    },
    stage=Throttle(rate=600, burst=1250),
    concurrency=60,
)
"""Every limit is just enough for the others and for `EXPECTED`."""
UNCAPPED = replace(AGREEING, concurrency=None), replace(EXPECTED, max_write_request_units=None)
"""Without what the rate of the stage must agree with."""


def key(finding: LimitFinding) -> str:
    return config_key("", finding.path)[1:]


def keys(findings: Sequence[LimitFinding], level: str = "warning") -> list[str]:
    return [key(finding) for finding in findings if finding.level == level]


def with_stage(limits: Limits, rate: float, burst: int) -> Limits:
    return replace(limits, stage=Throttle(rate=rate, burst=burst))


def with_quota(limits: Limits, limit: int) -> Limits:
    basic = replace(limits.usage_plans["basic"], quota=Quota(limit=limit, period=Period.DAY))
    return replace(limits, usage_plans={**limits.usage_plans, "basic": basic})


def test_limits_that_just_agree_with_each_other_have_no_findings() -> None:
    assert review(AGREEING, EXPECTED) == []


def test_a_method_that_is_faster_than_the_stage_takes_its_place() -> None:
    fast = replace(AGREEING, methods={"POST /data": Throttle(rate=20_000, burst=1250)})
    assert keys(review(fast, EXPECTED)) == [
        'throttle.methods["POST /data"].rateLimit',
        "function.reservedConcurrency",
        "function.reservedConcurrency",
        "table.maxWriteRequestUnits",
    ]
    bursty = replace(AGREEING, methods={"POST /data": Throttle(rate=1, burst=6000)})
    assert keys(review(bursty, EXPECTED)) == ['throttle.methods["POST /data"].burstLimit']


def test_the_usual_defaults_contradict_each_other() -> None:
    findings = review(PROD, replace(EXPECTED, max_write_request_units=None))
    assert keys(findings) == [
        "waf.rateLimit",
        "waf.rateLimit",
        "usagePlans.basic.quota.limit",
        "usagePlans.premium.quota.limit",
    ]
    assert "blocked after about 20 s" in findings[0].message
    assert "blocked after about 4 s" in findings[1].message
    assert "gone after 100 s" in findings[2].message
    assert "gone after 200 s" in findings[3].message
    assert keys(findings, "info") == ["throttle.burstLimit"]
    assert "1,250 requests in the 13 smaller Regions" in findings[4].message


def changed(
    limits: Limits, expected: Expectations, finding: LimitFinding
) -> tuple[Limits, Expectations]:
    """Return both with a finding's fix in place."""
    assert finding.fix is not None
    value = float(finding.fix)
    match finding.path:
        case ("waf", "rateLimit"):
            assert limits.waf
            limits = replace(limits, waf=replace(limits.waf, limit=int(value)))
        case ("usagePlans", str(name), "quota", "limit"):
            plan = limits.usage_plans[name]
            assert plan.quota
            plan = replace(plan, quota=replace(plan.quota, limit=int(value)))
            limits = replace(limits, usage_plans={**limits.usage_plans, name: plan})
        case ("throttle", setting):
            assert limits.stage
            rate, burst = limits.stage.rate, limits.stage.burst
            new = (value, burst) if setting == "rateLimit" else (rate, int(value))
            limits = with_stage(limits, *new)
        case ("function", "reservedConcurrency"):
            limits = replace(limits, concurrency=int(value))
        case ("table", "maxWriteRequestUnits"):
            expected = replace(expected, max_write_request_units=int(value))
        case _:
            raise AssertionError(f"no setting is called {key(finding)}")
    return limits, expected


CASES: dict[str, tuple[Limits, Expectations, str, str, str]] = {
    "a WAF limit below the rate of a plan": (
        replace(AGREEING, waf=WafRateLimit(limit=149_999, window_seconds=300)),
        EXPECTED,
        "warning",
        "waf.rateLimit",
        "500.0 a second, below the 500 of plan premium",
    ),
    "a web ACL that costs extra": (
        AGREEING,
        replace(EXPECTED, wcu=1501, managed_rule_groups=2),
        "info",
        "waf.managedRuleGroups[1]",
        "1,501 capacity units (WCU), and AWS charges extra for each request above 1,500",
    ),
    "a quota that lasts less than an hour": (
        with_quota(AGREEING, 359_999),
        EXPECTED,
        "warning",
        "usagePlans.basic.quota.limit",
        "359,999 requests a day are gone after 3,600 s at the plan's full 100",
    ),
    "plans that are above the stage together": (
        with_stage(AGREEING, 599.5, 1250),
        EXPECTED,
        "warning",
        "throttle.rateLimit",
        "full rates are 600 requests per second, above the stage's 599.5",
    ),
    "a stage burst above that of a small Region's account": (
        with_stage(AGREEING, 600, 1251),
        replace(EXPECTED, region="eu-south-1"),
        "warning",
        "throttle.burstLimit",
        "1,251 is above the account's default of 1,250 requests for all APIs in eu-south-1",
    ),
    "a stage rate above that of an account in another Region": (
        with_stage(UNCAPPED[0], 2500.5, 1250),
        UNCAPPED[1],
        "info",
        "throttle.rateLimit",
        "2,500.5 is above the account's default of 2,500 requests per second in the 13 smaller",
    ),
    "a stage rate above that of any account": (
        with_stage(UNCAPPED[0], 10_001, 1250),
        replace(UNCAPPED[1], region=None),
        "warning",
        "throttle.rateLimit",
        "10,001 is above the account's default of 10,000 requests per second",
    ),
    "fewer executions than Little's law asks for": (
        AGREEING,
        replace(EXPECTED, duration_seconds=0.101),
        "warning",
        "function.reservedConcurrency",
        "600 requests per second of 101 ms keep 61 executions busy, more than the 60",
    ),
    "fewer executions than a tenth of the rate": (
        replace(AGREEING, concurrency=59),
        replace(EXPECTED, duration_seconds=0.01),
        "warning",
        "function.reservedConcurrency",
        "answers at most 590 requests per second",
    ),
    "a table slower than the stage": (
        AGREEING,
        replace(EXPECTED, max_write_request_units=599),
        "warning",
        "table.maxWriteRequestUnits",
        "the table takes 599 writes per second and the stage lets 600 requests through",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_contradiction_is_found_with_its_numbers(case: str) -> None:
    limits, expected, level, setting, words = CASES[case]
    (finding,) = review(limits, expected)
    assert (finding.level, key(finding)) == (level, setting)
    assert words in finding.message


@pytest.mark.parametrize("case", [*CASES, "the usual defaults"])
def test_the_fix_of_a_finding_resolves_it(case: str) -> None:
    limits, expected = CASES[case][:2] if case in CASES else (PROD, EXPECTED)
    for finding in review(limits, expected):
        if finding.fix is None:
            assert key(finding) in ("waf.managedRuleGroups[1]", "waf.shadow"), "it is removed"
        else:
            after = review(*changed(limits, expected, finding))
            assert not_among([finding], after) == [finding]


def test_a_shadow_limit_is_a_trial_with_three_steps() -> None:
    steps = (
        "700 requests per 60 s from one address are a trial, and refuse nothing. First count: let "
        "the dashboard show what they would refuse until your busiest hours are over. Then confirm "
        "that no honest caller is among it. Then block: set waf.rateLimit to 700 and "
        "waf.windowSeconds to 60, and remove waf.shadow."
    )
    expected = replace(EXPECTED, waf_shadow=WafRateLimit(limit=700, window_seconds=60))
    (finding,) = review(AGREEING, expected)
    assert (key(finding), finding.fix, finding.level) == ("waf.shadow", None, "info")
    assert finding.message == steps
    assert not review(replace(AGREEING, waf=None), expected)


def test_findings_that_differ_in_numbers_only_are_the_same() -> None:
    def found(limit: int, plan: str = "tier2") -> list[LimitFinding]:
        plans = {plan: AGREEING.usage_plans["premium"]}
        waf = WafRateLimit(limit=limit, window_seconds=300)
        return review(replace(AGREEING, waf=waf, usage_plans=plans), EXPECTED)

    assert found(1000) != found(2000)
    assert not_among(found(1000), found(2000)) == []
    assert not_among(found(1000), found(1000, plan="tier3")) == found(1000)
    assert not_among(found(1000), []) == found(1000)


def one_plan(rate: float, quota: Quota | None, stage: Throttle) -> Limits:
    plan = UsagePlan(clients=("a", "b", "c"), throttle=Throttle(rate=rate, burst=1), quota=quota)
    return Limits(waf=None, usage_plans={"all": plan}, stage=stage, concurrency=None)


@pytest.mark.parametrize(
    ("quota", "rate", "fix"),
    [
        (Quota(limit=1, period=Period.DAY), 10, 864_000),
        (Quota(limit=1, period=Period.WEEK), 10, 6_048_000),
        (Quota(limit=1, period=Period.MONTH), 10, 24_192_000),
        (Quota(limit=1, period=Period.MONTH), 1_000_000, 2**31 - 1),
    ],
)
def test_the_fix_of_a_quota_lasts_a_period_as_far_as_aws_allows(
    quota: Quota, rate: float, fix: int
) -> None:
    found = review(one_plan(rate, quota, Throttle(rate=3_000_000, burst=1)), UNCAPPED[1])[0]
    assert f"full {rate:,} requests per second" in found.message
    assert found.fix == str(fix)


def test_the_fix_of_a_sum_is_not_rounded_below_it() -> None:
    limits = one_plan(0.7, None, Throttle(rate=1, burst=1))
    (finding,) = review(limits, EXPECTED)
    assert not review(with_stage(limits, float(str(finding.fix)), 1), EXPECTED)
