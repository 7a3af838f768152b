"""What each scenario sends, planned from the limits before anything is sent.

Requests arrive at a constant rate, whatever becomes of those before them: a caller that waited for
answers would slow down with the target and never send more than it takes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from tools.traffic.load import bodies
from tools.traffic.load.target import Target
from throttling import Client, Throttle

SCENARIOS: Final = ("smoke", "plan", "stage", "mixed", "waf")
"""In the order in which they run: the last may leave an address blocked."""

METHOD: Final = "POST /data"
_SHARES: Final = (0.8, 1.0)
"""Of a plan's rate: what must pass whole."""
_OVERLOAD: Final = 1.5
"""Times a plan's rate: what must be cut to the rate."""
_STEADY_SECONDS: Final = 5.0
_MEASURED_SECONDS: Final = 12.0
_MEASURED_REQUESTS: Final = 60
"""So many, or so long, is a rate measured: one request more or less is then under two percent."""
_LONGEST_MEASURED_SECONDS: Final = 60.0
_PAUSE_SECONDS: Final = 0.5
"""Between phases, so that the last answers are there."""
_BURST_FACTOR: Final = 1.5
_BURST_RATE: Final = 250.0
"""Requests per second of a burst, if neither bucket nor function asks for another rate."""
_WAF_RATE: Final = 150.0
_WAF_FACTOR: Final = 1.1
_WAF_LAG_SECONDS: Final = 60.0
"""How long a deployed web ACL is given to notice: usually below 30 s, says AWS."""
_WAF_SHARE: Final = 0.8
"""Of a deployed web ACL's limit: what other scenarios may use up in a window."""
_ADDRESSES_OF_MANY: Final = 50


class Kind(StrEnum):
    """What a phase is for, which says how its answers are judged."""

    SMOKE = "smoke"
    NO_KEY = "no key"
    STEADY = "steady"
    OVERLOAD = "overload"
    RETRY = "retry"
    BURST = "burst"
    BLOCK = "block"
    SPREAD = "spread"


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """Requests at one constant rate."""

    scenario: str
    subject: str
    """Whose limit is tested: a client, or "stage"."""
    name: str
    kind: Kind
    start: float
    """Seconds after the start of the run."""
    rate: float
    """Requests per second."""
    count: int
    client: Client | None
    """Whose key the requests carry."""
    addresses: tuple[str, ...] = ()
    """Source addresses, in turn; empty for the generator's own."""
    sizes: tuple[str, ...] = (bodies.SMALL,)
    """Of the bodies, in turn."""

    @property
    def end(self) -> float:
        """When the last request is due."""
        return self.start + max(0, self.count - 1) / self.rate

    @property
    def title(self) -> str:
        """How the phase is called: `plan basic/default 80 %`."""
        return " ".join(part for part in (self.scenario, self.subject, self.name) if part)


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """All phases of a run, and what could not be planned."""

    phases: tuple[Phase, ...]
    left_out: Mapping[str, Sequence[str]]
    """By scenario: what is not tested, and why."""

    @property
    def seconds(self) -> float:
        """When the last request is due."""
        return max((phase.end for phase in self.phases), default=0.0)

    @property
    def requests(self) -> int:
        """How many there are."""
        return sum(phase.count for phase in self.phases)

    @property
    def peak_rate(self) -> float:
        """The most requests per second that are sent at any time."""
        return max(
            (
                sum(p.rate for p in self.phases if p.start <= phase.start <= p.end)
                for phase in self.phases
            ),
            default=0.0,
        )

    def scenarios(self) -> list[str]:
        """The scenarios with anything to say, in order."""
        names = {phase.scenario for phase in self.phases} | set(self.left_out)
        return [name for name in SCENARIOS if name in names]


@dataclass(slots=True)
class _Planner:
    """Puts one phase after the other."""

    target: Target
    now: float = 0.0
    phases: list[Phase] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    addresses_used: int = 0

    def addresses(self, count: int) -> tuple[str, ...]:
        """Source addresses that no phase has used; none where the target does not ask for them."""
        if not self.target.sandbox:
            return ()
        first = self.addresses_used
        self.addresses_used += count
        return tuple(self.target.address(first + number) for number in range(count))

    def spread(self, requests: int) -> tuple[str, ...]:
        """As many fresh addresses as keep the web ACL out of so many requests."""
        waf = self.target.limits.waf
        return self.addresses(1 + int(requests / (waf.limit * _WAF_SHARE)) if waf else 1)

    def leave_out(self, scenario: str, why: str) -> None:
        """Note what cannot be tested."""
        self.left_out.setdefault(scenario, []).append(why)

    def add(self, *phases: Phase) -> None:
        """Put phases, which may overlap, at the end."""
        self.phases += phases
        self.now = max(phase.end for phase in self.phases) + _PAUSE_SECONDS

    def refill(self, *throttles: Throttle | None) -> None:
        """Wait until empty buckets are full again."""
        self.now += max((one.burst / one.rate for one in throttles if one), default=0.0)

    def burst_rate(self, throttle: Throttle) -> float:
        """Fast enough to outrun a bucket's refill, and not faster than its function keeps up."""
        target = self.target
        rate = max(_BURST_RATE, 4 * throttle.rate)
        if target.limits.concurrency is not None:
            rate = min(rate, target.limits.concurrency / target.expected_duration_seconds)
        return max(rate, 2 * throttle.rate)


def plan_schedule(target: Target, scenarios: Sequence[str]) -> Schedule:
    """Plan a run.

    Args:
        target: where, and with which limits.
        scenarios: of `SCENARIOS`; run in their order there.
    """
    planner = _Planner(target)
    wanted = [name for name in SCENARIOS if name in scenarios]
    if target.sandbox and "waf" in wanted:
        # Addresses are free there, and what is blocked first can be asked again at the end.
        wanted.sort(key=lambda name: (name != "smoke", name != "waf"))
    for name in wanted:
        before = len(planner.phases)
        _PLANNERS[name](planner)
        if name != "waf":
            _keep_below_web_acl(planner, name, before)
    _ask_blocked_address_again(planner)
    return Schedule(phases=tuple(planner.phases), left_out=planner.left_out)


def binding(*throttles: Throttle | None) -> Throttle | None:
    """Several buckets one behind the other as one: the slowest rate, the smallest burst."""
    there = [one for one in throttles if one]
    if not there:
        return None
    return Throttle(rate=min(t.rate for t in there), burst=min(t.burst for t in there))


def plan_throttle(target: Target, plan: str) -> Throttle | None:
    """What one client of a plan gets through its own buckets."""
    limits = target.limits.usage_plans[plan]
    return binding(limits.throttle, limits.methods.get(METHOD))


def stage_throttle(target: Target) -> Throttle | None:
    """What all clients together get through the stage."""
    return binding(target.limits.stage, target.limits.methods.get(METHOD))


def _smoke(planner: _Planner) -> None:
    for client in planner.target.keys:
        planner.add(
            Phase(
                scenario="smoke",
                subject=str(client),
                name="README's curl",
                kind=Kind.SMOKE,
                start=planner.now,
                rate=1.0,
                count=1,
                client=client,
                addresses=planner.addresses(1),
                sizes=(bodies.README,),
            )
        )
    planner.add(
        Phase(
            scenario="smoke",
            subject="",
            name="without a key",
            kind=Kind.NO_KEY,
            start=planner.now,
            rate=1.0,
            count=1,
            client=None,
            addresses=planner.addresses(1),
            sizes=(bodies.README,),
        )
    )


def _plan(planner: _Planner) -> None:
    target = planner.target
    for name in target.limits.usage_plans:
        client = next((one for one in target.keys if one.plan == name), None)
        throttle = plan_throttle(target, name)
        if client is None or throttle is None:
            what = "has no throttle" if client else "has no client"
            planner.leave_out("plan", f"plan {name} {what}.")
            continue
        steady = _rounded(_STEADY_SECONDS * throttle.rate, at_least=3)
        overload = _overload_count(throttle, throttle.rate * _OVERLOAD)
        at_once = _burst_count(throttle, planner.burst_rate(throttle))
        addresses = planner.spread(3 * steady + overload + at_once)

        def phase(
            label: str,
            kind: Kind,
            rate: float,
            count: int,
            client: Client = client,
            addresses: tuple[str, ...] = addresses,
        ) -> Phase:
            return Phase(
                scenario="plan",
                subject=str(client),
                name=label,
                kind=kind,
                start=planner.now,
                rate=rate,
                count=count,
                client=client,
                addresses=addresses,
            )

        for share in _SHARES:
            planner.add(phase(f"{share:.0%}", Kind.STEADY, share * throttle.rate, steady))
        rate = _OVERLOAD * throttle.rate
        planner.add(phase(f"{_OVERLOAD:.0%}", Kind.OVERLOAD, rate, overload))
        # A caller that was refused and waits as it was told is let in.
        planner.now += target.retry_after_seconds
        planner.add(phase("after Retry-After", Kind.RETRY, 1.0, 1))
        planner.refill(throttle, stage_throttle(target))
        planner.add(phase("burst", Kind.BURST, planner.burst_rate(throttle), at_once))
        planner.refill(throttle, stage_throttle(target))


def _stage(planner: _Planner) -> None:
    target = planner.target
    stage = stage_throttle(target)
    if stage is None:
        planner.leave_out("stage", "the stage has no throttle.")
        return
    senders = {client: plan_throttle(target, client.plan) or stage for client in target.keys}
    if not senders:
        planner.leave_out("stage", "no plan has a client.")
        return
    total = sum(throttle.rate for throttle in senders.values())
    seconds = _STEADY_SECONDS
    if total > stage.rate:
        seconds = stage.burst / (total - stage.rate) + _measured_seconds(stage)
    bursts = sum(throttle.burst for throttle in senders.values())
    for label, kind in (("all at full rate", Kind.STEADY), ("all bursts", Kind.BURST)):
        phases = []
        for client, throttle in senders.items():
            if kind is Kind.STEADY:
                rate, count = throttle.rate, _rounded(seconds * throttle.rate, at_least=3)
            else:
                # All bursts take the same time.
                count = throttle.burst
                rate = planner.burst_rate(stage) * count / bursts
            phases.append(
                Phase(
                    scenario="stage",
                    subject=str(client),
                    name=label,
                    kind=kind,
                    start=planner.now,
                    rate=rate,
                    count=count,
                    client=client,
                    addresses=planner.spread(count),
                )
            )
        planner.add(*phases)
        planner.refill(stage, *senders.values())


def _mixed(planner: _Planner) -> None:
    target = planner.target
    buckets = {client: plan_throttle(target, client.plan) for client in target.keys}
    there = {client: throttle for client, throttle in buckets.items() if throttle}
    if not there:
        planner.leave_out("mixed", "no plan has a client and a throttle.")
        return
    client, throttle = max(there.items(), key=lambda item: item[1].rate)
    steady = _rounded(_STEADY_SECONDS * throttle.rate, at_least=len(bodies.MIXED))
    overload = _overload_count(throttle, throttle.rate * _OVERLOAD)
    addresses = planner.spread(steady + overload)
    for share, kind, count in (
        (_SHARES[0], Kind.STEADY, steady),
        (_OVERLOAD, Kind.OVERLOAD, overload),
    ):
        planner.add(
            Phase(
                scenario="mixed",
                subject=str(client),
                name=f"{share:.0%}, all sizes",
                kind=kind,
                start=planner.now,
                rate=share * throttle.rate,
                count=count,
                client=client,
                addresses=addresses,
                sizes=bodies.MIXED,
            )
        )
    planner.refill(throttle, stage_throttle(target))


def _waf(planner: _Planner) -> None:
    target = planner.target
    waf = target.limits.waf
    if waf is None:
        planner.leave_out("waf", "the stack has no web ACL.")
        return
    count = _rounded(waf.limit * _WAF_FACTOR * target.generators, at_least=waf.limit + 3)
    # Each window's worth well within a window.
    rate = max(_WAF_RATE, 4 * waf.limit * target.generators / waf.window_seconds)
    # Without a key, they reach nothing but the web ACL.
    blocked = Phase(
        scenario="waf",
        subject="",
        name="one address",
        kind=Kind.BLOCK,
        start=planner.now,
        rate=rate,
        count=count if target.sandbox else count + round(rate * _WAF_LAG_SECONDS),
        client=None,
        addresses=planner.addresses(1),
    )
    planner.add(blocked)
    if not target.sandbox:
        planner.leave_out(
            "waf",
            "many addresses: a generator has one. The sandbox takes them from X-Forwarded-For.",
        )
        return
    many = planner.addresses(_ADDRESSES_OF_MANY)
    planner.add(
        Phase(
            scenario="waf",
            subject="",
            name=f"{len(many)} addresses",
            kind=Kind.SPREAD,
            start=planner.now,
            rate=rate,
            count=count,
            client=None,
            addresses=many,
        )
    )


_PLANNERS: Final[Mapping[str, Callable[[_Planner], None]]] = {
    "smoke": _smoke,
    "plan": _plan,
    "stage": _stage,
    "mixed": _mixed,
    "waf": _waf,
}


def _ask_blocked_address_again(planner: _Planner) -> None:
    """Send one request from a blocked address after its window, if the run takes so long anyway."""
    waf = planner.target.limits.waf
    blocked = next((phase for phase in planner.phases if phase.kind is Kind.BLOCK), None)
    if waf is None or blocked is None:
        return
    over = blocked.end + waf.window_seconds + _PAUSE_SECONDS
    if planner.now < over or not planner.target.sandbox:
        planner.leave_out(
            "waf",
            f"whether a blocked address is let in after Retry-After: the run ends before its "
            f"{waf.window_seconds} s do.",
        )
        return
    planner.add(
        Phase(
            scenario="waf",
            subject="",
            name="after Retry-After",
            kind=Kind.RETRY,
            start=planner.now,
            rate=1.0,
            count=1,
            client=None,
            addresses=blocked.addresses,
        )
    )


def _keep_below_web_acl(planner: _Planner, scenario: str, first: int) -> None:
    """Take a scenario's phases back if a deployed web ACL would block them."""
    target, waf = planner.target, planner.target.limits.waf
    mine = planner.phases[first:]
    if target.sandbox or waf is None or not mine:
        return
    window = [p for p in planner.phases if p.end > mine[-1].end - waf.window_seconds]
    requests = sum(phase.count for phase in window) / target.generators
    if requests <= waf.limit * _WAF_SHARE:
        return
    needed = sum(phase.count for phase in window) / (waf.limit * _WAF_SHARE)
    planner.now = mine[0].start
    del planner.phases[first:]
    planner.leave_out(
        scenario,
        f"it would send {requests:,.0f} requests from one address within {waf.window_seconds} s, "
        f"of which the web ACL lets {waf.limit:,} through. {int(needed) + 1} generators, each with "
        f"an address of its own, could (docs/operate.md).",
    )


def _rounded(number: float, *, at_least: int) -> int:
    return max(at_least, round(number))


def _measured_seconds(throttle: Throttle) -> float:
    wanted = max(_MEASURED_SECONDS, _MEASURED_REQUESTS / throttle.rate)
    return min(wanted, _LONGEST_MEASURED_SECONDS)


def _overload_count(throttle: Throttle, rate: float) -> int:
    """Requests that empty a full bucket, and then measure its rate."""
    draining = throttle.burst / (rate - throttle.rate)
    return round(rate * (draining + _measured_seconds(throttle)))


def _burst_count(throttle: Throttle, rate: float) -> int:
    """Requests at `rate` that are clearly more than a full bucket passes meanwhile."""
    passed = throttle.burst / (1 - throttle.rate / rate)
    return round(passed * _BURST_FACTOR) + 3
