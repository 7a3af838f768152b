"""What a change of limits means: the values, the findings, and what one client may do.

And what a change of a stack's settings takes away from its callers for good: keys, URLs, records.

Two states of a stack are compared, as a base revision and a pull request have them. The result is
Markdown, for a comment on that pull request.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from throttling.account import REQUESTS_PER_SECOND_PER_CONCURRENCY
from throttling.limits import Limits, Period, Throttle, UsagePlan
from throttling.review import Expectations, Finding, not_among, review

_DAY_SECONDS: Final = 86_400
_NAMES_SHOWN: Final = 5
_NONE: Final = "none"

Commands = Callable[[Finding], str]
"""What to type for a finding's fix."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Foundations:
    """Settings that are no limits, but what a deployed stack stands on."""

    stage_name: str
    cidr: str
    protected: bool
    """Whether Pulumi refuses to replace what stands on them: `table.deletionProtection`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """The limits of a stack at one revision."""

    limits: Limits
    expected: Expectations
    foundations: Foundations | None = None

    def findings(self) -> list[Finding]:
        """What the review says to them."""
        return review(self.limits, self.expected)


@dataclass(frozen=True, kw_only=True, slots=True)
class Allowance:
    """What one client of a plan may do, and which limit is the one that says so.

    Without any limit, the number is infinite and the name empty.
    """

    per_second: tuple[float, str]
    """Requests per second over the long run, from many addresses."""
    at_once: tuple[float, str]
    per_day: tuple[float, str]
    per_address: tuple[float, str]
    """Requests per second over the long run from one address."""


def allowance(plan: UsagePlan, state: State, method: str) -> Allowance:
    """What one client of a plan may do with one method while all others are silent."""
    limits, expected = state.limits, state.expected
    buckets = {
        "plan": plan.throttle,
        "plan's method": plan.methods.get(method),
        "method": limits.methods.get(method),
        "stage": limits.stage,
    }
    rates = {name: bucket.rate for name, bucket in buckets.items() if bucket}
    bursts = {name: float(bucket.burst) for name, bucket in buckets.items() if bucket}
    if limits.concurrency is not None:
        bursts["function"] = limits.concurrency
        rates["function"] = limits.concurrency * min(
            1 / expected.duration_seconds, REQUESTS_PER_SECOND_PER_CONCURRENCY
        )
    if expected.max_write_request_units is not None:
        rates["table"] = expected.max_write_request_units
    rate, by = per_second = _least(rates)
    days = {by: rate * _DAY_SECONDS} if by else {}
    if plan.quota:
        days["quota" if plan.quota.period is Period.DAY else "quota, all in one day"] = (
            plan.quota.limit
        )
    addresses = {by: rate} if by else {}
    if limits.waf:
        addresses["web ACL"] = limits.waf.limit / limits.waf.window_seconds
    return Allowance(
        per_second=per_second,
        at_once=_least(bursts),
        per_day=_least(days),
        per_address=_least(addresses),
    )


def stack_diff(
    stack: str, before: State | None, after: State | None, method: str, commands: Commands
) -> str | None:
    """What changes in one stack, as Markdown; None when nothing does.

    Args:
        stack: its name.
        before: None for a stack that is new.
        after: None for a stack that is gone.
        method: the API's method that clients are taken to use, such as `POST /data`.
        commands: what to type for a finding's fix.
    """
    old, new = settings(before), settings(after)
    changed = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    lost = list(_lost(before, after)) if before and after else []
    if not changed and not lost:
        return None
    news = " (new)" if before is None else " (removed)" if after is None else ""
    lines = [f"### Stack {stack}{news}"]
    if lost:
        lines += ["", "What cannot be taken back:", "", *(f"- {line}." for line in lost)]
    if changed:
        lines += ["", "| limit | before | after |", "|---|---|---|"]
    lines += [f"| `{key}` | {_cell(old.get(key))} | {_cell(new.get(key))} |" for key in changed]
    if after is not None and changed:
        lines += ["", *_findings(before, after, commands), *_clients(before, after, method)]
    return "\n".join(lines)


def _lost(before: State, after: State) -> Iterator[str]:
    """What of a deployed stack a change deletes or replaces, although callers hold on to it."""
    old, new = before.foundations, after.foundations
    refused = ""
    if old and new:
        if old.protected and new.protected:
            refused = "; refused while `table.deletionProtection` is true"
        if old.protected and not new.protected:
            yield (
                "`table.deletionProtection`: true → false: nothing keeps Pulumi from deleting or "
                "replacing the table, the stage and the VPC any more"
            )
        if old.stage_name != new.stage_name:
            yield (
                f"`stageName`: {old.stage_name} → {new.stage_name} replaces the stage: every "
                f"caller's URL changes{refused}"
            )
        if old.cidr != new.cidr:
            yield (
                f"`network.cidr`: {old.cidr} → {new.cidr} replaces the VPC, and moves the function "
                f"to it{refused}"
            )
    if before.expected.region != after.expected.region:
        yield (
            f"`aws:region`: {before.expected.region} → {after.expected.region} replaces all "
            f"resources: an empty table, other API keys, another URL{refused}"
        )
    for name, plan in before.limits.usage_plans.items():
        kept = after.limits.usage_plans.get(name)
        gone = [client for client in plan.clients if not kept or client not in kept.clients]
        if gone:
            yield (
                f"`usagePlans.{name}`: the API keys of {_names(gone)} are deleted: who still uses "
                "them gets 403"
            )


def settings(state: State | None) -> dict[str, str]:
    """Every limit by its key in the config, in words; empty without a state."""
    return dict(_settings(state)) if state else {}


def _settings(state: State) -> Iterator[tuple[str, str]]:
    limits, expected = state.limits, state.expected
    yield from _bucket("throttle", limits.stage)
    for name, method in limits.methods.items():
        yield from _bucket(f'throttle.methods["{name}"]', method)
    for name, plan in limits.usage_plans.items():
        yield from _bucket(f"usagePlans.{name}", plan.throttle)
        quota = plan.quota
        yield (
            f"usagePlans.{name}.quota",
            f"{quota.limit:,} a {quota.period.value.lower()}" if quota else _NONE,
        )
        yield f"usagePlans.{name}.clients", _names(plan.clients)
    waf = limits.waf
    yield "waf.rateLimit", f"{waf.limit:,} per {waf.window_seconds} s" if waf else _NONE
    yield "aws:region", expected.region or _NONE
    yield "function.reservedConcurrency", _number(limits.concurrency)
    yield "function.timeoutSeconds", _number(expected.timeout_seconds)
    yield "function.expectedDurationMs", _number(expected.duration_seconds * 1000)
    yield "table.maxWriteRequestUnits", _number(expected.max_write_request_units)


def _bucket(key: str, bucket: Throttle | None) -> Iterator[tuple[str, str]]:
    yield f"{key}.rateLimit", _number(bucket.rate) if bucket else _NONE
    yield f"{key}.burstLimit", _number(bucket.burst) if bucket else _NONE


def _findings(before: State | None, after: State, commands: Commands) -> Iterator[str]:
    old = before.findings() if before else []
    new = after.findings()
    yield from _listed("The review newly finds", not_among(new, old), commands)
    if before:
        yield from _listed("The review no longer finds", not_among(old, new), None)


def _listed(title: str, findings: Sequence[Finding], commands: Commands | None) -> Iterator[str]:
    if not findings:
        yield f"{title} nothing."
    else:
        yield f"{title}:"
        yield ""
        for finding in findings:
            yield f"- **{finding.level}** `{finding.key}`: {finding.message}"
            if commands:
                yield f"  `{commands(finding)}`"
    yield ""


def _clients(before: State | None, after: State, method: str) -> Iterator[str]:
    """What one client of each plan may do now."""
    yield f"What one client may do with `{method}` while all others are silent, and what bounds it:"
    yield ""
    yield "| plan | per second | at once | per day | per second from one address |"
    yield "|---|---|---|---|---|"
    for name, plan in after.limits.usage_plans.items():
        old_plan = before.limits.usage_plans.get(name) if before else None
        new = _told(allowance(plan, after, method))
        old = _told(allowance(old_plan, before, method)) if before and old_plan else new
        cells = [
            now if now == then else f"{then} → **{now}**"
            for then, now in zip(old, new, strict=True)
        ]
        yield f"| {name} | {' | '.join(cells)} |"


def _told(allowed: Allowance) -> list[str]:
    values = (allowed.per_second, allowed.at_once, allowed.per_day, allowed.per_address)
    return [f"{_number(value)} ({by})" if by else _NONE for value, by in values]


def _least(values: dict[str, float]) -> tuple[float, str]:
    """The smallest of these, with its name; the first of them when several are."""
    if not values:
        return math.inf, ""
    name = min(values, key=lambda key: values[key])
    return values[name], name


def _number(value: float | None) -> str:
    if value is None:
        return _NONE
    return f"{value:,.3f}".rstrip("0").rstrip(".")


def _names(names: Sequence[str]) -> str:
    if len(names) <= _NAMES_SHOWN:
        return ", ".join(names) or _NONE
    return f"{len(names):,}: {', '.join(names)}"


def _cell(text: str | None) -> str:
    return "" if text is None else text.replace("|", "\\|")
