"""The requests of a run over time, stacked by outcome, with the limits drawn in."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from io import StringIO
from pathlib import Path
from textwrap import fill
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, StrMethodFormatter
from rich.console import Console, RenderableType

from settings import UserError
from throttling import Client, Layer
from throttling.simulation.engine import CODES
from throttling.simulation.simulator import ClientResult, Result
from throttling.simulation.traffic import Ints
from tools.traffic.report import (
    ALL_CLIENTS,
    LAYER_NAMES,
    client_name,
    interval_lengths,
    moment,
    outcome_name,
)

# The palette of Okabe and Ito, which colour-blind people can tell apart
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
"""From the bottom of a stack to its top: the requests that get furthest are lowest."""
_DASHES: Final = {"plan": (5, 2), "WAF": (1, 1.5), "stage": (8, 2, 1, 2), "concurrency": (3, 3)}
_MAX_CLIENTS: Final = 5
"""More panels than these would be too small to read."""
_HIGHEST_LINE: Final = 1.6
"""A limit above this many times the requests is named, not drawn: it would flatten them."""


def draw(
    result: Result,
    path: Path,
    about: Sequence[str],
    text: RenderableType = "",
    *,
    addresses: Mapping[Client | None, int] | None = None,
    marks: Mapping[str, float] | None = None,
) -> None:
    """Draw a run.

    Args:
        result: of the run.
        path: the file to write. Its suffix says how: .png, .svg or .html.
        about: the headline, and lines below it.
        text: what to print below the chart in an HTML page.
        addresses: number of addresses of each client, to draw what the WAF lets through.
        marks: seconds after the start to mark, by name.

    Raises:
        UserError: when the file cannot be written.
    """
    # Equal runs make equal files.
    with mpl.rc_context({"svg.hashsalt": "traffic", "font.size": 9}):
        figure = _figure(result, about, addresses or {}, marks or {})
        try:
            if path.suffix == ".html":
                image = StringIO()
                figure.savefig(image, format="svg", metadata={"Date": None})
                path.write_text(_page(about[0], image.getvalue(), text), "utf-8")
            else:
                metadata = {"Date": None} if path.suffix == ".svg" else None
                figure.savefig(path, dpi=130, metadata=metadata)
        except OSError as error:
            raise UserError(f"--chart {path}: {error.strerror}.") from None


def _figure(
    result: Result,
    about: Sequence[str],
    addresses: Mapping[Client | None, int],
    marks: Mapping[str, float],
) -> Figure:
    busiest = sorted(result.clients, key=lambda client: -client.sent)[:_MAX_CLIENTS]
    panels: list[ClientResult | None] = [one for one in result.clients if one in busiest]
    if len(result.clients) > 1:
        panels.insert(0, None)
    height = 2.2 + (3.9 if len(panels) == 1 else 1.9 * len(panels))
    figure = Figure(figsize=(11, height), facecolor="white", layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    unit, size = next(
        (unit, size)
        for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60), ("seconds", 1))
        if result.seconds >= 2 * size or size == 1
    )
    for axis, client in zip(axes, panels, strict=True):
        _draw_panel(axis, result, client, size)
        for line in _limits(result, client, addresses, shared=client is panels[0]):
            _draw_limit(axis, *line)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(loc="upper left", bbox_to_anchor=(1, 1.05), frameon=False, fontsize=8)
    for name, seconds in marks.items():
        for axis in axes:
            axis.axvline(seconds / size, color="#222222", linewidth=0.7, linestyle=":")
        axes[0].text(seconds / size, 1.0, f" {name}", transform=axes[0].get_xaxis_transform())
    axes[-1].set_xlabel(f"{unit} after the start")
    lines = [fill(about[0], 90), *(fill(line, 130) for line in about[1:])]
    figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=11)
    figure.legend(
        handles=[
            Patch(color=colour, label=outcome_name(layer))
            for layer, colour in _COLOURS.items()
            if layer is None or layer in result.total.refused
        ],
        loc="outside lower left",
        ncols=4,
        frameon=False,
    )
    return figure


def _draw_panel(axis: Axes, result: Result, client: ClientResult | None, size: float) -> None:
    """Stack the outcomes of one client, or of all, and mark when each layer first refused."""
    counts: Ints = (
        result.timeline[:, result.clients.index(client)] if client else result.timeline.sum(axis=1)
    )
    per_second = counts / interval_lengths(result)[:, np.newaxis]
    edges = np.append(np.arange(len(counts)) * result.interval_seconds, result.seconds) / size
    below = np.zeros(len(edges))
    for layer, colour in _COLOURS.items():
        column = per_second[:, CODES[layer]]
        above = below + np.append(column, column[-1])
        if column.any():
            axis.fill_between(edges, below, above, step="post", color=colour, linewidth=0)
        below = above
    for layer, first in client.first_refused.items() if client else ():
        axis.plot(
            first / size,
            1.0,
            marker="v",
            markersize=7,
            linestyle="none",
            color=_COLOURS[layer],
            transform=axis.get_xaxis_transform(),
            clip_on=False,
            label=f"{LAYER_NAMES[layer]} from {moment(first)}",
        )
    if len(result.clients) > 1:
        name = client_name(client.client) if client else ALL_CLIENTS
        axis.set_title(name, loc="left", weight="bold")
    axis.set_xlim(0, result.seconds / size)
    axis.set_ylim(0, max(float(below.max()), 1e-9) * 1.05)
    axis.set_ylabel("requests per second")
    axis.yaxis.set_major_locator(MaxNLocator(4, min_n_ticks=3))
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axis.spines[["top", "right"]].set_visible(False)


def _draw_limit(axis: Axes, kind: str, per_second: float, label: str) -> None:
    highest = axis.get_ylim()[1]
    if per_second > highest * _HIGHEST_LINE:
        axis.plot([], [], " ", label=f"{label}, not reached")
        return
    axis.set_ylim(0, max(highest, per_second * 1.05))
    # White below black shows on every colour.
    axis.axhline(per_second, color="white", linewidth=2.6)
    axis.axhline(
        per_second, color="#222222", linewidth=1.3, linestyle=(0, _DASHES[kind]), label=label
    )


def _limits(
    result: Result,
    client: ClientResult | None,
    addresses: Mapping[Client | None, int],
    *,
    shared: bool,
) -> Iterator[tuple[str, float, str]]:
    """Yield kind, requests per second and label of the limits to draw in a panel."""
    limits = result.limits
    plan = client and client.client and limits.usage_plans.get(client.client.plan)
    if plan and plan.throttle:
        words = f"plan: {plan.throttle.rate:,.3g}/s, burst {plan.throttle.burst:,}"
        yield "plan", plan.throttle.rate, words
    if client and limits.waf and client.client in addresses:
        number = addresses[client.client]
        allowed = limits.waf.limit / limits.waf.window_seconds * number
        plural = "es" if number > 1 else ""
        yield "WAF", allowed, f"WAF: {allowed:,.3g}/s from {number:,} address{plural}"
    if shared and limits.stage:
        words = f"stage: {limits.stage.rate:,.3g}/s, burst {limits.stage.burst:,}"
        yield "stage", limits.stage.rate, words
    if shared and limits.concurrency is not None and result.duration_seconds:
        per_second = limits.concurrency / result.duration_seconds
        milliseconds = result.duration_seconds * 1000
        words = f"concurrency: {limits.concurrency:,} at {milliseconds:,g} ms, {per_second:,.3g}/s"
        yield "concurrency", per_second, words


def _page(title: str, image: str, text: RenderableType) -> str:
    """Return the chart with a text below it, as one file that needs no other."""
    printed = StringIO()
    Console(file=printed, width=120, highlight=False).print(text)
    name = escape(title)
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f"<title>{name}</title>\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<style>body{margin:1rem auto;max-width:75rem;font-family:sans-serif}"
        "svg{width:100%;height:auto}pre{overflow-x:auto}</style>\n"
        f'<figure role="img" aria-label="{name}">\n{image[image.index("<svg") :]}</figure>\n'
        f"<pre>{escape(printed.getvalue())}</pre>\n</html>\n"
    )
