"""Each limiter against the closed form of what it promises."""

import tracemalloc
from datetime import UTC, datetime, timedelta
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing import examples
from throttling import Period, Throttle, choices
from throttling.limiters import (
    QuotaCounter,
    RateWindow,
    TokenBucket,
    WafRateRule,
    period_end,
    period_start,
)

GAPS = st.lists(st.sampled_from([0.0, 0.001, 0.1, 0.25, 1 / 3, 1.0, 7.5]), max_size=200)
STEPS = st.lists(
    st.sampled_from([-86_400.0, -1.0, -0.001, 0.0, 0.001, 0.25, 1.0, 60.0]), max_size=200
)


def posix(moment: str) -> float:
    return datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize("rate", [0.5, 3, 100, 333.3])
def test_under_constant_load_a_bucket_admits_burst_plus_rate_times_time(rate: float) -> None:
    bucket = TokenBucket(Throttle(rate=rate, burst=20))
    load, seconds = 4 * rate, 50
    admitted = sum(bucket.take(n / load) for n in range(round(load * seconds)))
    assert admitted == pytest.approx(20 + rate * seconds, abs=1)


def test_requests_at_exactly_the_rate_are_all_admitted_even_without_a_burst() -> None:
    bucket = TokenBucket(Throttle(rate=7, burst=1))
    assert all(bucket.take(n / 7) for n in range(10_000))


@examples()
@given(gaps=GAPS | STEPS, rate=st.sampled_from([0.3, 1.0, 3.7, 20.0]), burst=st.integers(1, 8))
def test_no_interval_has_more_than_burst_plus_rate_times_its_length(
    gaps: list[float], rate: float, burst: int
) -> None:
    """Even if the clock steps back: then time stands still until it has caught up."""
    bucket = TokenBucket(Throttle(rate=rate, burst=burst))
    moments = list(accumulate(gaps))
    latest = accumulate(moments, max)
    admitted = [time for now, time in zip(moments, latest, strict=True) if bucket.take(now)]
    for i, begin in enumerate(admitted):
        for number, end in enumerate(admitted[i:], 1):
            assert number <= burst + rate * (end - begin) + 1e-3


@examples()
@given(
    gaps=GAPS,
    limit=st.integers(1, 6),
    window=st.sampled_from([1, 5]),
    lag=st.sampled_from([0.0, 0.5, 3.0]),
)
def test_a_request_passes_while_fewer_than_the_limit_are_in_the_window_that_is_seen(
    gaps: list[float], limit: int, window: int, lag: float
) -> None:
    rule = RateWindow(limit, window, lag)
    sent: list[float] = []
    for now in accumulate(gaps):
        view = now - lag
        inside = sum(view - window + 1e-6 < earlier <= view for earlier in sent)
        assert rule.take(now) == (inside < limit)
        sent.append(now)


def test_an_address_at_exactly_the_limit_is_never_blocked() -> None:
    window = RateWindow(limit=2000, window_seconds=300)
    assert all(window.take(n * 300 / 2000) for n in range(10_000))


def test_a_clock_that_steps_back_hides_no_request_from_the_window() -> None:
    window = RateWindow(limit=2, window_seconds=10)
    assert [window.take(now) for now in (100.0, 100.0, 50.0)] == [True, True, False]


def test_a_huge_limit_takes_no_more_memory_than_its_window_needs() -> None:
    window = RateWindow(limit=2_000_000_000, window_seconds=10)
    tracemalloc.start()
    assert all(window.take(n / 100) for n in range(50_000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000, "1,000 requests are in a window"


def test_addresses_are_counted_apart_and_forgotten_when_their_window_has_passed() -> None:
    rule = WafRateRule(limit=1, window_seconds=10, lag_seconds=5)
    assert [rule.take(0.0, a) for a in ("a", "b")] == [True, True]
    assert [rule.take(5.0, a) for a in ("a", "c")] == [False, True]
    for n in range(1000):
        rule.take(n * 1.0, f"address {n}")
    assert rule.addresses == 15


def test_a_flood_of_addresses_makes_the_rule_forget_those_not_seen_for_the_longest_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(choices, "MAX_ADDRESSES", 100)
    rule = WafRateRule(limit=2, window_seconds=300)
    for n in range(1000):
        rule.take(n / 1000, f"address {n}")
        # An address that keeps sending is not forgotten.
        assert rule.take(n / 1000, "busy") == (n < 2)
        assert rule.addresses <= 100


@pytest.mark.parametrize(
    ("period", "now", "start", "end"),
    [
        (Period.DAY, "2026-03-01T23:59:59", "2026-03-01", "2026-03-02"),
        (Period.DAY, "2026-03-02T00:00:00", "2026-03-02", "2026-03-03"),
        (Period.WEEK, "2026-03-01T12:00:00", "2026-03-01", "2026-03-08"),
        (Period.WEEK, "2026-02-28T12:00:00", "2026-02-22", "2026-03-01"),
        (Period.MONTH, "2028-02-29T12:00:00", "2028-02-01", "2028-03-01"),
        (Period.MONTH, "2026-02-10T12:00:00", "2026-02-01", "2026-03-01"),
        (Period.MONTH, "2026-12-31T23:59:59", "2026-12-01", "2027-01-01"),
    ],
)
def test_a_period_is_the_calendars(period: Period, now: str, start: str, end: str) -> None:
    assert period_start(period, posix(now)).timestamp() == posix(start)
    assert period_end(period, posix(now)).timestamp() == posix(end)


@examples()
@given(
    period=st.sampled_from(list(Period)), day=st.integers(0, 40_000), second=st.integers(0, 86_399)
)
def test_every_moment_is_in_one_period_and_the_next_begins_where_it_ends(
    period: Period, day: int, second: int
) -> None:
    now = day * 86_400 + second
    start, end = period_start(period, now), period_end(period, now)
    assert start.timestamp() <= now < end.timestamp()
    assert period_start(period, end.timestamp()) == end
    assert timedelta(days=1) <= end - start <= timedelta(days=31)


def test_a_clock_that_steps_back_over_the_end_of_a_period_renews_no_quota() -> None:
    quota = QuotaCounter(10, Period.MONTH)
    left = []
    for moment in ("2027-01-01", "2026-12-31T23:59", "2027-01-31", "2027-02-01"):
        left.append(quota.left(posix(moment)))
        assert quota.take(posix(moment))
    assert left == [10, 9, 8, 10]
