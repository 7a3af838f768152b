"""Rates and bursts from single requests, on streams whose truth is known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.traffic.load.measure import (
    burst_size,
    modelled_passes,
    offered,
    percentile,
    sustained_rate,
)
from tools.traffic.load.samples import Sample
from tests.fuzzing import examples
from throttling import Throttle
from throttling.limiters import TokenBucket


def stream(
    throttle: Throttle, rate: float, seconds: float, delay: float = 0.004, latency: float = 0.01
) -> list[Sample]:
    """Requests at a constant rate, decided by a bucket `delay` after each was sent."""
    bucket = TokenBucket(throttle)
    return [
        sample(at, 200 if bucket.take(at + delay) else 429, latency=latency)
        for at in (number / rate for number in range(int(rate * seconds)))
    ]


def sample(sent: float, status: int = 200, *, latency: float = 0.01, due: float = 0.0) -> Sample:
    return Sample(phase=0, number=0, due=due or sent, sent=sent, latency=latency, status=status)


@examples()
@given(
    st.floats(1, 200), st.integers(2, 400), st.floats(1.2, 4), st.floats(0, 0.2), st.floats(0, 1)
)
def test_the_true_rate_is_within_the_bounds(
    rate: float, burst: int, factor: float, latency: float, share: float
) -> None:
    seconds = burst / (rate * (factor - 1)) + 15
    if rate * factor * seconds > 20_000:
        return
    throttle = Throttle(rate=rate, burst=burst)
    measured = sustained_rate(
        stream(throttle, rate * factor, seconds, latency * share, latency + 1e-6)
    )

    assert measured is not None
    assert measured.low <= rate <= measured.high
    assert measured.low <= measured.value <= measured.high


@examples()
@given(st.floats(1, 200), st.integers(2, 400), st.floats(4, 40), st.floats(0, 0.2))
def test_the_true_burst_is_within_the_bounds(
    rate: float, burst: int, factor: float, latency: float
) -> None:
    samples = stream(
        Throttle(rate=rate, burst=burst),
        rate * factor,
        3 * burst / (rate * (factor - 1)) + 5 / rate,
        latency,
        latency + 1e-6,
    )
    measured = burst_size(samples, rate)

    assert measured is not None
    assert measured.low <= burst <= measured.high
    assert abs(measured.value - burst) <= 1


def test_the_rate_of_a_known_stream() -> None:
    measured = sustained_rate(stream(Throttle(rate=5, burst=10), 7.5, 16))

    assert measured is not None
    assert measured.value == pytest.approx(5, rel=0.02)


def test_a_bucket_that_refuses_nobody_has_no_measurable_rate() -> None:
    samples = stream(Throttle(rate=5, burst=10), 4, 10)

    assert sustained_rate(samples) is None
    assert burst_size(samples, 5) is None


def test_a_request_without_an_answer_counts_on_neither_side() -> None:
    samples = stream(Throttle(rate=20, burst=40), 200, 1)
    lost = [sample(0.0031 + number / 100, 0) for number in range(100)]

    assert burst_size([*samples, *lost], 20) == burst_size(samples, 20)


def test_what_gets_past_the_throttles_and_no_further_took_a_token() -> None:
    samples = [sample(0, 200), sample(0.001, 503), sample(0.002, 413), sample(0.003, 429)]

    measured = burst_size(samples, 0)

    assert measured is not None
    assert measured.low == 3


def test_the_model_says_what_a_bucket_passes_of_what_was_sent_when_it_was() -> None:
    throttle = Throttle(rate=5, burst=10)

    assert modelled_passes([sample(n / 5) for n in range(50)], throttle) == 50
    assert modelled_passes([sample(n / 1000) for n in range(50)], throttle) == 10
    assert modelled_passes([], throttle) == 0


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(n) for n in range(1, 101)]

    assert [percentile(values, p) for p in (50, 95, 99, 100)] == [50, 95, 99, 100]
    assert percentile([3.0], 99) == 3.0
    assert percentile([], 50) is None


def test_what_was_offered_is_compared_with_the_plan() -> None:
    on_time = offered([sample(n / 10) for n in range(100)], 10)
    assert on_time.rate == pytest.approx(10)
    assert not on_time.held_up

    slow = offered([sample(n / 8, due=n / 10) for n in range(100)], 10)
    assert slow.rate == pytest.approx(8)
    assert slow.held_up

    late = offered([sample(n / 10 + 1, due=n / 10) for n in range(1, 100)], 10)
    assert late.late_seconds == pytest.approx(1)
    assert late.held_up, "the rate is right, and all came a second late"

    assert offered([], 10).rate is None
