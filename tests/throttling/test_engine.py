"""The engine gives the verdicts of `Gate`, request for request."""

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from heapq import heappop, heappush
from itertools import accumulate
from types import FunctionType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing import examples
from tests.throttling.examples import BASIC, METHOD, one_client
from throttling import (
    Client,
    Gate,
    Layer,
    Limits,
    Period,
    Quota,
    Throttle,
    UsagePlan,
    WafRateLimit,
    choices,
)
from throttling.simulation.engine import OUTCOMES, Engine
from throttling.simulation.loops import compiled

ONE, TWO, OTHER = Client("basic", "one"), Client("basic", "two"), Client("premium", "one")
SOURCES: list[tuple[Client | None, str]] = [
    (ONE, METHOD),
    (TWO, METHOD),
    (OTHER, METHOD),
    (OTHER, "GET /items"),
    (Client("premium", "unknown"), METHOD),
    (None, METHOD),
]
throttles = st.none() | st.builds(
    Throttle, rate=st.sampled_from([0.2, 0.5, 1.0, 3.0, 7.3]), burst=st.integers(1, 5)
)
methods = throttles.map(lambda throttle: {METHOD: throttle} if throttle else {})
plans = st.builds(
    UsagePlan,
    clients=st.just(("one", "two")),
    throttle=throttles,
    quota=st.none()
    | st.builds(Quota, limit=st.integers(1, 12), period=st.sampled_from(list(Period))),
    methods=methods,
)
limits_of_any_kind = st.builds(
    Limits,
    waf=st.none()
    | st.builds(WafRateLimit, limit=st.integers(1, 8), window_seconds=st.sampled_from([1, 2, 10])),
    usage_plans=st.fixed_dictionaries({"basic": plans, "premium": plans}),
    stage=throttles,
    methods=methods,
    keyless=st.sampled_from([(), ("GET /items",), (METHOD,)]),
    concurrency=st.none() | st.integers(0, 3),
)
Sent = list[tuple[float, int, int, float]]
"""Seconds since the request before, source, address, duration."""
durations = st.sampled_from([0.0, 0.1, 0.75, 5.0])
GAPS = [*[0.0, 0.01, 0.1, 0.25, 1 / 3, 0.5, 1.0] * 4, 10.0, 40_000.0]
request = st.tuples(
    st.sampled_from(GAPS),
    st.sampled_from([*range(4)] * 3 + [4, 5]),
    st.sampled_from([0, 0, 1, 2]),
    durations,
)
# Lists of random lengths: hypothesis alone would make most of them too short to meet a limit.
requests = st.integers(1, 150).flatmap(
    lambda number: st.lists(request, min_size=number, max_size=number)
)
Outcome = tuple[list[Layer | None], int, list[int | None]]
"""The verdicts, the most requests in flight, and what is left of each client's quota."""


def by_gate(limits: Limits, sent: Sent, lag: float = 0.0) -> Outcome:
    gate = Gate(limits, waf_lag_seconds=lag)
    ends: list[float] = []
    verdicts: list[Layer | None] = []
    now, peak = 0.0, 0
    for gap, source, address, duration in sent:
        now += gap
        while ends and ends[0] <= now:
            heappop(ends)
            gate.release()
        client, method = SOURCES[source]
        refusal = gate.decide(now, address=str(address), client=client, method=method)
        if refusal is None:
            heappush(ends, now + max(0.0, duration - choices.DURATION_TOLERANCE_SECONDS))
        peak = max(peak, gate.in_flight)
        verdicts.append(refusal.layer if refusal else None)
    return verdicts, peak, [gate.quota_left(now, client) for client in (ONE, TWO, OTHER)]


def by_engine(limits: Limits, sent: Sent, lag: float = 0.0, *, chunk: int = 1000) -> Outcome:
    """Decide `chunk` requests at a time, with one duration for all if they have the same."""
    engine = Engine(limits, SOURCES, waf_lag_seconds=lag)
    gaps, *columns = (np.array(column) for column in zip(*sent, strict=True))
    times = np.array(list(accumulate(gaps.tolist())))
    verdicts: list[Layer | None] = []
    for first in range(0, len(sent), chunk):
        part = slice(first, first + chunk)
        sources, addresses, each = (column[part] for column in columns)
        one = float(each[0]) if len(set(each)) == 1 else None
        codes = engine.decide(times[part], sources, addresses, each if one is None else one)
        verdicts += [OUTCOMES[code] for code in codes]
    left = [engine.quota_left(times[-1], client) for client in (ONE, TWO, OTHER)]
    return verdicts, engine.peak_in_flight, left


@examples(300)
@given(
    limits=limits_of_any_kind,
    sent=requests,
    lag=st.sampled_from([0.0, 0.3, 2.0]),
    chunk=st.sampled_from([1, 2, 3, 20, 200]),
    one=st.none() | durations,
)
def test_verdicts_are_those_of_the_gate(
    limits: Limits, sent: Sent, lag: float, chunk: int, one: float | None
) -> None:
    if one is not None:
        sent = [(gap, source, address, one) for gap, source, address, _ in sent]
    assert by_engine(limits, sent, lag, chunk=chunk) == by_gate(limits, sent, lag)


@pytest.mark.parametrize("concurrency", [None, 25])
def test_verdicts_are_those_of_the_gate_when_many_requests_of_many_durations_are_in_flight(
    concurrency: int | None,
) -> None:
    rng = np.random.default_rng(2)
    gaps, lasts = rng.exponential(0.01, 5000).tolist(), rng.exponential(0.5, 5000).tolist()
    sent = [(gap, 0, 0, duration) for gap, duration in zip(gaps, lasts, strict=True)]
    plan = UsagePlan(clients=("one", "two"), throttle=None, quota=None)
    limits = Limits(
        waf=None,
        usage_plans={"basic": plan, "premium": plan},
        stage=None,
        concurrency=concurrency,
    )
    outcome = by_engine(limits, sent, chunk=700)
    assert outcome == by_gate(limits, sent)
    assert outcome[1] > 50 or outcome[1] == concurrency


@pytest.mark.parametrize(
    ("choice", "value"),
    [
        ("INITIAL_FILL", 0.5),
        ("QUOTA_BEFORE_THROTTLES", False),
        ("THROTTLED_REQUESTS_USE_QUOTA", True),
        ("THROTTLED_REQUESTS_TAKE_TOKENS", False),
        ("FUNCTION_REFUSALS_USE_QUOTA", False),
        ("FUNCTION_RATE_BURST_SECONDS", 0.05),
        ("METHOD_THROTTLE_OVERRIDES_STAGE", False),
        ("WAF_COUNTS_BLOCKED_REQUESTS", False),
    ],
)
def test_gate_and_engine_follow_each_choice(
    choice: str, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    sent = [
        (gap, int(rng.integers(4)), int(rng.integers(3)), 0.2)
        for gap in rng.exponential(0.05, 2000).tolist()
    ]
    quota = Quota(limit=50, period=Period.DAY)
    plan = UsagePlan(clients=("one", "two"), throttle=Throttle(rate=4, burst=5), quota=quota)
    limits = Limits(
        waf=WafRateLimit(limit=60, window_seconds=10),
        usage_plans={"basic": plan, "premium": replace(plan, quota=None)},
        stage=Throttle(rate=1, burst=2),
        methods={METHOD: Throttle(rate=5, burst=8)},
        concurrency=2,
    )
    usual = by_engine(limits, sent)
    monkeypatch.setattr(choices, choice, value)
    changed = by_engine(limits, sent)
    assert changed == by_gate(limits, sent)
    assert changed != usual, "the example does not show the choice"


def test_even_requests_that_fill_the_concurrency_exactly_are_all_admitted() -> None:
    engine = Engine(one_client(concurrency=100), [(BASIC, METHOD)])
    times = np.arange(50_000) / 1000
    zeros = np.zeros(len(times), np.int64)
    assert not engine.decide(times, zeros, zeros, 0.1).any()
    assert engine.peak_in_flight == 100


def test_memory_is_bounded_by_the_requests_of_one_window() -> None:
    limits = one_client(waf=WafRateLimit(limit=2_000_000_000, window_seconds=10))
    engine = Engine(limits, [(BASIC, METHOD)])
    tracemalloc.start()
    for second in range(0, 1000, 10):
        times = second + np.arange(10_000) / 1000
        engine.decide(times, np.zeros(len(times), np.int64), np.arange(len(times)) % 1000, 0.1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # 1,000,000 requests in all, of which 10,000 are in a window: 16 bytes each in the log.
    assert peak < 4_000_000


@pytest.mark.parametrize(
    ("times", "sources", "addresses", "message"),
    [
        ([1.0, 0.5], [0, 0], [0, 0], "times decrease"),
        ([0.0, float("nan")], [0, 0], [0, 0], "times decrease"),
        ([0.0, 0.5], [0, 1], [0, 0], "no such source"),
        ([0.0, 0.5], [0, -1], [0, 0], "no such source"),
        ([0.0, 0.5], [0, 0], [0, -1], "no such source or address"),
        ([0.0, 0.5], [0], [0, 0], "differ in length"),
    ],
)
def test_requests_that_would_be_decided_wrongly_are_refused(
    times: list[float], sources: list[int], addresses: list[int], message: str
) -> None:
    engine = Engine(one_client(), [(BASIC, METHOD)])
    with pytest.raises(ValueError, match=message):
        engine.decide(np.array(times), np.array(sources), np.array(addresses), 0.1)
    later, zero = np.array([9.0]), np.array([0])
    engine.decide(later, zero, zero, 0.1)
    with pytest.raises(ValueError, match="times decrease"):
        engine.decide(later - 1, zero, zero, 0.1)


def test_no_requests_have_no_verdicts() -> None:
    none = np.empty(0, np.int64)
    engine = Engine(one_client(waf=WafRateLimit(limit=10, window_seconds=60)), [(BASIC, METHOD)])
    assert len(engine.decide(np.empty(0), none, none, 0.1)) == 0


def test_loops_are_compiled_even_where_no_machine_code_can_be_kept() -> None:
    def double(number: int) -> int:
        return 2 * number

    # numba has no folder for a function without a file.
    code = double.__code__.replace(co_filename="/nonexistent/file.py")
    function: Callable[[int], int] = compiled(FunctionType(code, {}))
    assert function(21) == 42
