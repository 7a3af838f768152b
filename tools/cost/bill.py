"""What a month bills under a stack's limits: how much of each thing, what bounds it, and dollars.

Upper bounds: a month has 31 days, quotas are used up, and each request is as large and as slow as
it may be. Free tiers are not subtracted, because the account may use them elsewhere.
"""

import math
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import yaml
from pydantic import BaseModel, Field

from components.edge_protection.web_acl import rules
from components.monitoring.alarms import Names, alarms
from components.monitoring.log_metrics import LOG_METRICS
from routes import METHODS, ROUTES
from settings import Settings, UserError
from settings.schema import ThrottleSettings
from throttling import Period
from throttling.account import REQUESTS_PER_SECOND_PER_CONCURRENCY, WCU_BEFORE_EXTRA_COST
from tools.cli import BEST_EFFORT
from tools.traffic.profiles import checked

PRICES: Final = Path(__file__).with_name("prices.yaml")
DAYS: Final = 31
_SECONDS: Final = DAYS * 86_400
_PERIODS: Final = {Period.DAY: DAYS, Period.WEEK: 6, Period.MONTH: 1}
"""Calendar periods that a month touches, each with a quota of its own."""
_COMPRESSED: Final = 0.15
"""Share of its size that CloudWatch bills for a stored log."""
_DETAILED_METRICS: Final = 5
"""Metrics that API Gateway keeps of a method without a cache."""

_Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Row = tuple[str, float, str]
"""A thing that AWS bills, how many, and the limit that bounds them."""


class Price(BaseModel, extra="forbid"):
    """The price of one kind of thing, as prices.yaml describes it."""

    per: _Amount = Field(1, gt=0)
    first: list[tuple[_Amount, _Amount]] = []
    dollars: _Amount
    page: str = Field(pattern="^https://")


class Prices(BaseModel, extra="forbid"):
    """The prices of one Region at one date, and sizes of a request: as expected, and at most."""

    region: str
    date: date
    sizes: dict[str, tuple[_Amount, _Amount]]
    prices: dict[str, Price]

    def dollars(self, what: str, count: float) -> float:
        """Return what that many of a thing cost in one month."""
        price, total = self.prices[what], 0.0
        for size, dollars in price.first:
            total += min(count, size) * dollars
            count -= min(count, size)
        return (total + count * price.dollars) / price.per


def read_prices(path: Path = PRICES) -> Prices:
    """Return the prices in a file; raise a UserError if it does not have the form of `PRICES`."""
    try:
        found = checked(Prices, yaml.safe_load(path.read_text("utf-8")))
        known = found if path == PRICES else read_prices()
        if missing := {*known.prices, *known.sizes} - {*found.prices, *found.sizes}:
            raise ValueError(f"it lacks {min(missing)!r}")
    except (OSError, yaml.YAMLError, RecursionError, ValueError) as error:
        problem = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise UserError(f"--prices {path}: {problem}. Start from a copy of {PRICES}.") from None
    return found


class Month(NamedTuple):
    """What happens to the requests of one month."""

    seen: float
    """By the web ACL."""
    blocked: float
    admitted: float
    """Past all throttles and quotas. API Gateway bills no others that have a route.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-pricing.html"""
    invoked: float
    """Those that the function works on."""
    busy_seconds: float


def worst(settings: Settings) -> tuple[Month, Mapping[str, str]]:
    """Return the most that a month can hold, and the limit that bounds each of its numbers."""
    quotas, kinds = 0.0, set()
    for plan in settings.usage_plans.values():
        quota = plan.quota.limit * _PERIODS[plan.quota.period]
        most, kind = min((quota, "quotas"), (_most(plan), "plans' rates"))
        quotas += most * len([*plan.api_keys()])
        kinds.add(kind)
    if not all(route.needs_key for route in ROUTES):
        quotas = math.inf
    # A method's throttle replaces the stage's for that method.
    own = settings.throttle.methods
    stage = sum(map(_most, own.values()))
    stage += _most(settings.throttle) if own.keys() != {*METHODS} else 0
    admitted, by = min((quotas, " and ".join(sorted(kinds))), (stage, "the stage's rate"))
    timeout = settings.function.timeout_seconds
    reserved = settings.function.reserved_concurrency or math.inf
    concurrency = f"concurrency {reserved:,}"
    at_most = reserved * REQUESTS_PER_SECOND_PER_CONCURRENCY * _SECONDS
    invoked, invoked_by = min(
        (admitted, "each request that API Gateway bills"),
        (at_most, f"{concurrency}, 10/s for each"),
    )
    busy, busy_by = min(
        (admitted * timeout, f"{timeout} s for each"), (reserved * _SECONDS, concurrency)
    )
    seen_by = "only those that API Gateway bills; no limit bounds the others"
    month = Month(admitted, 0, admitted, invoked, busy)
    return month, dict(zip(Month._fields, (seen_by, "", by, invoked_by, busy_by), strict=True))


def _most(bucket: ThrottleSettings) -> float:
    return bucket.rate_limit * _SECONDS + bucket.burst_limit


def bill(
    settings: Settings, prices: Prices, month: Month, why: Mapping[str, str] | None = None
) -> Iterator[Row]:
    """Yield what AWS bills for a month: the expected one, or the worst, with `why` it is bounded.

    The rows are in the order in which a request meets them.
    """
    size = {name: sizes[why is not None] for name, sizes in prices.sizes.items()}
    why = why or dict.fromkeys(Month._fields, "")
    waf, function, fixed = settings.waf, settings.function, "fixed"
    logs = {"access log": month.seen, "function log": month.invoked}
    if waf.enabled:
        yield "requests that the web ACL sees", month.seen, why["seen"]
        if extra := math.ceil(max(0, waf.wcu - WCU_BEFORE_EXTRA_COST) / 500):
            yield "500 WCU above 1,500, for each request", month.seen * extra, f"{waf.wcu:,} WCU"
        yield "web ACL", 1, fixed
        yield "rules of the web ACL", len(rules(waf, settings.label)), fixed
        if waf.logging:
            passed = month.seen - month.blocked
            lines = {"ALL": month.seen, "ALLOWED": passed, "BLOCKED": month.blocked}
            logs["web ACL log"] = lines[waf.log_only]
    yield "requests that API Gateway bills", month.admitted, why["admitted"]
    answer = size["answer bytes"]
    yield "GB of answers", month.admitted * answer / 1e9, f"{answer:,g} bytes for each request"
    yield "requests to the function", month.invoked, why["invoked"]
    gb, usual = function.memory_mb / 1024, function.expected_duration_ms
    by = f"{function.memory_mb:,} MB, {why['busy_seconds']}; "
    by += f"{month.invoked * gb * usual / 1000:,.0f} at {usual} ms"
    yield f"GB-seconds of the function, {function.architecture}", month.busy_seconds * gb, by
    if function.snap_start:
        yield "GB-seconds of the snapshot", gb * _SECONDS, fixed
    each, cap = size["units to write"], settings.table.max_write_request_units or math.inf
    units, by = min(
        (month.invoked * each, f"{each:g} for each request"),
        (cap * _SECONDS, f"the table's cap of {cap:,} a second"),
    )
    yield "write units", units, by
    yield "GB of new items", units * 1024 / 1e9, "1 KB for each unit"
    if settings.table.point_in_time_recovery:
        yield "GB of their backup", units * 1024 / 1e9, "the same"
    kept, days = 0.0, settings.monitoring.log_retention_days
    for name, count in logs.items():
        each = size[f"{name} bytes"]
        kept += count * each / 1e9 * _COMPRESSED * days / DAYS
        yield f"GB of {name}", count * each / 1e9, f"{each:,g} bytes for each request"
    yield "GB of kept logs, compressed", kept, f"{days:,} days of such months"
    # https://docs.aws.amazon.com/xray/latest/devguide/xray-console-sampling.html
    traces = min(month.admitted, _SECONDS + 0.05 * month.admitted)
    yield "traces", traces, "X-Ray's sampling: one a second, and 5 %"
    keys = sum(len([*plan.api_keys()]) for plan in settings.usage_plans.values())
    counted = sum(keys if metric.dimensions else 1 for metric in LOG_METRICS)
    yield "metrics", counted + _DETAILED_METRICS * len(METHODS), f"API keys ({keys:,}) and routes"
    names = Names(
        namespace="", web_acl=settings.label if waf.enabled else None,
        api="", stage="", function="", table="", region="",
    )  # fmt: skip
    yield "alarms", len([*alarms(settings, names)]), fixed
    if settings.monitoring.dashboard:
        yield "dashboards", 1, fixed


def most_dollars(settings: Settings, prices: Prices) -> dict[str, float]:
    """Return the most that a month can bill, by what is billed."""
    rows = bill(settings, prices, *worst(settings))
    return {what: prices.dollars(what, number) for what, number, _ in rows}


def not_bounded(settings: Settings, prices: Prices) -> Iterator[str]:
    """Yield in sentences what no limit of the stack bounds."""
    waf, more = settings.waf, {}
    if waf.enabled:
        yield "AWS WAF bills every request that it sees, blocked ones too."
        more["web ACL"] = prices.dollars("requests that the web ACL sees", 1e6)
    for log in ("access log", *["web ACL log"] * (waf.enabled and waf.logging)):
        more[log] = prices.dollars(f"GB of {log}", prices.sizes[f"{log} bytes"][0] / 1000)
    costs = ", ".join(f"${dollars:,.2f} for the {what}" for what, dollars in more.items())
    yield f"No limit bounds how many requests arrive. Each million more costs about {costs}."
    yield BEST_EFFORT
    yield "The table keeps the items of all months before, and their backups."
    yield "AWS's list of requests that are free does not have those to unknown routes."
    for group in waf.managed_rule_groups:
        if group.vendor_name != "AWS":
            yield f"The vendor of rule group {group.name} has prices of its own."
    if settings.function.snap_start:
        yield "Starts from the snapshot are billed, and so are older snapshots."
