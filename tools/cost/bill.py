"""What a month bills under a stack's limits: how much of each thing, what bounds it, and dollars.

Upper bounds: a month has 31 days, quotas are used up, and each request is as large and as slow as
it may be. Free tiers are not subtracted, because the account may use them elsewhere.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Final

import yaml
from pydantic import AfterValidator, BaseModel, Field, ValidationError

from components.edge_protection.web_acl import rules
from components.monitoring.alarms import Names, alarms
from components.monitoring.log_metrics import log_metrics
from routes import METHODS
from settings import Settings, UserError
from throttling import Limits, Period
from throttling.account import REQUESTS_PER_SECOND_PER_CONCURRENCY, WCU_BEFORE_EXTRA_COST

PRICES: Final = Path(__file__).with_name("prices.yaml")
DAYS: Final = 31
_SECONDS: Final = DAYS * 86_400
_PERIODS: Final = {Period.DAY: DAYS, Period.WEEK: 6, Period.MONTH: 1}
"""Calendar periods that a month touches, each with a quota of its own."""
_COMPRESSED: Final = 0.15
"""Share of its size that CloudWatch bills for a stored log."""
_DETAILED_METRICS: Final = 5
"""Metrics that API Gateway keeps of a method without a cache."""

Bound = tuple[float, str]
"""A number, and the limit that bounds it."""
Row = tuple[str, float, str]
"""A thing that AWS bills, how many, and the limit that bounds them."""


_Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _rising(tiers: list[tuple[float | None, float]]) -> list[tuple[float | None, float]]:
    ends = [math.inf if end is None else end for end, _ in tiers]
    assert ends[-1:] == [math.inf] and ends == sorted(set(ends)), "must rise to one up to null"  # noqa: S101, PT018
    return tiers


class Price(BaseModel, extra="forbid"):
    """What one kind of thing costs in a month."""

    tiers: Annotated[list[tuple[_Amount | None, _Amount]], AfterValidator(_rising)]
    """Up to how many each price holds, rising, and dollars for `per` of them; None for no end."""
    per: _Amount = Field(1, gt=0)
    page: str = Field(pattern="^https://")
    """Where AWS publishes the price."""

    def dollars(self, count: float) -> float:
        """Return the price of that many in one month."""
        total = below = 0.0
        for end, dollars in self.tiers:
            top = min(count, math.inf if end is None else end)
            total += (top - below) / self.per * dollars
            below = top
        return total


class Prices(BaseModel, extra="forbid"):
    """The prices of one Region at one date."""

    region: str
    date: date
    sizes: dict[str, tuple[_Amount, _Amount]]
    """Of one request: as expected, and at most."""
    prices: dict[str, Price]

    def dollars(self, what: str, count: float) -> float:
        """Return what that many of a thing cost in one month."""
        return self.prices[what].dollars(count)


def read_prices(path: Path = PRICES) -> Prices:
    """Return the prices in a file.

    Raises:
        UserError: the file cannot be read, or does not have the form of `PRICES`.
    """
    problem = ""
    try:
        found = Prices.model_validate(yaml.safe_load(path.read_text("utf-8")))
    except OSError as error:
        problem = str(error.strerror)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        problem = ".".join(map(str, first["loc"])) + f": {first['msg']}"
    except (yaml.YAMLError, ValueError, RecursionError):
        problem = "it is not YAML"
    else:
        known = found if path == PRICES else read_prices()
        needed = {**known.prices, **known.sizes}
        if missing := needed.keys() - {**found.prices, **found.sizes}.keys():
            problem = f"it lacks {min(missing)!r}"
    if problem:
        raise UserError(f"--prices {path}: {problem}. Start from a copy of {PRICES}.")
    return found


@dataclass(frozen=True, kw_only=True)
class Month:
    """What happens to the requests of one month."""

    seen: Bound
    """By the web ACL."""
    blocked: float
    """By the web ACL."""
    admitted: Bound
    """Past all throttles and quotas. API Gateway bills no others that have a route.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-pricing.html"""
    invoked: Bound
    """Those that the function works on."""
    busy_seconds: Bound
    at_most: bool = False
    """Whether each request is as large as it may be."""


def worst(settings: Settings) -> Month:
    """Return the most that a month can hold under the limits of a stack."""
    reserved, timeout = settings.function.reserved_concurrency, settings.function.timeout_seconds
    admitted, by = _admitted(settings.limits())
    invoked: Bound = (admitted, "each request that API Gateway bills")
    busy: Bound = (admitted * timeout, f"{timeout} s for each")
    if reserved is not None:
        concurrency = f"concurrency {reserved:,}"
        most = reserved * REQUESTS_PER_SECOND_PER_CONCURRENCY * _SECONDS
        invoked = min(invoked, (most, f"{concurrency}, ten requests a second for each"))
        busy = min((invoked[0] * timeout, busy[1]), (reserved * _SECONDS, concurrency))
    seen = (admitted, "only those that API Gateway bills; no limit bounds the others")
    return Month(
        seen=seen, blocked=0, admitted=(admitted, by), invoked=invoked, busy_seconds=busy,
        at_most=True,
    )  # fmt: skip


def _admitted(limits: Limits) -> Bound:
    """Return how many requests quotas, plans and stage admit together."""
    plans, kinds = 0.0, set()
    for plan in limits.usage_plans.values():
        bounds: list[Bound] = []
        if plan.quota:
            bounds.append((plan.quota.limit * _PERIODS[plan.quota.period], "quotas"))
        if plan.throttle:
            bounds.append((plan.throttle.rate * _SECONDS + plan.throttle.burst, "plans' rates"))
        most, kind = min(bounds, default=(math.inf, ""))
        plans += most * len(plan.clients)
        kinds.add(kind)
    # A method's throttle replaces the stage's for that method.
    stage, keyless = (
        sum(
            one.rate * _SECONDS + one.burst if one else math.inf
            for one in {limits.methods.get(method, limits.stage) for method in methods}
        )
        for methods in (METHODS, limits.keyless)
    )
    words = " and ".join([*sorted(kinds), *["the stage's rate without a key"] * bool(keyless)])
    return min((plans + keyless, words), (stage, "the stage's rate"))


def bill(settings: Settings, month: Month, prices: Prices) -> Iterator[Row]:
    """Yield what AWS bills for a month, in the order in which a request meets it."""
    size = {name: sizes[month.at_most] for name, sizes in prices.sizes.items()}
    waf, function, fixed = settings.waf, settings.function, "fixed"
    (seen, _), (admitted, _), (invoked, _) = month.seen, month.admitted, month.invoked
    logs = {"access log": seen, "function log": invoked}
    if waf.enabled:
        yield "requests that the web ACL sees", *month.seen
        if extra := math.ceil(max(0, waf.wcu - WCU_BEFORE_EXTRA_COST) / 500):
            yield "500 WCU above 1,500, for each request", seen * extra, f"{waf.wcu:,} WCU"
        yield "web ACL", 1, fixed
        yield "rules of the web ACL", len(rules(waf, settings.label)), fixed
        if waf.logging:
            lines = {"ALL": seen, "ALLOWED": seen - month.blocked, "BLOCKED": month.blocked}
            logs["web ACL log"] = lines[waf.log_only]
    yield "requests that API Gateway bills", *month.admitted
    yield "GB of answers", admitted * size["answer bytes"] / 1e9, f"{size['answer bytes']:,g} bytes"
    yield "requests to the function", *month.invoked
    gb, (busy, by) = function.memory_mb / 1024, month.busy_seconds
    expected = invoked * gb * function.expected_duration_ms / 1000
    by = f"{function.memory_mb:,} MB, {by}; {expected:,.0f} at {function.expected_duration_ms} ms"
    yield f"GB-seconds of the function, {function.architecture}", busy * gb, by
    if function.snap_start:
        yield "GB-seconds of the snapshot", gb * _SECONDS, fixed
    units: Bound = (
        invoked * size["units to write"],
        f"{size['units to write']:g} for each request",
    )
    if (cap := settings.table.max_write_request_units) is not None:
        units = min(units, (cap * _SECONDS, f"the table's cap of {cap:,} a second"))
    yield "write units", *units
    yield "GB of new items", units[0] * 1024 / 1e9, "1 KB for each unit"
    if settings.table.point_in_time_recovery:
        yield "GB of their backup", units[0] * 1024 / 1e9, "the same"
    kept, days = 0.0, settings.monitoring.log_retention_days
    for name, count in logs.items():
        each = size[f"{name} bytes"]
        kept += count * each / 1e9 * _COMPRESSED * days / DAYS
        yield f"GB of {name}", count * each / 1e9, f"{each:,g} bytes for each request"
    yield "GB of kept logs, compressed", kept, f"{days:,} days of such months"
    # https://docs.aws.amazon.com/xray/latest/devguide/xray-console-sampling.html
    traces = min(admitted, _SECONDS + 0.05 * admitted)
    yield "traces", traces, "X-Ray's sampling: one a second, and 5 %"
    keys = sum(len(plan.clients) for plan in settings.limits().usage_plans.values())
    counted = sum(keys if metric.dimensions else 1 for metric in log_metrics())
    yield "metrics", counted + _DETAILED_METRICS * len(METHODS), f"API keys ({keys:,}) and routes"
    names = Names(
        namespace="", web_acl=settings.label if waf.enabled else None,
        api="", stage="", function="", table="", region="",
    )  # fmt: skip
    yield "alarms", len(list(alarms(settings, names))), fixed
    if settings.monitoring.dashboard:
        yield "dashboards", 1, fixed


def not_bounded(settings: Settings, prices: Prices) -> list[str]:
    """Return in sentences what no limit of the stack bounds."""
    waf = settings.waf
    line = prices.dollars("GB of access log", prices.sizes["access log bytes"][0] / 1000)
    seen = prices.dollars("requests that the web ACL sees", 1e6)
    bills = "AWS WAF bills every request that it sees, blocked ones too. " if waf.enabled else ""
    costs = f"${seen:,.2f}, and " if waf.enabled else ""
    own = ", besides its line in the web ACL's log" if waf.enabled and waf.logging else ""
    groups = [
        one.name for one in waf.managed_rule_groups if waf.enabled and one.vendor_name != "AWS"
    ]
    return [
        f"{bills}No limit bounds how many requests arrive: each million more costs {costs}"
        f"${line:,.2f} for the access log{own}.",
        "AWS applies throttles and quotas on a best-effort basis: they are targets, not ceilings.",
        "The table keeps the items of all months before, and their backups.",
        "AWS's list of requests that are free does not have those to unknown routes.",
        *(f"The vendor of rule group {name} has prices of its own." for name in groups),
        *["Starts from the snapshot are billed, and so are older snapshots."]
        * settings.function.snap_start,
    ]
