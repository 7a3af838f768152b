"""Configured against observed, on answers that the throttling model gives."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tools.traffic.load.as_deployed import differences
from tools.traffic.load.measure import Measured
from tools.traffic.load.samples import Outcome, Sample
from tools.traffic.load.scenarios import SCENARIOS, plan_schedule
from tools.traffic.load.target import Target
from tools.traffic.load.verdicts import Findings, Verdict, exit_status, find, judge
from tests.tools.operations.conftest import target_of
from tests.tools.operations.modelled import answers, until
from throttling import Limits, Period, Quota, Throttle, WafRateLimit


def findings(
    target: Target, limits: Limits, *, tolerance: float = 0.05, **how: float
) -> dict[str, Findings]:
    """What a whole run finds out about a target that enforces `limits`."""
    schedule = plan_schedule(target, SCENARIOS)
    samples = answers(target, schedule, limits, **how)  # type: ignore[arg-type]
    return {
        name: find(target, schedule, name, samples, tolerance=tolerance)
        for name in schedule.scenarios()
    }


def verdicts(found: dict[str, Findings]) -> dict[str, Verdict]:
    return {
        f"{name}: {one.limit}": one.verdict
        for name, finding in found.items()
        for one in finding.comparisons
    }


def off(found: dict[str, Findings]) -> list[str]:
    return [limit for limit, verdict in verdicts(found).items() if verdict is Verdict.OFF]


def with_plan(limits: Limits, plan: str, throttle: Throttle) -> Limits:
    changed = replace(limits.usage_plans[plan], throttle=throttle)
    return replace(limits, usage_plans={**limits.usage_plans, plan: changed})


@pytest.mark.parametrize("stack", ["dev", "prod"])
@pytest.mark.parametrize(
    "how", [{}, {"late": 0.05}, {"latency": 0.08}], ids=["on time", "late", "slow answers"]
)
def test_a_target_with_the_configured_limits_agrees(stack: str, how: dict[str, float]) -> None:
    target = target_of(stack)

    found = findings(target, target.limits, **how)

    assert exit_status(found.values()) == 0, verdicts(found)
    assert set(verdicts(found).values()) == {Verdict.AGREES, Verdict.NOT_REACHED}
    assert [name for name, v in verdicts(found).items() if v is Verdict.NOT_REACHED] == [
        "stage: stage rate",
        "stage: stage burst",
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda limits: with_plan(limits, "basic", Throttle(rate=4.5, burst=10)),
            "plan: basic/default rate",
        ),
        (
            lambda limits: with_plan(limits, "basic", Throttle(rate=5.6, burst=10)),
            "plan: basic/default rate",
        ),
        (
            lambda limits: with_plan(limits, "premium", Throttle(rate=40, burst=40)),
            "plan: premium/default rate",
        ),
        (
            lambda limits: with_plan(limits, "premium", Throttle(rate=20, burst=46)),
            "plan: premium/default burst",
        ),
        (
            lambda limits: with_plan(limits, "premium", Throttle(rate=20, burst=400)),
            "plan: premium/default burst",
        ),
        (
            lambda limits: with_plan(limits, "premium", Throttle(rate=12, burst=12)),
            "plan: premium/default at 16/s (80%)",
        ),
        (
            lambda limits: replace(limits, stage=Throttle(rate=15, burst=20)),
            "stage: stage rate",
        ),
        (
            lambda limits: replace(limits, stage=Throttle(rate=50, burst=30)),
            "stage: stage burst",
        ),
        (
            lambda limits: replace(limits, waf=WafRateLimit(limit=1400, window_seconds=60)),
            "waf: requests in 60 s from one address",
        ),
        (
            lambda limits: replace(limits, waf=WafRateLimit(limit=1600, window_seconds=60)),
            "waf: requests in 60 s from one address",
        ),
        (
            lambda limits: replace(limits, waf=None),
            "waf: requests in 60 s from one address",
        ),
        (
            lambda limits: replace(limits, waf=WafRateLimit(limit=20, window_seconds=60)),
            "waf: 1,650 requests from 50 addresses",
        ),
    ],
)
def test_each_limit_that_was_changed_behind_its_back_is_off(
    dev: Target, change: Callable[[Limits], Limits], expected: str
) -> None:
    found = findings(dev, change(dev.limits))
    assert expected in off(found)
    assert exit_status(found.values()) == 1


def test_a_stage_that_its_clients_can_reach_is_measured(dev: Target) -> None:
    reached = replace(dev.limits, stage=Throttle(rate=20, burst=20))
    target = replace(dev, limits=reached)

    found = findings(target, reached)["stage"].comparisons

    assert [(one.limit, one.verdict) for one in found] == [
        ("stage rate", Verdict.AGREES),
        ("stage burst", Verdict.AGREES),
    ]
    assert found[0].measured
    assert found[0].measured.value == pytest.approx(20, rel=0.05)
    assert found[1].observed == "20"
    wrong = findings(target, replace(reached, stage=Throttle(rate=23, burst=24)))
    assert {"stage: stage rate", "stage: stage burst"} <= set(off(wrong))


def test_a_bucket_of_one_token_is_judged_by_what_should_have_passed(dev: Target) -> None:
    limits = with_plan(dev.limits, "basic", Throttle(rate=5, burst=1))
    target = replace(dev, limits=limits)

    assert exit_status(findings(target, limits).values()) == 0
    wrong = findings(target, with_plan(limits, "basic", Throttle(rate=3, burst=1)))
    assert "plan: basic/default rate" in off(wrong)


def test_the_tolerance_decides_what_is_off(dev: Target) -> None:
    limits = with_plan(dev.limits, "premium", Throttle(rate=22, burst=44))

    assert "plan: premium/default rate" in off(findings(dev, limits, tolerance=0.05))
    assert off(findings(dev, limits, tolerance=0.15)) == []


def test_a_quota_that_is_used_up_says_nothing_about_rates(dev: Target) -> None:
    basic = replace(dev.limits.usage_plans["basic"], quota=Quota(limit=60, period=Period.DAY))
    limits = replace(dev.limits, usage_plans={**dev.limits.usage_plans, "basic": basic})

    found = findings(dev, limits)

    rate = next(one for one in found["plan"].comparisons if one.limit == "basic/default rate")
    assert rate.verdict is Verdict.UNCLEAR
    assert "a quota was used up" in rate.note
    assert exit_status(found.values()) == 3


def test_a_generator_that_is_too_slow_is_the_bottleneck_and_not_the_target(dev: Target) -> None:
    found = findings(dev, dev.limits, slowed=1.6)

    overload = next(t for t in found["plan"].traffic if t.phase.name == "150%")
    assert overload.offered.held_up
    assert overload.offered.rate == pytest.approx(7.5 / 1.6, rel=0.02)
    assert any("the generator was the bottleneck" in words for words in found["plan"].held_up)
    rate = next(one for one in found["plan"].comparisons if one.limit == "basic/default rate")
    assert rate.verdict is Verdict.UNCLEAR, "nothing was sent that could tell"
    assert off(found) == []


@pytest.mark.parametrize("begin", range(5, 90, 7))
def test_a_generator_that_stalls_makes_no_limit_look_off(dev: Target, begin: int) -> None:
    schedule = plan_schedule(dev, SCENARIOS)
    samples = answers(dev, schedule, dev.limits, stalled=(begin, begin + 6))

    found = {name: find(dev, schedule, name, samples) for name in schedule.scenarios()}

    assert off(found) == []


def test_a_target_that_leaves_too_many_waiting_is_the_bottleneck(dev: Target) -> None:
    schedule = plan_schedule(dev, ["plan"])
    samples = [
        replace(one, in_flight=1_000) for one in answers(dev, schedule, dev.limits, slowed=1.6)
    ]

    words = find(dev, schedule, "plan", samples).held_up

    assert words
    assert all("the target was the bottleneck" in one for one in words)


def test_what_was_measured_until_it_was_stopped_is_judged_and_the_rest_is_unclear(
    dev: Target,
) -> None:
    schedule = plan_schedule(dev, SCENARIOS)
    samples = until(answers(dev, schedule, dev.limits), 60)

    found = {name: find(dev, schedule, name, samples) for name in schedule.scenarios()}

    told = verdicts(found)
    assert told["plan: basic/default rate"] is Verdict.AGREES
    assert told["plan: premium/default rate"] is Verdict.UNCLEAR
    assert told["stage: stage rate"] is Verdict.UNCLEAR
    assert off(found) == []
    assert exit_status(found.values()) == 3


@pytest.mark.parametrize(
    ("change", "observed"),
    [
        (lambda one: replace(one, retry_after=None), "nothing on "),
        (lambda one: replace(one, retry_after="5"), "5 s on "),
    ],
)
def test_refusals_must_tell_the_configured_retry_after(
    dev: Target, change: Callable[[Sample], Sample], observed: str
) -> None:
    schedule = plan_schedule(dev, ["plan"])
    samples = [
        change(one) if one.outcome is Outcome.THROTTLED else one
        for one in answers(dev, schedule, dev.limits)
    ]

    found = find(dev, schedule, "plan", samples)

    rows = [one for one in found.comparisons if one.limit.endswith("Retry-After")]
    assert [one.verdict for one in rows] == [Verdict.OFF] * 2
    assert all(one.observed.startswith(observed) for one in rows)


def test_who_waits_as_told_must_be_let_in(dev: Target) -> None:
    schedule = plan_schedule(dev, ["plan"])
    retries = [i for i, phase in enumerate(schedule.phases) if phase.name == "after Retry-After"]
    samples = [
        replace(one, status=429, retry_after="1") if one.phase in retries else one
        for one in answers(dev, schedule, dev.limits)
    ]

    found = find(dev, schedule, "plan", samples)

    row = next(one for one in found.comparisons if one.limit == "basic/default Retry-After")
    assert (row.verdict, row.note) == (Verdict.OFF, "refused again after 1 s")


def test_a_wrong_answer_to_the_readmes_curl_is_off(dev: Target) -> None:
    schedule = plan_schedule(dev, ["smoke"])
    samples = [replace(one, status=500, message="") for one in answers(dev, schedule, dev.limits)]

    found = find(dev, schedule, "smoke", samples)

    assert {one.verdict for one in found.comparisons} == {Verdict.OFF}
    assert len(found.comparisons) == 3


def test_a_body_size_that_is_refused_is_off(dev: Target) -> None:
    schedule = plan_schedule(dev, ["mixed"])
    largest = schedule.phases[0].sizes.index("largest")
    samples = [
        replace(one, status=413) if one.number % 4 == largest and one.status == 200 else one
        for one in answers(dev, schedule, dev.limits)
    ]

    found = {"mixed": find(dev, schedule, "mixed", samples)}

    assert off(found) == ["mixed: largest body (6,183 bytes)"]


def test_on_aws_a_web_acl_may_block_with_a_lag_but_not_early_or_never() -> None:
    prod = target_of("prod", sandbox=False)
    schedule = plan_schedule(prod, ["waf"])
    for limit, verdict in ((2600, Verdict.AGREES), (1500, Verdict.OFF), (10**6, Verdict.OFF)):
        waf = WafRateLimit(limit=limit, window_seconds=300)
        samples = answers(prod, schedule, replace(prod.limits, waf=waf), tells_layer=False)
        found = find(prod, schedule, "waf", samples)
        assert found.comparisons[0].verdict is verdict, limit


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (99, 101, Verdict.AGREES),
        (94, 106, Verdict.AGREES),
        (106, 108, Verdict.OFF),
        (90, 94.9, Verdict.OFF),
        (104, 109, Verdict.AGREES),
        (80, 120, Verdict.UNCLEAR),
    ],
)
def test_a_figure_is_off_only_if_none_within_its_bounds_is_near_enough(
    low: float, high: float, verdict: Verdict
) -> None:
    measured = Measured((low + high) / 2, low, high)

    assert judge(measured, 100, tolerance=0.05, one_request=1) is verdict


def test_one_request_more_or_less_is_never_off() -> None:
    assert judge(Measured(3, 3, 3), 2, tolerance=0.05, one_request=1) is Verdict.AGREES
    assert judge(Measured(4, 4, 4), 2, tolerance=0.05, one_request=1) is Verdict.OFF


@pytest.mark.parametrize(
    ("status", "message", "reason", "layer", "outcome"),
    [
        (200, "Successfully inserted data!", "", "", Outcome.ADMITTED),
        (429, "Too Many Requests", "over the rate", "", Outcome.THROTTLED),
        (429, "Limit Exceeded", "the API key's quota", "", Outcome.QUOTA),
        (429, "Too Many Requests", "too many requests from this address", "", Outcome.WAF),
        (429, "", "", "waf", Outcome.WAF),
        (403, "Forbidden", "", "", Outcome.NO_KEY),
        (403, "Forbidden", "", "waf", Outcome.WAF),
        (503, "Service Unavailable", "", "", Outcome.UNAVAILABLE),
        (413, "", "", "", Outcome.INVALID),
        (500, "", "", "", Outcome.FAILED),
        (0, "ConnectionRefusedError", "", "", Outcome.LOST),
    ],
)
def test_an_answer_says_what_became_of_the_request(
    status: int, message: str, reason: str, layer: str, outcome: Outcome
) -> None:
    sample = Sample(
        phase=0,
        number=0,
        due=0,
        sent=0,
        latency=0,
        status=status,
        message=message,
        reason=reason,
        throttled_by=layer,
    )

    assert sample.outcome is outcome


def test_limits_that_no_caller_reaches_are_read_from_the_sandbox(dev: Target) -> None:
    assert differences(dev.limits, dev.limits).comparisons == []
    deployed = replace(dev.limits, stage=Throttle(rate=500, burst=100), concurrency=None)

    found = differences(dev.limits, deployed)

    assert [(one.limit, one.configured, one.observed) for one in found.comparisons] == [
        ("stage.rate", "50", "500"),
        ("concurrency", "25", "none"),
    ]
    assert exit_status([found]) == 1
