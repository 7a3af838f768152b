"""A run's result as a table for people and as JSON for machines."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from throttling.simulation.arrivals import Floats
from throttling.simulation.exact import OUTCOMES
from throttling.simulation.simulator import ClientResult, Result
from tools.traffic.words import (
    LAYER_NAMES,
    NOTES,
    client_name,
    headline,
    mode_words,
    moment,
    quota_words,
    rate,
    span,
)

_MARKS: Final = "▁▂▃▄▅▆▇█"
_MOST_MARKS: Final = 60


def report(result: Result, stack: str) -> RenderableType:
    """Everything about a run, to print with rich."""
    return Group(
        Text(headline(result) + ".", style="bold"),
        Text(f"Stack {stack}: {_traffic_words(result)}."),
        Text(f"Mode: {mode_words(result)}."),
        Text(),
        _table(result),
        Text(),
        _over_time(result),
        Text(),
        Text(_concurrency_words(result)),
        *(Text(note, style="dim") for note in _notes(result)),
    )


def report_json(result: Result, stack: str) -> dict[str, Any]:
    """The same as plain values; times are seconds after the start."""
    return {
        "stack": stack,
        "mode": "exact" if result.share_by_request is None else "aggregated",
        "shareDecidedByRequest": result.share_by_request,
        "arrivals": str(result.traffic.arrivals),
        "seed": result.traffic.seed,
        "start": result.traffic.start.isoformat(),
        "seconds": result.traffic.seconds,
        "durationMs": result.duration_seconds * 1000,
        "wafLagSeconds": result.waf_lag_seconds,
        "headline": headline(result),
        "clients": [_client_json(client) for client in result.clients],
        "total": _client_json(result.total) | {"client": "all"},
        "peakConcurrency": result.peak_concurrency,
        "reservedConcurrency": result.limits.concurrency,
        "timeline": {
            "intervalSeconds": result.interval_seconds,
            "clients": {
                client_name(client.client): {
                    "admitted" if layer is None else str(layer): column.tolist()
                    for layer, column in zip(OUTCOMES, result.timeline[:, index].T, strict=True)
                    if layer is None or column.any()
                }
                for index, client in enumerate(result.clients)
            },
        },
        "notes": _notes(result),
    }


def _client_json(client: ClientResult) -> dict[str, Any]:
    return {
        "client": client_name(client.client),
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


def _table(result: Result) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("client")
    table.add_column("outcome")
    table.add_column("requests", justify="right")
    table.add_column("share", justify="right")
    table.add_column("first at", justify="right")
    for client in result.clients:
        _add_rows(table, client_name(client.client), client)
        quota = quota_words(result, client)
        if quota:
            left, _, of = quota.partition(" ")
            until = f"{client.quota_renewed:%Y-%m-%d %H:%M} UTC"
            table.add_row("", f"quota left {of}, until {until}", left, "", "")
    if len(result.clients) > 1:
        _add_rows(table, "all clients", result.total)
    return table


def _add_rows(table: Table, name: str, client: ClientResult) -> None:
    table.add_row(Text(name, style="bold"), "sent", f"{client.sent:,}", "", "")
    table.add_row(
        "",
        "admitted",
        f"{client.admitted:,}",
        _share(client.admitted, client.sent),
        "",
        style="green",
    )
    for layer, number in client.refused.items():
        table.add_row(
            "",
            f"refused: {LAYER_NAMES[layer]}",
            f"{number:,}",
            _share(number, client.sent),
            moment(client.first_refused[layer]),
            style="red",
        )


def _share(part: int, whole: int) -> str:
    share = part / whole if whole else 0.0
    return "< 0.1 %" if 0 < share < 0.001 else f"{share:.1%}".replace("%", " %")


def _over_time(result: Result) -> RenderableType:
    """How many requests are admitted per second, a line for each client."""
    admitted = result.timeline[:, :, 0].T / interval_lengths(result)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    merged = -(-len(result.timeline) // _MOST_MARKS)
    each = span(min(merged * result.interval_seconds, result.traffic.seconds))
    table.add_column("admitted per second")
    table.add_column(f"over {span(result.traffic.seconds)}, {each} a mark", no_wrap=True)
    table.add_column("lowest", justify="right")
    table.add_column("mean", justify="right")
    table.add_column("highest", justify="right")
    names = [client_name(client.client) for client in result.clients]
    rows = list(zip(names, admitted, strict=True))
    if len(rows) > 1:
        rows.append(("all clients", admitted.sum(axis=0)))
    lengths = interval_lengths(result)
    for name, line in rows:
        mean = float((line * lengths).sum() / lengths.sum())
        table.add_row(
            name, _sparkline(line, merged), rate(line.min()), rate(mean), rate(line.max())
        )
    return table


def interval_lengths(result: Result) -> Floats:
    """Seconds of each interval; the last one may be short."""
    starts = np.arange(len(result.timeline)) * result.interval_seconds
    lengths: Floats = np.minimum(result.interval_seconds, result.traffic.seconds - starts)
    return lengths


def _sparkline(values: Floats, merged: int) -> str:
    means = [values[i : i + merged].mean() for i in range(0, len(values), merged)]
    top = max([*means, 1e-9])
    # A blank is nothing at all, so that the smallest mark still says that something passed.
    return "".join(
        _MARKS[min(int(mean / top * len(_MARKS)), len(_MARKS) - 1)] if mean else " "
        for mean in means
    )


def _traffic_words(result: Result) -> str:
    traffic = result.traffic
    addresses = sum(traffic.addresses(client) for client in traffic.clients)
    return (
        f"{result.total.sent:,} requests in {span(traffic.seconds)} from {addresses:,} "
        f"address{'es' if addresses > 1 else ''}, {traffic.arrivals} arrivals, seed "
        f"{traffic.seed}, from {traffic.start:%A %Y-%m-%d %H:%M} UTC"
    )


def _concurrency_words(result: Result) -> str:
    reserved = result.limits.concurrency
    return (
        f"Peak concurrency {result.peak_concurrency:,} of "
        f"{'no limit' if reserved is None else f'{reserved:,} reserved'}, at "
        f"{result.duration_seconds * 1000:,g} ms a request."
    )


def _notes(result: Result) -> list[str]:
    lag = f"The WAF's lag in this run: {result.waf_lag_seconds:g} s."
    return [*NOTES, lag, *_aggregated_notes(result)]


def _aggregated_notes(result: Result) -> Iterator[str]:
    if result.share_by_request is not None:
        yield (
            "Aggregated: each outcome's count is within 0.5 % of the exact mode's on the same "
            "traffic, rare outcomes within a few requests; where even requests of several clients "
            "keep in step, who of them is refused may differ more."
        )
