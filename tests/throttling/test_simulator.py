"""Whole runs against closed forms: who is refused first, when, and how many are admitted."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from math import factorial

import pytest

from tests.throttling.examples import BASIC, OPEN, PREMIUM, PROD, even, one_client, poisson, steady
from throttling import Client, Layer, Limits, Period, Quota, Throttle, UsagePlan, WafRateLimit
from throttling.simulation.simulator import Result, simulate
from throttling.simulation.traffic import Arrivals, Phase, Source, Traffic


def run(limits: Limits, traffic: Traffic, *, lag: float = 0.0, aggregated: bool = False) -> Result:
    return simulate(
        limits, traffic, duration_seconds=0.1, waf_lag_seconds=lag, aggregated=aggregated
    )


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


def clients(number: int) -> tuple[Client, ...]:
    return tuple(Client("basic", f"client{n}") for n in range(number))


MANY = clients(6)
MANY_OPEN = replace(
    one_client(
        clients=tuple(client.name for client in MANY),
        throttle=Throttle(rate=100, burst=200),
        stage=Throttle(rate=400, burst=800),
    ),
    waf=WafRateLimit(limit=3000, window_seconds=60),
)
DAY = (
    Phase(start_seconds=0, seconds=1200, from_rps=0, to_rps=130),
    Phase(start_seconds=1200, seconds=0.4, from_rps=3000, to_rps=3000),
    Phase(start_seconds=1300.5, seconds=1200, from_rps=110, to_rps=20),
)
SCENARIOS = {
    "one address at the WAF": (PROD, (steady(PREMIUM, 500, 600),)),
    "addresses close to the WAF's limit": (
        PROD,
        (steady(PREMIUM, 6.7, 6000), steady(BASIC, 20, 6000, addresses=3)),
    ),
    "a quota that ends": (PROD, (steady(PREMIUM, 500, 600, addresses=100),)),
    "plans above their rate": (
        OPEN,
        (steady(PREMIUM, 600, 900), steady(BASIC, 300, 900)),
    ),
    "plans at exactly their rate": (
        OPEN,
        (steady(PREMIUM, 500, 1500), steady(BASIC, 100, 1500)),
    ),
    "a stage that clients share": (
        replace(OPEN, stage=Throttle(rate=300, burst=600)),
        (steady(PREMIUM, 400, 900), steady(BASIC, 90, 900)),
    ),
    "a busy function": (
        replace(OPEN, concurrency=60),
        (steady(PREMIUM, 500, 900), steady(BASIC, 90, 900)),
    ),
    "a ramp, a burst and a pause": (PROD, (Source(client=BASIC, addresses=30, phases=DAY),)),
    "the same without a quota": (OPEN, (Source(client=BASIC, addresses=30, phases=DAY),)),
    "many clients": (
        MANY_OPEN,
        tuple(
            steady(client, 20 + 15 * n, 900, addresses=n + 1, to=110 - 10 * n)
            for n, client in enumerate(MANY)
        ),
    ),
    "requests without a key": (PROD, (steady(None, 40, 900, addresses=5), steady(BASIC, 5, 900))),
}


@pytest.mark.parametrize("arrivals", list(Arrivals))
@pytest.mark.parametrize(
    ("scenario", "lag"),
    [
        (name, lag)
        for name, (limits, _) in SCENARIOS.items()
        for lag in (0.0, 12.5)[: 1 + bool(limits.waf)]
    ],
)
def test_aggregated_counts_are_within_half_a_percent_of_the_exact_ones(
    scenario: str, arrivals: Arrivals, lag: float
) -> None:
    limits, sources = SCENARIOS[scenario]
    traffic = Traffic(sources=sources, arrivals=arrivals, seed=3)
    exact, aggregated = (run(limits, traffic, lag=lag, aggregated=a) for a in (False, True))
    assert aggregated.share_by_request is not None
    for one, other in zip(
        [*exact.clients, exact.total], [*aggregated.clients, aggregated.total], strict=True
    ):
        assert other.sent == one.sent
        # Of outcomes so rare that half a percent is less than a request or two, a few may differ.
        few = max(3, one.sent * 1e-5)
        assert other.admitted == pytest.approx(one.admitted, rel=0.005, abs=few)
        for layer in Layer:
            expected = one.refused.get(layer, 0)
            assert other.refused.get(layer, 0) == pytest.approx(expected, rel=0.005, abs=few), layer
            if expected > 1000:
                assert other.first_refused[layer] == pytest.approx(
                    one.first_refused[layer], rel=0.01, abs=1.0
                ), layer


def test_a_midnight_is_the_same_in_both_modes() -> None:
    sources = steady(PREMIUM, 500, 900, addresses=100), steady(BASIC, 99, 900, addresses=50)
    traffic = replace(poisson(*sources), start=datetime(2026, 3, 1, 23, 55, tzinfo=UTC))
    premium = replace(
        PROD.usage_plans["premium"], throttle=None, quota=Quota(limit=5_000, period=Period.DAY)
    )
    # The other client keeps the function busy, so that its seconds are decided by request.
    limits = replace(OPEN, concurrency=12, usage_plans={**OPEN.usage_plans, "premium": premium})
    exact, aggregated = (run(limits, traffic, aggregated=a) for a in (False, True))
    assert exact.clients[0].admitted == 10_000
    assert (aggregated.timeline.sum(axis=0) == exact.timeline.sum(axis=0)).all()


def test_aggregated_seconds_of_a_steady_load_are_not_decided_by_request() -> None:
    result = run(OPEN, poisson(steady(PREMIUM, 600, 900), steady(BASIC, 300, 900)), aggregated=True)
    assert result.share_by_request is not None
    assert result.share_by_request < 0.1
    assert (
        simulate(OPEN, poisson(steady(BASIC, 5, 5)), duration_seconds=0.1).share_by_request is None
    )


def test_a_common_bucket_is_shared_in_proportion_once_enough_was_decided(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("throttling.simulation.aggregated._SHARED_BY_REQUEST", 50_000)
    limits = replace(OPEN, stage=Throttle(rate=300, burst=600))
    traffic = poisson(steady(PREMIUM, 400, 3000), steady(BASIC, 90, 3000))
    exact, aggregated = (run(limits, traffic, aggregated=a) for a in (False, True))
    assert aggregated.total.admitted == pytest.approx(exact.total.admitted, abs=5)
    for one, other in zip(exact.clients, aggregated.clients, strict=True):
        assert other.admitted == pytest.approx(one.admitted, rel=0.005)


def test_hours_of_silence_are_no_requests() -> None:
    phases = (
        Phase(start_seconds=0, seconds=10, from_rps=50, to_rps=50),
        Phase(start_seconds=20_000, seconds=10, from_rps=50, to_rps=50),
    )
    traffic = even(Source(client=BASIC, addresses=1, phases=phases))
    for aggregated in (False, True):
        assert run(PROD, traffic, aggregated=aggregated).total.admitted == 1000


def test_progress_ends_with_the_run() -> None:
    for aggregated in (False, True):
        reached: list[float] = []
        simulate(
            OPEN,
            even(steady(BASIC, 10, 100)),
            duration_seconds=0.1,
            aggregated=aggregated,
            progress=reached.append,
        )
        assert reached[-1] >= 100


def test_an_unlimited_stack_admits_everyone() -> None:
    limits = Limits(
        waf=None,
        usage_plans={"basic": UsagePlan(clients=("default",), throttle=None, quota=None)},
        stage=None,
        concurrency=None,
    )
    for aggregated in (False, True):
        result = run(limits, poisson(steady(BASIC, 500, 60)), aggregated=aggregated)
        assert result.total.admitted == result.total.sent > 0
        assert result.clients[0].quota_left is None
