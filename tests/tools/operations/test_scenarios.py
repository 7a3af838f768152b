"""What is planned to be sent, from the limits alone."""

from collections import Counter
from dataclasses import replace

import pytest

from tools.traffic.load.bodies import IDS, MIXED, TOO_LARGE, body
from tools.traffic.load.job import Job, make_job, samples_from_json, samples_to_json
from tools.traffic.load.samples import Sample
from tools.traffic.load.scenarios import SCENARIOS, Kind, plan_schedule, plan_throttle
from tools.traffic.load.target import Target
from tests.tools.operations.conftest import target_of
from throttling import Client, Throttle, UsagePlan, WafRateLimit


def test_all_scenarios_of_dev_take_less_than_three_minutes(dev: Target) -> None:
    schedule = plan_schedule(dev, SCENARIOS)

    assert schedule.scenarios() == list(SCENARIOS)
    assert schedule.seconds < 160, "Locust takes a few seconds more to start and to end"


def test_each_plan_is_tested_at_and_beyond_its_rate_and_then_by_a_burst(dev: Target) -> None:
    phases = plan_schedule(dev, ["plan"]).phases

    for plan in dev.limits.usage_plans:
        throttle = plan_throttle(dev, plan)
        assert throttle
        mine = [phase for phase in phases if phase.client == Client(plan, "default")]
        assert [phase.name for phase in mine] == [
            "80%",
            "100%",
            "150%",
            "after Retry-After",
            "burst",
        ]
        shares = [phase.rate / throttle.rate for phase in mine[:3]]
        assert shares == pytest.approx([0.8, 1.0, 1.5])
        steady, full, overload, retry, burst = mine
        assert overload.count / overload.rate > throttle.burst / (0.5 * throttle.rate) + 10, (
            "long enough to empty the bucket, and to measure after that"
        )
        assert retry.start - overload.end >= dev.retry_after_seconds
        assert burst.start - retry.end > throttle.burst / throttle.rate, "full again"
        assert burst.count > throttle.burst + throttle.rate * (burst.end - burst.start)
        assert steady.end < full.start < full.end < overload.start


def test_phases_of_one_plan_after_the_other_find_full_buckets(dev: Target) -> None:
    first, second = (
        [
            phase
            for phase in plan_schedule(dev, ["plan"]).phases
            if phase.subject == f"{plan}/default"
        ]
        for plan in ("basic", "premium")
    )

    assert second[0].start - first[-1].end > 2, "burst / rate of both plans and the stage"


def test_a_burst_is_not_faster_than_the_function_keeps_up(dev: Target) -> None:
    slow = replace(dev, limits=replace(dev.limits, concurrency=10))

    (burst, *_) = [p for p in plan_schedule(slow, ["plan"]).phases if p.kind is Kind.BURST]

    assert burst.rate == 10 / 0.1


def test_on_the_sandbox_no_two_scenarios_share_an_address(dev: Target) -> None:
    schedule = plan_schedule(dev, SCENARIOS)
    used: dict[str, str] = {}
    for phase in schedule.phases:
        assert phase.addresses
        for address in phase.addresses:
            assert used.setdefault(address, phase.scenario) == phase.scenario
    again = plan_schedule(target_of("dev"), SCENARIOS)
    assert not set(used) & {a for phase in again.phases for a in phase.addresses}


def test_the_web_acl_is_in_nobodys_way_on_the_sandbox(dev: Target) -> None:
    tight = replace(dev, limits=replace(dev.limits, waf=WafRateLimit(limit=100, window_seconds=60)))
    sent: Counter[str] = Counter()
    for phase in plan_schedule(tight, ["plan", "stage", "mixed"]).phases:
        for number in range(phase.count):
            sent[phase.addresses[number % len(phase.addresses)]] += 1

    assert max(sent.values()) < 100


def test_one_address_sends_more_than_the_web_acl_allows_and_many_send_as_much(dev: Target) -> None:
    one, many = plan_schedule(dev, ["waf"]).phases

    assert (len(one.addresses), len(many.addresses)) == (1, 50)
    assert one.count == many.count == 1650
    assert one.end - one.start < 60, "within the window"
    assert one.client is many.client is None, "only the web ACL is to refuse them"


def test_a_blocked_address_is_asked_again_when_the_run_takes_that_long_anyway(dev: Target) -> None:
    def asked_again(names: list[str]) -> list[float]:
        schedule = plan_schedule(dev, names)
        blocked = next(phase for phase in schedule.phases if phase.kind is Kind.BLOCK)
        return [
            phase.start - blocked.end
            for phase in schedule.phases
            if phase.kind is Kind.RETRY and phase.addresses == blocked.addresses
        ]

    assert asked_again(["waf"]) == []
    assert "let in after Retry-After" in plan_schedule(dev, ["waf"]).left_out["waf"][0]
    (after,) = asked_again(list(SCENARIOS))
    assert after > 60


def test_a_deployed_web_acl_leaves_out_what_it_would_block() -> None:
    prod = target_of("prod", sandbox=False)

    schedule = plan_schedule(prod, SCENARIOS)

    assert {"smoke", "waf"} == {phase.scenario for phase in schedule.phases}
    assert "the web ACL lets 2,000 through" in schedule.left_out["plan"][0]
    assert "generators" in schedule.left_out["plan"][0]
    assert not any(phase.addresses for phase in schedule.phases), "X-Forwarded-For is AWS's there"
    enough = plan_schedule(target_of("prod", sandbox=False, generators=50), SCENARIOS)
    assert {"plan", "stage", "mixed"} < {phase.scenario for phase in enough.phases}


def test_a_stage_that_its_clients_can_reach_is_filled(dev: Target) -> None:
    limits = replace(dev.limits, stage=Throttle(rate=20, burst=20))
    phases = plan_schedule(replace(dev, limits=limits), ["stage"]).phases

    steady = [phase for phase in phases if phase.kind is Kind.STEADY]
    assert {phase.start for phase in steady} == {0.0}, "all clients at the same time"
    assert sum(phase.rate for phase in steady) == 25
    assert min(p.end for p in steady) > 20 / (25 - 20) + 10, "emptied, and measured after that"


def test_limits_that_are_not_there_are_left_out(dev: Target) -> None:
    plans = {"basic": UsagePlan(clients=(), throttle=None, quota=None)}
    limits = replace(dev.limits, waf=None, stage=None, usage_plans=plans)

    schedule = plan_schedule(replace(dev, limits=limits, keys={}), SCENARIOS)

    assert {phase.scenario for phase in schedule.phases} == {"smoke"}
    assert set(schedule.left_out) == {"plan", "stage", "mixed", "waf"}


def test_every_request_is_in_exactly_one_share(dev: Target) -> None:
    job = make_job(dev, plan_schedule(dev, SCENARIOS))

    whole = list(job.arrivals())
    shares = [list(job.arrivals(share, 3)) for share in range(3)]

    assert whole == sorted(whole)
    assert len(whole) == job.requests
    assert sorted(arrival for share in shares for arrival in share) == whole
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) < len(job.phases)


def test_a_job_and_its_samples_survive_the_way_to_the_generator(dev: Target) -> None:
    job = make_job(dev, plan_schedule(dev, SCENARIOS))

    assert Job.from_json(job.to_json()) == job
    sample = Sample(phase=1, number=2, due=3, sent=3.1, latency=0.1, status=429, retry_after="1")
    assert samples_from_json(samples_to_json([sample])) == [sample]


def test_keys_are_not_in_what_a_job_or_a_target_prints(dev: Target) -> None:
    assert "key-of-" not in repr(dev) + repr(make_job(dev, plan_schedule(dev, ["smoke"])))


def test_a_request_carries_key_address_and_body(dev: Target) -> None:
    job = make_job(dev, plan_schedule(dev, ["plan"]))

    headers, content = job.request(next(job.arrivals()))

    assert headers["x-api-key"] == "key-of-basic-default"
    assert headers["X-Forwarded-For"].startswith("2001:db8:"), "for documentation (RFC 3849)"
    assert content == body("small", 0)


def test_bodies_are_of_all_sizes_under_few_ids() -> None:
    from handler.record import MAX_BODY_BYTES, Refused, to_item

    lengths = [len(body(size, 1).encode()) for size in MIXED]
    assert lengths == sorted(lengths)
    for size in MIXED:
        if size == TOO_LARGE:
            with pytest.raises(Refused):
                to_item(body(size, 1))
        else:
            assert to_item(body(size, 1))
    assert lengths[-1] > MAX_BODY_BYTES
    assert body("small", 1) == body("small", 1 + IDS)
    assert to_item(body("README's", 5)) == {
        "id": {"S": "12"},
        "title": {"S": "Test Movie"},
        "year": {"N": "2023"},
    }
