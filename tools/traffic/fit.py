"""`python -m tools fit`: the smallest limits that the requests of an access log pass."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, NamedTuple

import click
import numpy as np
from rich.table import Table
from rich.text import Text

from routes import METHODS
from settings import Settings, UserError, load_stack
from settings.errors import fix_command, written
from settings.paths import Path, config_key
from settings.schema import LEAST_WAF_RATE, WAF_WINDOWS
from throttling import Client, Limits, Period, Quota, Throttle, WafRateLimit
from throttling.account import default_throttle
from throttling.limiters import period_end
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
_PEAK_REQUESTS: Final = 4000
"""The rate must cover a longer peak, the burst a shorter one. Independent arrivals with a mean rate
look like peaks, too: with 4,000 requests, by no more than 3 or 4 % of the rate."""
_LONGEST_PEAK: Final = 0.25
"""The same as a share of all requests, for a short log."""
_ENOUGH_REQUESTS: Final = 5000
"""Fewer independent arrivals may miss their mean rate by more than 5 % (3 / sqrt(n))."""
_RATES: Final = 8
"""How many rates to try at a time."""
_MISSING_SECONDS: Final = 3600
"""A log that lacks so much of a quota's period counts as one of the whole period."""


def _parse_share(text: str) -> float:
    number = text.strip().removesuffix("%")
    try:
        share = float(number) / 100
    except ValueError:
        share = math.nan
    if not text.strip().endswith("%") or not 0 <= share < 1:
        raise ValueError(f"{text!r} is not a share; allowed is 0% to less than 100%, such as 0.1%")
    return share


class _Fitted(NamedTuple):
    """One setting: what the log needs, and what to set."""

    path: Path
    now: float | None
    """None if the row is for information only."""
    needed: float
    value: float
    """With head-room."""
    why: str
    """The client and minute that decide it."""
    window: str = ""
    """Of a web ACL's limit."""

    @property
    def name(self) -> str:
        """The setting, and the window."""
        return config_key("", self.path)[1:] + self.window


class _Demand:
    """Requests of a log, and how many of each client's requests a limit refuses."""

    def __init__(
        self,
        logged: Logged,
        limits: Limits,
        share: float,
        wanted: Callable[[Client | None, str], bool] | None = None,
    ) -> None:
        """Take the requests with a valid key that are `wanted`, by client and method.

        Without `wanted`, take all requests. A limit may refuse a `share` of each client's.
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
        place = {name: index for index, name in enumerate(self.names)}
        taken = [
            not wanted or (bool(owner) and wanted(*source))
            for owner, source in zip(owners, logged.sources, strict=True)
        ]
        chosen = np.array(taken)[logged.source]
        self._logged = logged
        self.times = logged.log.times[chosen]
        self.source = logged.source[chosen]
        self.address = logged.log.address[chosen]
        self.durations = logged.durations[chosen]
        self.client = np.array([place[owner] for owner in owners], np.int64)[self.source]
        self.sent = self._count(self.client)
        self._allowed = (share * self.sent + 1e-9).astype(np.int64)
        self._allowed[0] = len(self.times)

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

    def rates(self, *, shared: bool) -> tuple[int, float, float]:
        """Return the requests of the busiest client, or of all, their mean rate and their peak."""
        group = np.zeros_like(self.client) if shared else self.client
        seconds = self.times.astype(np.int64)
        most = int(np.bincount(group).max())
        length = max(1.0, self.times[-1] - self.times[0])
        peak = np.unique(group * (seconds[-1] + 1) + seconds, return_counts=True)[1].max()
        # Twice as many may come in a second that begins in the middle of one.
        return most, most / length, 2.0 * peak

    def decided_by(self, too_low: Limits, detail: str = "") -> str:
        """Return the client and the minute that decide a limit that is just `too_low`, in words.

        `detail` says what else to name: address or latency.
        """
        refused, log = self.decide(too_low) > 0, self._logged.log
        if not refused.any():  # the limit is the least that AWS takes
            refused[:] = True
        excess = self._count(self.client[refused]) - self._allowed
        client = int(np.where(self.sent > 0, excess, -self.sent.sum())[1:].argmax()) + 1
        offset = log.start.timestamp() % 60
        minutes = ((self.times + offset) // 60).astype(np.int64)
        minute = int(np.bincount(minutes[refused & (self.client == client)]).argmax())
        within = minutes == minute
        sent, total = self._count(self.client[within])[client], np.count_nonzero(within)
        start = log.start + timedelta(seconds=60 * minute - offset)
        words = f"{self.names[client]}, {start:%Y-%m-%d %H:%M}: {sent:,} requests"
        words += f" of {total:,}" if total > sent else ""
        if detail == "address":
            address = int(np.bincount(self.address[within & refused]).argmax())
            words += f", most refused from {log.addresses[address]}"
        if detail == "latency":
            mean = float(self.durations[within].mean())
            words += (
                f"; Little's law: {total / 60:,.3g}/s x {mean * 1000:,.3g} ms = "
                f"{total / 60 * mean:.3g} busy on average"
            )
        return words


class _Fitter:
    """Fits each limit on its own: alone, it refuses no client more than the allowed share."""

    def __init__(self, settings: Settings, logged: Logged, share: float, headroom: float) -> None:
        self.limits, self.notes = limits_of(settings), list[str]()
        self.frontiers: list[dict[str, Any]] = []
        """The burst that each bucket needs at several rates, as JSON."""
        self.demand = _Demand(logged, self.limits, share)
        self._settings, self._logged, self._share = settings, logged, share
        self._factor = 1 + headroom
        plans = {
            name: replace(plan, throttle=None, quota=None)
            for name, plan in self.limits.usage_plans.items()
        }
        self._open = replace(
            self.limits, waf=None, usage_plans=plans, stage=None, methods={}, concurrency=None
        )
        """No limit at all."""

    def _of(self, plan: str = "", methods: Sequence[str] = METHODS) -> _Demand:
        def wanted(client: Client | None, method: str) -> bool:
            return method in methods and (not plan or (client is not None and client.plan == plan))

        return _Demand(self._logged, self.limits, self._share, wanted)

    def fit(self) -> list[_Fitted]:
        """Return what the log needs of each limit."""
        found = [one for name in self.limits.usage_plans for one in self._plan(name)]
        concurrency = self._number(
            ("function", "reservedConcurrency"),
            self.limits.concurrency,
            self._of(),
            lambda n: replace(self._open, concurrency=n),
            detail="latency",
        )
        return [*found, *self._stage(found), *self._web_acl(), concurrency]

    def _plan(self, name: str) -> Iterator[_Fitted]:
        plan, path = self._settings.usage_plans[name], ("usagePlans", name)
        demand, period = self._of(plan=name), plan.quota.period

        def only(throttle: Throttle | None = None, quota: Quota | None = None) -> Limits:
            changed = replace(self._open.usage_plans[name], throttle=throttle, quota=quota)
            return replace(self._open, usage_plans={**self._open.usage_plans, name: changed})

        if len(demand.times):
            yield from self._throttle(path, plan.limit(), demand, only)
            yield self._number(
                (*path, "quota", "limit"),
                plan.quota.limit,
                demand,
                lambda n: only(quota=Quota(limit=n, period=period)),
                lower=self._covers(period),
            )
            return
        for setting, value in (("rateLimit", plan.rate_limit), ("burstLimit", plan.burst_limit)):
            yield _Fitted((*path, setting), value, 0, value, "no request in the log: it stays")

    def _stage(self, plans: Sequence[_Fitted]) -> Iterator[_Fitted]:
        """Yield the buckets of the stage and of single methods, which replace the stage's there."""
        own = self.limits.methods
        buckets: list[tuple[Path, Throttle | None, list[str]]] = [
            (("throttle",), self.limits.stage, [name for name in METHODS if name not in own]),
            *((("throttle", "methods", name), bucket, [name]) for name, bucket in own.items()),
        ]
        for path, now, methods in buckets:
            demand = self._of(methods=methods)
            if not (now and len(demand.times)):
                continue
            for found in self._throttle(
                path, now, demand, lambda t: replace(self._open, stage=t), shared=True
            ):
                # The settings refuse a plan that is faster than its stage.
                least = max(one.value for one in plans if one.path[-1] == found.path[-1])
                if found.value < least:
                    why = f"{found.why}. Raised to that of the fastest plan"
                    found = found._replace(value=least, why=why)
                yield found

    def _web_acl(self) -> Iterator[_Fitted]:
        if not (waf := self.limits.waf):
            self.notes.append("No limit of a web ACL is fitted, because none can be replayed.")
            return
        for window in WAF_WINDOWS:

            def only(limit: int, window: int = window) -> Limits:
                return replace(self._open, waf=WafRateLimit(limit=limit, window_seconds=window))

            found = self._number(
                ("waf", "rateLimit"),
                waf.limit if window == waf.window_seconds else None,
                self.demand,
                only,
                LEAST_WAF_RATE,
                lower=self._logged.log.times[-1] >= window,
                detail="address",
            )
            yield found._replace(window=f" in {window} s")

    def _number(
        self,
        path: Path,
        now: int | None,
        demand: _Demand,
        only: Callable[[int], Limits],
        least: int = 1,
        *,
        lower: bool = True,
        detail: str = "",
    ) -> _Fitted:
        """Return the smallest number that fits, where `only` makes limits of it alone.

        It is not less than the present one if the log is too short to `lower` it.
        """
        most = max(least, len(demand.times))
        needed = _smallest(lambda number: demand.fits(only(number)), least, most)
        value, why = self._up(needed), demand.decided_by(only(_less(needed)), detail)
        if now is not None and value < now and not lower:
            value, why = now, f"{why}. The log is short: not lowered"
        return _Fitted(path, now, needed, value, why)

    def _throttle(
        self,
        path: Path,
        now: Throttle,
        demand: _Demand,
        only: Callable[[Throttle], Limits],
        *,
        shared: bool = False,
    ) -> Iterator[_Fitted]:
        """Yield the rate and the burst of a bucket, where `only` makes limits of it alone."""
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

        requests, mean, high = demand.rates(shared=shared)
        peak = min(_PEAK_REQUESTS, requests * _LONGEST_PEAK)
        # A lower rate makes the whole log one peak.
        low = max(_LEAST_RATE, mean * _LONGEST_PEAK)
        account = default_throttle(self._settings.region)

        def cost(rate: float) -> float:
            """Weigh rate against burst: 1 % more rate costs a burst of 1 % of the longest peak."""
            # No bucket holds more than the account's.
            too_large = self._up(burst(rate)) > account.burst
            return burst(rate) * (1e6 if too_large else 1) + peak * math.log(rate)

        shown: list[float] = []
        while True:
            rates = sorted({_short(rate) for rate in np.geomspace(low, high, _RATES).tolist()})
            shown = shown or rates
            rate = min(rates, key=cost)
            if len(rates) <= 3:
                break
            best = rates.index(rate)
            low, high = rates[max(best - 1, 0)], rates[min(best + 1, len(rates) - 1)]
        name = config_key(self._settings.project, path)
        self.frontiers.append(
            {
                "setting": name,
                "taken": rate,
                "peakRequests": round(peak),
                "points": [{"rate": one, "burst": burst(one)} for one in sorted({*shown, rate})],
            }
        )
        if requests < _ENOUGH_REQUESTS:
            self.notes.append(
                f"{name}: arrivals are random, so {requests:,} requests give the rate to within "
                f"about {min(300 / math.sqrt(requests), 100):.0f} %. For 4 %, use a log with "
                f"{_ENOUGH_REQUESTS:,}{'' if shared else ' of one client'}."
            )
        why = demand.decided_by(only(Throttle(rate=rate, burst=_less(burst(rate)))))
        value = _short(rate * self._factor, up=True)
        yield _Fitted((*path, "rateLimit"), now.rate, rate, value, why)
        value = self._up(burst(rate))
        yield _Fitted((*path, "burstLimit"), now.burst, burst(rate), value, why)

    def _up(self, number: int) -> int:
        return math.ceil(number * self._factor - 1e-9)

    def _covers(self, period: Period) -> bool:
        """Return whether the log has nearly all of a quota's period."""
        start = self._logged.log.start.timestamp()
        begin = period_end(period, start - _MISSING_SECONDS).timestamp()
        end = period_end(period, begin).timestamp() - _MISSING_SECONDS
        return start + float(self._logged.log.times[-1]) >= end


def _smallest(fits: Callable[[int], bool], low: int, high: int) -> int:
    """Return the smallest number that fits. All above it fit too, and `high` is known to fit.

    A large one may be off by 0.2 %, which saves half of the tries.
    """
    while high - low > low // 500:
        middle = math.isqrt(low * high) if high > 2 * low else (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle + 1, high)
    return high


def _less(number: int) -> int:
    """Return a number that is certainly less than the smallest that fits; see `_smallest`."""
    return number - 1 - number // 500


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
            # Each limit alone refuses no more than the share. All of them together refuse more.
            budget = budget / 2 if budget * fitter.demand.sent[1:].max() >= 1 else 0.0
    commands = [
        fix_command(settings.project, stack, one.path, written(one.value)) for one in changed
    ]
    names, sent = fitter.demand.names, fitter.demand.sent
    checks = (
        f"Checked by a replay: with these limits, {names[worst]} is refused most, "
        f"{100 * refused[worst]:.3g} % of its {sent[worst]:,} requests."
    )
    notes = [*logged.notes, *fitter.notes, *HIDDEN, CANNOT_TELL]
    head = (
        f"Stack {stack}: limits for {sent[1:].sum():,} requests with a valid key in "
        f"{moment(logged.seconds)}, from {logged.log.start:%A %Y-%m-%d %H:%M:%S} UTC. No client is "
        f"refused more than {100 * share:g} %."
    )
    if output_format == "json":
        limits = [
            {
                "limit": one.name,
                "setting": config_key(settings.project, one.path),
                "now": one.now,
                "needed": one.needed,
                "value": one.value,
                "decidedBy": one.why,
            }
            for one in found
        ]
        document = {
            "stack": stack,
            "refuseAtMost": share,
            "headroom": headroom,
            "limits": limits,
            "frontiers": fitter.frontiers,
            "commands": commands,
            "refused": dict(zip(names[1:], refused[1:].tolist(), strict=True)),
            "notes": notes,
        }
        print_json(document)
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("limit", "now", "needed", f"with {100 * headroom:g} %", "decided by (UTC)"):
        table.add_column(heading, justify="left" if heading[0] in "ld" else "right")
    for one in found:
        now = "" if one.now is None else f"{one.now:,.10g}"
        table.add_row(one.name, now, f"{one.needed:,.10g}", f"{one.value:,.10g}", Text(one.why))
    frontiers = [Text(_frontier_words(one)) for one in fitter.frontiers]
    out = console()
    out.print(Text(head, style="bold"), "", table, "", *frontiers, "", sep="\n")
    out.print(*(Text(command) for command in commands or ["Nothing to set."]), "", sep="\n")
    out.print(Text(checks), *(Text(note, style="dim") for note in notes), sep="\n")


def _frontier_words(frontier: dict[str, Any]) -> str:
    points = ", ".join(
        f"{one['rate']:,.10g}/s: {one['burst']:,}"
        f"{' (taken)' if one['rate'] == frontier['taken'] else ''}"
        for one in frontier["points"]
    )
    return (
        f"{frontier['setting']}: burst needed at each rate: {points}. The one taken lets a peak "
        f"of about {frontier['peakRequests']:,} requests through as burst, and a longer one by its "
        "rate."
    )
