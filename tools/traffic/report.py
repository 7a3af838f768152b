"""The result of a run in words, as a table for people, and as JSON for machines."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from throttling import Layer
from throttling.simulation.engine import OUTCOMES
from throttling.simulation.simulator import ClientResult, Result
from tools.traffic.outcomes import LAYER_NAMES, PERIODS, client_name, outcome_name

ALL_CLIENTS: Final = "all clients"
BEST_EFFORT: Final = (
    "AWS applies throttles and quotas on a best-effort basis: they are targets, not ceilings, and "
    "some requests above them pass."
)

Key = tuple[str, Layer | None]
"""A row of the table: name of the client, or `ALL_CLIENTS`, and outcome."""


def report(
    result: Result,
    about: Sequence[str],
    notes: Iterable[str],
    headings: Sequence[str] = (),
    beside: Mapping[Key, Sequence[str | Text]] | None = None,
) -> RenderableType:
    """Return a run to print with rich.

    Args:
        result: of the run.
        about: the headline, and lines below it.
        notes: lines on how to read the result.
        headings: of more columns.
        beside: cells of these columns.
    """
    table = Table("client", "outcome", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("requests", "share", "first at", *headings):
        table.add_column(heading, justify="right")
    for name, client in clients_of(result):
        table.add_row(Text(name, style="bold"), "sent", f"{client.sent:,}")
        for layer in OUTCOMES:
            more = (beside or {}).get((name, layer), ())
            if layer is None or layer in client.refused or more:
                number = count(client, layer)
                share = number / client.sent if client.sent else 0.0
                percent = "< 0.1 %" if 0 < share < 0.001 else f"{share * 100:.1f} %"
                cells = outcome_name(layer), f"{number:,}", percent, first_at(client, layer)
                table.add_row("", *cells, *more, style="red" if layer else "green")
        plan = client.client and result.limits.usage_plans.get(client.client.plan)
        if plan and plan.quota and client.quota_renewed:
            table.add_row(
                "",
                f"quota left: {client.quota_left:,} of {plan.quota.limit:,} "
                f"{PERIODS[plan.quota.period]}, until {client.quota_renewed:%Y-%m-%d %H:%M} UTC",
            )
    head = [Text(line, style="" if index else "bold") for index, line in enumerate(about)]
    return Group(*head, Text(), table, Text(), *(Text(note, style="dim") for note in notes))


def clients_of(result: Result) -> list[tuple[str, ClientResult]]:
    """Return the clients of a run by name, and last, if there are several, all together."""
    clients = [(client_name(one.client), one) for one in result.clients]
    return [*clients, (ALL_CLIENTS, result.total)] if len(clients) > 1 else clients


def result_json(result: Result) -> dict[str, Any]:
    """Return a run as plain values. Times are seconds after the start."""
    return {
        "start": result.start.isoformat(),
        "seconds": result.seconds,
        "headline": headline(result),
        "clients": [_client_json(client_name(one.client), one) for one in result.clients],
        "total": _client_json("all", result.total),
    }


def _client_json(name: str, client: ClientResult) -> dict[str, Any]:
    return {
        "client": name,
        "sent": client.sent,
        "admitted": client.admitted,
        "refused": {
            str(layer): {
                "requests": number,
                "firstAtSeconds": round(client.first_refused[layer], 3),
            }
            for layer, number in client.refused.items()
        },
        "quotaLeft": client.quota_left,
        "quotaRenewed": client.quota_renewed and client.quota_renewed.isoformat(),
    }


def timeline_json(result: Result) -> dict[str, Any]:
    """Return the counts of a run over time as plain values."""
    return {
        "intervalSeconds": result.interval_seconds,
        "clients": {
            client_name(client.client): {
                str(layer or "admitted"): column.tolist()
                for layer, column in zip(OUTCOMES, result.timeline[:, index].T, strict=True)
                if layer is None or column.any()
            }
            for index, client in enumerate(result.clients)
        },
    }


def headline(result: Result) -> str:
    """Return the finding of a run in one sentence: who is refused first, by what, and when."""
    refusals = [
        (first, client_name(client.client), layer)
        for client in result.clients
        for layer, first in client.first_refused.items()
    ]
    # A request without a key is always refused. That is only worth a headline if nothing else is.
    refusals = [refusal for refusal in refusals if refusal[2] is not Layer.API_KEY] or refusals
    if not refusals:
        return f"All {result.total.sent:,} requests are admitted."
    first, name, layer = min(refusals)
    refused = 1 - result.total.admitted / result.total.sent
    percent = f"{refused:.0%}" if refused >= 0.01 else "under 1%"
    whose = "its requests" if len(result.clients) == 1 else "all requests"
    return (
        f"{name} is refused first, by the {LAYER_NAMES[layer]} at {moment(first)}; {percent} of "
        f"{whose} are refused."
    )


def stack_title(stack: str, changes: Sequence[str]) -> str:
    """Return a stack's name with the changes that are tried."""
    return f"{stack} with {', '.join(changes)}" if changes else stack


def peak_words(result: Result) -> str:
    """Return how many requests the function worked on at once, beside what is reserved."""
    reserved = result.limits.concurrency
    most = "no limit" if reserved is None else f"{reserved:,} reserved"
    return f"Peak concurrency {result.peak_concurrency:,} of {most}"


def moment(seconds: float) -> str:
    """Return a duration or a time after the start: `4.0 s`, `3 m 20 s`, `1 h 05 m`."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours:02} h"
    return f"{hours} h {minutes:02} m" if hours else f"{minutes} m {rest:02} s"


def count(client: ClientResult, layer: Layer | None) -> int:
    """Return the requests of a client with an outcome."""
    return client.refused.get(layer, 0) if layer else client.admitted


def first_at(client: ClientResult, layer: Layer | None) -> str:
    """Return when a layer first refused a client; empty when it did not."""
    return moment(client.first_refused[layer]) if layer and layer in client.refused else ""


def beside(before: Result, after: Result) -> dict[Key, tuple[str, str, str]]:
    """Return the counts before a change, the differences, and when layers first refused before."""
    cells = {}
    for (name, old), (_, new) in zip(clients_of(before), clients_of(after), strict=True):
        for layer in OUTCOMES:
            was, now = count(old, layer), count(new, layer)
            if was or now or layer is None:
                change = f"{now - was:+,}" if now != was else "same"
                cells[name, layer] = f"{was:,}", change, first_at(old, layer)
    return cells


def gains(before: Result, after: Result) -> str:
    """Return in words how many more or fewer requests each client gets through."""
    words = []
    for old, new in zip(before.clients, after.clients, strict=True):
        change = new.admitted - old.admitted
        verb = f"{'gains' if change > 0 else 'loses'} {abs(change):,} requests"
        words.append(f"{client_name(new.client)} {verb if change else 'neither gains nor loses'}")
    return f"{'; '.join(words)}."
