"""Whole runs against closed forms: who is refused first, when, and how many are admitted."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from math import factorial

import numpy as np
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
from throttling import Client, Layer, Limits, Period, Quota, Throttle
from throttling.simulation.engine import CODES
from throttling.simulation.simulator import Result, run, simulate
from throttling.simulation.traffic import Block, Source, Traffic


def result_of(limits: Limits, traffic: Traffic, *, lag: float = 0.0) -> Result:
    return simulate(limits, traffic, duration_seconds=0.1, waf_lag_seconds=lag)


@pytest.mark.parametrize("lag", [0.0, 30.0])
def test_one_address_at_500_per_second_meets_productions_waf_after_4_seconds_and_its_lag(
    lag: float,
) -> None:
    (client,) = result_of(PROD, even(steady(PREMIUM, 500, 600)), lag=lag).clients
    assert client.first_refused == {Layer.WAF: pytest.approx(4 + lag, abs=0.01)}
    # After its first window, the WAF lets no more through: the address does not pause.
    assert client.admitted == 2000 + 500 * lag
    assert client.quota_left == 98_000 - 500 * lag


@pytest.mark.parametrize("traffic", [even, poisson])
def test_a_hundred_addresses_at_500_per_second_use_the_quota_up_in_200_seconds(
    traffic: Callable[[Source], Traffic],
) -> None:
    (client,) = result_of(PROD, traffic(steady(PREMIUM, 500, 600, addresses=100))).clients
    assert client.first_refused == {Layer.QUOTA: pytest.approx(200, abs=1)}
    assert client.admitted == 100_000
    assert client.quota_left == 0
    assert client.quota_renewed == datetime(2026, 1, 6, tzinfo=UTC)


def test_clients_within_their_plans_may_meet_the_stage() -> None:
    limits = replace(OPEN, stage=Throttle(rate=300, burst=600))
    result = result_of(limits, poisson(steady(PREMIUM, 400, 100), steady(BASIC, 90, 100)))
    assert result.total.admitted == pytest.approx(600 + 300 * 100, abs=2)
    assert all(set(client.refused) == {Layer.STAGE} for client in result.clients)


def test_independent_requests_meet_a_busy_function_as_often_as_erlang_says() -> None:
    servers, load = 10, 8.0
    result = result_of(one_client(concurrency=servers), poisson(steady(BASIC, load / 0.1, 4000)))
    terms = [load**n / factorial(n) for n in range(servers + 1)]
    expected = terms[-1] / sum(terms)
    (client,) = result.clients
    assert client.refused[Layer.CONCURRENCY] / client.sent == pytest.approx(expected, rel=0.03)
    assert result.peak_concurrency == servers


def test_a_quota_is_renewed_at_midnight() -> None:
    limits = one_client(quota=Quota(limit=100, period=Period.DAY))
    traffic = replace(even(steady(BASIC, 1, 3600)), start=datetime(2026, 3, 1, 23, 30, tzinfo=UTC))
    (client,) = result_of(limits, traffic).clients
    assert client.admitted == 200
    assert client.first_refused[Layer.QUOTA] == 100
    # Of a run that ends at midnight, the quota of the day before is reported.
    traffic = replace(even(steady(BASIC, 1, 60)), start=datetime(2026, 3, 1, 23, 59, tzinfo=UTC))
    (client,) = result_of(limits, traffic).clients
    assert client.quota_left == 40
    assert client.quota_renewed == datetime(2026, 3, 2, tzinfo=UTC)


def test_requests_without_a_key_are_refused_by_the_waf_first_and_then_for_their_key() -> None:
    (client,) = result_of(PROD, even(steady(None, 100, 60))).clients
    assert client.refused == {Layer.WAF: 4000, Layer.API_KEY: 2000}
    assert client.quota_left is None


def test_the_timeline_has_every_request_once_and_the_total_adds_all_clients_up() -> None:
    result = result_of(
        PROD, poisson(steady(PREMIUM, 300, 130, addresses=30), steady(BASIC, 150, 77.7))
    )
    assert result.timeline.sum() == result.total.sent
    for index, client in enumerate(result.clients):
        assert result.timeline[:, index].sum() == client.sent
        assert client.sent == client.admitted + sum(client.refused.values())
        for layer, first in client.first_refused.items():
            refused = result.timeline[:, index, CODES[layer]]
            assert np.argmax(refused > 0) == int(first / result.interval_seconds)
    assert result.total.admitted == sum(client.admitted for client in result.clients)
    for layer, first in result.total.first_refused.items():
        assert first == min(
            client.first_refused[layer] for client in result.clients if layer in client.refused
        )


@pytest.mark.parametrize(
    ("seconds", "interval", "intervals"),
    [
        (1.2, 0.01, 120),
        (60, 0.5, 120),
        (61, 1, 61),
        (86_400, 900, 96),
        (1000 * 86_400, 720_000, 120),
    ],
)
def test_the_timeline_has_at_most_120_intervals(
    seconds: float, interval: float, intervals: int
) -> None:
    result = result_of(OPEN, even(steady(BASIC, 10 / seconds, seconds)))
    assert result.interval_seconds == interval
    assert len(result.timeline) == intervals
    assert result.timeline.sum() == 10


def test_progress_ends_with_the_run() -> None:
    reached: list[float] = []
    traffic = even(steady(BASIC, 1000, 250))
    simulate(OPEN, traffic, duration_seconds=0.1, progress=reached.append)
    assert len(reached) > 2
    assert reached == sorted(reached)
    assert reached[-1] == 250


def test_requests_that_were_really_sent_are_decided_like_simulated_ones() -> None:
    times = np.arange(0, 60, 0.01)
    half = len(times) // 2
    sources = np.arange(len(times)) % 3
    durations = np.where(sources == 0, 5.0, 0.001)
    result = run(
        one_client(concurrency=100),
        [(BASIC, METHOD), (None, METHOD), (Client("basic", "gone"), METHOD)],
        [
            Block(times=times[part], sources=sources[part], addresses=sources[part], durations=own)
            for part, own in ((slice(half), durations[:half]), (slice(half, None), None))
        ],
        start=datetime(2026, 3, 1, tzinfo=UTC),
        seconds=60,
        duration_seconds=0.001,
    )
    sent = len(times) // 3
    assert [client.sent for client in result.clients] == [sent] * 3
    # For half of the time, 33 requests a second of 5 s each meet 100 executions, which so begin
    # 100 requests every 5 s. Then all are short.
    assert result.clients[0].admitted == pytest.approx(30 / 5 * 100 + sent / 2, abs=101)
    assert result.clients[1].refused == result.clients[2].refused == {Layer.API_KEY: sent}
