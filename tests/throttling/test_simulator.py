"""Whole runs against closed forms: who is refused first, when, and how many are admitted."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from math import factorial

import pytest

from tests.throttling.examples import (
    BASIC,
    METHOD,
    OPEN,
    PREMIUM,
    PROD,
    even,
    one_client,
    poisson,
    steady,
)
from throttling import Layer, Limits, Period, Quota, Throttle, UsagePlan
from throttling.simulation.simulator import Result, simulate
from throttling.simulation.traffic import Phase, Source, Traffic


def run(limits: Limits, traffic: Traffic, *, lag: float = 0.0) -> Result:
    return simulate(limits, traffic, duration_seconds=0.1, waf_lag_seconds=lag)


def test_one_address_at_500_per_second_meets_productions_waf_after_4_seconds() -> None:
    (client,) = run(PROD, even(steady(PREMIUM, 500, 600))).clients
    assert client.first_refused == {Layer.WAF: pytest.approx(4.0)}
    assert client.admitted == 2000
    assert client.quota_left == 98_000


def test_the_wafs_lag_is_that_much_later() -> None:
    (client,) = run(PROD, even(steady(PREMIUM, 500, 60)), lag=30).clients
    assert client.first_refused[Layer.WAF] == pytest.approx(34.0, abs=0.01)


@pytest.mark.parametrize("traffic", [even, poisson])
def test_a_hundred_addresses_at_500_per_second_use_the_quota_up_in_200_seconds(
    traffic: Callable[[Source], Traffic],
) -> None:
    (client,) = run(PROD, traffic(steady(PREMIUM, 500, 600, addresses=100))).clients
    assert client.first_refused == {Layer.QUOTA: pytest.approx(200, abs=1)}
    assert client.admitted == 100_000
    assert client.quota_left == 0
    assert client.quota_renewed == datetime(2026, 1, 6, tzinfo=UTC)


def test_a_plan_admits_its_burst_and_its_rate() -> None:
    (client,) = run(OPEN, even(steady(BASIC, 300, 100, addresses=50))).clients
    # 200 tokens last 200 / (300 - 100) seconds.
    assert client.first_refused[Layer.USAGE_PLAN] == pytest.approx(1.0, abs=0.02)
    assert client.admitted == pytest.approx(200 + 100 * 100, abs=1)


def test_clients_within_their_plans_may_meet_the_stage() -> None:
    limits = replace(OPEN, stage=Throttle(rate=300, burst=600))
    result = run(limits, poisson(steady(PREMIUM, 400, 100), steady(BASIC, 90, 100)))
    assert result.total.admitted == pytest.approx(600 + 300 * 100, abs=2)
    assert all(set(client.refused) == {Layer.STAGE} for client in result.clients)


def test_independent_requests_meet_a_busy_function_as_often_as_erlang_says() -> None:
    servers, load = 10, 8.0
    result = run(one_client(concurrency=servers), poisson(steady(BASIC, load / 0.1, 4000)))
    terms = [load**n / factorial(n) for n in range(servers + 1)]
    (client,) = result.clients
    assert client.refused[Layer.CONCURRENCY] / client.sent == pytest.approx(
        terms[-1] / sum(terms), rel=0.03
    )
    assert result.peak_concurrency == servers


def test_a_quota_begins_anew_at_midnight() -> None:
    limits = one_client(quota=Quota(limit=100, period=Period.DAY))
    traffic = replace(even(steady(BASIC, 1, 3600)), start=datetime(2026, 3, 1, 23, 30, tzinfo=UTC))
    (client,) = run(limits, traffic).clients
    assert client.admitted == 200
    assert client.first_refused[Layer.QUOTA] == 100


def test_requests_without_a_key_are_the_wafs_first_and_then_the_keys() -> None:
    (client,) = run(PROD, even(steady(None, 100, 60))).clients
    assert client.refused == {Layer.WAF: 4000, Layer.API_KEY: 2000}


def test_the_timeline_has_every_request_once() -> None:
    result = run(PROD, poisson(steady(PREMIUM, 300, 130, addresses=30), steady(BASIC, 150, 77.7)))
    assert result.timeline.sum() == result.total.sent
    for index, client in enumerate(result.clients):
        assert result.timeline[:, index].sum() == client.sent
        assert client.sent == client.admitted + sum(client.refused.values())


def test_hours_of_silence_are_no_requests() -> None:
    phases = (
        Phase(start_seconds=0, seconds=10, from_rps=50, to_rps=50),
        Phase(start_seconds=20_000, seconds=10, from_rps=50, to_rps=50),
    )
    traffic = even(Source(client=BASIC, method=METHOD, addresses=1, phases=phases))
    assert run(PROD, traffic).total.admitted == 1000


def test_progress_ends_with_the_run() -> None:
    reached: list[float] = []
    traffic = even(steady(BASIC, 1000, 250))
    simulate(OPEN, traffic, duration_seconds=0.1, progress=reached.append)
    assert len(reached) > 2
    assert reached == sorted(reached)
    assert reached[-1] == 250


def test_an_unlimited_stack_admits_everyone() -> None:
    limits = Limits(
        waf=None,
        usage_plans={"basic": UsagePlan(clients=("default",), throttle=None, quota=None)},
        stage=None,
        concurrency=None,
    )
    result = run(limits, poisson(steady(BASIC, 500, 60)))
    assert result.total.admitted == result.total.sent > 0
    assert result.clients[0].quota_left is None
