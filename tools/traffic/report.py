"""The result of a run as a table for people and as JSON for machines.

The same table shows a run, a run beside the one before a change, and what a load test got back
beside what the limits say.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from throttling import Layer
from throttling.simulation.engine import OUTCOMES
from throttling.simulation.simulator import ClientResult, Result
from throttling.simulation.traffic import Floats
from tools.traffic.words import (
    ALL_CLIENTS,
    client_name,
    headline,
    moment,
    outcome_name,
    quota_words,
    rate,
    share,
    span,
)

_MARKS: Final = "▁▂▃▄▅▆▇█"
_MAX_MARKS: Final = 60
Key = tuple[str, Layer | None]
"""A row of the table: name of the client and outcome."""


@dataclass(frozen=True, kw_only=True)
class Beside:
    """Columns of a table that come after a run's own."""

    headings: Sequence[str] = ()
    cells: Mapping[Key, Sequence[str | Text]] = field(default_factory=dict)


def report(
    result: Result, about: Sequence[str], notes: Iterable[str], beside: Beside | None = None
) -> RenderableType:
    """Return a run to print with rich.

    Args:
        result: of the run.
        about: lines on what was run.
        notes: lines on how to read the result.
        beside: more columns.
    """
    return Group(
        *(Text(line, style="" if index else "bold") for index, line in enumerate(about)),
        Text(),
        _run_table(result, beside or Beside()),
        Text(),
        _over_time(result),
        Text(),
        *(Text(note, style="dim") for note in notes),
    )


def comparison(before: Result, after: Result) -> RenderableType:
    """Return two runs of the same traffic, before and after a change, to print with rich."""
    table = _table("before", "after", "change", "first before", "first after")
    pairs = [
        (client_name(old.client), old, new)
        for old, new in zip(before.clients, after.clients, strict=True)
    ]
    changes = [_change_words(*pair) for pair in pairs]
    if len(pairs) > 1:
        pairs.append((ALL_CLIENTS, before.total, after.total))
    for name, old, new in pairs:
        table.add_row(Text(name, style="bold"), "sent", f"{old.sent:,}", f"{new.sent:,}")
        for layer in OUTCOMES:
            if layer is None or layer in old.refused or layer in new.refused:
                counts = [_count(client, layer) for client in (old, new)]
                change = f"{counts[1] - counts[0]:+,}" if counts[0] != counts[1] else "same"
                firsts = ["" if layer is None else _first(client, layer) for client in (old, new)]
                cells = [f"{count:,}" for count in counts]
                table.add_row("", outcome_name(layer), *cells, change, *firsts)
        quotas = [" ".join(quota_words(*one)) for one in ((before, old), (after, new))]
        if any(quotas):
            table.add_row("", "quota left", *(quota or "none" for quota in quotas))
    return Group(table, Text(), *changes)


def result_json(result: Result) -> dict[str, Any]:
    """Return a run as plain values. Times are seconds after the start."""
    return {
        "start": result.start.isoformat(),
        "seconds": result.seconds,
        "headline": headline(result),
        "clients": [client_json(client_name(one.client), one) for one in result.clients],
        "total": client_json("all", result.total),
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


def client_json(name: str, client: ClientResult) -> dict[str, Any]:
    """Return what happened to a client's requests as plain values."""
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


def interval_lengths(result: Result) -> Floats:
    """Return the seconds of each interval of a run. The last one may be short."""
    starts = np.arange(len(result.timeline)) * result.interval_seconds
    lengths: Floats = np.minimum(result.interval_seconds, result.seconds - starts)
    return lengths


def _table(*numbers: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("client")
    table.add_column("outcome")
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def _run_table(result: Result, beside: Beside) -> Table:
    table = _table("requests", "share", "first at", *beside.headings)
    clients = [(client_name(client.client), client) for client in result.clients]
    if len(clients) > 1:
        clients.append((ALL_CLIENTS, result.total))
    for name, client in clients:
        table.add_row(Text(name, style="bold"), "sent", f"{client.sent:,}")
        for layer in OUTCOMES:
            more = beside.cells.get((name, layer), ())
            if layer is None or layer in client.refused or more:
                count = _count(client, layer)
                first = _first(client, layer) if layer in client.refused else ""
                cells = (outcome_name(layer), f"{count:,}", share(count, client.sent), first, *more)
                table.add_row("", *cells, style="red" if layer else "green")
        left, of = quota_words(result, client)
        if left:
            until = f"{client.quota_renewed:%Y-%m-%d %H:%M} UTC"
            table.add_row("", f"quota left {of}, until {until}", left)
    return table


def _count(client: ClientResult, layer: Layer | None) -> int:
    return client.refused.get(layer, 0) if layer else client.admitted


def _first(client: ClientResult, layer: Layer | None) -> str:
    return moment(client.first_refused[layer]) if layer in client.first_refused else "never"


def _change_words(name: str, old: ClientResult, new: ClientResult) -> Text:
    change = new.admitted - old.admitted
    if change > 0:
        return Text(f"{name} gains {change:,} requests.", style="green")
    if change < 0:
        return Text(f"{name} loses {-change:,} requests.", style="red")
    return Text(f"{name} neither gains nor loses.")


def _over_time(result: Result) -> Table:
    """Return the requests admitted per second, a line for each client."""
    lengths = interval_lengths(result)
    admitted = result.timeline[:, :, 0].T / lengths
    merged = -(-len(result.timeline) // _MAX_MARKS)
    each = span(min(merged * result.interval_seconds, result.seconds))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("admitted per second")
    table.add_column(f"over {span(result.seconds)}, {each} a mark", no_wrap=True)
    for heading in ("lowest", "mean", "highest"):
        table.add_column(heading, justify="right")
    lines = {client_name(one.client): line for one, line in zip(result.clients, admitted, strict=True)}
    if len(lines) > 1:
        lines[ALL_CLIENTS] = admitted.sum(axis=0)
    for name, line in lines.items():
        mean = float((line * lengths).sum() / lengths.sum())
        numbers = rate(line.min()), rate(mean), rate(line.max())
        table.add_row(name, _sparkline(line, merged), *numbers)
    return table


def _sparkline(values: Floats, merged: int) -> str:
    means = [values[i : i + merged].mean() for i in range(0, len(values), merged)]
    top = max([*means, 1e-9])
    # A blank means none at all. The lowest mark means that some requests were admitted.
    return "".join(
        _MARKS[min(int(mean / top * len(_MARKS)), len(_MARKS) - 1)] if mean else " "
        for mean in means
    )
