"""The fast engine gives the verdicts of `Gate`, request for request."""

from heapq import heappop, heappush
from itertools import accumulate

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

SOURCES: list[tuple[Client | None, str]] = [
    (Client("basic", "one"), METHOD),
    (Client("basic", "two"), METHOD),
    (Client("premium", "one"), METHOD),
    (Client("premium", "one"), "GET /data"),
    (Client("premium", "nobody"), METHOD),
    (None, METHOD),
]
throttles = st.none() | st.builds(
    Throttle,
    rate=st.sampled_from([0.2, 0.5, 1.0, 3.0, 7.3]),
    burst=st.integers(min_value=1, max_value=5),
)
plans = st.builds(
    UsagePlan,
    clients=st.just(("one", "two")),
    throttle=throttles,
    quota=st.none()
    | st.builds(
        Quota,
        limit=st.integers(min_value=1, max_value=12),
        period=st.sampled_from(list(Period)),
    ),
    methods=throttles.map(lambda throttle: {METHOD: throttle} if throttle else {}),
)
limits_of_any_kind = st.builds(
    Limits,
    waf=st.none()
    | st.builds(
        WafRateLimit,
        limit=st.integers(min_value=1, max_value=8),
        window_seconds=st.sampled_from([1, 2, 10]),
    ),
    usage_plans=st.fixed_dictionaries({"basic": plans, "premium": plans}),
    stage=throttles,
    methods=throttles.map(lambda throttle: {METHOD: throttle} if throttle else {}),
    concurrency=st.none() | st.integers(min_value=0, max_value=3),
)
gaps = st.sampled_from([0.0, 0.01, 0.1, 0.25, 1 / 3, 0.5, 1.0, 10.0, 40_000.0])
durations = st.sampled_from([0.0, 0.1, 0.75, 5.0])
requests = st.lists(
    st.tuples(gaps, st.integers(0, len(SOURCES) - 1), st.integers(0, 2), durations),
    min_size=1,
    max_size=150,
)
"""Seconds since the request before, index of a source, address, duration."""
Sent = list[tuple[float, int, int, float]]


def by_gate(limits: Limits, sent: Sent, lag: float) -> list[Layer | None]:
    """The verdicts of `Gate`."""
    gate = Gate(limits, waf_lag_seconds=lag)
    ends: list[float] = []
    verdicts: list[Layer | None] = []
    now = 0.0
    for gap, source, address, duration in sent:
        now += gap
        while ends and ends[0] <= now:
            heappop(ends)
            gate.release()
        client, method = SOURCES[source]
        refusal = gate.decide(now, address=str(address), client=client, method=method)
        if refusal is None:
            heappush(ends, now + max(0.0, duration - choices.DURATION_TOLERANCE_SECONDS))
        verdicts.append(refusal.layer if refusal else None)
    return verdicts


def by_engine(
    limits: Limits, sent: Sent, lag: float, *, cut: int = 1000, one_duration: bool = False
) -> list[Layer | None]:
    """The verdicts of the engine, asked for `cut` requests at a time."""
    engine = Engine(limits, SOURCES, waf_lag_seconds=lag)
    gaps, *columns = (np.array(column) for column in zip(*sent, strict=True))
    times = np.array(list(accumulate(gaps.tolist())))
    verdicts: list[Layer | None] = []
    for first in range(0, len(sent), cut):
        part = slice(first, first + cut)
        sources, addresses, each = (column[part] for column in columns)
        durations = float(each[0]) if one_duration else each
        codes = engine.decide(times[part], sources, addresses, durations)
        verdicts += [OUTCOMES[code] for code in codes]
    return verdicts


@examples(300)
@given(
    limits=limits_of_any_kind,
    sent=requests,
    lag=st.sampled_from([0.0, 0.3, 2.0]),
    cut=st.integers(min_value=1, max_value=200),
    one=st.none() | durations,
)
def test_verdicts_are_those_of_the_gate(
    limits: Limits, sent: Sent, lag: float, cut: int, one: float | None
) -> None:
    if one is not None:
        sent = [(gap, source, address, one) for gap, source, address, _ in sent]
    verdicts = by_engine(limits, sent, lag, cut=cut, one_duration=one is not None)
    assert verdicts == by_gate(limits, sent, lag)


@pytest.mark.parametrize(
    ("choice", "value"),
    [
        ("REFUSED_REQUESTS_USE_QUOTA", True),
        ("STAGE_THROTTLE_IS_SHARED", False),
        ("WAF_COUNTS_BLOCKED_REQUESTS", False),
        ("INITIAL_FILL", 0.5),
    ],
)
def test_verdicts_follow_the_named_choices_as_the_gate_does(
    choice: str, value: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    sent = [
        (gap, int(rng.integers(4)), int(rng.integers(3)), 0.2)
        for gap in rng.exponential(0.05, 2000).tolist()
    ]
    plan = UsagePlan(
        clients=("one", "two"),
        throttle=Throttle(rate=4, burst=5),
        quota=Quota(limit=120, period=Period.DAY),
    )
    limits = Limits(
        waf=WafRateLimit(limit=60, window_seconds=10),
        usage_plans={"basic": plan, "premium": plan},
        stage=Throttle(rate=6, burst=8),
        methods={METHOD: Throttle(rate=5, burst=8)},
        concurrency=2,
    )
    usual = by_engine(limits, sent, 0.0)
    monkeypatch.setattr(choices, choice, value)
    changed = by_engine(limits, sent, 0.0)
    assert changed == by_gate(limits, sent, 0.0)
    assert changed != usual, "the example does not show the choice"


def test_even_requests_that_fill_the_concurrency_exactly_are_all_admitted() -> None:
    engine = Engine(one_client(concurrency=100), [(BASIC, METHOD)])
    times = np.arange(50_000) / 1000
    zeros = np.zeros(len(times), np.int64)
    assert not engine.decide(times, zeros, zeros, 0.1).any()
    assert engine.peak_in_flight == 100
