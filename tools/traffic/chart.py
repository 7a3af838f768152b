"""A run's requests over time, stacked by outcome, with the limits drawn in."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from io import StringIO
from math import ceil
from pathlib import Path
from textwrap import wrap
from typing import Final, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator
from rich.console import Console

from throttling.gate import Layer
from throttling.simulation.arrivals import Ints
from throttling.simulation.exact import CODES
from tools.traffic.report import interval_lengths, report
from throttling.simulation.simulator import ClientResult, Result
from tools.traffic.words import LAYER_NAMES, client_name, headline, moment, rate, span

# The palette of Okabe and Ito, which people who do not see all colours can tell apart
# (https://jfly.uni-koeln.de/color/).
_COLOURS: Final[dict[Layer | None, str]] = {
    None: "#009E73",
    Layer.CONCURRENCY: "#000000",
    Layer.STAGE: "#0072B2",
    Layer.METHOD: "#56B4E9",
    Layer.USAGE_PLAN: "#E69F00",
    Layer.USAGE_PLAN_METHOD: "#F0E442",
    Layer.QUOTA: "#CC79A7",
    Layer.API_KEY: "#999999",
    Layer.WAF: "#D55E00",
}
"""From the bottom of a stack to its top: what gets furthest is lowest."""
_INK: Final = "#222222"
_MOST_CLIENTS: Final = 5
"""Panels beyond these would be too small to read."""
_WIDTH_INCHES: Final = 11.0
_LEFT: Final = 0.08
"""Where the panels begin, as a share of the width."""
_LEGEND_COLUMNS: Final = 4
_SMALL: Final = 8.5
_ROW_INCHES: Final = 0.155
"""Height of a row of small text."""
_CHARACTER: Final = 0.0088
"""Width of a small character, as a share of a panel's."""
_TITLE_CHARACTERS: Final = 90
_ABOUT_CHARACTERS: Final = 125
_LABEL_CHARACTERS: Final = 32
_HIGHEST_LINE: Final = 1.6
"""A limit above this many times the requests is named, not drawn: it would flatten them."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A limit as a rate."""

    per_second: float
    label: str


@dataclass(frozen=True, slots=True)
class _Panel:
    """What one of the stacks shows."""

    name: str
    counts: Ints
    """Requests by interval and outcome."""
    client: ClientResult | None
    """Whose first refusals are marked; nobody's where the panels below mark them."""
    lines: list[_Line]


@dataclass(frozen=True, slots=True)
class _Moment:
    """When a layer first refused, and where that is written."""

    seconds: float
    text: str
    level: int
    """Rows below the top."""
    leftwards: bool


def draw(result: Result, path: Path, title: str) -> None:
    """Draw a run.

    Args:
        result: of the run.
        path: a file to write, of the kind that its suffix says: .png, .svg or .html.
        title: whose limits they are.
    """
    # Equal runs make equal files.
    with mpl.rc_context({"svg.hashsalt": "throttling", "font.size": 10}):
        figure = _figure(result, title)
        if path.suffix == ".html":
            image = StringIO()
            figure.savefig(image, format="svg", metadata={"Date": None})
            path.write_text(_page(result, image.getvalue(), title), "utf-8")
        elif path.suffix == ".svg":
            figure.savefig(path, metadata={"Date": None})
        else:
            figure.savefig(path, dpi=130)


def _figure(result: Result, title: str) -> Figure:
    panels = _panels(result)
    heading = wrap(headline(result), _TITLE_CHARACTERS)
    about = wrap(
        _about(result, title, left_out=len(result.clients) - _MOST_CLIENTS), _ABOUT_CHARACTERS
    )
    outcomes = [o for o in _COLOURS if o is None or o in result.total.refused]
    top = 0.45 + 0.25 * len(heading) + 0.2 * len(about)
    bottom = 0.6 + 0.25 * ceil(len(outcomes) / _LEGEND_COLUMNS)
    height = top + bottom + (3.9 if len(panels) == 1 else 1.9 * len(panels))
    figure = Figure(figsize=(_WIDTH_INCHES, height), facecolor="white")
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    figure.subplots_adjust(
        left=_LEFT, right=0.79, top=1 - top / height, bottom=bottom / height, hspace=0.32
    )
    for axis, panel in zip(axes, panels, strict=True):
        _draw_panel(figure, axis, result, panel)
        axis.set_title(
            panel.name if len(panels) > 1 else "", loc="left", fontsize=10, weight="bold"
        )
    _time_axis(axes[-1], result.traffic.seconds)
    text = "\n".join(heading)
    at = 1 - 0.15 / height
    figure.text(_LEFT, at, text, fontsize=13, weight="bold", color=_INK, va="top")
    at = 1 - (0.2 + 0.25 * len(heading)) / height
    figure.text(_LEFT, at, "\n".join(about), color="#555555", va="top")
    figure.legend(
        handles=[Patch(color=_COLOURS[outcome], label=_outcome(outcome)) for outcome in outcomes],
        loc="lower left",
        bbox_to_anchor=(_LEFT - 0.01, 0.0),
        ncols=_LEGEND_COLUMNS,
        frameon=False,
    )
    return figure


def _panels(result: Result) -> list[_Panel]:
    """One panel for each client that sends much, and one for all when there are several."""
    common = _common_lines(result)
    clients = list(enumerate(result.clients))
    panels = []
    if len(clients) > 1:
        panels.append(_Panel("all clients", result.timeline.sum(axis=1), None, common))
        common = []
    busiest = sorted(clients, key=lambda one: -one[1].sent)[:_MOST_CLIENTS]
    for index, client in sorted(busiest, key=lambda one: one[0]):
        lines = _client_lines(result, client) + common
        name = client_name(client.client)
        panels.append(_Panel(name, result.timeline[:, index], client, lines))
    return panels


def _about(result: Result, title: str, *, left_out: int) -> str:
    return (
        f"Stack {title}: {result.total.sent:,} requests in {span(result.traffic.seconds)}"
        + (f"; {left_out} clients with fewer requests are in the sum only" if left_out > 0 else "")
        + (" (aggregated mode)" if result.share_by_request is not None else "")
    )


def _outcome(outcome: Layer | None) -> str:
    return f"refused: {LAYER_NAMES[outcome]}" if outcome else "admitted"


def _draw_panel(figure: Figure, axis: Axes, result: Result, panel: _Panel) -> None:
    """One stack of outcomes over time, with its limits and the moments they were first hit."""
    per_second = panel.counts / interval_lengths(result)[:, np.newaxis]
    edges = np.append(np.arange(len(per_second)) * result.interval_seconds, result.traffic.seconds)
    below = np.zeros(len(edges))
    for outcome, colour in _COLOURS.items():
        column = per_second[:, CODES[outcome]]
        above = below + np.append(column, column[-1])
        if column.any():
            axis.fill_between(edges, below, above, step="post", color=colour, linewidth=0)
        below = above
    highest = max(float(below.max()), 1e-9)
    drawn = [line for line in panel.lines if line.per_second <= highest * _HIGHEST_LINE]
    inches = axis.get_position().height * figure.get_figheight()
    row = _ROW_INCHES / inches
    moments = _moments(result, panel.client) if panel.client else []
    # Room above all of it for the moments.
    levels = max((mark.level + 1 for mark in moments), default=0)
    top = max([highest, *(line.per_second for line in drawn)])
    ceiling = top / (1 - min(0.5, row * levels + 0.05))
    axis.set_ylim(0, ceiling)
    axis.set_xlim(0, result.traffic.seconds)
    axis.set_ylabel("requests per second", fontsize=9)
    axis.yaxis.set_major_locator(MaxNLocator(4, min_n_ticks=3, steps=[1, 2, 5, 10]))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.spines[["top", "right"]].set_visible(False)
    for line in drawn:
        # White below black shows on every colour.
        axis.axhline(line.per_second, color="white", linewidth=2.6)
        axis.axhline(line.per_second, color=_INK, linewidth=1.3, linestyle=(0, (5, 2)))
    undrawn = [f"{line.label}, not reached" for line in panel.lines if line not in drawn]
    _label_lines(axis, drawn, undrawn, ceiling, row)
    _mark_moments(axis, result.traffic.seconds, moments, row)


def _label_lines(
    axis: Axes, drawn: Sequence[_Line], undrawn: Sequence[str], top: float, row: float
) -> None:
    """Name each limit beside the panel, at its height as far as there is room."""
    lowest = 0.0
    for line in sorted(drawn, key=lambda one: one.per_second):
        rows = wrap(line.label, _LABEL_CHARACTERS)
        height = row * len(rows)
        at = max(line.per_second / top, lowest + height / 2)
        _write_beside(axis, at, rows, "center", _INK)
        lowest = at + height / 2 + row * 0.3
    rows = [text for label in undrawn for text in wrap(label, _LABEL_CHARACTERS)]
    _write_beside(axis, max(1.0, lowest + row * len(rows)), rows, "top", "#777777")


def _write_beside(
    axis: Axes, height: float, rows: Sequence[str], va: Literal["center", "top"], colour: str
) -> None:
    text = "\n".join(rows)
    axis.text(1.01, height, text, transform=axis.transAxes, va=va, fontsize=_SMALL, color=colour)


def _mark_moments(axis: Axes, seconds: float, moments: Sequence[_Moment], row: float) -> None:
    """Say above the requests when each layer first refused."""
    for mark in moments:
        at = mark.seconds / seconds
        axis.axvline(mark.seconds, color=_INK, linewidth=0.9, linestyle=":")
        axis.annotate(
            mark.text,
            (at, 1.0 - row * mark.level),
            xycoords="axes fraction",
            xytext=(-3 if mark.leftwards else 3, -1),
            textcoords="offset points",
            ha="right" if mark.leftwards else "left",
            va="top",
            fontsize=_SMALL,
            color=_INK,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
        )


def _moments(result: Result, client: ClientResult) -> list[_Moment]:
    """When each layer first refused, on as many levels as keep the words apart."""
    marks: list[_Moment] = []
    ends: list[float] = []
    for layer, first in sorted(client.first_refused.items(), key=lambda item: item[1]):
        text = f"{LAYER_NAMES[layer]} from {moment(first)}"
        at, width = first / result.traffic.seconds, _CHARACTER * (len(text) + 2)
        leftwards = at + width > 1
        begin, end = (at - width, at) if leftwards else (at, at + width)
        level = next((i for i, taken in enumerate(ends) if taken <= begin), len(ends))
        ends[level : level + 1] = [end]
        marks.append(_Moment(first, text, level, leftwards))
    return marks


def _common_lines(result: Result) -> list[_Line]:
    """The limits that all clients share."""
    limits = result.limits
    lines = []
    if limits.stage:
        lines.append(
            _Line(
                limits.stage.rate,
                f"stage: {rate(limits.stage.rate)}/s, burst {limits.stage.burst:,}",
            )
        )
    if limits.concurrency is not None and result.duration_seconds:
        lines.append(
            _Line(
                limits.concurrency / result.duration_seconds,
                f"concurrency: {limits.concurrency:,} at "
                f"{result.duration_seconds * 1000:,g} ms, "
                f"{rate(limits.concurrency / result.duration_seconds)}/s",
            )
        )
    return lines


def _client_lines(result: Result, client: ClientResult) -> list[_Line]:
    """The limits of one client."""
    lines = []
    plan = client.client and result.limits.usage_plans.get(client.client.plan)
    if plan and plan.throttle:
        throttle = plan.throttle
        lines.append(
            _Line(throttle.rate, f"plan: {rate(throttle.rate)}/s, burst {throttle.burst:,}")
        )
    if result.limits.waf:
        addresses = result.traffic.addresses(client.client)
        allowed = result.limits.waf.limit / result.limits.waf.window_seconds * addresses
        plural = "es" if addresses > 1 else ""
        lines.append(_Line(allowed, f"WAF: {rate(allowed)}/s from {addresses:,} address{plural}"))
    return lines


def _time_axis(axis: Axes, seconds: float) -> None:
    unit, size = next(
        (unit, size)
        for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60), ("seconds", 1))
        if seconds >= 2 * size or size == 1
    )
    axis.xaxis.set_major_locator(_Multiples(size))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / size:g}"))
    axis.set_xlabel(f"{unit} after the start")


class _Multiples(MaxNLocator):
    """Ticks at round numbers of a unit, which is not the axis's own."""

    def __init__(self, size: float) -> None:
        super().__init__(nbins=9, steps=[1, 2, 5, 10])
        self._size = size

    def tick_values(self, vmin: float, vmax: float) -> Sequence[float]:
        ticks = super().tick_values(vmin / self._size, vmax / self._size)
        return [tick * self._size for tick in ticks]


def _page(result: Result, image: str, title: str) -> str:
    """The chart with the whole report below it, in one file that needs no other."""
    text = StringIO()
    Console(file=text, width=120, highlight=False).print(report(result, title))
    svg = image[image.index("<svg") :]
    name = escape(headline(result))
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f"<title>{name}</title>\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<style>body{margin:1rem auto;max-width:75rem;font-family:sans-serif}"
        "svg{width:100%;height:auto}pre{overflow-x:auto}</style>\n"
        f'<figure role="img" aria-label="{name}">\n{svg}</figure>\n'
        f"<pre>{escape(text.getvalue())}</pre>\n</html>\n"
    )
