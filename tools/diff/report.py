"""What changes in one stack, as plain values and as Markdown for a comment on a pull request.

Names and values of the stack file are written as code, which renders no markup, link or mention.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final

from routes import METHODS
from settings import Settings
from throttling.review import not_among, review
from tools.cli import code
from tools.cost.bill import bill, read_prices, worst
from tools.diff.allowance import allowance
from tools.review import findings_json

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

StackDiff = dict[str, Any]
"""What changes in a stack, as JSON.

`stack` and `is` (changed, new or removed); `lost` in sentences; `limits`, `new_findings` and
`gone_findings` of the review; `clients` with `allowance`; `cost` in a sentence, or None. `before`
and `after` are values.
"""


def stack_diff(
    stack: str, before: Settings | None, after: Settings | None, gone: Sequence[str] = ()
) -> StackDiff | None:
    """Return what changes in one stack; None when nothing does.

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
    sides = {"before": old, "after": new}
    old_findings, new_findings = (
        review(side.limits(), side.expectations()) if side else [] for side in (before, after)
    )
    return {
        "stack": stack,
        "is": "new" if before is None else "removed" if after is None else "changed",
        "lost": lost,
        "limits": [
            {"limit": key} | {name: side[key] for name, side in sides.items() if key in side}
            for key in changed
        ],
        "new_findings": findings_json(after, not_among(new_findings, old_findings)),
        "gone_findings": findings_json(before, not_among(old_findings, new_findings)),
        "clients": [*_clients(before, after)] if changed and after else [],
        "cost": moved,
    }


def markdown(found: StackDiff) -> str:
    """Return what changes in one stack as Markdown."""
    news = "" if found["is"] == "changed" else f" ({found['is']})"
    blocks = [[f"### Stack {code(found['stack'])}{news}"]]
    if found["lost"]:
        blocks += [["Callers lose this, or it cannot be undone:"]]
        blocks += [[f"- {line}." for line in found["lost"]]]
    if found["limits"]:
        blocks += [["| limit | before | after |", "|---|---|---|"]]
        for one in found["limits"]:
            cells = (_text(one[side]) if side in one else "" for side in ("before", "after"))
            blocks[-1].append(_row(code(one["limit"]), *cells))
    if found["clients"]:
        blocks += _findings(found)
    for method in dict.fromkeys(one["method"] for one in found["clients"]):
        blocks += [
            [
                f"Requests to {code(method)} that one client may send while all others send none, "
                "and the layer that limits them:"
            ],
            [
                "| plan | per second | at once | per day | per second from one address |",
                "|---|---|---|---|---|",
                *(_client(one) for one in found["clients"] if one["method"] == method),
            ],
        ]
    if found["cost"]:
        blocks += [[found["cost"]]]
    return "\n\n".join("\n".join(lines) for lines in blocks)


def _values(settings: Settings | None) -> Mapping[str, object]:
    """Return the settings of a stack by their key in its config."""
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


def _lost(
    before: Settings, after: Settings, old: Mapping[str, object], new: Mapping[str, object]
) -> Iterator[str]:
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


def _findings(found: StackDiff) -> Iterator[list[str]]:
    titles = {
        "new_findings": "New findings of the review:",
        "gone_findings": "Findings of the review that go:",
    }
    for which, title in titles.items():
        lines = []
        for one in found[which]:
            key = one["key"].partition(":")[2]
            lines.append(f"- **{one['level']}** {code(key)}: {one['message']}")
            if which == "new_findings":
                lines.append(f"  {code(one['command'])}")
        if lines:
            yield from ([title], lines)
    if not any(found[which] for which in titles):
        yield ["The findings of the review do not change."]


def _clients(before: Settings | None, after: Settings) -> Iterator[dict[str, Any]]:
    """Yield what one client of each plan may send to each method, or anyone to one without key."""
    limits = [(side.limits(), side.expectations()) if side else None for side in (before, after)]
    for method in METHODS:
        keyless = method in after.limits().keyless
        for plan in [None] if keyless else after.usage_plans:
            old, new = (
                allowance(*side, plan, method)
                if side and (plan is None or plan in side[0].usage_plans)
                else None
                for side in limits
            )
            yield {"method": method, "plan": plan, "before": old, "after": new}


def _client(one: Mapping[str, Any]) -> str:
    cells = []
    for name, bound in one["after"].items():
        known = one["before"] or one["after"]
        old, new = (f"{_text(value)} ({layer})" for value, layer in (known[name], bound))
        cells.append(new if new == old else f"{old} → **{new}**")
    return _row("no key" if one["plan"] is None else code(one["plan"]), *cells)


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
