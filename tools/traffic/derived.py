"""Profiles that are derived from a stack's limits: they test each limit at and beyond it.

Each function returns the traffic and the sizes of the bodies. Pauses let every bucket fill again.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from routes import METHODS
from throttling import Client, Limits, Throttle
from throttling.simulation.traffic import Arrivals, Phase, Source, Traffic

SMALL_BODY: Final = 100
"""Bytes of an ordinary body."""
_ALL_SIZES: Final = (SMALL_BODY, 1_000, 6_000, 33_000)
"""Bytes. The last is more than the function takes, which is 32 KB."""
_SHARES: Final = (0.8, 1.0, 1.5)
"""Of a plan's rate: below it, at it, and beyond it."""
_STEADY_SECONDS: Final = 5.0
_OVERLOAD_SECONDS: Final = (12.0, 60.0)
"""How long a bucket is held empty: at least the first, and up to the second for 60 requests."""
_PAUSE_SECONDS: Final = 0.5
_BURST_RPS: Final = 250.0
_BURST_FACTOR: Final = 1.5
"""How many times its bucket a burst is."""
_WAF_RPS: Final = 150.0
_WAF_FACTOR: Final = 1.1
_WAF_SHARE: Final = 0.8
"""Share of the web ACL's limit that an address uses in the profiles of other limits."""
_MANY_ADDRESSES: Final = 50

Derived = tuple[Traffic, tuple[int, ...]]


class _Script:
    """Puts requests of one or several clients one after the other."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._now = 0.0
        self._phases: dict[tuple[Client | None, int], list[Phase]] = {}

    def send(
        self, rates: Mapping[Client | None, float], seconds: float, *, addresses: int = 0
    ) -> None:
        """Let clients send together, at a rate each, for `seconds`.

        Without `addresses`, each client uses enough of them that the web ACL refuses none.
        """
        for client, rps in rates.items():
            phase = Phase(start_seconds=self._now, seconds=seconds, from_rps=rps, to_rps=rps)
            self._phases.setdefault((client, addresses), []).append(phase)
        self._now += seconds

    def pause(self, *throttles: Throttle | None) -> None:
        """Wait until empty buckets are full again."""
        refills = [throttle.burst / throttle.rate for throttle in throttles if throttle]
        self._now += max(refills, default=0.0) + _PAUSE_SECONDS

    def traffic(self) -> Traffic:
        """Return all that was put together."""
        return Traffic(
            sources=tuple(
                Source(
                    client=client,
                    method=METHODS[0],
                    addresses=addresses or self._enough_addresses(phases),
                    phases=tuple(phases),
                )
                for (client, addresses), phases in self._phases.items()
            ),
            arrivals=Arrivals.EVEN,
        )

    def _enough_addresses(self, phases: Iterable[Phase]) -> int:
        requests = sum(phase.from_rps * phase.seconds for phase in phases)
        waf = self._limits.waf
        return 1 + int(requests / (waf.limit * _WAF_SHARE)) if waf else 1


def plan(limits: Limits, *_: float) -> Derived:
    """Send 80, 100 and 150 % of each plan's rate, one plan after the other."""
    script = _Script(limits)
    for client, throttle in _first_clients(limits).items():
        _at_and_beyond(script, client, throttle)
        script.pause(throttle, limits.stage)
    return script.traffic(), (SMALL_BODY,)


def burst(limits: Limits, duration_seconds: float, *_: float) -> Derived:
    """Send more than each plan's full bucket at once, one plan after the other."""
    script = _Script(limits)
    for client, throttle in _first_clients(limits).items():
        rps = _burst_rps(limits, throttle, duration_seconds)
        admitted = throttle.burst / (1 - throttle.rate / rps)
        script.send({client: rps}, (_BURST_FACTOR * admitted + 3) / rps)
        script.pause(throttle, limits.stage)
    return script.traffic(), (SMALL_BODY,)


def stage(limits: Limits, duration_seconds: float, *_: float) -> Derived:
    """Send at all plans' full rates together, then all their bursts together."""
    script = _Script(limits)
    clients = _first_clients(limits, every=True)
    throttle = _tightest(limits.stage, limits.methods.get(METHODS[0]))
    if throttle is None or not clients:
        return script.traffic(), (SMALL_BODY,)
    total = sum(one.rate for one in clients.values())
    seconds = _STEADY_SECONDS
    if total > throttle.rate:
        seconds = throttle.burst / (total - throttle.rate) + _overload_seconds(throttle)
    script.send({client: one.rate for client, one in clients.items()}, seconds)
    script.pause(throttle, *clients.values())
    bursts = sum(one.burst for one in clients.values())
    rps = _burst_rps(limits, throttle, duration_seconds)
    script.send({client: rps * one.burst / bursts for client, one in clients.items()}, bursts / rps)
    script.pause(throttle, *clients.values())
    return script.traffic(), (SMALL_BODY,)


def sizes(limits: Limits, *_: float) -> Derived:
    """Send bodies of all sizes at and beyond the rate of the fastest plan."""
    script = _Script(limits)
    clients = _first_clients(limits)
    if clients:
        client = max(clients, key=lambda one: clients[one].rate)
        _at_and_beyond(script, client, clients[client])
        script.pause(clients[client], limits.stage)
    return script.traffic(), _ALL_SIZES


def waf(limits: Limits, _: float, waf_lag_seconds: float) -> Derived:
    """Send more than a window's worth from one address, then as much from many, without a key."""
    script = _Script(limits)
    if limits.waf:
        # Well within the window, and long enough to be seen when the web ACL lags behind.
        rps = max(_WAF_RPS, 4 * limits.waf.limit / limits.waf.window_seconds)
        seconds = (limits.waf.limit * _WAF_FACTOR + 3) / rps
        script.send({None: rps}, seconds + 2 * waf_lag_seconds, addresses=1)
        script.pause()
        script.send({None: rps}, seconds, addresses=_MANY_ADDRESSES)
    return script.traffic(), (SMALL_BODY,)


def seed(limits: Limits, *_: float) -> Derived:
    """Send 1,500 requests at 100 a second from one address with one key."""
    script = _Script(limits)
    for client in list(_first_clients(limits, every=True))[:1]:
        script.send({client: 100.0}, 15.0, addresses=1)
    return script.traffic(), (SMALL_BODY,)


PROFILES: Final[Mapping[str, Callable[[Limits, float, float], Derived]]] = {
    "plan": plan,
    "burst": burst,
    "stage": stage,
    "sizes": sizes,
    "waf": waf,
    "seed": seed,
}
"""By name. Arguments: limits, seconds that the function works on a request, lag of the WAF."""
EVERY_LIMIT: Final = ("plan", "burst", "stage", "sizes", "waf")
"""In the order in which a load test sends them: the last one may leave an address blocked."""


def _tightest(*throttles: Throttle | None) -> Throttle | None:
    """Return several buckets in a row as one: the lowest rate and the smallest burst."""
    given = [throttle for throttle in throttles if throttle]
    if not given:
        return None
    return Throttle(rate=min(t.rate for t in given), burst=min(t.burst for t in given))


def _first_clients(limits: Limits, *, every: bool = False) -> dict[Client | None, Throttle]:
    """Return the first client of each plan, or every client, with the plan's throttle."""
    found: dict[Client | None, Throttle] = {}
    for name, section in limits.usage_plans.items():
        throttle = _tightest(section.throttle, section.methods.get(METHODS[0]))
        for client in section.clients[: None if every else 1]:
            if throttle:
                found[Client(name, client)] = throttle
    return found


def _at_and_beyond(script: _Script, client: Client | None, throttle: Throttle) -> None:
    for share in _SHARES:
        rps = share * throttle.rate
        seconds = max(_STEADY_SECONDS, 3 / rps)
        if share > 1:
            seconds = throttle.burst / (rps - throttle.rate) + _overload_seconds(throttle)
        script.send({client: rps}, seconds)


def _overload_seconds(throttle: Throttle) -> float:
    least, most = _OVERLOAD_SECONDS
    return min(max(least, 60 / throttle.rate), most)


def _burst_rps(limits: Limits, throttle: Throttle, duration_seconds: float) -> float:
    """Return a rate that outruns a bucket's refill, and that the function keeps up with."""
    rps = max(_BURST_RPS, 4 * throttle.rate)
    if limits.concurrency is not None:
        rps = min(rps, limits.concurrency / duration_seconds)
    return max(rps, 2 * throttle.rate)
