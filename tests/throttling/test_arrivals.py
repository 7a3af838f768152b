"""Rates become requests: as many, when, and from where."""

import numpy as np
import pytest

from tests.throttling.examples import BASIC, METHOD, PREMIUM, even, poisson, steady
from throttling.simulation.arrivals import blocks
from throttling.simulation.traffic import Arrivals, Phase, Source, Traffic


def times_of(traffic: Traffic) -> np.ndarray:
    return np.concatenate([block.times for block in blocks(traffic)])


def test_even_requests_are_at_equal_distances_from_the_first_moment_on() -> None:
    times = times_of(even(steady(BASIC, 7, 10)))
    assert times == pytest.approx(np.arange(70) / 7)


def test_even_requests_take_turns_over_the_addresses() -> None:
    block = next(blocks(even(steady(BASIC, 10, 2, addresses=3))))
    assert block.addresses.tolist() == [n % 3 for n in range(20)]


def test_clients_have_addresses_of_their_own_and_sources_of_one_client_share_them() -> None:
    traffic = even(
        steady(BASIC, 10, 2, addresses=2), steady(PREMIUM, 10, 2), steady(BASIC, 5, 2, addresses=3)
    )
    block = next(blocks(traffic))
    assert set(block.addresses[block.sources == 0]) == {0, 1}
    assert set(block.addresses[block.sources == 1]) == {3}
    assert set(block.addresses[block.sources == 2]) == {0, 1, 2}


def test_an_even_ramp_has_the_area_under_it() -> None:
    times = times_of(even(steady(BASIC, 0, 10, to=20)))
    assert len(times) == 100
    # n = t^2: the nth request comes at the square root of n.
    assert times == pytest.approx(np.sqrt(np.arange(100)))


def test_phases_follow_each_other_and_a_pause_is_silent() -> None:
    source = Source(
        client=BASIC,
        method=METHOD,
        addresses=1,
        phases=(
            Phase(start_seconds=0, seconds=1.5, from_rps=100, to_rps=100),
            Phase(start_seconds=3.25, seconds=0.5, from_rps=200, to_rps=200),
        ),
    )
    for arrivals in Arrivals:
        times = times_of(Traffic(sources=(source,), arrivals=arrivals))
        assert not ((times > 1.5) & (times < 3.25)).any()
        assert times.max() < 3.75
        assert (times > 3).sum() == pytest.approx(100, abs=30)


def test_poisson_requests_have_the_mean_and_the_spread_of_their_name() -> None:
    times = times_of(poisson(steady(BASIC, 50, 4000, addresses=5)))
    per_second = np.bincount(times.astype(int), minlength=4000)
    assert per_second.mean() == pytest.approx(50, rel=0.01)
    assert per_second.var() == pytest.approx(50, rel=0.1)
    distances = np.diff(times)
    assert distances.min() >= 0
    # Distances between independent requests are exponential: their deviation is their mean.
    assert distances.std() == pytest.approx(distances.mean(), rel=0.02)


def test_a_poisson_ramp_is_dense_where_its_rate_is_high() -> None:
    times = times_of(poisson(steady(BASIC, 0, 100, to=200)))
    assert len(times) == pytest.approx(10_000, rel=0.05)
    assert (times < 50).mean() == pytest.approx(0.25, abs=0.02)


def test_the_same_seed_is_the_same_traffic_and_another_is_not() -> None:
    one, same, other = (times_of(poisson(steady(BASIC, 9, 60), seed=s)) for s in (1, 1, 2))
    assert np.array_equal(one, same)
    assert len(one) != len(other) or not np.array_equal(one, other)
