"""`python -m tools fit`: the smallest limits that the requests of an access log pass."""

import math
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

import click
import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from rich.text import Text

from routes import METHODS
from settings import Settings, UserError, load_stack
from settings.errors import fix_command, written
from settings.paths import Path, config_key
from settings.schema import LEAST_WAF_RATE, WAF_WINDOWS
from throttling import Client, Limits, Period, Throttle, WafRateLimit
from throttling.account import default_throttle
from throttling.limiters import period_end, period_start
from throttling.simulation.engine import Engine
from throttling.simulation.loops import Codes
from throttling.simulation.traffic import Ints
from tools.cli import console, print_json
from tools.traffic.logged import Logged, limits_of, log_options, read_logged
from tools.traffic.options import parsed
from tools.traffic.replay import HIDDEN
from tools.traffic.report import moment

CANNOT_TELL: Final = (
    "The limits fit the demand of this log, not of a busier time: use the log of a usual week, and "
    "let the web ACL count a new limit before it blocks (waf.shadow)."
)
_LEAST_RATE: Final = 0.001
_LONGEST_PEAK_SECONDS: Final = 60.0
"""What lasts longer is a matter of rate, what is shorter of burst."""
_FRONTIER: Final = (0.5, 0.75, 0.9, 1.25, 1.5, 2.0, 4.0)
"""Rates to show, as shares of the one taken."""
_WHOLE_PERIOD: Final = 0.95
"""A log of this share of a quota's period counts as one of the whole period."""
_PRECISION: Final = 0.01
"""Share by which a rate may be off."""
_GOLDEN: Final = (math.sqrt(5) - 1) / 2


def _parse_share(text: str) -> float:
    number = text.strip().removesuffix("%")
    try:
        share = float(number) / 100
    except ValueError:
        share = math.nan
    if not text.strip().endswith("%") or not 0 <= share < 1:
        raise ValueError(f"{text!r} is not a share; allowed is 0% to less than 100%, such as 0.1%")
    return share


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """One setting: what the log needs, and what to set."""

    path: Path
    now: float | None
    """None for what is good to know only."""
    needed: float
    value: float
    """With head-room."""
    why: str
    """The client and minute that decide it."""
    label: str = ""

    @property
    def name(self) -> str:
        """The setting, or what else it is."""
        return self.label or config_key("", self.path).removeprefix(":")

    def not_lowered(self) -> "Fitted":
        """Return this with at least the present value, for a log that is too short to lower it."""
        if self.now is None or self.value >= self.now:
            return self
        return replace(self, value=self.now, why=f"{self.why}. The log is short: not lowered")

    def to_json(self, project: str) -> dict[str, Any]:
        """Return this as plain values."""
        values = {"now": self.now, "needed": self.needed, "value": self.value}
        setting = config_key(project, self.path)
        return {"limit": self.name, "setting": setting, **values, "decidedBy": self.why}


@dataclass(frozen=True, kw_only=True)
class Frontier:
    """The burst that a bucket needs at several rates."""

    path: Path
    seconds: float
    """What lasts longer is a matter of rate, what is shorter of burst."""
    points: Sequence[tuple[float, int]]
    taken: float

    def words(self) -> str:
        """Return the points, and which one is taken."""
        points = ", ".join(
            f"{rate:,.10g}/s: {burst:,}{' (taken)' if rate == self.taken else ''}"
            for rate, burst in self.points
        )
        return (
            f"{config_key('', self.path)[1:]}: burst needed at each rate: {points}. The one taken "
            f"lets the fewest requests through in {self.seconds:.3g} s: what lasts longer is rate, "
            "what is shorter is burst."
        )


class _Demand:
    """Requests with a valid key, and how many of each client a limit refuses."""

    def __init__(self, logged: Logged, limits: Limits, share: float) -> None:
        """Take the requests of a log.

        Args:
            logged: all its requests.
            limits: of the stack, which say who has a valid key.
            share: of each client's requests that may be refused.
        """
        holders = {
            Client(plan, name) for plan, one in limits.usage_plans.items() for name in one.clients
        }
        # Methods that need no key stand for their callers.
        owners = [
            method if method in limits.keyless else str(client) if client in holders else ""
            for client, method in logged.sources
        ]
        self.names = [*dict.fromkeys(["", *owners])]
        """Of the clients. The first stands for requests without a valid key, which do not count."""
        self._of_source = np.array([self.names.index(owner) for owner in owners], np.int64)
        self._logged, self._share = logged, share
        self._choose(np.full(len(logged.source), True))

    def _choose(self, chosen: NDArray[np.bool_]) -> None:
        log = self._logged.log
        self.times = log.times[chosen]
        self.source = self._logged.source[chosen].astype(np.int64)
        self.address = log.address[chosen].astype(np.int64)
        self.durations = self._logged.durations[chosen].astype(np.float64)
        self.client = self._of_source[self.source]
        self.sent = self._count(self.client)
        self._allowed = (self._share * self.sent + 1e-9).astype(np.int64)
        self._allowed[0] = len(self.times)

    def of(self, *, plan: str = "", methods: Sequence[str] = ()) -> "_Demand":
        """Return the requests with a valid key, of one plan and of some methods if given."""
        wanted = [
            bool(owner)
            and (not plan or (client is not None and client.plan == plan))
            and (not methods or method in methods)
            for owner, (client, method) in zip(
                self._of_source.tolist(), self._logged.sources, strict=True
            )
        ]
        part = copy(self)
        part._choose(np.array(wanted)[self._logged.source])
        return part

    def from_clients(self) -> "_Demand":
        """Return the requests, even without a valid key, from addresses that clients send from."""
        used = np.zeros(len(self._logged.log.addresses), bool)
        used[self.address[self.client > 0]] = True
        part = copy(self)
        part._choose(used[self._logged.log.address])
        return part

    def _count(self, clients: Ints) -> Ints:
        return np.bincount(clients, minlength=len(self.names))

    def decide(self, limits: Limits) -> Codes:
        """Return what happens to the requests."""
        engine = Engine(limits, self._logged.sources, epoch=self._logged.log.start.timestamp())
        durations = 0.0 if limits.concurrency is None else self.durations
        return engine.decide(self.times, self.source, self.address, durations)

    def refused(self, limits: Limits) -> Ints:
        """Return how many requests of each client are refused."""
        return self._count(self.client[self.decide(limits) > 0])

    def fits(self, limits: Limits) -> bool:
        """Return whether no client is refused more than it may."""
        return bool((self.refused(limits) <= self._allowed).all())

    def longest_seconds(self) -> float:
        """Return the longest time from the first request of a client to its last."""
        first, last = np.zeros((2, len(self.names)))
        first[self.client[::-1]], last[self.client] = self.times[::-1], self.times
        return float((last - first).max())

    def decided_by(self, too_low: Limits, *, shared: bool = False, detail: str = "") -> str:
        """Return the client and the minute that decide a limit, in words.

        Args:
            too_low: the limits, with this one just too low.
            shared: whether clients share the limit. Then the minute with most refusals decides,
                and the client is the one that sends most in it.
            detail: what else to say: address or latency.
        """
        refused, log = self.decide(too_low) > 0, self._logged.log
        if not refused.any():  # the limit is the least that AWS takes
            refused[:] = True
        offset = log.start.timestamp() % 60
        minutes = ((self.times + offset) // 60).astype(np.int64)
        client = 0
        if not shared:
            excess = self._count(self.client[refused]) - self._allowed
            client = int(np.where(self.sent > 0, excess, -self.sent.sum())[1:].argmax()) + 1
            refused &= self.client == client
        minute = int(np.bincount(minutes[refused]).argmax())
        within = minutes == minute
        sent, total = self._count(self.client[within]), np.count_nonzero(within)
        client = client or int(sent[1:].argmax()) + 1
        start = log.start + timedelta(seconds=60 * minute - offset)
        words = f"{self.names[client]}, {start:%Y-%m-%d %H:%M}: {sent[client]:,} requests"
        if detail == "address":
            address = int(np.bincount(self.address[within & refused]).argmax())
            return f"{words}, most refused from {log.addresses[address]}"
        if detail == "latency":
            mean = float(self.durations[within].mean())
            return (
                f"{words} of {total:,}; Little's law: {total / 60:,.3g}/s x {mean * 1000:,.3g} ms "
                f"= {total / 60 * mean:.3g} busy on average"
            )
        return f"{words} of {total:,}" if shared else words


class _Fitter:
    """Fits each limit on its own: with no other one, no client is refused more than its share."""

    def __init__(self, settings: Settings, logged: Logged, share: float, headroom: float) -> None:
        self.limits = limits_of(settings)
        self.demand = _Demand(logged, self.limits, share)
        self.frontiers: list[Frontier] = []
        self.notes: list[str] = []
        self._settings, self._log, self._factor = settings, logged.log, 1 + headroom
        plans = {
            name: replace(plan, throttle=None, quota=None)
            for name, plan in self.limits.usage_plans.items()
        }
        self._open = Limits(
            waf=None,
            usage_plans=plans,
            stage=None,
            keyless=self.limits.keyless,
            concurrency=None,
        )
        """No limit at all."""

    def fit(self) -> list[Fitted]:
        """Return what the log needs of each limit."""
        found = [one for name in self.limits.usage_plans for one in self._plan(name)]
        return [*found, *self._stage(found), *self._web_acl(), *self._concurrency()]

    def _plan(self, name: str) -> Iterator[Fitted]:
        plan, demand = self.limits.usage_plans[name], self.demand.of(plan=name)
        if not len(demand.times):
            self.notes.append(f"The log has no request of plan {name}: its limits stay.")
            return

        def only(**limit: Any) -> Limits:  # noqa: ANN401  a throttle or a quota
            changed = replace(self._open.usage_plans[name], **limit)
            return replace(self._open, usage_plans={**self._open.usage_plans, name: changed})

        path = ("usagePlans", name)
        if plan.throttle:
            yield from self._throttle(path, plan.throttle, demand, lambda t: only(throttle=t))
        if quota := plan.quota:

            def only_quota(limit: int) -> Limits:
                return only(quota=replace(quota, limit=limit))

            found = self._number((*path, "quota", "limit"), quota.limit, demand, only_quota)
            yield found if self._covers(quota.period) else found.not_lowered()

    def _stage(self, plans: Sequence[Fitted]) -> Iterator[Fitted]:
        """Yield the stage's bucket and those of its methods; no plan may exceed the stage's."""
        buckets: list[tuple[Path, Throttle, Sequence[str], Callable[[Throttle], Limits]]] = [
            (("throttle", "methods", name), throttle, [name], self._of_method(name))
            for name, throttle in self.limits.methods.items()
        ]
        if self.limits.stage:
            others = [name for name in METHODS if name not in self.limits.methods]
            only_stage = lambda t: replace(self._open, stage=t)  # noqa: E731
            buckets.append((("throttle",), self.limits.stage, others, only_stage))
        for path, now, methods, only in buckets:
            demand = self.demand.of(methods=methods)
            if not methods or not len(demand.times):
                continue
            for found in self._throttle(path, now, demand, only, shared=True):
                name = found.path[-1]
                of_plans = {
                    plan: getattr(one.throttle, "rate" if name == "rateLimit" else "burst")
                    for plan, one in self.limits.usage_plans.items()
                    if one.throttle
                } | {one.path[1]: one.value for one in plans if one.path[2:] == (name,)}
                most = max(of_plans, key=lambda plan: of_plans[plan], default="")
                if most and of_plans[most] > found.value:
                    why = f"{found.why}. Raised to that of plan {most}"
                    found = replace(found, value=of_plans[most], why=why)
                yield found

    def _of_method(self, name: str) -> Callable[[Throttle], Limits]:
        return lambda throttle: replace(self._open, methods={name: throttle})

    def _web_acl(self) -> Iterator[Fitted]:
        if not (waf := self.limits.waf):
            self.notes.append("No limit of a web ACL is fitted, because none can be replayed.")
            return
        demand, path = self.demand.from_clients(), ("waf", "rateLimit")
        for window in WAF_WINDOWS:

            def only(limit: int, window: int = window) -> Limits:
                return replace(self._open, waf=WafRateLimit(limit=limit, window_seconds=window))

            now = waf.limit if window == waf.window_seconds else None
            found = self._number(path, now, demand, only, LEAST_WAF_RATE, detail="address")
            found = replace(found, label=f"waf.rateLimit in {window} s")
            yield found if self._log.times[-1] >= window else found.not_lowered()

    def _concurrency(self) -> Iterator[Fitted]:
        if (now := self.limits.concurrency) is None:
            self.notes.append("function.reservedConcurrency is none: nothing is reserved.")
            return
        yield self._number(
            ("function", "reservedConcurrency"),
            now,
            self.demand.of(),
            lambda n: replace(self._open, concurrency=n),
            shared=True,
            detail="latency",
        )

    def _number(
        self,
        path: Path,
        now: int | None,
        demand: _Demand,
        only: Callable[[int], Limits],
        least: int = 1,
        **words: Any,  # noqa: ANN401  those of `decided_by`
    ) -> Fitted:
        """Return the smallest number that fits, where `only` makes limits of it alone."""
        most = max(least, len(demand.times))
        needed = _smallest(lambda number: demand.fits(only(number)), least, most)
        why = demand.decided_by(only(_less(needed)), **words)
        return Fitted(path=path, now=now, needed=needed, value=self._up(needed), why=why)

    def _throttle(
        self,
        path: Path,
        now: Throttle,
        demand: _Demand,
        only: Callable[[Throttle], Limits],
        *,
        shared: bool = False,
    ) -> Iterator[Fitted]:
        """Yield the rate and the burst that let the fewest requests through in the horizon."""
        bursts: dict[float, int] = {}

        def burst(rate: float) -> int:
            if rate not in bursts:
                above = [number for other, number in bursts.items() if other < rate]
                below = [number for other, number in bursts.items() if other > rate]
                bursts[rate] = _smallest(
                    lambda number: demand.fits(only(Throttle(rate=rate, burst=number))),
                    max(below, default=1),
                    min(above, default=len(demand.times)),
                )
            return bursts[rate]

        seconds = float(demand.times[-1] - demand.times[0]) if shared else demand.longest_seconds()
        horizon = min(_LONGEST_PEAK_SECONDS, max(1.0, seconds / 4))
        account = default_throttle(self._settings.region)

        def cost(log_rate: float) -> float:
            rate = _short(math.exp(log_rate))
            needed = burst(rate)
            # No bucket holds more than the account's.
            return needed * (1e6 if self._up(needed) > account.burst else 1) + horizon * rate

        most = len(demand.times) if shared else int(demand.sent[1:].max())
        rate = _short(math.exp(_lowest(cost, math.log(_LEAST_RATE), math.log(most / horizon + 1))))
        points = sorted({_short(max(_LEAST_RATE, rate * factor)) for factor in _FRONTIER} | {rate})
        self.frontiers.append(
            Frontier(path=path, seconds=horizon, points=[(r, burst(r)) for r in points], taken=rate)
        )
        below = Throttle(rate=rate, burst=_less(burst(rate)))
        why = demand.decided_by(only(below), shared=shared)
        value = _short(rate * self._factor, up=True)
        yield Fitted(path=(*path, "rateLimit"), now=now.rate, needed=rate, value=value, why=why)
        needed, value = burst(rate), self._up(burst(rate))
        yield Fitted(path=(*path, "burstLimit"), now=now.burst, needed=needed, value=value, why=why)

    def _up(self, number: int) -> int:
        return math.ceil(number * self._factor - 1e-9)

    def _covers(self, period: Period) -> bool:
        """Return whether the log has nearly all of a quota's period."""
        start = self._log.start.timestamp()
        end, starts = start + float(self._log.times[-1]), period_start(period, start).timestamp()
        for _ in range(2):
            ends = period_end(period, starts).timestamp()
            if min(end, ends) - max(start, starts) >= _WHOLE_PERIOD * (ends - starts):
                return True
            starts = ends
        return False


def _smallest(fits: Callable[[int], bool], low: int, high: int) -> int:
    """Return the smallest number that fits, where all above it do and `high` does.

    A large one may be off by 0.2 %, which saves half of the tries.
    """
    while high - low > low // 500:
        middle = math.isqrt(low * high) if high > 2 * low else (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle + 1, high)
    return high


def _less(number: int) -> int:
    """Return a number that is certainly less than the smallest that fits; see `_smallest`."""
    return number - 1 - number // 500


def _lowest(cost: Callable[[float], float], low: float, high: float) -> float:
    """Return where a function with one valley is lowest, by golden sections."""
    inner = [high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)]
    costs = [cost(place) for place in inner]
    while high - low > _PRECISION:
        if costs[0] <= costs[1]:
            high, inner[1], costs[1] = inner[1], inner[0], costs[0]
            inner[0] = high - _GOLDEN * (high - low)
            costs[0] = cost(inner[0])
        else:
            low, inner[0], costs[0] = inner[0], inner[1], costs[1]
            inner[1] = low + _GOLDEN * (high - low)
            costs[1] = cost(inner[1])
    return inner[costs[1] < costs[0]]


def _short(number: float, *, up: bool = False) -> float:
    """Return a number with three digits, rounded up if asked."""
    digits = 2 - math.floor(math.log10(number))
    return math.ceil(number * 10**digits - 1e-9) / 10**digits if up else round(number, digits)


@click.command(
    epilog="Example: python -m tools fit access.jsonl --stack prod --refuse-at-most 0.1%"
)
@log_options
@click.option(
    "--refuse-at-most",
    "share",
    default="0.1%",
    show_default=True,
    callback=parsed(_parse_share),
    metavar="SHARE",
    help="Of each client's requests, that all limits together may refuse.",
)
@click.option(
    "--headroom",
    default="20%",
    show_default=True,
    callback=parsed(_parse_share),
    metavar="SHARE",
    help="What to add to each limit that the log needs.",
)
def fit(
    stack: str,
    share: float,
    headroom: float,
    output_format: str,
    **log_options: Any,  # noqa: ANN401  checked by click
) -> None:
    """Find the smallest limits that the requests of an access log pass.

    The lines that it prints set these limits. They are checked by a replay before.
    docs/replay.md describes the logs and the result.
    """
    settings = load_stack(stack)
    logged = read_logged(settings, **log_options)
    budget = share
    with console(stderr=True).status("Fitting ..."):
        while True:
            fitter = _Fitter(settings, logged, budget, headroom)
            if not fitter.demand.sent[1:].any():
                raise UserError(f"No request of the log has a valid key. {' '.join(logged.notes)}")
            found = fitter.fit()
            changed = [one for one in found if one.now not in (None, one.value)]
            settings_of = {config_key(settings.project, one.path): one for one in changed}
            changes = [f"{key}={written(one.value)}" for key, one in settings_of.items()]
            checked = limits_of(load_stack(stack, changes))
            refused = fitter.demand.refused(checked) / np.maximum(fitter.demand.sent, 1)
            worst = int(refused[1:].argmax()) + 1
            if refused[worst] <= share:
                break
            # Each limit alone keeps the promise, and all of them together do not.
            budget = budget / 2 if budget * fitter.demand.sent[1:].max() >= 1 else 0.0
    commands = [
        fix_command(settings.project, stack, one.path, written(one.value)) for one in changed
    ]
    checks = (
        f"Checked by a replay: with these limits, {fitter.demand.names[worst]} is refused most, "
        f"{100 * refused[worst]:.3g} % of its {fitter.demand.sent[worst]:,} requests."
    )
    notes = [*logged.notes, *fitter.notes, *HIDDEN, CANNOT_TELL]
    head = (
        f"Stack {stack}: limits for {fitter.demand.sent[1:].sum():,} requests with a valid key in "
        f"{moment(logged.seconds)}, from {logged.log.start:%A %Y-%m-%d %H:%M:%S} UTC. No client is "
        f"refused more than {100 * share:g} %."
    )
    if output_format == "json":
        document = {
            "stack": stack,
            "refuseAtMost": share,
            "headroom": headroom,
            "limits": [one.to_json(settings.project) for one in found],
            "frontiers": [
                {
                    "setting": config_key(settings.project, one.path),
                    "horizonSeconds": one.seconds,
                    "taken": one.taken,
                    "points": [{"rate": rate, "burst": burst} for rate, burst in one.points],
                }
                for one in fitter.frontiers
            ],
            "commands": commands,
            "refused": dict(zip(fitter.demand.names[1:], refused[1:].tolist(), strict=True)),
            "notes": notes,
        }
        print_json(document)
        return
    out = console()
    out.print(Text(head, style="bold"), "", _table(found, headroom), "", sep="\n")
    for frontier in fitter.frontiers:
        out.print(Text(frontier.words()))
    out.print("", *(Text(command) for command in commands or ["Nothing to set."]), "", sep="\n")
    out.print(Text(checks), *(Text(note, style="dim") for note in notes), sep="\n")


def _table(found: Sequence[Fitted], headroom: float) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("limit", "now", "needed", f"with {100 * headroom:g} %", "decided by (UTC)"):
        table.add_column(heading, justify="left" if heading[0] in "ld" else "right")
    for one in found:
        now = "" if one.now is None else f"{one.now:,.10g}"
        table.add_row(one.name, now, f"{one.needed:,.10g}", f"{one.value:,.10g}", Text(one.why))
    return table
