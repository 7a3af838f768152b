"""One run: requests through the layers of one stack, and what happened to them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np

from throttling import choices
from throttling.gate import Client, Layer
from throttling.limits import Limits
from throttling.simulation import loops
from throttling.simulation.arrivals import blocks
from throttling.simulation.engine import OUTCOMES, Engine
from throttling.simulation.traffic import Block, Ints, Traffic

_MAX_INTERVALS: Final = 120
"""More than a chart or a line of text can show."""
_INTERVALS_SECONDS: Final = (
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400),
)
_WEEK_SECONDS: Final = 604_800


@dataclass(frozen=True, kw_only=True, slots=True)
class ClientResult:
    """What happened to the requests of one client."""

    client: Client | None
    """None for requests without a valid API key."""
    sent: int
    admitted: int
    refused: Mapping[Layer, int]
    """By each layer that refused any, in the order of the layers."""
    first_refused: Mapping[Layer, float]
    """Seconds after the start at which each of them first did."""
    quota_left: int | None
    """Requests left when the run ends; None without a quota."""
    quota_renewed: datetime | None = None
    """When the quota is next renewed after the run (UTC)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What happened to all requests of one run, made up or really sent."""

    limits: Limits
    start: datetime
    """When the first second begins (UTC)."""
    seconds: float
    """How long the run is."""
    duration_seconds: float
    """How long the function works on a request that has no duration of its own."""
    waf_lag_seconds: float
    """How far the WAF's view is behind the requests."""
    clients: tuple[ClientResult, ...]
    """In the order in which the sources first name them."""
    interval_seconds: float
    timeline: Ints
    """Requests by interval, client, and outcome in the order of `OUTCOMES`."""
    peak_concurrency: int
    """Most requests that the function worked on at the same time."""

    @property
    def total(self) -> ClientResult:
        """All clients together."""
        refused = {
            layer: sum(client.refused.get(layer, 0) for client in self.clients)
            for layer in Layer
            if any(layer in client.refused for client in self.clients)
        }
        first = {
            layer: min(c.first_refused[layer] for c in self.clients if layer in c.first_refused)
            for layer in refused
        }
        return ClientResult(
            client=None,
            sent=sum(client.sent for client in self.clients),
            admitted=sum(client.admitted for client in self.clients),
            refused=refused,
            first_refused=first,
            quota_left=None,
        )


def simulate(
    limits: Limits,
    traffic: Traffic,
    *,
    duration_seconds: float,
    waf_lag_seconds: float = choices.WAF_LAG_SECONDS,
    progress: Callable[[float], None] = lambda _: None,
) -> Result:
    """Send `traffic` through the layers of `limits`.

    Args:
        limits: of the stack.
        traffic: all requests.
        duration_seconds: how long the function works on each admitted request. With independent
            arrivals, only the average duration matters for who finds the function busy (Erlang's
            loss formula), so one fixed duration stands for any distribution.
        waf_lag_seconds: how far the WAF's view is behind the requests.
        progress: called now and then with the second that the run has reached.
    """
    return run(
        limits,
        [(source.client, source.method) for source in traffic.sources],
        blocks(traffic),
        start=traffic.start,
        seconds=traffic.seconds,
        duration_seconds=duration_seconds,
        waf_lag_seconds=waf_lag_seconds,
        progress=progress,
    )


def run(
    limits: Limits,
    sources: Sequence[tuple[Client | None, str]],
    requests: Iterable[Block],
    *,
    start: datetime,
    seconds: float,
    duration_seconds: float,
    waf_lag_seconds: float = choices.WAF_LAG_SECONDS,
    progress: Callable[[float], None] = lambda _: None,
) -> Result:
    """Decide requests from any source: made up, sent by a load test or read from an access log.

    Args:
        limits: of the stack.
        sources: client (None without a valid API key) and method of the requests.
        requests: in the order of their arrival, over all blocks.
        start: when the first second begins (UTC). Quotas follow the calendar.
        seconds: how long the run is; quotas are reported as they are at its end.
        duration_seconds: how long the function works on an admitted request of a block without
            durations of its own.
        waf_lag_seconds: how far the WAF's view is behind the requests.
        progress: called after each block with the second that the run has reached.
    """
    engine = Engine(limits, sources, waf_lag_seconds=waf_lag_seconds, epoch=start.timestamp())
    clients = list(dict.fromkeys(client for client, _ in sources))
    client_of = np.array([clients.index(client) for client, _ in sources], np.int64)
    interval_seconds = _interval(seconds)
    intervals = max(1, int(np.ceil(seconds / interval_seconds - 1e-9)))
    timeline = np.zeros((intervals, len(clients), len(OUTCOMES)), np.int64)
    first = np.full(timeline.shape[1:], np.inf)
    for block in requests:
        durations = duration_seconds if block.durations is None else block.durations
        codes = engine.decide(block.times, block.sources, block.addresses, durations)
        loops.count(block.times, client_of, block.sources, codes, interval_seconds, timeline, first)
        if len(codes):
            progress(float(block.times[-1]))
    progress(seconds)
    end = float(np.nextafter(seconds, 0.0))
    totals = timeline.sum(axis=0)
    return Result(
        limits=limits,
        start=start,
        seconds=seconds,
        duration_seconds=duration_seconds,
        waf_lag_seconds=waf_lag_seconds,
        clients=tuple(
            _client_result(client, totals[index], first[index].tolist(), engine, end)
            for index, client in enumerate(clients)
        ),
        interval_seconds=interval_seconds,
        timeline=timeline,
        peak_concurrency=engine.peak_in_flight,
    )


def _client_result(
    client: Client | None, counts: Ints, first: list[float], engine: Engine, end: float
) -> ClientResult:
    refused = {
        layer: int(number)
        for layer, number in zip(OUTCOMES, counts, strict=True)
        if layer and number
    }
    return ClientResult(
        client=client,
        sent=int(counts.sum()),
        admitted=int(counts[0]),
        refused=refused,
        first_refused={layer: first[OUTCOMES.index(layer)] for layer in refused},
        quota_left=engine.quota_left(end, client) if client else None,
        quota_renewed=engine.quota_renewed(end, client) if client else None,
    )


def _interval(seconds: float) -> float:
    """The shortest round interval of which at most `_MAX_INTERVALS` make up the run."""
    for interval in _INTERVALS_SECONDS:
        if seconds <= interval * _MAX_INTERVALS:
            return interval
    return _WEEK_SECONDS * float(np.ceil(seconds / _WEEK_SECONDS / _MAX_INTERVALS))
