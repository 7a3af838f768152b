"""Profiles that are derived from a stack's limits, and test each of them at and beyond it."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from routes import METHODS
from throttling import Client, Limits, Throttle, UsagePlan
from throttling.simulation.traffic import Arrivals, Phase, Source, Traffic

SMALL_BODY: Final = 100
"""Bytes of an ordinary body."""
ALL_SIZES: Final = (SMALL_BODY, 1_000, 6_000, 33_000)
"""Bytes of bodies. The last is more than the function takes (32 KB)."""
_STEADY_SECONDS: Final = 5.0
_WAF_SHARE: Final = 0.8
"""Share of the web ACL's limit that one address uses when another limit is tested."""


class _Stretch(NamedTuple):
    """Requests of some clients for a route at the same time; a pause without any."""

    method: str
    rps: Mapping[Client | None, float]
    seconds: float
    addresses: int | None = None
    """Of each client; None for as many as keep the web ACL from refusing any."""


def _plan(limits: Limits, _: float) -> Iterator[_Stretch]:
    """80, 100 and 150 % of each plan's rate, one plan after the other."""
    for method, client, throttle in _plans(limits):
        yield from _at_and_beyond(method, client, throttle)
        yield _pause(limits)


def _burst(limits: Limits, _: float) -> Iterator[_Stretch]:
    """Half as much again as each plan's bucket holds, one plan after the other."""
    for method, client, throttle in _plans(limits):
        rps = _burst_rps(throttle)
        admitted = throttle.burst / (1 - throttle.rate / rps)
        yield _Stretch(method, {client: rps}, (1.5 * admitted + 3) / rps)
        yield _pause(limits)


def _stage(limits: Limits, _: float) -> Iterator[_Stretch]:
    """The full rates of all clients together, then all their bursts together.

    A route that needs no key is sent the same as one that a single client may use up.
    """
    for method in _one_per_bucket(METHODS, limits.methods):
        # A method's throttle overrides the stage's.
        throttle = limits.methods.get(method, limits.stage)
        if not throttle:
            continue
        clients: dict[Client | None, Throttle] = {
            Client(name, client): own
            for name, plan in limits.usage_plans.items()
            for client in plan.clients
            if (own := _throttle(plan, method))
        }
        if method in limits.keyless:
            clients = {None: Throttle(rate=1.5 * throttle.rate, burst=2 * throttle.burst)}
        excess = sum(one.rate for one in clients.values()) - throttle.rate
        drain = throttle.burst / excess + _overload_seconds(throttle) if excess > 0 else 0.0
        rates = {client: one.rate for client, one in clients.items()}
        yield _Stretch(method, rates, max(_STEADY_SECONDS, drain))
        yield _pause(limits)
        bursts = sum(one.burst for one in clients.values())
        rps = _burst_rps(throttle)
        rates = {client: rps * one.burst / bursts for client, one in clients.items()}
        yield _Stretch(method, rates, bursts / rps)
        yield _pause(limits)


def _sizes(limits: Limits, _: float) -> Iterator[_Stretch]:
    """Bodies of all sizes at and beyond the rate of the fastest plan."""
    plans = [*_plans(limits)]
    first = [one for one in plans if one[0] == plans[0][0]]
    for fastest in sorted(first, key=lambda one: one[2].rate)[-1:]:
        yield from _at_and_beyond(*fastest)


def _waf(limits: Limits, waf_lag_seconds: float) -> Iterator[_Stretch]:
    """More than a window's limit from one address, without a key."""
    if limits.waf:
        rps = max(150.0, 4 * limits.waf.limit / limits.waf.window_seconds)
        seconds = (1.1 * limits.waf.limit + 3) / rps + 2 * waf_lag_seconds
        yield _Stretch((*_keyed(limits), *METHODS)[0], {None: rps}, seconds, 1)


def _seed(limits: Limits, _: float) -> Iterator[_Stretch]:
    """1,500 requests at 100 a second with one key from one address."""
    for method, client, _throttle in [*_plans(limits)][:1]:
        yield _Stretch(method, {client: 100.0}, 15.0, 1)


PROFILES: Final[Mapping[str, Callable[[Limits, float], Iterator[_Stretch]]]] = {
    "plan": _plan,
    "burst": _burst,
    "stage": _stage,
    "sizes": _sizes,
    "waf": _waf,
    "seed": _seed,
}
EVERY_LIMIT: Final = ("plan", "burst", "stage", "sizes", "waf")
"""In the order in which a load test sends them: the last one may leave an address blocked."""


def derive(name: str, limits: Limits, waf_lag_seconds: float) -> Traffic:
    """Return the traffic of one of `PROFILES`, which is none without the limit that it tests.

    It covers one route of those that share a bucket, and each route with a bucket of its own.
    """
    phases = defaultdict[tuple[Client | None, str, int | None], list[Phase]](list)
    requests = defaultdict[Client | None, float](float)
    now = 0.0
    for method, rates, seconds, addresses in PROFILES[name](limits, waf_lag_seconds):
        for client, rps in rates.items():
            phase = Phase(start_seconds=now, seconds=seconds, from_rps=rps, to_rps=rps)
            phases[client, method, addresses].append(phase)
            requests[client] += phase.requests
        now += seconds
    allowed = limits.waf.limit * _WAF_SHARE if limits.waf else math.inf
    sources = [
        Source(
            client=client,
            method=method,
            addresses=addresses or 1 + int(requests[client] / allowed),
            phases=tuple(own),
        )
        for (client, method, addresses), own in phases.items()
    ]
    return Traffic(sources=tuple(sources), arrivals=Arrivals.EVEN)


def pause_seconds(limits: Limits) -> float:
    """Return how long it takes until all buckets are full again, but at most a minute."""
    buckets = [limits.stage, *limits.methods.values()]
    for plan in limits.usage_plans.values():
        buckets += [plan.throttle, *plan.methods.values()]
    return min(60.0, 0.5 + max((one.burst / one.rate for one in buckets if one), default=0.0))


def _pause(limits: Limits) -> _Stretch:
    return _Stretch("", {}, pause_seconds(limits))


def _keyed(limits: Limits) -> list[str]:
    return [method for method in METHODS if method not in limits.keyless]


def _one_per_bucket(methods: Sequence[str], own: Mapping[str, Throttle]) -> list[str]:
    """Return the first of the methods that share a bucket, and each that has its own."""
    shared = [method for method in methods if method not in own]
    return [*shared[:1], *(method for method in methods if method in own)]


def _plans(limits: Limits) -> Iterator[tuple[str, Client, Throttle]]:
    """Yield the buckets of the first client of each plan: a route, the client, and the throttle."""
    for name, plan in limits.usage_plans.items():
        for method in _one_per_bucket(_keyed(limits), plan.methods):
            if throttle := _throttle(plan, method):
                yield method, Client(name, plan.clients[0]), throttle


def _throttle(plan: UsagePlan, method: str) -> Throttle | None:
    """Return a plan's buckets for a method as one: the lowest rate and the smallest burst."""
    given = [one for one in (plan.throttle, plan.methods.get(method)) if one]
    if not given:
        return None
    return Throttle(rate=min(one.rate for one in given), burst=min(one.burst for one in given))


def _at_and_beyond(method: str, client: Client, throttle: Throttle) -> Iterator[_Stretch]:
    for share in (0.8, 1.0):
        rps = share * throttle.rate
        yield _Stretch(method, {client: rps}, max(_STEADY_SECONDS, 3 / rps))
    drain = throttle.burst / (0.5 * throttle.rate)
    yield _Stretch(method, {client: 1.5 * throttle.rate}, drain + _overload_seconds(throttle))


def _overload_seconds(throttle: Throttle) -> float:
    """Return how long to hold a bucket empty: for 60 requests, but 12 to 60 seconds."""
    return min(max(12.0, 60 / throttle.rate), 60.0)


def _burst_rps(throttle: Throttle) -> float:
    """Return a rate that clearly outruns a bucket's refill."""
    return max(250.0, 4 * throttle.rate)
