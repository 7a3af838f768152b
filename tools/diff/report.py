"""What changes in one stack, as plain values and as Markdown for a comment on a pull request.

Names and values of the stack file are written as code, which renders no markup, link or mention.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from routes import METHODS
from settings import Settings
from settings.paths import PROVIDER, config_key
from throttling import Period
from throttling.account import REQUESTS_PER_SECOND_PER_CONCURRENCY
from throttling.review import not_among, review
from tools.cli import code
from tools.cost.bill import most_dollars, read_prices
from tools.review import findings_json

# fmt: off
NOT_FOR_CALLERS: Final = (
    # speed, price and place of the function
    "function.architecture", "function.memoryMb", "function.runtime", "function.snapStart",
    "network.availabilityZones",
    # logs, alarms and backups
    "manageApiGatewayLogging", "monitoring", "network.flowLogs", "table.pointInTimeRecovery",
    "waf.logging", "waf.logOnly",
    # checks before a deployment, and tags
    "aws:allowedAccountIds", "aws:forbiddenAccountIds", "aws:skipCredentialsValidation",
    "aws:skipMetadataApiCheck", "aws:skipRegionValidation", "aws:skipRequestingAccountId",
    "aws:defaultTags",
)
# fmt: on
"""Settings that no caller notices, or sections of them."""
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
_DAY_SECONDS: Final = 86_400

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

    `before` is None for a new stack, and `after` for a removed one. `gone` says in sentences what
    callers can no longer reach.
    """
    old, new = sides = _values(before), _values(after)
    changed = [key for key in {**old, **new} if old.get(key) != new.get(key) and _is_limit(key)]
    lost = [*_lost(before, after, old, new), *gone] if before and after else []
    moved = _cost(before, after) if after else None
    if not changed and not lost and not moved:
        return None
    old_findings, new_findings = (
        review(side.limits(), side.expectations()) if side else [] for side in (before, after)
    )
    return {
        "stack": stack,
        "is": "new" if before is None else "removed" if after is None else "changed",
        "lost": lost,
        "limits": [
            {"limit": key}
            | {when: side[key] for when, side in zip(_WHEN, sides, strict=True) if key in side}
            for key in changed
        ],
        "new_findings": findings_json(after, not_among(new_findings, old_findings)),
        "gone_findings": findings_json(before, not_among(old_findings, new_findings)),
        "clients": [*_clients(before, after)] if changed and after else [],
        "cost": moved,
    }


_WHEN: Final = ("before", "after")


def markdown(found: StackDiff) -> str:
    """Return what changes in one stack as Markdown."""
    news = "" if found["is"] == "changed" else f" ({found['is']})"
    blocks = [f"### Stack {code(found['stack'])}{news}"]
    if found["lost"]:
        blocks += ["Callers lose this, or it cannot be undone:"]
        blocks += ["\n".join(f"- {line}." for line in found["lost"])]
    if found["limits"]:
        rows: list[Iterable[str]] = [
            (code(one["limit"]), *(_text(one[when]) if when in one else "" for when in _WHEN))
            for one in found["limits"]
        ]
        blocks += [_table("limit", *_WHEN, rows=rows)]
    if found["clients"]:
        blocks += _findings(found)
    for method in dict.fromkeys(one["method"] for one in found["clients"]):
        rows = [_client(one) for one in found["clients"] if one["method"] == method]
        blocks += [
            f"Requests to {code(method)} that one client may send while all others send none, "
            "and the layer that limits them:",
            _table("plan", "per second", "per day", "per second from one address", rows=rows),
        ]
    if found["cost"]:
        blocks += [found["cost"]]
    return "\n\n".join(blocks)


def _values(settings: Settings | None) -> dict[str, object]:
    """Return the settings of a stack by their key in its config."""
    if settings is None:
        return {}
    kinds: dict[str, Any] = {"by_alias": True, "mode": "json"}
    tree = settings.model_dump(exclude={"stack", "region", "profile"}, **kinds)
    return dict(_leaves(tree | {PROVIDER: settings.provider.model_dump(**kinds)}))


def _leaves(tree: Mapping[str, Any], *above: str) -> Iterator[tuple[str, object]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, *above, name)
        else:
            yield config_key("", (*above, name)).removeprefix(":"), value


def _is_limit(key: str) -> bool:
    return not any(f"{key}.".startswith(f"{one}.") for one in (*_NOT_LIMITS, *NOT_FOR_CALLERS))


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


def _findings(found: StackDiff) -> Iterator[str]:
    if not found["new_findings"] and not found["gone_findings"]:
        yield "The findings of the review do not change."
    for title, which in (("New findings", "new"), ("Findings", "gone")):
        lines = []
        for one in found[f"{which}_findings"]:
            key = one["key"].partition(":")[2]
            lines.append(f"- **{one['level']}** {code(key)}: {one['message']}")
            if which == "new":
                lines.append(f"  {code(one['command'])}")
        if lines:
            yield f"{title} of the review{' that go' if which == 'gone' else ''}:"
            yield "\n".join(lines)


def _clients(before: Settings | None, after: Settings) -> Iterator[dict[str, Any]]:
    """Yield what one client of each plan may send to each method, or anyone to one without key."""
    for method in METHODS:
        keyless = method in after.limits().keyless
        for plan in [None] if keyless else after.usage_plans:
            known = before and (plan is None or plan in before.usage_plans)
            old = allowance(before, plan, method) if before and known else None
            new = allowance(after, plan, method)
            yield {"method": method, "plan": plan, "before": old, "after": new}


def allowance(settings: Settings, plan: str | None, method: str) -> dict[str, tuple[float, str]]:
    """Return the requests to a method that one client may send while all others send none.

    Over the long run, from many addresses and from one, each number with the layer that sets it.
    `plan` is None for a client without an API key.
    """
    limits, expected = settings.limits(), settings.expectations()
    # A method's throttle replaces the stage's for that method.
    of_method = limits.methods.get(method)
    throttles = {"method" if of_method else "stage": of_method or limits.stage}
    if plan is not None:
        throttles = {"plan": limits.usage_plans[plan].throttle} | throttles
    rates = {layer: one.rate for layer, one in throttles.items() if one}
    if limits.concurrency is not None:
        rates["function"] = limits.concurrency * min(
            1 / expected.duration_seconds, REQUESTS_PER_SECOND_PER_CONCURRENCY
        )
    if expected.max_write_request_units is not None:
        rates["table"] = expected.max_write_request_units
    rate, layer = _least(rates)
    days, addresses = {layer: rate * _DAY_SECONDS}, {layer: rate}
    if plan is not None and (quota := limits.usage_plans[plan].quota):
        days["quota" if quota.period is Period.DAY else "quota, all in one day"] = quota.limit
    if limits.waf:
        addresses["web ACL"] = limits.waf.limit / limits.waf.window_seconds
    return {
        "per_second": (rate, layer),
        "per_day": _least(days),
        "per_second_from_one_address": _least(addresses),
    }


def _least(values: Mapping[str, float]) -> tuple[float, str]:
    """Return the smallest value with its layer; the first if several are equal."""
    layer = min(values, key=lambda key: values[key])
    return values[layer], layer


def _client(one: Mapping[str, Any]) -> Iterator[str]:
    yield "no key" if one["plan"] is None else code(one["plan"])
    for name, (value, layer) in one["after"].items():
        was, by = (one["before"] or one["after"])[name]
        old, new = (
            f"{_text(round(number, 3) or number)} ({setter})"
            for number, setter in ((was, by), (value, layer))
        )
        yield new if new == old else f"{old} → **{new}**"


def _cost(before: Settings | None, after: Settings) -> str | None:
    """Return how the most that a month can bill changes; None if it does not."""
    prices = read_prices()
    old, new = (most_dollars(one, prices) if one else {} for one in (before, after))
    was, now = (f"${sum(side.values()):,.2f}" for side in (old, new))
    if was == now:
        return None
    most = max({**old, **new}, key=lambda what: abs(new.get(what, 0) - old.get(what, 0)))
    return (
        f"A month can bill at most {f'{was} → ' if before else ''}**{now}** (list prices of "
        f"{prices.region}). The largest change: {most}, ${old.get(most, 0):,.2f} → "
        f"${new.get(most, 0):,.2f}. `python -m tools cost` says what no limit bounds."
    )


def _table(*headings: str, rows: Iterable[Iterable[str]]) -> str:
    """Return a table of cells that are Markdown."""
    lines = [" | ".join(cell.replace("|", r"\|") for cell in row) for row in (headings, *rows)]
    lines = [f"| {line} |" for line in lines]
    return "\n".join([lines[0], f"|{'---|' * len(headings)}", *lines[1:]])


def _text(value: object) -> str:
    match value:
        case None | [] | "":
            return "none"
        case bool():
            return str(value).lower()
        case float() if not value.is_integer():
            return f"{value:,.10g}"
        case int() | float():
            return f"{value:,.0f}"
        case list():
            return ", ".join(map(_text, value))
        case dict():
            return " ".join(map(_text, value.values()))
    return code(str(value))
