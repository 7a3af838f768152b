"""A scenario's findings as a person reads them: tables, a chart in text, what was held up."""

from collections.abc import Sequence
from itertools import groupby
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from tools.traffic.load.samples import Outcome, Sample
from tools.traffic.load.scenarios import Kind, Phase, Schedule
from tools.traffic.load.verdicts import Comparison, Findings, Traffic, Verdict

_STYLES: Final = {
    Verdict.AGREES: "green",
    Verdict.NOT_REACHED: "cyan",
    Verdict.UNCLEAR: "yellow",
    Verdict.OFF: "bold red",
}
_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_ASCII: Final = " .:-=+*%#"
_COLUMNS: Final = 60


def report(findings: Findings, chart: Sequence[RenderableType] = ()) -> RenderableType:
    """All about one scenario."""
    parts: list[RenderableType] = [Text(f"\n{findings.scenario}", style="bold")]
    if findings.comparisons:
        parts.append(_compared(findings.comparisons))
    if findings.traffic:
        parts += [Text(), _traffic(findings.traffic)]
    parts += chart
    parts += [Text(f"left out: {why}", style="cyan") for why in findings.left_out]
    parts += [Text(f"held up: {why}", style="yellow") for why in findings.held_up]
    return Group(*parts)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        name, right = column.removesuffix(">"), column.endswith(">")
        table.add_column(name, justify="right" if right else "left")
    return table


def _compared(comparisons: Sequence[Comparison]) -> Table:
    table = _table("limit", "configured>", "observed>", "", "")
    for one in comparisons:
        verdict = f"[{_STYLES[one.verdict]}]{one.verdict}[/]"
        table.add_row(
            escape(one.limit), escape(one.configured), escape(one.observed), verdict, one.note
        )
    return table


def _traffic(traffic: Sequence[Traffic]) -> Table:
    table = _table("requests", "planned>", "sent>", "admitted>", "refused by status and reason")
    table.add_column("Retry-After", justify="right")
    for name in ("admitted: p50", "p95", "p99"):
        table.add_column(name, justify="right")
    for one in traffic:
        told, refusals = one.retry_after
        rate = "" if one.offered.rate is None else f" at {one.offered.rate:,.4g}/s"
        planned = f" at {one.phase.rate:,.4g}/s" if one.phase.count > 1 else ""
        table.add_row(
            escape(" ".join(part for part in (one.phase.subject, one.phase.name) if part)),
            f"{one.phase.count:,}{planned}",
            f"{one.sent:,}{rate}",
            f"{one.admitted:,}",
            escape(", ".join(f"{count:,} x {why}" for why, count in one.refused.items())),
            f"{told:,} of {refusals:,}" if refusals else "",
            *("" if value is None else f"{value * 1000:,.0f} ms" for value in one.latency),
        )
    return table


def text_chart(
    schedule: Schedule, scenario: str, samples: Sequence[Sample], *, unicode: bool
) -> list[RenderableType]:
    """What was admitted and refused over time, as bars of one line, for each client."""
    glyphs = _BLOCKS if unicode else _ASCII
    lines: list[RenderableType] = []
    for title, phases in charted(schedule, scenario):
        mine = [one for one in samples if one.phase in phases]
        start = min(phase.start for phase in phases.values())
        seconds = max(phase.end for phase in phases.values()) - start
        if not mine or seconds <= 0:
            continue
        bins = min(_COLUMNS, max(1, round(seconds * 2)))
        width = seconds / bins
        passed, stopped = [0] * bins, [0] * bins
        for one in mine:
            at = min(bins - 1, max(0, int((one.sent - start) / width)))
            # The web ACL is tested without keys: what it lets through goes no further.
            through = one.passed or (scenario == "waf" and one.outcome is Outcome.NO_KEY)
            (passed if through else stopped)[at] += 1
        top = max(*passed, *stopped)
        lines.append(Text(f"\n{title}: {seconds:.0f} s, up to {top / width:,.0f}/s", style="dim"))
        for name, counts, style in (("passed", passed, "green"), ("refused", stopped, "red")):
            # Whatever there is shows.
            bars = "".join(glyphs[-(-count * (len(glyphs) - 1) // top)] for count in counts)
            lines.append(Text.assemble((f"{name:>8} ", "dim"), (bars, style)))
    return lines


def charted(schedule: Schedule, scenario: str) -> list[tuple[str, dict[int, Phase]]]:
    """The parts of a scenario that a chart shows, each with its phases by their index."""
    shown = [
        (index, phase)
        for index, phase in enumerate(schedule.phases)
        if phase.scenario == scenario and phase.kind not in (Kind.SMOKE, Kind.NO_KEY, Kind.RETRY)
    ]
    if scenario == "stage":
        return [("stage, all clients", dict(shown))] if shown else []
    return [
        (f"{scenario} {subject}".strip(), dict(group))
        for subject, group in groupby(shown, key=lambda item: item[1].subject)
    ]


def console(*, stderr: bool = False) -> Console:
    """Colour and layout for people; lines that nothing wraps for pipes."""
    made = Console(stderr=stderr, highlight=False, soft_wrap=True)
    if not made.is_terminal:
        made.width = 400
    return made
