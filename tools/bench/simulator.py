"""How fast the simulator is, and how much memory it takes.

The traffic is 1,000 requests per second of 20 clients over 50 addresses. Times are processor times:
the simulator uses one core.
"""

import resource
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from tests.throttling.examples import PROD
from throttling import Client, Limits, Period, Quota, Throttle, WafRateLimit
from throttling.simulation.arrivals import blocks
from throttling.simulation.engine import Engine
from throttling.simulation.simulator import simulate
from throttling.simulation.traffic import Phase, Source, Traffic
from tools.bench.figures import Figure, peak_mb

_DAY_SECONDS: Final = 86_400
_ROUNDS: Final = 3
_NAMES: Final = tuple(f"client{number}" for number in range(10))
_PRODUCTION: Final = replace(
    PROD,
    usage_plans={name: replace(plan, clients=_NAMES) for name, plan in PROD.usage_plans.items()},
)
_WIDE: Final = replace(
    _PRODUCTION,
    waf=WafRateLimit(limit=150_000, window_seconds=300),
    usage_plans={
        name: replace(plan, quota=Quota(limit=50_000_000, period=Period.DAY))
        for name, plan in _PRODUCTION.usage_plans.items()
    },
    concurrency=200,
)
"""WAF, quotas and concurrency give way, and the stage is as fast as its requests."""
_SLOWEST: Final = replace(_WIDE, stage=Throttle(rate=2000, burst=4000))
"""Every request passes every layer."""


def _traffic(seconds: float, rps: float = 1000, addresses: int = 50) -> Traffic:
    """Requests of 20 clients over `addresses` addresses."""
    return Traffic(
        sources=tuple(
            Source(
                client=Client(plan, name),
                method="POST /data",
                addresses=addresses * share // 50,
                phases=(Phase(start_seconds=0, seconds=seconds, from_rps=rate, to_rps=rate),),
            )
            for plan, share, rate in (("basic", 2, rps / 50), ("premium", 3, rps * 4 / 50))
            for name in _NAMES
        )
    )


def _seconds_for(limits: Limits, traffic: Traffic) -> float:
    began = time.process_time()
    simulate(limits, traffic, duration_seconds=0.1)
    return time.process_time() - began


def _decided_per_second(limits: Limits, traffic: Traffic, *, each: bool = False) -> float:
    """Return verdicts per second of the engine alone, without making the arrivals."""
    chunks = list(blocks(traffic))
    engine = Engine(limits, [(source.client, source.method) for source in traffic.sources])
    durations = [
        np.random.default_rng(1).exponential(0.1, len(chunk.times)) if each else 0.1
        for chunk in chunks
    ]
    began = time.process_time()
    for chunk, duration in zip(chunks, durations, strict=True):
        engine.decide(chunk.times, chunk.sources, chunk.addresses, duration)
    return sum(len(chunk.times) for chunk in chunks) / (time.process_time() - began)


def figures() -> Iterator[Figure]:
    """Measure the simulator."""
    _seconds_for(_PRODUCTION, _traffic(1))  # compiles it
    for name, limits in (
        ("production's limits", _PRODUCTION),
        ("the stage alone, at its rate", _WIDE),
    ):
        yield Figure(
            what=f"one day at 1,000 requests/s: {name}",
            unit="s",
            samples=[_seconds_for(limits, _traffic(_DAY_SECONDS)) for _ in range(_ROUNDS)],
            at_most=15,
        )
    yield Figure(
        what="peak memory of these", unit="MB", samples=[peak_mb(resource.RUSAGE_SELF)], at_most=500
    )
    for name, limits, traffic in (
        ("production's limits", _PRODUCTION, _traffic(5000)),
        ("all layers pass", _SLOWEST, _traffic(5000)),
        ("all layers pass, 1,000 addresses", _SLOWEST, _traffic(5000, addresses=1000)),
        ("stage and concurrency refuse", replace(_WIDE, concurrency=100), _traffic(3333, 1500)),
    ):
        for each, target in ((False, 30e6), (True, 12e6)):
            yield Figure(
                what=f"verdicts: {name}, {'a duration each' if each else 'one duration'}",
                unit="/s",
                samples=[_decided_per_second(limits, traffic, each=each) for _ in range(_ROUNDS)],
                at_least=target,
            )
