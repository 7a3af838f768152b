"""The fast engine gives the verdicts of `Gate`, request for request."""

from collections import deque
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing import examples
from tests.throttling.examples import BASIC, PREMIUM, PROD, one_client
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
from throttling.simulation.exact import OUTCOMES, ExactEngine
from throttling.simulation.replay import Request, replay
from throttling.simulation.traffic import METHOD

SOURCES: list[tuple[Client | None, str]] = [
    (Client("basic", "one"), METHOD),
    (Client("basic", "two"), METHOD),
    (Client("premium", "one"), METHOD),
    (Client("premium", "one"), "GET /data"),
    (Client("premium", "nobody"), METHOD),
    (None, METHOD),
]
Sent = tuple[float, int, int]
"""Time, index of a source, address."""

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
requests = st.lists(
    st.tuples(gaps, st.integers(0, len(SOURCES) - 1), st.integers(0, 2)), min_size=1, max_size=150
)


def at_moments(gapped: list[Sent]) -> list[Sent]:
    now = 0.0
    sent = []
    for gap, source, address in gapped:
        now += gap
        sent.append((now, source, address))
    return sent


def by_gate(limits: Limits, sent: list[Sent], duration: float, lag: float) -> list[Layer | None]:
    """The verdicts of `Gate`, whose requests each last `duration`."""
    gate = Gate(limits, waf_lag_seconds=lag)
    ends: deque[float] = deque()
    verdicts: list[Layer | None] = []
    for now, source, address in sent:
        while ends and ends[0] <= now:
            ends.popleft()
            gate.release()
        client, method = SOURCES[source]
        refusal = gate.decide(now, address=str(address), client=client, method=method)
        if refusal is None:
            ends.append(now + duration)
        verdicts.append(refusal.layer if refusal else None)
    return verdicts


def decide(engine: ExactEngine, sent: list[Sent]) -> list[Layer | None]:
    times, sources, addresses = (np.array(column) for column in zip(*sent, strict=True))
    return [OUTCOMES[code] for code in engine.decide(times.astype(float), sources, addresses)]


@examples(300)
@given(
    limits=limits_of_any_kind,
    gapped=requests,
    duration=st.sampled_from([0.0, 0.1, 0.75, 5.0]),
    lag=st.sampled_from([0.0, 0.3, 2.0]),
)
def test_verdicts_are_those_of_the_gate(
    limits: Limits, gapped: list[Sent], duration: float, lag: float
) -> None:
    sent = at_moments(gapped)
    engine = ExactEngine(limits, SOURCES, duration_seconds=duration, waf_lag_seconds=lag)
    assert decide(engine, sent) == by_gate(limits, sent, engine.duration_seconds, lag)


@examples(100)
@given(limits=limits_of_any_kind, gapped=requests, cut=st.integers(min_value=1, max_value=149))
def test_verdicts_do_not_depend_on_how_many_requests_are_decided_at_a_time(
    limits: Limits, gapped: list[Sent], cut: int
) -> None:
    sent = at_moments(gapped)
    whole, parts = (
        ExactEngine(limits, SOURCES, duration_seconds=0.3, waf_lag_seconds=0.2) for _ in range(2)
    )
    edges = [*range(0, len(sent), cut), len(sent)]
    in_parts = [verdict for a, b in pairwise(edges) for verdict in decide(parts, sent[a:b])]
    assert in_parts == decide(whole, sent)
    assert parts.peak_in_flight == whole.peak_in_flight


@pytest.mark.parametrize(
    ("choice", "value"),
    [
        ("REFUSED_REQUESTS_USE_QUOTA", True),
        ("STAGE_THROTTLE_IS_SHARED", False),
        ("WAF_COUNTS_BLOCKED_REQUESTS", False),
    ],
)
def test_verdicts_follow_the_named_choices_as_the_gate_does(
    choice: str, value: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.exponential(0.05, 2000))
    sent = [(t, int(rng.integers(4)), int(rng.integers(3))) for t in times.tolist()]
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

    def verdicts() -> list[Layer | None]:
        return decide(ExactEngine(limits, SOURCES, duration_seconds=0.2), sent)

    usual = verdicts()
    monkeypatch.setattr(choices, choice, value)
    changed = verdicts()
    assert changed == by_gate(limits, sent, 0.2 - 1e-6, 0.0)
    assert changed != usual, "the example does not show the choice"


def test_even_requests_that_fill_the_concurrency_exactly_are_all_admitted() -> None:
    engine = ExactEngine(one_client(concurrency=100), [(BASIC, METHOD)], duration_seconds=0.1)
    times = np.arange(50_000) / 1000
    zeros = np.zeros(len(times), np.int64)
    assert not engine.decide(times, zeros, zeros).any()
    assert engine.peak_in_flight == 100


def test_requests_that_were_sent_are_replayed_in_their_order() -> None:
    start = 1_772_000_000.0
    requests = [Request(start + n / 100, "192.0.2.1", BASIC) for n in range(3000)]
    requests += [Request(start + n / 100 + 0.003, "192.0.2.2", PREMIUM) for n in range(1000)]
    requests += [Request(start + n, "192.0.2.3", None) for n in range(5)]
    counts = replay(PROD, reversed(requests), duration_seconds=0.1)
    assert counts == {None: 3000, Layer.WAF: 1000, Layer.API_KEY: 5}
    assert not replay(PROD, [], duration_seconds=0.1)
