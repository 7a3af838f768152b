"""Find limits that contradict each other, the account or the work of the function.

`pulumi preview` shows the findings, because settings/program.py logs them.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from throttling.account import (
    MAX_QUOTA,
    REQUESTS_PER_SECOND_PER_CONCURRENCY,
    SMALL_REGION_THROTTLE,
    SMALL_REGIONS,
    WCU_BEFORE_EXTRA_COST,
    default_throttle,
)
from throttling.limits import Limits, Period, Throttle, WafRateLimit

Setting = tuple[tuple[str, ...], float]
"""A number, after its path in the stack's config."""

_SHORTEST_QUOTA_SECONDS: Final = 3_600
"""A quota that is used up sooner at the plan's full rate is a finding."""
_SHORTEST_PERIOD_SECONDS: Final = {
    Period.DAY: 86_400,
    Period.WEEK: 7 * 86_400,
    Period.MONTH: 28 * 86_400,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class LimitFinding:
    """One contradiction: the setting to change, what follows from it, and a value that fits."""

    path: tuple[str | int, ...]
    """Where the setting is in the stack's config: `("waf", "rateLimit")`."""
    message: str
    """The numbers and what follows from them, in one sentence."""
    fix: str | None
    """A value of the setting that resolves the finding; None to remove the setting."""
    level: Literal["info", "warning"] = "warning"
    """A warning if a limit does not do what it says; else it is only good to know."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Expectations:
    """What a review needs to know besides the limits."""

    region: str | None
    """AWS Region of the stack, such as `eu-central-1`; None if it is not configured."""
    duration_seconds: float
    """How long the function is expected to work on one request, on average."""
    max_write_request_units: int | None = None
    """Writes of 1 KB per second above which the table throttles; None for no cap."""
    wcu: int = 0
    """Capacity units that the rules of the web ACL use."""
    managed_rule_groups: int = 0
    """How many of those rules are managed rule groups."""
    waf_shadow: WafRateLimit | None = None
    """The web ACL's rate limit that only counts."""


def review(limits: Limits, expected: Expectations) -> list[LimitFinding]:
    """Return all findings, in the order in which a request meets the layers.

    The settings refuse a plan that is faster than its stage, a timeout above API Gateway's and a
    web ACL that is too large for AWS, so a review does not look for these.
    """
    return [
        *_web_acl(limits, expected),
        *_quotas(limits),
        *(_of_stage(limits, expected) if limits.stage or limits.methods else ()),
    ]


def highest(limits: Limits) -> tuple[Setting, Setting]:
    """Return the highest rate and the highest burst of the stage and its methods.

    A method's throttle replaces the stage's for that method, so it may be the higher one.
    """
    throttles: dict[tuple[str, ...], Throttle | None] = {("throttle",): limits.stage}
    throttles |= {("throttle", "methods", name): one for name, one in limits.methods.items()}
    given = [(path, one) for path, one in throttles.items() if one]
    rates = [((*path, "rateLimit"), one.rate) for path, one in given]
    bursts = [((*path, "burstLimit"), one.burst) for path, one in given]
    return max(rates, key=lambda one: one[1]), max(bursts, key=lambda one: one[1])


def not_among(
    findings: Sequence[LimitFinding], others: Sequence[LimitFinding]
) -> list[LimitFinding]:
    """Return the findings that are not among the others, even with other numbers."""
    # Without numbers, but with the digits in a name such as tier2.
    number = re.compile(r"(?<![\w-])[0-9][0-9.,]*(?![\w-])")
    known = {(other.path, number.sub("#", other.message)) for other in others}
    return [one for one in findings if (one.path, number.sub("#", one.message)) not in known]


def _web_acl(limits: Limits, expected: Expectations) -> Iterator[LimitFinding]:
    for name, plan in limits.usage_plans.items():
        if not (limits.waf and plan.throttle):
            continue
        allowed = limits.waf.limit / limits.waf.window_seconds
        if plan.throttle.rate > allowed:
            yield LimitFinding(
                path=("waf", "rateLimit"),
                message=(
                    f"{limits.waf.limit:,} requests per {limits.waf.window_seconds} s from one "
                    f"address are {allowed:,.1f} a second, below the {_n(plan.throttle.rate)} of "
                    f"plan {name}: a client at full rate on one address is blocked after about "
                    f"{limits.waf.limit / plan.throttle.rate:,.0f} s."
                ),
                fix=str(math.ceil(plan.throttle.rate * limits.waf.window_seconds)),
            )
    if limits.waf and (shadow := expected.waf_shadow):
        yield LimitFinding(
            path=("waf", "shadow"),
            message=(
                f"{shadow.limit:,} requests per {shadow.window_seconds} s from one address are a "
                "trial, and refuse nothing. First count: let the dashboard show what they would "
                "refuse until your busiest hours are over. Then confirm that no honest caller is "
                f"among it. Then block: set waf.rateLimit to {shadow.limit} and waf.windowSeconds "
                f"to {shadow.window_seconds}, and remove waf.shadow."
            ),
            fix=None,
            level="info",
        )
    if expected.wcu > WCU_BEFORE_EXTRA_COST:
        yield LimitFinding(
            # Any list of groups allows that its last group is removed.
            path=("waf", "managedRuleGroups", max(0, expected.managed_rule_groups - 1)),
            message=(
                f"the web ACL's rules use {expected.wcu:,} capacity units (WCU), and AWS charges "
                f"extra for each request above {WCU_BEFORE_EXTRA_COST:,}."
            ),
            fix=None,
            level="info",
        )


def _quotas(limits: Limits) -> Iterator[LimitFinding]:
    for name, plan in limits.usage_plans.items():
        if not (plan.throttle and plan.quota):
            continue
        lasts = plan.quota.limit / plan.throttle.rate
        if lasts < _SHORTEST_QUOTA_SECONDS:
            period = plan.quota.period.value.lower()
            whole_period = plan.throttle.rate * _SHORTEST_PERIOD_SECONDS[plan.quota.period]
            yield LimitFinding(
                path=("usagePlans", name, "quota", "limit"),
                message=(
                    f"{plan.quota.limit:,} requests a {period} are gone after {lasts:,.0f} s at "
                    f"the plan's full {_n(plan.throttle.rate)} requests per second; that client is "
                    f"then refused until the {period} ends."
                ),
                fix=str(min(math.ceil(whole_period), MAX_QUOTA)),
            )


def _of_stage(limits: Limits, expected: Expectations) -> Iterator[LimitFinding]:
    """Yield what follows from the highest throttles of the stage and its methods."""
    (path, rate), (burst_path, burst) = highest(limits)
    total = math.fsum(
        plan.throttle.rate * len(plan.clients)
        for plan in limits.usage_plans.values()
        if plan.throttle
    )
    if total > rate:
        yield LimitFinding(
            path=path,
            message=(
                f"all clients at their plans' full rates are {_n(total)} requests per second, "
                f"above the stage's {_n(rate)}: busy clients get refusals that their own "
                f"plan does not explain."
            ),
            fix=repr(total).removesuffix(".0"),
        )
    account, small = default_throttle(expected.region), SMALL_REGION_THROTTLE
    for setting, value, allowed, small_allowed, unit in (
        (path, rate, account.rate, small.rate, "requests per second"),
        (burst_path, burst, account.burst, small.burst, "requests"),
    ):
        if value > allowed:
            where = f"in {expected.region}" if expected.region else "of a Region"
            yield LimitFinding(
                path=setting,
                message=(
                    f"{_n(value)} is above the account's default of {_n(allowed)} {unit} for all "
                    f"APIs {where}: the account refuses before this stage does."
                ),
                fix=f"{allowed:.10g}",
            )
        elif value > small_allowed:
            yield LimitFinding(
                path=setting,
                message=(
                    f"{_n(value)} is above the account's default of {_n(small_allowed)} {unit} in "
                    f"the {len(SMALL_REGIONS)} smaller Regions, such as eu-south-1: if this stack "
                    f"moves to one of them, the account refuses before this stage does."
                ),
                fix=f"{small_allowed:.10g}",
                level="info",
            )
    reserved = limits.concurrency
    if reserved is not None:
        # Little's law: requests in flight = requests per second x seconds that each takes.
        needed = math.ceil(rate * expected.duration_seconds)
        if reserved < needed:
            yield LimitFinding(
                path=("function", "reservedConcurrency"),
                message=(
                    f"{_n(rate)} requests per second of {_n(expected.duration_seconds * 1000)} ms "
                    f"keep {needed:,} executions busy, more than the {reserved:,} reserved: the "
                    f"rest get 503."
                ),
                fix=str(needed),
            )
        fastest = reserved * REQUESTS_PER_SECOND_PER_CONCURRENCY
        if fastest < rate:
            yield LimitFinding(
                path=("function", "reservedConcurrency"),
                message=(
                    f"a function with {reserved:,} reserved executions answers at most "
                    f"{fastest:,} requests per second, however short they are, and the stage lets "
                    f"{_n(rate)} through: the rest get 503."
                ),
                fix=str(math.ceil(rate / REQUESTS_PER_SECOND_PER_CONCURRENCY)),
            )
    # Each request writes one item of at most 1 KB: one write request unit.
    cap = expected.max_write_request_units
    if cap is not None and cap < rate:
        yield LimitFinding(
            path=("table", "maxWriteRequestUnits"),
            message=(
                f"the table takes {cap:,} writes per second and the stage lets {_n(rate)} requests "
                f"through: the rest get 503."
            ),
            fix=str(math.ceil(rate)),
        )


def _n(number: float) -> str:
    """A number of up to ten digits, with separators: 1,000,000."""
    return f"{number:,.10g}"
