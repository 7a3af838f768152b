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
from throttling import Client, Layer, Throttle
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
_DASHES: Final = ((5, 2), (1, 2), (8, 2, 1, 2), (3, 3))
_MAX_CLIENTS: Final = 5
"""More panels than these would be too small to read."""
_HIGHEST_LINE: Final = 1.6
"""A limit above this many times the requests is named, not drawn: it would flatten them."""


def draw(
    result: Result,
    path: Path,
    about: Sequence[str],
    text: RenderableType,
    addresses: Mapping[Client | None, int] | None = None,
) -> None:
    """Draw a run.

    Args:
        result: of the run.
        path: the file to write. Its suffix says how: .png, .svg or .html.
        about: the headline, and lines below it.
        text: what to print below the chart in an HTML page.
        addresses: number of addresses of each client, to draw what the WAF lets through.

    Raises:
        UserError: when the file cannot be written.
    """
    # Equal runs make equal files.
    with mpl.rc_context({"svg.hashsalt": "traffic", "font.size": 9}):
        figure = _figure(result, about, addresses or {})
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
        limits = _limits(result, client, addresses, shared=client is panels[0])
        for limit, dashes in zip(limits, _DASHES, strict=False):
            _draw_limit(axis, *limit, dashes)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(loc="upper left", bbox_to_anchor=(1, 1.05), frameon=False, fontsize=8)
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


def _draw_limit(axis: Axes, per_second: float, label: str, dashes: tuple[int, ...]) -> None:
    highest = axis.get_ylim()[1]
    if per_second > highest * _HIGHEST_LINE:
        axis.plot([], [], " ", label=f"{label}, not reached")
        return
    axis.set_ylim(0, max(highest, per_second * 1.05))
    # White below black shows on every colour.
    axis.axhline(per_second, color="white", linewidth=2.6)
    axis.axhline(per_second, color="#222222", linewidth=1.3, linestyle=(0, dashes), label=label)


def _limits(
    result: Result,
    client: ClientResult | None,
    addresses: Mapping[Client | None, int],
    *,
    shared: bool,
) -> Iterator[tuple[float, str]]:
    """Yield the limits to draw in a panel: requests per second, and a label."""
    limits = result.limits
    plan = client and client.client and limits.usage_plans.get(client.client.plan)
    if plan and plan.throttle:
        yield plan.throttle.rate, _throttle_words("plan", plan.throttle)
    if client and limits.waf and client.client in addresses:
        number = addresses[client.client]
        allowed = limits.waf.limit / limits.waf.window_seconds * number
        yield allowed, f"WAF: {allowed:,.4g}/s from {number:,} address{'es' if number > 1 else ''}"
    if shared and limits.stage:
        yield limits.stage.rate, _throttle_words("stage", limits.stage)
    if shared and limits.concurrency is not None and result.duration_seconds:
        per_second = limits.concurrency / result.duration_seconds
        milliseconds = result.duration_seconds * 1000
        words = f"concurrency: {limits.concurrency:,} at {milliseconds:,g} ms, {per_second:,.4g}/s"
        yield per_second, words


def _throttle_words(kind: str, throttle: Throttle) -> str:
    return f"{kind}: {throttle.rate:,g}/s, burst {throttle.burst:,}"


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
