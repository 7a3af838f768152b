"""Rates become requests: how many, when, and from which addresses."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.fuzzing import examples
from tests.throttling.examples import BASIC, METHOD, PREMIUM, even, poisson, steady
from throttling.simulation.arrivals import blocks
from throttling.simulation.traffic import Arrivals, Block, Phase, Source, Traffic


def all_of(traffic: Traffic) -> Block:
    """Return all requests in one block."""
    parts = list(blocks(traffic))
    return Block(
        times=np.concatenate([part.times for part in parts]),
        sources=np.concatenate([part.sources for part in parts]),
        addresses=np.concatenate([part.addresses for part in parts]),
    )


def test_even_requests_are_at_equal_distances_from_the_first_moment_on() -> None:
    times = all_of(even(steady(BASIC, 700, 500))).times
    assert len(times) == 350_000
    assert np.allclose(times, np.arange(350_000) / 700, rtol=0, atol=1e-8)


def test_even_requests_take_turns_over_the_addresses() -> None:
    addresses = all_of(even(steady(BASIC, 10, 2, addresses=3))).addresses
    assert addresses.tolist() == [n % 3 for n in range(20)]


def test_poisson_requests_come_from_random_addresses() -> None:
    addresses = all_of(poisson(steady(BASIC, 100, 400, addresses=4))).addresses
    counts = np.bincount(addresses)
    assert counts == pytest.approx(np.full(4, 10_000), rel=0.05)
    # Independent addresses are followed by themselves in a quarter of all cases.
    assert (addresses[1:] == addresses[:-1]).mean() == pytest.approx(0.25, abs=0.02)


def test_clients_have_addresses_of_their_own_and_sources_of_one_client_share_them() -> None:
    block = all_of(
        even(
            steady(BASIC, 10, 2, addresses=2),
            steady(PREMIUM, 10, 2),
            steady(BASIC, 5, 2, addresses=3),
        )
    )
    used = [set(block.addresses[block.sources == source].tolist()) for source in range(3)]
    assert used == [{0, 1}, {3}, {0, 1, 2}]


def test_an_even_ramp_has_the_area_under_it() -> None:
    times = all_of(even(steady(BASIC, 0, 10, to=20))).times
    # The rate is 2t, so the nth request comes when t^2 is n.
    assert times == pytest.approx(np.sqrt(np.arange(100)))


@pytest.mark.parametrize("arrivals", list(Arrivals))
def test_phases_follow_each_other_and_a_pause_is_silent(arrivals: Arrivals) -> None:
    phases = [(0, 1.5, 100), (1.5, 0, 100), (2, 0.5, 0), (3.25, 0.5, 200)]
    source = Source(
        client=BASIC,
        method=METHOD,
        addresses=1,
        phases=tuple(
            Phase(start_seconds=start, seconds=seconds, from_rps=rps, to_rps=rps)
            for start, seconds, rps in phases
        ),
    )
    times = all_of(Traffic(sources=(source,), arrivals=arrivals)).times
    assert not ((times > 1.5) & (times < 3.25)).any()
    assert times.max() < 3.75
    assert (times > 3).sum() == pytest.approx(100, abs=0 if arrivals is Arrivals.EVEN else 40)


def test_poisson_requests_have_the_mean_and_the_spread_of_their_name() -> None:
    times = all_of(poisson(steady(BASIC, 50, 4000, addresses=5))).times
    per_second = np.bincount(times.astype(int), minlength=4000)
    assert per_second.mean() == pytest.approx(50, rel=0.01)
    assert per_second.var() == pytest.approx(50, rel=0.1)
    # Distances between independent requests are exponential: their deviation is their mean.
    distances = np.diff(times)
    assert distances.std() == pytest.approx(distances.mean(), rel=0.02)


@examples()
@given(
    shapes=st.lists(
        st.lists(
            st.tuples(
                st.sampled_from([0.1, 1 / 3, 0.7, 1.0]),
                st.sampled_from([0.0, 1.0, 7.3, 200.0]),
                st.sampled_from([0.0, 3.0, 7.3, 200.0]),
            ),
            min_size=1,
            max_size=12,
        ),
        min_size=1,
        max_size=3,
    ),
    start=st.sampled_from([0.0, 0.1, 1e6]),
    arrivals=st.sampled_from(list(Arrivals)),
)
@example(
    # The phases end at 1.8 s but for a rounding error, in which the sum of the first falls.
    shapes=[
        [(0.1, 7.3, 200.0), (1.0, 7.3, 7.3), (0.7, 1.0, 0.0)],
        [(0.7, 1.0, 3.0), (0.1, 7.3, 7.3), (1.0, 1.0, 200.0), (1.0, 7.3, 0.0)],
    ],
    start=0.0,
    arrivals=Arrivals.POISSON,
)
def test_any_phases_become_as_many_requests_as_they_hold_in_the_order_of_time(
    shapes: list[list[tuple[float, float, float]]], start: float, arrivals: Arrivals
) -> None:
    sources = []
    for shape in shapes:
        phases, now = list[Phase](), start
        for seconds, rps, to in shape:
            phases.append(Phase(start_seconds=now, seconds=seconds, from_rps=rps, to_rps=to))
            now = phases[-1].end_seconds
        sources.append(Source(client=BASIC, method=METHOD, addresses=3, phases=tuple(phases)))
    traffic = Traffic(sources=tuple(sources), arrivals=arrivals)
    parts = [part for part in blocks(traffic) if len(part.times)]
    times = np.concatenate([part.times for part in parts] or [np.empty(0)])

    assert (np.diff(times) >= 0).all()
    assert ((times >= start) & (times <= traffic.seconds)).all()
    if arrivals is Arrivals.EVEN:
        sent = np.concatenate([part.sources for part in parts] or [np.empty(0, int)])
        for index, source in enumerate(sources):
            expected = sum(phase.requests for phase in source.phases)
            assert (sent == index).sum() == math.ceil(expected - 1e-6)


def test_equal_seeds_give_equal_traffic_and_other_seeds_other_traffic() -> None:
    one, same, other = (
        all_of(poisson(steady(BASIC, 9, 60), seed=seed)).times for seed in (1, 1, 2)
    )
    assert np.array_equal(one, same)
    assert not np.array_equal(one[:100], other[:100])
