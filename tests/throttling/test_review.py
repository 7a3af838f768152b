"""Every contradiction is found, and goes away with the fix that its finding names."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.throttling.examples import METHOD, PROD
from throttling import Limits, Period, Quota, Throttle, UsagePlan, WafRateLimit
from throttling.account import ACCOUNT_THROTTLE, SMALL_REGION_THROTTLE, SMALL_REGIONS
from throttling.review import Expectations, Finding, Level, review

CALM = Expectations(region="eu-central-1", duration_seconds=0.1)
AGREEING = Limits(
    waf=WafRateLimit(limit=200_000, window_seconds=300),
    usage_plans={
        name: replace(
            plan,
            throttle=Throttle(rate=rate, burst=burst),
            quota=plan.quota and replace(plan.quota, limit=10_000_000),
        )
        for (name, plan), rate, burst in zip(
            PROD.usage_plans.items(), (100, 500), (200, 1000), strict=True
        )
    },
    stage=Throttle(rate=1000, burst=1200),
    concurrency=200,
)


def keys(findings: Sequence[Finding], level: Level = Level.WARNING) -> list[str]:
    return [finding.key for finding in findings if finding.level is level]


def test_limits_that_agree_with_each_other_have_no_findings() -> None:
    assert review(AGREEING, CALM) == []


def test_the_usual_defaults_contradict_each_other_in_three_ways() -> None:
    findings = review(PROD, CALM)
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
    assert keys(findings, Level.INFO) == ["throttle.burstLimit"]
    assert "1,250 requests in the 13 smaller Regions" in findings[4].message


def with_plan(limits: Limits, throttle: Throttle) -> Limits:
    basic = replace(limits.usage_plans["basic"], throttle=throttle)
    return replace(limits, usage_plans={**limits.usage_plans, "basic": basic})


CASES = {
    "a plan whose rate is above the stage's": (
        with_plan(AGREEING, Throttle(rate=1500, burst=200)),
        CALM,
        "usagePlans.basic.rateLimit",
        "1,500 requests per second of plan basic are above the stage's 1,000",
    ),
    "a plan whose burst is above the stage's": (
        with_plan(AGREEING, Throttle(rate=100, burst=1500)),
        CALM,
        "usagePlans.basic.burstLimit",
        "1,500 requests at once of plan basic are above the stage's 1,200",
    ),
    "a method whose rate is above the stage's": (
        replace(AGREEING, methods={METHOD: Throttle(rate=2000, burst=10)}),
        CALM,
        'throttle.methods["POST /data"].rateLimit',
        "2,000 requests per second of POST /data are above the stage's 1,000",
    ),
    "plans that are above the stage together": (
        replace(AGREEING, stage=Throttle(rate=550, burst=1200)),
        CALM,
        "throttle.rateLimit",
        "full rates are 600 requests per second, above the stage's 550",
    ),
    "a stage burst above that of a small Region's account": (
        replace(AGREEING, stage=Throttle(rate=1000, burst=2000)),
        replace(CALM, region="eu-south-1"),
        "throttle.burstLimit",
        "2,000 is above the account's default of 1,250 requests for all APIs in eu-south-1",
    ),
    "a stage rate above that of any account": (
        replace(AGREEING, stage=Throttle(rate=20_000, burst=1200), concurrency=None),
        replace(CALM, region=None),
        "throttle.rateLimit",
        "20,000 is above the account's default of 10,000 requests per second",
    ),
    "fewer executions than Little's law asks for": (
        AGREEING,
        replace(CALM, duration_seconds=0.5),
        "function.reservedConcurrency",
        "1,000 requests per second of 500 ms keep 500 executions busy, more than the 200",
    ),
    "fewer executions than a tenth of the rate": (
        replace(AGREEING, concurrency=50),
        replace(CALM, duration_seconds=0.01),
        "function.reservedConcurrency",
        "answers at most 500 requests per second",
    ),
    "a timeout that API Gateway does not wait for": (
        AGREEING,
        replace(CALM, timeout_seconds=60),
        "function.timeoutSeconds",
        "API Gateway waits 29 s for the function, which may work 60 s",
    ),
    "a table slower than the stage": (
        AGREEING,
        replace(CALM, max_write_request_units=400),
        "table.maxWriteRequestUnits",
        "the table takes 400 writes per second and the stage lets 1,000 requests through",
    ),
    "a web ACL that AWS refuses": (
        AGREEING,
        replace(CALM, wcu=5100, managed_rule_groups=3),
        "waf.managedRuleGroups[2]",
        "5,100 capacity units (WCU), and AWS refuses more than 5,000",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_contradiction_is_found_with_its_numbers(case: str) -> None:
    limits, expected, key, words = CASES[case]
    found = [f for f in review(limits, expected) if words in f.message]
    assert [(finding.key, finding.level) for finding in found] == [(key, Level.WARNING)]


def changed(
    limits: Limits, expected: Expectations, finding: Finding
) -> tuple[Limits, Expectations]:
    """Both with a finding's fix in place."""
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
        case ("usagePlans", str(name), setting):
            plan = limits.usage_plans[name]
            plan = replace(plan, throttle=with_setting(plan.throttle, setting, value))
            limits = replace(limits, usage_plans={**limits.usage_plans, name: plan})
        case ("throttle", "methods", str(method), setting):
            throttle = with_setting(limits.methods[method], setting, value)
            limits = replace(limits, methods={method: throttle})
        case ("throttle", setting):
            limits = replace(limits, stage=with_setting(limits.stage, setting, value))
        case ("function", "reservedConcurrency"):
            limits = replace(limits, concurrency=int(value))
        case ("function", "timeoutSeconds"):
            expected = replace(expected, timeout_seconds=value)
        case ("table", "maxWriteRequestUnits"):
            expected = replace(expected, max_write_request_units=int(value))
        case _:
            raise AssertionError(f"no setting is called {finding.key}")
    return limits, expected


def with_setting(throttle: Throttle | None, setting: str | int, value: float) -> Throttle:
    assert throttle
    if setting == "rateLimit":
        return replace(throttle, rate=value)
    return replace(throttle, burst=int(value))


FIXABLE = {name: case[:2] for name, case in CASES.items() if "web ACL" not in name}


@pytest.mark.parametrize("case", [*FIXABLE, "the usual defaults"])
def test_a_finding_goes_away_with_its_fix(case: str) -> None:
    limits, expected = FIXABLE.get(case, (PROD, CALM))
    for finding in review(limits, expected):
        after = review(*changed(limits, expected, finding))
        # The consequence, which has no numbers in it, tells it from others of the same key.
        consequence = finding.level, finding.message.rpartition(": ")[2]
        assert consequence not in [(f.level, f.message.rpartition(": ")[2]) for f in after]


def test_all_findings_can_be_fixed_one_after_the_other() -> None:
    limits, expected = PROD, CALM
    for _ in range(10):
        findings = review(limits, expected)
        if not findings:
            return
        limits, expected = changed(limits, expected, findings[-1])
    pytest.fail(f"still: {findings}")


def test_capacity_units_that_cost_extra_are_no_warning() -> None:
    (finding,) = review(AGREEING, replace(CALM, wcu=1600, managed_rule_groups=2))
    assert finding.level is Level.INFO
    assert finding.key == "waf.managedRuleGroups[1]"
    assert finding.fix is None


def test_the_smaller_regions_are_the_thirteen_that_aws_lists() -> None:
    assert len(SMALL_REGIONS) == 13
    assert Throttle(rate=10_000, burst=5_000) == ACCOUNT_THROTTLE
    assert Throttle(rate=2_500, burst=1_250) == SMALL_REGION_THROTTLE


def test_numbers_are_written_out_and_fixes_stay_within_what_aws_takes() -> None:
    plan = UsagePlan(
        clients=("a", "b", "c"),
        throttle=Throttle(rate=1_000_000, burst=1),
        quota=Quota(limit=1, period=Period.MONTH),
    )
    limits = Limits(
        waf=None,
        usage_plans={"all": plan},
        stage=Throttle(rate=1_000_000, burst=1),
        concurrency=None,
    )

    found = review(limits, Expectations(region="eu-central-1", duration_seconds=0.1))

    assert "full 1,000,000 requests per second" in found[0].message
    assert found[0].fix == str(2**31 - 1), "the most that a quota may be"


def test_the_fix_of_a_sum_is_not_rounded_below_it() -> None:
    plan = UsagePlan(clients=("a", "b", "c"), throttle=Throttle(rate=0.7, burst=1), quota=None)
    limits = Limits(
        waf=None, usage_plans={"all": plan}, stage=Throttle(rate=1, burst=1), concurrency=None
    )
    expected = Expectations(region="eu-central-1", duration_seconds=0.1)
    (finding,) = review(limits, expected)

    mended = replace(limits, stage=Throttle(rate=float(str(finding.fix)), burst=1))

    assert not review(mended, expected)
