"""Profiles that are derived from a stack's limits, and test each of them at and beyond it."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from routes import METHODS
from throttling import Client, Limits, Throttle
from throttling.simulation.traffic import Arrivals, Phase, Source, Traffic

SMALL_BODY: Final = 100
"""Bytes of an ordinary body."""
ALL_SIZES: Final = (SMALL_BODY, 1_000, 6_000, 33_000)
"""Bytes of bodies. The last is more than the function takes (32 KB)."""
_STEADY_SECONDS: Final = 5.0
_WAF_SHARE: Final = 0.8
"""Share of the web ACL's limit that one address uses when another limit is tested."""


class _Stretch(NamedTuple):
    """Requests of some clients at the same time; a pause without any."""

    rps: Mapping[Client | None, float]
    seconds: float
    addresses: int | None = None
    """Of each client; None for as many as keep the web ACL from refusing any."""


_Profile = Callable[[Limits, float], Iterator[_Stretch]]


def _plan(limits: Limits, _: float) -> Iterator[_Stretch]:
    """80, 100 and 150 % of each plan's rate, one plan after the other."""
    for client, throttle in _clients(limits, of_each_plan=1).items():
        yield from _at_and_beyond(client, throttle)
        yield _Stretch({}, pause_seconds(limits))


def _burst(limits: Limits, _: float) -> Iterator[_Stretch]:
    """Half as much again as each plan's bucket holds, one plan after the other."""
    for client, throttle in _clients(limits, of_each_plan=1).items():
        rps = _burst_rps(throttle)
        admitted = throttle.burst / (1 - throttle.rate / rps)
        yield _Stretch({client: rps}, (1.5 * admitted + 3) / rps)
        yield _Stretch({}, pause_seconds(limits))


def _stage(limits: Limits, _: float) -> Iterator[_Stretch]:
    """The full rates of all clients together, then all their bursts together."""
    # A method's throttle overrides the stage's.
    throttle, clients = limits.methods.get(METHODS[0], limits.stage), _clients(limits)
    if throttle and clients:
        excess = sum(one.rate for one in clients.values()) - throttle.rate
        drain = throttle.burst / excess + _overload_seconds(throttle) if excess > 0 else 0.0
        rates = {client: one.rate for client, one in clients.items()}
        yield _Stretch(rates, max(_STEADY_SECONDS, drain))
        yield _Stretch({}, pause_seconds(limits))
        bursts = sum(one.burst for one in clients.values())
        rps = _burst_rps(throttle)
        rates = {client: rps * one.burst / bursts for client, one in clients.items()}
        yield _Stretch(rates, bursts / rps)


def _sizes(limits: Limits, _: float) -> Iterator[_Stretch]:
    """Bodies of all sizes at and beyond the rate of the fastest plan."""
    clients = _clients(limits, of_each_plan=1)
    for client in sorted(clients, key=lambda one: -clients[one].rate)[:1]:
        yield from _at_and_beyond(client, clients[client])


def _waf(limits: Limits, waf_lag_seconds: float) -> Iterator[_Stretch]:
    """More than a window's limit from one address, without a key."""
    if limits.waf:
        rps = max(150.0, 4 * limits.waf.limit / limits.waf.window_seconds)
        yield _Stretch({None: rps}, (1.1 * limits.waf.limit + 3) / rps + 2 * waf_lag_seconds, 1)


def _seed(limits: Limits, _: float) -> Iterator[_Stretch]:
    """1,500 requests at 100 a second with one key from one address."""
    for client in list(_clients(limits))[:1]:
        yield _Stretch({client: 100.0}, 15.0, 1)


PROFILES: Final[Mapping[str, _Profile]] = {
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
    """Return the traffic of one of `PROFILES`, which is none without the limit that it tests."""
    phases: dict[tuple[Client | None, int | None], list[Phase]] = {}
    now = 0.0
    for rates, seconds, addresses in PROFILES[name](limits, waf_lag_seconds):
        for client, rps in rates.items():
            phase = Phase(start_seconds=now, seconds=seconds, from_rps=rps, to_rps=rps)
            phases.setdefault((client, addresses), []).append(phase)
        now += seconds
    sources = []
    for (client, addresses), mine in phases.items():
        requests = sum(phase.from_rps * phase.seconds for phase in mine)
        enough = 1 + int(requests / (limits.waf.limit * _WAF_SHARE)) if limits.waf else 1
        number = addresses or enough
        sources.append(
            Source(client=client, method=METHODS[0], addresses=number, phases=tuple(mine))
        )
    return Traffic(sources=tuple(sources), arrivals=Arrivals.EVEN)


def pause_seconds(limits: Limits) -> float:
    """Return how long it takes until all buckets are full again, but at most a minute."""
    buckets = [limits.stage, *_clients(limits).values()]
    return min(60.0, 0.5 + max((one.burst / one.rate for one in buckets if one), default=0.0))


def _tightest(*throttles: Throttle | None) -> Throttle | None:
    """Return buckets in a row as one: the lowest rate and the smallest burst."""
    given = [throttle for throttle in throttles if throttle]
    if not given:
        return None
    return Throttle(rate=min(t.rate for t in given), burst=min(t.burst for t in given))


def _clients(limits: Limits, *, of_each_plan: int | None = None) -> dict[Client | None, Throttle]:
    """Return the clients whose plan has a throttle, with that throttle."""
    return {
        Client(name, client): throttle
        for name, section in limits.usage_plans.items()
        for client in section.clients[:of_each_plan]
        if (throttle := _tightest(section.throttle, section.methods.get(METHODS[0])))
    }


def _at_and_beyond(client: Client | None, throttle: Throttle) -> Iterator[_Stretch]:
    for share in (0.8, 1.0):
        rps = share * throttle.rate
        yield _Stretch({client: rps}, max(_STEADY_SECONDS, 3 / rps))
    drain = throttle.burst / (0.5 * throttle.rate)
    yield _Stretch({client: 1.5 * throttle.rate}, drain + _overload_seconds(throttle))


def _overload_seconds(throttle: Throttle) -> float:
    """Return how long to hold a bucket empty: for 60 requests, but 12 to 60 seconds."""
    return min(max(12.0, 60 / throttle.rate), 60.0)


def _burst_rps(throttle: Throttle) -> float:
    """Return a rate that clearly outruns a bucket's refill."""
    return max(250.0, 4 * throttle.rate)
