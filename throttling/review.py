"""What a set of limits does that its owner may not expect: limits that contradict each other."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from throttling.account import (
    ACCOUNT_THROTTLE,
    MAX_INTEGRATION_SECONDS,
    MAX_WCU,
    REQUESTS_PER_SECOND_PER_CONCURRENCY,
    SMALL_REGION_THROTTLE,
    SMALL_REGIONS,
    WCU_BEFORE_EXTRA_COST,
    account_throttle,
)
from throttling.limits import Limits, Period, Throttle

QUOTA_WARNING_SECONDS: Final = 3_600
"""A quota that full plan rate uses up sooner than this is worth a warning."""
_MOST_REQUESTS_A_PERIOD: Final = 2**31 - 1
"""API Gateway's type of a quota is a 32-bit integer."""
_SHORTEST_PERIOD_SECONDS: Final = {
    Period.DAY: 86_400,
    Period.WEEK: 7 * 86_400,
    Period.MONTH: 28 * 86_400,
}


class Level(StrEnum):
    """How much a finding matters."""

    INFO = "info"
    """Worth knowing: nobody is refused who should not be."""
    WARNING = "warning"
    """Some limit does not do what it says."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One contradiction: the config key to change, what follows from it, and a value that fits."""

    path: tuple[str | int, ...]
    """Where the setting is below the project's namespace: `("waf", "rateLimit")`."""
    message: str
    """The numbers and their consequence, in plain words."""
    fix: str | None
    """A value of the setting with which this finding goes away; None when the setting should."""
    level: Level = Level.WARNING

    @property
    def key(self) -> str:
        """`path` as one types it: `waf.rateLimit`."""
        key = ""
        for step in self.path:
            if isinstance(step, int):
                key += f"[{step}]"
            elif re.fullmatch(r"[A-Za-z0-9_-]+", step):
                key += f".{step}"
            else:
                key += f'["{step}"]'
        return key.removeprefix(".")


@dataclass(frozen=True, kw_only=True, slots=True)
class Expectations:
    """What the limits do not say, but a review of them needs."""

    region: str | None
    """AWS Region of the stack, such as `eu-central-1`; None when it is not configured."""
    duration_seconds: float
    """How long the function is expected to work on one request, on average."""
    timeout_seconds: float = MAX_INTEGRATION_SECONDS
    """How long the function may work on one request."""
    max_write_request_units: int | None = None
    """Writes of 1 KB per second past which the table throttles; None for no cap."""
    wcu: int = 0
    """Capacity units that the rules of the web ACL use."""
    managed_rule_groups: int = 0
    """How many of those rules are managed rule groups."""


def review(limits: Limits, expected: Expectations) -> list[Finding]:
    """All findings, in the order in which a request meets the layers."""
    return [
        *_plans_behind_waf(limits),
        *_web_acl_too_large(expected),
        *_quotas_gone_soon(limits),
        *_faster_than_stage(limits),
        *_plans_together_above_stage(limits),
        *_stage_above_account(limits, expected),
        *_concurrency_below_stage(limits, expected),
        *_timeout_above_gateway(expected),
        *_table_below_stage(limits, expected),
    ]


def not_among(findings: Sequence[Finding], others: Sequence[Finding]) -> list[Finding]:
    """The findings that the others do not have, not even with other numbers."""
    known = {_subject(finding) for finding in others}
    return [finding for finding in findings if _subject(finding) not in known]


def _subject(finding: Finding) -> tuple[str, str]:
    # A digit within a word is part of a name: plan tier2.
    return finding.key, re.sub(r"(?<![\w-])[0-9][0-9.,]*(?![\w-])", "#", finding.message)


def _plans_behind_waf(limits: Limits) -> Iterator[Finding]:
    if limits.waf is None:
        return
    allowed = limits.waf.limit / limits.waf.window_seconds
    for name, plan in limits.usage_plans.items():
        if plan.throttle and plan.throttle.rate > allowed:
            yield Finding(
                path=("waf", "rateLimit"),
                message=(
                    f"{limits.waf.limit:,} requests per {limits.waf.window_seconds} s from one "
                    f"address are {allowed:,.1f} a second, below the {_n(plan.throttle.rate)} of "
                    f"plan {name}: a client at full rate on one address is blocked after about "
                    f"{limits.waf.limit / plan.throttle.rate:,.0f} s."
                ),
                fix=str(math.ceil(plan.throttle.rate * limits.waf.window_seconds)),
            )


def _web_acl_too_large(expected: Expectations) -> Iterator[Finding]:
    if expected.wcu <= WCU_BEFORE_EXTRA_COST:
        return
    too_large = expected.wcu > MAX_WCU
    yield Finding(
        # Taking the last group away is the one change that fits any list.
        path=("waf", "managedRuleGroups", max(0, expected.managed_rule_groups - 1)),
        message=(
            f"the web ACL's rules use {expected.wcu:,} capacity units (WCU), "
            + (
                f"and AWS refuses more than {MAX_WCU:,}: the stack cannot be deployed."
                if too_large
                else f"and AWS charges extra for each request above {WCU_BEFORE_EXTRA_COST:,}."
            )
        ),
        fix=None,
        level=Level.WARNING if too_large else Level.INFO,
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
                path=("usagePlans", name, "quota", "limit"),
                message=(
                    f"{plan.quota.limit:,} requests a {period} are gone after {lasts:,.0f} s at "
                    f"the plan's full {_n(plan.throttle.rate)} requests per second; that client is "
                    f"then refused until the {period} ends."
                ),
                fix=str(min(math.ceil(whole_period), _MOST_REQUESTS_A_PERIOD)),
            )


def _faster_than_stage(limits: Limits) -> Iterator[Finding]:
    """Throttles that the stage's own makes idle."""
    if limits.stage is None:
        return
    inner: list[tuple[tuple[str, ...], str, Throttle]] = [
        (("usagePlans", name), f"plan {name}", plan.throttle)
        for name, plan in limits.usage_plans.items()
        if plan.throttle
    ]
    inner += [
        (("throttle", "methods", method), method, throttle)
        for method, throttle in limits.methods.items()
    ]
    for path, subject, throttle in inner:
        for setting, value, allowed, unit in (
            ("rateLimit", throttle.rate, limits.stage.rate, "requests per second"),
            ("burstLimit", throttle.burst, limits.stage.burst, "requests at once"),
        ):
            if value > allowed:
                yield Finding(
                    path=(*path, setting),
                    message=(
                        f"{_n(value)} {unit} of {subject} are above the stage's {_n(allowed)}: the "
                        f"stage refuses first, and this limit is never reached."
                    ),
                    fix=repr(allowed).removesuffix(".0"),
                )


def _plans_together_above_stage(limits: Limits) -> Iterator[Finding]:
    if limits.stage is None:
        return
    total = math.fsum(
        plan.throttle.rate * len(plan.clients)
        for plan in limits.usage_plans.values()
        if plan.throttle
    )
    if total > limits.stage.rate:
        yield Finding(
            path=("throttle", "rateLimit"),
            message=(
                f"all clients at their plans' full rates are {_n(total)} requests per second, "
                f"above the stage's {_n(limits.stage.rate)}: busy clients get refusals that their "
                f"own plan does not explain."
            ),
            fix=repr(total).removesuffix(".0"),
        )


def _stage_above_account(limits: Limits, expected: Expectations) -> Iterator[Finding]:
    if limits.stage is None:
        return
    account = account_throttle(expected.region) if expected.region else ACCOUNT_THROTTLE
    small = SMALL_REGION_THROTTLE
    for setting, value, allowed, small_allowed, unit in (
        ("rateLimit", limits.stage.rate, account.rate, small.rate, "requests per second"),
        ("burstLimit", limits.stage.burst, account.burst, small.burst, "requests"),
    ):
        if value > allowed:
            where = f"in {expected.region}" if expected.region else "of a Region"
            yield Finding(
                path=("throttle", setting),
                message=(
                    f"{_n(value)} is above the account's default of {_n(allowed)} {unit} for all "
                    f"APIs {where}: the account refuses before this stage does."
                ),
                fix=f"{allowed:g}",
            )
        elif value > small_allowed and expected.region not in SMALL_REGIONS:
            yield Finding(
                path=("throttle", setting),
                message=(
                    f"{_n(value)} is above the account's default of {_n(small_allowed)} {unit} in "
                    f"the {len(SMALL_REGIONS)} smaller Regions, such as eu-south-1: if this stack "
                    f"moves to one of them, the account refuses before this stage does."
                ),
                fix=f"{small_allowed:g}",
                level=Level.INFO,
            )


def _concurrency_below_stage(limits: Limits, expected: Expectations) -> Iterator[Finding]:
    if limits.stage is None or limits.concurrency is None:
        return
    rate, reserved = limits.stage.rate, limits.concurrency
    # Little's law: requests in flight = arrivals per second x seconds each stays.
    needed = math.ceil(rate * expected.duration_seconds)
    if reserved < needed:
        yield Finding(
            path=("function", "reservedConcurrency"),
            message=(
                f"{_n(rate)} requests per second of {_n(expected.duration_seconds * 1000)} ms keep "
                f"{needed:,} executions busy, more than the {reserved:,} reserved: the rest get "
                f"503."
            ),
            fix=str(needed),
        )
    fastest = reserved * REQUESTS_PER_SECOND_PER_CONCURRENCY
    if fastest < rate:
        yield Finding(
            path=("function", "reservedConcurrency"),
            message=(
                f"a function with {reserved:,} reserved executions answers at most {fastest:,} "
                f"requests per second, however short they are, and the stage lets {_n(rate)} "
                f"through: the rest get 503."
            ),
            fix=str(math.ceil(rate / REQUESTS_PER_SECOND_PER_CONCURRENCY)),
        )


def _timeout_above_gateway(expected: Expectations) -> Iterator[Finding]:
    if expected.timeout_seconds > MAX_INTEGRATION_SECONDS:
        yield Finding(
            path=("function", "timeoutSeconds"),
            message=(
                f"API Gateway waits {MAX_INTEGRATION_SECONDS} s for the function, which may work "
                f"{_n(expected.timeout_seconds)} s: the caller gets 504, and the rest of the work "
                f"is paid for an answer that nobody gets."
            ),
            fix=str(MAX_INTEGRATION_SECONDS),
        )


def _table_below_stage(limits: Limits, expected: Expectations) -> Iterator[Finding]:
    cap = expected.max_write_request_units
    if limits.stage is None or cap is None:
        return
    # Each request writes one item, of at most 1 KB: one write request unit.
    if cap < limits.stage.rate:
        yield Finding(
            path=("table", "maxWriteRequestUnits"),
            message=(
                f"the table takes {cap:,} writes per second and the stage lets "
                f"{_n(limits.stage.rate)} requests through: the rest get 503."
            ),
            fix=str(math.ceil(limits.stage.rate)),
        )


def _n(number: float) -> str:
    """A number as people write it, however large: never with an exponent."""
    return f"{number:,.10g}"
