"""What a set of limits does that its owner may not expect: limits that contradict each other."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from throttling.account import account_throttle
from throttling.limits import Limits, Period

QUOTA_WARNING_SECONDS: Final = 3_600
"""A quota that full plan rate uses up sooner than this is worth a warning."""
_SHORTEST_PERIOD_SECONDS: Final = {
    Period.DAY: 86_400,
    Period.WEEK: 7 * 86_400,
    Period.MONTH: 28 * 86_400,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One contradiction: the config key to change, what follows from it, and a value that fits."""

    key: str
    """Path of the setting below the project's namespace: `waf.rateLimit`."""
    message: str
    """The numbers and their consequence, in plain words."""
    fix: str
    """A value of `key` with which this finding goes away."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Expectations:
    """What the limits do not say, but a review of them needs."""

    region: str | None
    """AWS Region of the stack, such as `eu-central-1`; None when it is not configured."""
    duration_seconds: float
    """How long the function is expected to work on one request, on average."""


def review(limits: Limits, expected: Expectations) -> list[Finding]:
    """All findings, in the order in which a request meets the layers."""
    return [
        *_plans_behind_waf(limits),
        *_quotas_gone_soon(limits),
        *_plans_above_stage(limits),
        *_stage_above_account(limits, expected),
        *_concurrency_below_stage(limits, expected),
    ]


def _plans_behind_waf(limits: Limits) -> Iterator[Finding]:
    if limits.waf is None:
        return
    allowed = limits.waf.limit / limits.waf.window_seconds
    for name, plan in limits.usage_plans.items():
        if plan.throttle and plan.throttle.rate > allowed:
            yield Finding(
                key="waf.rateLimit",
                message=(
                    f"{limits.waf.limit:,} requests per {limits.waf.window_seconds} s from one "
                    f"address are {allowed:,.1f} a second, below the {plan.throttle.rate:,g} of "
                    f"plan {name}: a client at full rate on one address is blocked after about "
                    f"{limits.waf.limit / plan.throttle.rate:,.0f} s."
                ),
                fix=str(-int(-plan.throttle.rate * limits.waf.window_seconds // 1)),
            )


def _quotas_gone_soon(limits: Limits) -> Iterator[Finding]:
    for name, plan in limits.usage_plans.items():
        if not (plan.throttle and plan.quota):
            continue
        lasts = plan.quota.limit / plan.throttle.rate
        if lasts < QUOTA_WARNING_SECONDS:
            period = plan.quota.period.value.lower()
            whole_period = plan.throttle.rate * _SHORTEST_PERIOD_SECONDS[plan.quota.period]
            yield Finding(
                key=f"usagePlans.{name}.quota.limit",
                message=(
                    f"{plan.quota.limit:,} requests a {period} are gone after {lasts:,.0f} s at "
                    f"the plan's full {plan.throttle.rate:,g} requests per second; that client is "
                    f"then refused until the {period} ends."
                ),
                fix=f"{whole_period:.0f}",
            )


def _plans_above_stage(limits: Limits) -> Iterator[Finding]:
    if limits.stage is None:
        return
    total = sum(
        plan.throttle.rate * len(plan.clients)
        for plan in limits.usage_plans.values()
        if plan.throttle
    )
    if total > limits.stage.rate:
        yield Finding(
            key="throttle.rateLimit",
            message=(
                f"all clients at their plans' full rates are {total:,g} requests per second, "
                f"above the stage's {limits.stage.rate:,g}: busy clients get refusals that their "
                f"own plan does not explain."
            ),
            fix=f"{total:.10g}",
        )


def _stage_above_account(limits: Limits, expected: Expectations) -> Iterator[Finding]:
    if limits.stage is None or expected.region is None:
        return
    account = account_throttle(expected.region)
    for key, value, allowed, unit in (
        ("throttle.rateLimit", limits.stage.rate, account.rate, "requests per second"),
        ("throttle.burstLimit", limits.stage.burst, account.burst, "requests"),
    ):
        if value > allowed:
            yield Finding(
                key=key,
                message=(
                    f"{value:,g} is above the account's default of {allowed:,g} {unit} for all "
                    f"APIs in {expected.region}: the account refuses before this stage does."
                ),
                fix=f"{allowed:g}",
            )


def _concurrency_below_stage(limits: Limits, expected: Expectations) -> Iterator[Finding]:
    if limits.stage is None or limits.concurrency is None:
        return
    # Little's law: requests in flight = arrivals per second x seconds each stays.
    needed = limits.stage.rate * expected.duration_seconds
    if limits.concurrency < needed:
        yield Finding(
            key="function.reservedConcurrency",
            message=(
                f"{limits.stage.rate:,g} requests per second of "
                f"{expected.duration_seconds * 1000:,g} ms keep {needed:,.0f} executions busy, "
                f"more than the {limits.concurrency} reserved: the rest get 503."
            ),
            fix=str(-int(-needed // 1)),
        )
