"""How fast the simulator is, and how much memory it takes.

Requests per second of the exact mode, and what one day at 1,000 requests per second, of 20 clients
over 50 addresses, takes in the aggregated mode under several sets of limits. Times are of the
processor: the simulator uses one core.
"""

import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from tools.bench.figures import Figure, Target
from throttling import Client, Limits, Period, Quota, Throttle, UsagePlan, WafRateLimit
from throttling.simulation.simulator import Result, simulate
from throttling.simulation.traffic import Phase, Source, Traffic

_DAY_SECONDS: Final = 86_400
_ROUNDS: Final = 3
_EXACT_TARGET: Final = 400_000
_DAY_TARGET_SECONDS: Final = 10
_MEMORY_TARGET_MB: Final = 500

_NAMES: Final = tuple(f"client{number}" for number in range(10))
_PRODUCTION: Final = Limits(
    waf=WafRateLimit(limit=2000, window_seconds=300),
    usage_plans={
        "basic": UsagePlan(
            clients=_NAMES,
            throttle=Throttle(rate=100, burst=200),
            quota=Quota(limit=10_000, period=Period.DAY),
        ),
        "premium": UsagePlan(
            clients=_NAMES,
            throttle=Throttle(rate=500, burst=1000),
            quota=Quota(limit=100_000, period=Period.DAY),
        ),
    },
    stage=Throttle(rate=1000, burst=2000),
    concurrency=100,
)
_NO_WAF: Final = replace(_PRODUCTION, waf=None)
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


def _traffic(seconds: float, factor: float = 1.0) -> Traffic:
    """1,000 requests per second x `factor` of 20 clients over 50 addresses."""
    return Traffic(
        sources=tuple(
            Source(
                client=Client(plan, name),
                addresses=addresses,
                phases=(Phase(start_seconds=0, seconds=seconds, from_rps=rps, to_rps=rps),),
            )
            for plan, addresses, rps in (("basic", 2, 20 * factor), ("premium", 3, 80 * factor))
            for name in _NAMES
        )
    )


def _timed(limits: Limits, traffic: Traffic, *, aggregated: bool) -> tuple[Result, float]:
    """The run and its seconds on one core, which do not depend on what else the machine does."""
    began = time.process_time()
    result = simulate(limits, traffic, duration_seconds=0.1, aggregated=aggregated)
    return result, time.process_time() - began


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in kilobytes, macOS in bytes.
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def figures() -> Iterator[Figure]:
    """Measure the simulator."""
    day = Target(bound="at most", value=_DAY_TARGET_SECONDS)
    for name, limits in (
        ("production's limits", _PRODUCTION),
        ("without the WAF's", _NO_WAF),
        ("the stage alone, at its rate", _WIDE),
    ):
        seconds = [
            _timed(limits, _traffic(_DAY_SECONDS), aggregated=True)[1] for _ in range(_ROUNDS)
        ]
        yield Figure(
            what=f"one day at 1,000 requests/s: {name}", unit="s", samples=seconds, targets=[day]
        )
    yield Figure(
        what="peak memory of these",
        unit="MB",
        samples=[_peak_mb()],
        targets=[Target(bound="at most", value=_MEMORY_TARGET_MB)],
    )
    for name, limits, factor in (
        ("production's limits", _PRODUCTION, 1.0),
        ("without the WAF's", _NO_WAF, 1.0),
        ("all layers pass", replace(_WIDE, stage=Throttle(rate=2000, burst=4000)), 1.0),
        ("stage and concurrency refuse", replace(_WIDE, concurrency=100), 1.5),
    ):
        runs = [_timed(limits, _traffic(2000, factor), aggregated=False) for _ in range(_ROUNDS)]
        yield Figure(
            what=f"exact mode: {name}",
            unit="/s",
            samples=[result.total.sent / seconds for result, seconds in runs],
            targets=[Target(bound="at least", value=_EXACT_TARGET)],
        )
