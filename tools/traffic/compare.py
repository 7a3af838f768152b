"""Two runs of the same traffic side by side: who gains, who loses, what the review says to it."""

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from throttling.gate import Layer
from throttling.review import Finding, not_among
from throttling.simulation.simulator import ClientResult, Result
from tools.traffic.words import (
    LAYER_NAMES,
    NOTES,
    client_name,
    headline,
    mode_words,
    moment,
    quota_words,
)


def comparison(
    results: Sequence[Result], reviews: Sequence[Sequence[Finding]], changes: Sequence[str]
) -> RenderableType:
    """The run before a change and the one after it, to print with rich.

    Args:
        results: before and after.
        reviews: the findings on the limits before and after.
        changes: the settings that differ, as they were typed.
    """
    before, after = results
    newly, no_longer = (
        not_among(reviews[1], reviews[0]),
        not_among(reviews[0], reviews[1]),
    )
    return Group(
        Text(f"Before: {headline(before)}."),
        Text(f"After {', '.join(changes)}: {headline(after)}.", style="bold"),
        Text(f"The same traffic both times. Mode: {mode_words(after)}."),
        Text(),
        _table(before, after),
        Text(),
        *_verdicts(before, after),
        Text(
            f"Peak concurrency: {before.peak_concurrency:,} before, "
            f"{after.peak_concurrency:,} after."
        ),
        Text(),
        *_findings("The review newly finds", newly),
        *_findings("The review no longer finds", no_longer),
        *(Text(note, style="dim") for note in NOTES),
    )


def comparison_json(results: Sequence[Result]) -> list[dict[str, Any]]:
    """By client: how many more requests are admitted after the change."""
    before, after = results
    return [
        {"client": client_name(old.client), "admitted": new.admitted - old.admitted}
        for old, new in zip(before.clients, after.clients, strict=True)
    ]


def _table(before: Result, after: Result) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("client")
    table.add_column("outcome")
    for name in ("before", "after", "change", "first before", "first after"):
        table.add_column(name, justify="right")
    rows = [
        (client_name(old.client), old, new)
        for old, new in zip(before.clients, after.clients, strict=True)
    ]
    if len(rows) > 1:
        rows.append(("all clients", before.total, after.total))
    for name, old, new in rows:
        table.add_row(Text(name, style="bold"), "sent", f"{old.sent:,}", f"{new.sent:,}")
        change = _change(old.admitted, new.admitted)
        table.add_row("", "admitted", f"{old.admitted:,}", f"{new.admitted:,}", change)
        for layer in Layer:
            if layer in old.refused or layer in new.refused:
                table.add_row(*_refused_row(layer, old, new))
        if old.quota_left is not None or new.quota_left is not None:
            quotas = quota_words(before, old) or "none", quota_words(after, new) or "none"
            table.add_row("", "quota left", *quotas)
    return table


def _refused_row(layer: Layer, old: ClientResult, new: ClientResult) -> list[str]:
    numbers = [client.refused.get(layer, 0) for client in (old, new)]
    firsts = [
        moment(client.first_refused[layer]) if layer in client.first_refused else "never"
        for client in (old, new)
    ]
    return [
        "",
        f"refused: {LAYER_NAMES[layer]}",
        *(f"{number:,}" for number in numbers),
        _change(*numbers),
        *firsts,
    ]


def _change(before: int, after: int) -> str:
    return f"{after - before:+,}" if after != before else "same"


def _verdicts(before: Result, after: Result) -> list[Text]:
    lines = []
    for old, new in zip(before.clients, after.clients, strict=True):
        change = new.admitted - old.admitted
        name = client_name(old.client)
        if change > 0:
            lines.append(Text(f"{name} gains {change:,} requests.", style="green"))
        elif change < 0:
            lines.append(Text(f"{name} loses {-change:,} requests.", style="red"))
        else:
            lines.append(Text(f"{name} neither gains nor loses."))
    return lines


def _findings(title: str, findings: Sequence[Finding]) -> list[Text]:
    if not findings:
        return [Text(f"{title} nothing.")]
    return [
        Text(f"{title}:"),
        *(Text(f"  {finding.level}: {finding.key}: {finding.message}") for finding in findings),
    ]
