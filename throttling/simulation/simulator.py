"""Simulate a day, or any other time: send requests through the layers of a stack, and count."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np

from throttling import choices
from throttling.gate import Client, Layer
from throttling.limits import Limits
from throttling.simulation.arrivals import blocks
from throttling.simulation.engine import CODES, OUTCOMES, Engine
from throttling.simulation.traffic import Block, Floats, Ints, Traffic

_MAX_INTERVALS: Final = 120
"""As many as a chart or a line of text can show."""
_INTERVALS_SECONDS: Final = (
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900),
    *(1800, 3600, 7200, 14_400, 43_200, 86_400),
)
_ROUNDING: Final = 1e-9
"""Part of an interval by which a time may miss the interval's beginning."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClientResult:
    """What happened to the requests of one client."""

    client: Client | None
    """None for requests without a valid API key, and for all clients together."""
    sent: int
    admitted: int
    refused: Mapping[Layer, int]
    """By each layer that refused any, in the order of the layers."""
    first_refused: Mapping[Layer, float]
    """Seconds from the start until each of them refused the first."""
    quota_left: int | None
    """Requests left at the end of the run; None without a quota."""
    quota_renewed: datetime | None = None
    """When the quota is renewed next (UTC); None without a quota."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What happened to all requests of one run, simulated or really sent."""

    limits: Limits
    start: datetime
    """When the first second begins (UTC)."""
    seconds: float
    """How long the run is."""
    duration_seconds: float
    """How long the function works on a request, unless the request has its own duration."""
    waf_lag_seconds: float
    """How long after a request the WAF sees it."""
    clients: tuple[ClientResult, ...]
    """In the order in which the sources first name them."""
    total: ClientResult
    """All clients together."""
    interval_seconds: float
    timeline: Ints
    """Requests by interval, client, and outcome in the order of `engine.OUTCOMES`."""
    peak_concurrency: int
    """Most requests that the function worked on at the same time."""


def simulate(
    limits: Limits,
    traffic: Traffic,
    *,
    duration_seconds: float,
    waf_lag_seconds: float = choices.WAF_LAG_SECONDS,
    progress: Callable[[float], None] = lambda _: None,
) -> Result:
    """Return what happens to `traffic` under `limits`.

    `run` has the arguments. One duration stands for any distribution: with independent arrivals,
    only the average decides how many requests find the function busy (Erlang's loss formula).
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
    """Return what happens to requests of any origin: simulated, sent by a load test, or logged.

    Args:
        limits: of the stack.
        sources: client (None without a valid API key) and method of the requests, for
            `Block.sources` to refer to.
        requests: blocks of requests, each block later than the one before.
        start: when the first second begins (UTC). Quotas follow the calendar.
        seconds: how long the run is. It ends when they are over, even without a request.
        duration_seconds: how long the function works on an admitted request, for blocks that do
            not say.
        waf_lag_seconds: how long after a request the WAF sees it.
        progress: called after each block with the seconds that are done.

    Raises:
        ValueError: if the times of the requests decrease or a source does not exist.
    """
    engine = Engine(limits, sources, waf_lag_seconds=waf_lag_seconds, epoch=start.timestamp())
    clients = {client: index for index, client in enumerate(dict.fromkeys(c for c, _ in sources))}
    client_of = np.array([clients[client] for client, _ in sources], np.int64)
    interval_seconds = next(
        (interval for interval in _INTERVALS_SECONDS if seconds <= interval * _MAX_INTERVALS),
        seconds / _MAX_INTERVALS,
    )
    intervals = max(1, math.ceil(seconds / interval_seconds - _ROUNDING))
    timeline = np.zeros((intervals, len(clients), len(OUTCOMES)), np.int64)
    first = np.full(timeline.shape[1:], np.inf)
    for block in requests:
        durations = duration_seconds if block.durations is None else block.durations
        codes = engine.decide(block.times, block.sources, block.addresses, durations)
        codes = codes if block.outcomes is None else block.outcomes
        interval = (block.times / interval_seconds + _ROUNDING).astype(np.int64)
        cell = client_of[block.sources] * len(OUTCOMES) + codes
        index = np.clip(interval, 0, intervals - 1) * first.size + cell
        np.add.at(timeline.reshape(-1), index, 1)
        np.minimum.at(first.reshape(-1), cell, block.times)
        if len(codes):
            progress(float(block.times[-1]))
    progress(seconds)
    end = math.nextafter(seconds, 0.0)
    counts = timeline.sum(axis=0)
    return Result(
        limits=limits,
        start=start,
        seconds=seconds,
        duration_seconds=duration_seconds,
        waf_lag_seconds=waf_lag_seconds,
        clients=tuple(
            _client_result(client, counts[index], first[index], engine, end)
            for client, index in clients.items()
        ),
        total=_client_result(
            None, counts.sum(axis=0), first.min(axis=0, initial=np.inf), engine, end
        ),
        interval_seconds=interval_seconds,
        timeline=timeline,
        peak_concurrency=engine.peak_in_flight,
    )


def _client_result(
    client: Client | None, counts: Ints, first: Floats, engine: Engine, end: float
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
        first_refused={layer: float(first[CODES[layer]]) for layer in refused},
        quota_left=engine.quota_left(end, client) if client else None,
        quota_renewed=engine.quota_renewed(end, client) if client else None,
    )
