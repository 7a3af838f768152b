"""Verdicts on what came back, from targets whose limits are known."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from routes import ROUTES
from tests.stacks import settings
from tests.tools.traffic.api import DEV, Sent, answers, with_plan
from throttling import Layer, Limits, Period, Quota, Throttle, WafRateLimit
from throttling.simulation.traffic import Arrivals
from tools.traffic.load.judge import Findings, Sample, Verdict, judge
from tools.traffic.load.report import held_up
from tools.traffic.load.requests import make_requests
from tools.traffic.profiles import parse_client, read_profile

START = datetime(2026, 3, 2, 8, tzinfo=UTC)
AGREES, UNCLEAR, OFF = Verdict


def requests_of(
    name: str | None, *clients: str, stack: str = "dev", **changes: Mapping[str, Any]
) -> Sent:
    """Return the requests of a profile, derived from a fixture stack, or of client texts."""
    profile = read_profile(
        name,
        settings(stack, **changes),
        waf_lag_seconds=0.0,
        clients=[parse_client(text) for text in clients],
        arrivals=Arrivals.EVEN,
    )
    return Sent(profile, make_requests(profile))


def verdict_on(
    configured: Limits,
    real: Limits,
    requests: Sent,
    *,
    machines: int = 0,
    **how: Any,  # noqa: ANN401  of `answers`
) -> Findings:
    """Return the findings when a target with the limits `real` should have `configured`."""
    samples = answers(real, requests, machines=machines, **how)
    return judge(configured, *requests, samples, START, tolerance=0.05, machines=machines)


def off(findings: Findings) -> set[tuple[str, Layer | None]]:
    return {key for key, row in findings.rows.items() if row.verdict is OFF}


@pytest.mark.parametrize("stack", ["dev", "prod"])
@pytest.mark.parametrize("profile", ["plan", "burst", "stage", "sizes", "waf", "seed"])
@pytest.mark.parametrize(
    "how",
    [{}, {"late": 0.4, "delay": (0.001, 0.03, 0.002)}],
    ids=["on time", "late and answered out of order"],
)
def test_a_target_with_the_configured_limits_agrees(
    stack: str, profile: str, how: Mapping[str, Any]
) -> None:
    limits = settings(stack).limits()
    findings = verdict_on(limits, limits, requests_of(profile, stack=stack), **how)

    assert off(findings) == set()
    assert {row.verdict for row in findings.rows.values()} <= {AGREES, None}


@pytest.mark.parametrize(
    ("profile", "real", "client", "layer"),
    [
        ("plan", with_plan(DEV, "basic", rate=2.5, burst=10), "basic", Layer.USAGE_PLAN),
        ("plan", with_plan(DEV, "basic", rate=4.5, burst=10), "basic", Layer.USAGE_PLAN),
        ("plan", with_plan(DEV, "premium", rate=22, burst=40), "premium", Layer.USAGE_PLAN),
        ("burst", with_plan(DEV, "premium", rate=20, burst=80), "premium", Layer.USAGE_PLAN),
        ("burst", with_plan(DEV, "premium", rate=20, burst=46), "premium", Layer.USAGE_PLAN),
        ("burst", with_plan(DEV, "basic", rate=5, burst=5), "basic", Layer.USAGE_PLAN),
        ("seed", with_plan(DEV, "basic", rate=5.5, burst=10), "basic", Layer.USAGE_PLAN),
        ("stage", replace(DEV, stage=Throttle(rate=10, burst=20)), "all clients", Layer.STAGE),
        ("stage", replace(DEV, stage=Throttle(rate=50, burst=30)), "all clients", Layer.STAGE),
        ("waf", replace(DEV, waf=WafRateLimit(limit=1400, window_seconds=60)), "", Layer.WAF),
        ("waf", replace(DEV, waf=WafRateLimit(limit=1600, window_seconds=60)), "", Layer.WAF),
        ("waf", replace(DEV, waf=None), "", Layer.WAF),
    ],
)
def test_a_limit_that_is_not_as_configured_is_off(
    profile: str, real: Limits, client: str, layer: Layer
) -> None:
    findings = verdict_on(DEV, real, requests_of(profile))

    name = {"": "no-key", "all clients": client}.get(client, f"{client}/default")
    assert (name, layer) in off(findings)
    assert findings.verdict is OFF


@pytest.mark.parametrize("limit", [40, None], ids=["smaller", "missing"])
def test_a_wrong_quota_is_off(limit: int | None) -> None:
    def quota(number: int | None) -> Limits:
        limit = Quota(limit=number, period=Period.DAY) if number else None
        basic = replace(DEV.usage_plans["basic"], quota=limit)
        return replace(DEV, usage_plans={**DEV.usage_plans, "basic": basic})

    requests = requests_of(None, "basic/default=4rps,for=30s")
    assert verdict_on(quota(80), quota(80), requests).verdict is AGREES
    assert ("basic/default", Layer.QUOTA) in off(verdict_on(quota(80), quota(limit), requests))


@pytest.mark.parametrize(
    ("profile", "real"),
    [
        ("burst", with_plan(DEV, "premium", rate=20, burst=44)),
        # The error of the first limit shows again behind it: more requests have no valid key.
        ("waf", replace(DEV, waf=WafRateLimit(limit=1580, window_seconds=60))),
    ],
)
def test_the_tolerance_decides_what_is_off(profile: str, real: Limits) -> None:
    requests = requests_of(profile)
    samples = answers(real, requests)

    for tolerance, verdict in ((0.05, OFF), (0.15, AGREES)):
        assert judge(DEV, *requests, samples, START, tolerance=tolerance).verdict is verdict


def test_one_request_is_never_off() -> None:
    requests = requests_of(None, "basic/default=0.2rps,for=20s")
    samples = answers(DEV, requests)
    refused = samples[0]._replace(status=429, layer="usage-plan:basic")

    one = judge(DEV, *requests, [refused, *samples[1:]], START, tolerance=0.0)
    assert off(one) == set()
    two = [refused, refused._replace(number=1, sent=samples[1].sent), *samples[2:]]
    assert off(judge(DEV, *requests, two, START, tolerance=0.0))


@pytest.mark.parametrize("profile", ["plan", "burst", "stage", "sizes", "waf"])
@pytest.mark.parametrize(
    ("service", "works"),
    [(0.0015, 0.08), (0.004, 0.08), (0.0, 0.5)],
    ids=["667 a second", "250 a second", "a slow function"],
)
def test_a_target_that_queues_is_not_off(profile: str, service: float, works: float) -> None:
    prod = settings("prod").limits()
    requests = requests_of(profile, stack="prod")
    findings = verdict_on(prod, prod, requests, service=service, works=works)

    assert off(findings) == set(), findings.rows


def test_counts_too_far_apart_are_unclear_but_a_limit_far_beyond_both_is_off() -> None:
    requests = requests_of("burst")
    waits = np.linspace(0.0, 2.0, len(requests.requests.times)).tolist()
    findings = verdict_on(DEV, DEV, requests, delay=waits)

    row = findings.rows["premium/default", Layer.USAGE_PLAN]
    assert row.low + 5 < row.high
    assert row.verdict is findings.verdict is UNCLEAR
    nothing_refused = with_plan(DEV, "premium", rate=20, burst=4000)
    findings = verdict_on(DEV, nothing_refused, requests, delay=[one / 10 for one in waits])
    assert ("premium/default", Layer.USAGE_PLAN) in off(findings)


def test_who_is_refused_by_a_shared_layer_is_judged_for_all_clients_together() -> None:
    throttle = {"rateLimit": 20, "burstLimit": 40}
    requests = requests_of("stage", throttle=throttle)
    configured = settings("dev", throttle=throttle).limits()
    # The stage refuses the right number, and all of them from one client.
    samples = answers(configured, requests)
    refused = [one for one in samples if one.layer == "stage"]
    assert {requests.requests.sources[one.number] for one in refused} == {0, 1}
    findings = judge(configured, *requests, samples, START, tolerance=0.05)

    assert findings.rows["premium/default", Layer.STAGE].verdict is None
    assert findings.rows["premium/default", None].verdict is None
    assert findings.rows["all clients", Layer.STAGE].verdict is AGREES


def test_on_aws_plan_and_stage_answer_alike_and_are_judged_as_one() -> None:
    requests = requests_of("plan")
    findings = verdict_on(DEV, DEV, requests, machines=1)
    assert findings.verdict is AGREES
    wrong = with_plan(DEV, "basic", rate=2.5, burst=10)
    assert ("basic/default", Layer.USAGE_PLAN) in off(verdict_on(DEV, wrong, requests, machines=1))

    throttle = {"rateLimit": 20, "burstLimit": 40}
    limits = settings("dev", throttle=throttle).limits()
    findings = verdict_on(limits, limits, requests_of("stage", throttle=throttle), machines=1)
    assert Layer.STAGE not in {layer for _, layer in findings.rows}
    assert findings.rows["all clients", Layer.USAGE_PLAN].verdict is AGREES
    assert findings.rows["basic/default", Layer.USAGE_PLAN].verdict is None


def test_on_aws_all_requests_of_a_machine_have_its_address() -> None:
    limits = replace(DEV, waf=WafRateLimit(limit=100, window_seconds=60))
    requests = requests_of(None, "no-key=50rps,ips=50,for=5s")

    for machines, refused in ((1, 150), (2, 50), (0, 0)):
        findings = verdict_on(limits, limits, requests, machines=machines)
        assert findings.result.total.refused.get(Layer.WAF, 0) == refused
        assert findings.verdict is AGREES


@pytest.mark.parametrize(
    ("limit", "verdict"), [(130, AGREES), (80, OFF), (10_000, OFF)], ids=["lag", "early", "never"]
)
def test_on_aws_the_web_acl_may_lag_but_not_block_early_or_never(
    limit: int, verdict: Verdict
) -> None:
    configured = replace(DEV, waf=WafRateLimit(limit=100, window_seconds=60))
    requests = requests_of(None, "no-key=50rps,for=5s")
    real = replace(DEV, waf=WafRateLimit(limit=limit, window_seconds=60))
    samples = answers(real, requests, machines=1)
    findings = judge(
        configured, *requests, samples, START, tolerance=0.05, machines=1, waf_lag_seconds=1.0
    )

    assert findings.rows["no-key", Layer.WAF].verdict is verdict


@pytest.mark.parametrize(
    ("sample", "outcome"),
    [
        ({"status": 200}, "admitted"),
        ({"status": 429, "layer": "usage-plan:basic"}, Layer.USAGE_PLAN),
        ({"status": 403, "layer": "waf"}, Layer.WAF),
        ({"status": 429, "message": "Too Many Requests"}, Layer.USAGE_PLAN),
        ({"status": 429, "reason": "too many requests from this address"}, Layer.WAF),
        ({"status": 429, "message": "Limit Exceeded"}, Layer.QUOTA),
        ({"status": 403}, Layer.API_KEY),
        ({"status": 503}, Layer.CONCURRENCY),
        ({"status": 500}, "failed"),
        ({"status": 413}, "failed"),
        ({"status": 200, "layer": "another proxy's"}, "admitted"),
    ],
)
def test_an_answer_says_what_happened_to_the_request(
    sample: dict[str, Any], outcome: Layer | str
) -> None:
    requests = requests_of(None, "basic/default=1rps,for=1s")
    findings = judge(
        DEV, *requests, [Sample(number=0, sent=0.0, latency=0.1, **sample)], START, tolerance=0.05
    )

    total = findings.result.total
    assert findings.failed == (outcome == "failed")
    assert list(total.refused) == ([outcome] if isinstance(outcome, Layer) else [])
    assert total.admitted == (not total.refused)


def test_other_routes_may_answer_what_they_document(monkeypatch: pytest.MonkeyPatch) -> None:
    route = ROUTES[0]._replace(verb="GET", path="/data/{id}", body=None, answers={200: "", 404: ""})
    for module in ("judge", "requests"):
        monkeypatch.setattr(f"tools.traffic.load.{module}.ROUTES", (route,))
    requests = requests_of(None, "basic/default=1rps,for=3s")
    samples = [
        Sample(number=number, sent=float(number), latency=0.1, status=status)
        for number, status in enumerate((200, 404, 400))
    ]
    findings = judge(DEV, *requests, samples, START, tolerance=0.05)

    assert (findings.result.total.admitted, findings.failed) == (3, 1)


def test_an_answer_cannot_reach_the_terminal_unescaped() -> None:
    sample = Sample(number=0, sent=0, latency=0, status=500, message="\x1b[2J\u202e" + "x" * 1000)
    assert str(sample) == "500 ?[2J?" + "x" * 95


def test_a_body_that_is_too_large_must_be_refused_and_no_other() -> None:
    requests = requests_of("sizes")
    samples = answers(DEV, requests)
    assert {one.status for one in samples} == {200, 413, 429}
    assert judge(DEV, *requests, samples, START, tolerance=0.05).failed == 0

    def failed(change: Callable[[Sample], Sample]) -> int:
        changed = [change(one) for one in samples]
        findings = judge(DEV, *requests, changed, START, tolerance=0.05)
        assert findings.verdict is OFF
        return findings.failed

    number = sum(one.status == 413 for one in samples)
    assert failed(lambda one: one._replace(status=200) if one.status == 413 else one) == number
    assert failed(lambda one: one._replace(status=413) if one.status == 200 else one) > number


def test_requests_without_an_answer_make_every_count_unclear() -> None:
    requests = requests_of("burst")
    samples = answers(DEV, requests)
    lost = [one._replace(status=0, message="ConnectionReset") for one in samples[:5]]
    findings = judge(DEV, *requests, [*lost, *samples[5:]], START, tolerance=0.05)

    assert {row.verdict for row in findings.rows.values()} == {UNCLEAR}
    assert findings.answers["no answer: ConnectionReset"] == 5
    assert findings.result.total.sent == len(samples) - 5


def test_requests_that_left_late_are_held_up() -> None:
    prod, requests = settings("prod").limits(), requests_of("plan", stack="prod")

    assert held_up(verdict_on(prod, prod, requests, service=0.01)) == ""
    assert "left up to 0.4 s late" in held_up(verdict_on(prod, prod, requests, late=0.4))


def test_part_of_the_answers_is_judged_as_far_as_it_goes() -> None:
    requests = requests_of("plan")
    samples = answers(DEV, requests)
    findings = judge(DEV, *requests, samples[: len(samples) // 3], START, tolerance=0.05)

    assert findings.verdict is AGREES
    assert findings.latency_ms == pytest.approx([10, 10, 10], rel=0.01)
