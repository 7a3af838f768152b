"""What changes in one stack, as Markdown for a comment on a pull request.

Names and values of the stack file are written as code, which renders no markup, link or mention.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final

from routes import METHODS
from settings import Settings
from settings.errors import fix_command
from throttling.review import LimitFinding, not_among, review
from tools.cli import code
from tools.cost.bill import bill, read_prices, worst
from tools.diff.allowance import allowance

# fmt: off
NOT_FOR_CALLERS: Final = {
    "speed, price and place of the function": (
        "function.architecture", "function.memoryMb", "function.runtime", "function.snapStart",
        "network.availabilityZones",
    ),
    "logs, alarms and backups": (
        "manageApiGatewayLogging", "monitoring", "network.flowLogs", "table.pointInTimeRecovery",
        "waf.logging", "waf.logOnly",
    ),
    "checks before a deployment, and tags": (
        "aws:allowedAccountIds", "aws:forbiddenAccountIds", "aws:skipCredentialsValidation",
        "aws:skipMetadataApiCheck", "aws:skipRegionValidation", "aws:skipRequestingAccountId",
        "aws:defaultTags",
    ),
}
# fmt: on
"""Settings that no caller notices, or sections of them, by what they change instead."""
_ELSEWHERE: Final = "an empty table, other API keys, another URL"
_REPLACES: Final = {
    "stageName": "replaces the stage: every caller's URL changes",
    "network.cidr": "replaces the VPC, and moves the function to it",
    "aws:region": f"replaces all resources: {_ELSEWHERE}",
}
_MOVES: Final = {
    "project": f"makes another stack: {_ELSEWHERE}",
    **dict.fromkeys(
        ("aws:profile", "aws:assumeRoles", "aws:endpoints"),
        f"may lead to another account: {_ELSEWHERE}",
    ),
}
_NOT_LIMITS: Final = ("deletionProtection", *_REPLACES, *_MOVES)
"""Settings that are reported only if their change cannot be undone."""

Values = Mapping[str, object]
"""The settings of a stack by their key in its config."""


def stack_diff(
    stack: str, before: Settings | None, after: Settings | None, gone: Sequence[str] = ()
) -> str | None:
    """Return what changes in one stack, as Markdown; None when nothing does.

    Args:
        stack: its name.
        before: None for a new stack.
        after: None for a removed stack.
        gone: what callers can no longer reach, in sentences.
    """
    old, new = _values(before), _values(after)
    changed = [key for key in {**old, **new} if old.get(key) != new.get(key) and _is_limit(key)]
    lost = [*_lost(before, after, old, new), *gone] if before and after else []
    moved = _cost(before, after) if after else None
    if not changed and not lost and not moved:
        return None
    news = " (new)" if before is None else " (removed)" if after is None else ""
    lines = [f"### Stack {code(stack)}{news}"]
    if lost:
        lines += [
            "",
            "Callers lose this, or it cannot be undone:",
            "",
            *(f"- {line}." for line in lost),
        ]
    if changed:
        lines += ["", "| limit | before | after |", "|---|---|---|"]
        for key in changed:
            cells = (_text(side[key]) if key in side else "" for side in (old, new))
            lines.append(_row(code(key), *cells))
        if after is not None:
            lines += ["", *_findings(before, after), *_clients(before, after)]
    if moved:
        lines += ["", moved]
    return "\n".join(lines)


def _values(settings: Settings | None) -> Values:
    if settings is None:
        return {}
    tree = settings.model_dump(by_alias=True, mode="json")
    for name in ("stack", "region", "profile"):
        del tree[name]
    provider = settings.provider.model_dump(by_alias=True, mode="json")
    return dict(_leaves(tree | {f"aws:{name}": value for name, value in provider.items()}, ""))


def _leaves(tree: Mapping[str, Any], above: str) -> Iterator[tuple[str, object]]:
    for name, value in tree.items():
        step = name if re.fullmatch(r"[\w:-]+", name) else f'["{name}"]'
        key = f"{above}{'.' if above and step == name else ''}{step}"
        if isinstance(value, Mapping):
            yield from _leaves(value, key)
        else:
            yield key, value


def _is_limit(key: str) -> bool:
    hidden = (*_NOT_LIMITS, *chain(*NOT_FOR_CALLERS.values()))
    return not any(f"{key}.".startswith(f"{one}.") for one in hidden)


def _lost(before: Settings, after: Settings, old: Values, new: Values) -> Iterator[str]:
    """Yield what a change deletes or replaces of a deployed stack although callers depend on it."""
    refused = ""
    if before.deletion_protection and after.deletion_protection:
        refused = "; refused while `deletionProtection` is true"
    elif before.deletion_protection:
        yield (
            "`deletionProtection`: true → false: Pulumi may then delete or replace the table, the "
            "stage and the VPC"
        )
    for key, consequence in (_REPLACES | _MOVES).items():
        if old[key] != new[key]:
            end = refused if key in _REPLACES else ""
            yield f"`{key}`: {_text(old[key])} → {_text(new[key])} {consequence}{end}"
    kept = after.limits().usage_plans
    for name, plan in before.limits().usage_plans.items():
        now = kept[name].clients if name in kept else ()
        if gone := [client for client in plan.clients if client not in now]:
            yield (
                f"{code(f'usagePlans.{name}')}: the API keys of {_text(gone)} are deleted: "
                "clients that still use them get 403"
            )


def _findings(before: Settings | None, after: Settings) -> Iterator[str]:
    old = review(before.limits(), before.expectations()) if before else []
    new = review(after.limits(), after.expectations())
    appear, go = not_among(new, old), not_among(old, new)
    if not appear and not go:
        yield "The findings of the review do not change."
        yield ""
    yield from _listed("New findings of the review:", appear, after)
    yield from _listed("Findings of the review that go:", go, None)


def _listed(title: str, findings: Sequence[LimitFinding], fixed: Settings | None) -> Iterator[str]:
    if findings:
        yield from (title, "")
        for finding in findings:
            yield f"- **{finding.level}** {code(finding.key)}: {finding.message}"
            if fixed:
                command = fix_command(fixed.project, fixed.stack, finding.path, finding.fix)
                yield f"  {code(command)}"
        yield ""


def _clients(before: Settings | None, after: Settings) -> Iterator[str]:
    """Yield what one client of each plan may do, for each method."""
    for method in METHODS:
        yield (
            f"Requests to {code(method)} that one client may send while all others send none, and "
            "the layer that limits them:"
        )
        yield ""
        yield "| plan | per second | at once | per day | per second from one address |"
        yield "|---|---|---|---|---|"
        for plan in after.usage_plans:
            new = _bounds(after, plan, method)
            known = before and plan in before.usage_plans
            old = _bounds(before, plan, method) if before and known else new
            pairs = zip(old, new, strict=True)
            yield _row(code(plan), *(b if a == b else f"{a} → **{b}**" for a, b in pairs))


def _cost(before: Settings | None, after: Settings) -> str | None:
    """Return how the most that a month can bill changes; None if it does not."""
    prices = read_prices()
    old, new = (
        {what: prices.dollars(what, count) for what, count, _ in bill(one, prices, *worst(one))}
        if one
        else {}
        for one in (before, after)
    )
    was, now = (f"${sum(side.values()):,.2f}" for side in (old, new))
    if was == now:
        return None
    most = max({**old, **new}, key=lambda what: abs(new.get(what, 0) - old.get(what, 0)))
    return (
        f"A month can bill at most {f'{was} → ' if before else ''}**{now}** (list prices of "
        f"{prices.region}). The largest change: {most}, ${old.get(most, 0):,.2f} → "
        f"${new.get(most, 0):,.2f}. `python -m tools cost` says what no limit bounds."
    )


def _bounds(settings: Settings, plan: str, method: str) -> list[str]:
    return [f"{_text(value)} ({layer})" for value, layer in allowance(settings, plan, method)]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _text(value: object) -> str:
    match value:
        case None | [] | "":
            return "none"
        case bool():
            return str(value).lower()
        case int() | float():
            return f"{value:,.3f}".rstrip("0").rstrip(".")
        case list():
            return ", ".join(map(_text, value))
        case dict():
            return " ".join(map(_text, value.values()))
    return code(str(value))
