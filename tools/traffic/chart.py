"""The requests of a run over time, stacked by outcome, with the limits drawn in."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from settings import UserError
from throttling import Client, Layer, Throttle
from throttling.simulation.engine import CODES
from throttling.simulation.simulator import ClientResult, Result
from throttling.simulation.traffic import Ints
from tools.traffic.outcomes import outcome_name
from tools.traffic.report import clients_of, first_at

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
    addresses: Mapping[Client | None, int] | None = None,
) -> None:
    """Draw a run.

    Args:
        result: of the run.
        path: the file to write. Its suffix says how: .png or .svg.
        about: the headline, and lines below it.
        addresses: number of addresses of each client, to draw what the WAF lets through.

    Raises:
        UserError: when the file cannot be written.
    """
    # Equal runs make equal files.
    with mpl.rc_context({"svg.hashsalt": "traffic", "font.size": 9}):
        figure = _figure(result, about, addresses or {})
        metadata = {"Date": None} if path.suffix == ".svg" else None
        try:
            figure.savefig(path, dpi=130, metadata=metadata)
        except OSError as error:
            raise UserError(f"--chart {path}: {error.strerror}.") from None


def _figure(result: Result, about: Sequence[str], addresses: Mapping[Client | None, int]) -> Figure:
    counts = [result.timeline[:, index] for index in range(len(result.clients))]
    panels = sorted(zip(clients_of(result), counts, strict=False), key=lambda one: -one[0][1].sent)
    panels = panels[:_MAX_CLIENTS]
    if len(counts) > 1:
        panels.insert(0, (clients_of(result)[-1], result.timeline.sum(axis=1)))
    height = 2.2 + (3.9 if len(panels) == 1 else 1.9 * len(panels))
    figure = Figure(figsize=(11, height), facecolor="white", layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    units = (("days", 86_400), ("hours", 3_600), ("minutes", 60), ("seconds", 1))
    unit, size = next((one for one in units if result.seconds >= 2 * one[1]), units[-1])
    for axis, ((name, client), timeline) in zip(axes, panels, strict=True):
        _draw_panel(axis, result, timeline, size)
        if len(panels) > 1:
            axis.set_title(name, loc="left", weight="bold")
        limits = [*_client_limits(result, client, addresses)]
        if axis is axes[0]:
            limits += _shared_limits(result)
        for (per_second, label), dashes in zip(limits, _DASHES, strict=False):
            _draw_limit(axis, per_second, label, dashes)
        if limits:
            axis.legend(loc="upper left", bbox_to_anchor=(1, 1.05), frameon=False, fontsize=8)
    axes[-1].set_xlabel(f"{unit} after the start")
    lines = [fill(about[0], 90), *(fill(line, 130) for line in about[1:])]
    figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=11)
    patches = [Patch(color=_COLOURS[None], label=outcome_name(None))]
    for layer, colour in _COLOURS.items():
        if layer in result.total.refused:
            first = first_at(result.total, layer)
            patches.append(Patch(color=colour, label=f"{outcome_name(layer)}, from {first}"))
    figure.legend(handles=patches, loc="outside lower left", ncols=3, frameon=False)
    return figure


def _draw_panel(axis: Axes, result: Result, counts: Ints, size: float) -> None:
    """Stack outcomes over time."""
    starts = np.arange(len(counts)) * result.interval_seconds
    # The last interval may be short.
    lengths = np.minimum(result.interval_seconds, result.seconds - starts)
    per_second = counts / lengths[:, np.newaxis]
    steps = np.vstack([per_second, per_second[-1]])[:, [CODES[layer] for layer in _COLOURS]]
    edges = np.append(starts, result.seconds) / size
    axis.stackplot(edges, steps.T, colors=[*_COLOURS.values()], step="post", linewidth=0)
    axis.set_xlim(0, result.seconds / size)
    axis.set_ylim(0, max(float(per_second.sum(axis=1).max()), 1e-9) * 1.05)
    axis.set_ylabel("requests per second")
    axis.yaxis.set_major_locator(MaxNLocator(4, min_n_ticks=3))
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
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


def _client_limits(
    result: Result, client: ClientResult, addresses: Mapping[Client | None, int]
) -> Iterator[tuple[float, str]]:
    """Yield the limits of one client: requests per second, and a label."""
    plan = client.client and result.limits.usage_plans.get(client.client.plan)
    if plan and plan.throttle:
        yield plan.throttle.rate, _throttle_words("plan", plan.throttle)
    waf, number = result.limits.waf, addresses.get(client.client)
    # The total, like requests without a key, has no client.
    if waf and number and client is not result.total:
        allowed = waf.limit / waf.window_seconds * number
        yield allowed, f"WAF: {allowed:,.4g}/s from {number:,} address{'es' if number > 1 else ''}"


def _shared_limits(result: Result) -> Iterator[tuple[float, str]]:
    """Yield the same of all clients together."""
    limits, duration = result.limits, result.duration_seconds
    if limits.stage:
        yield limits.stage.rate, _throttle_words("stage", limits.stage)
    if limits.concurrency is not None and duration:
        allowed = limits.concurrency / duration
        words = f"concurrency: {limits.concurrency:,} at {duration * 1000:,.10g} ms"
        yield allowed, f"{words}, {allowed:,.4g}/s"


def _throttle_words(kind: str, throttle: Throttle) -> str:
    return f"{kind}: {throttle.rate:,.10g}/s, burst {throttle.burst:,}"
