"""Requests over time, stacked by outcome, with the limits drawn in: one panel for each client."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from tools.traffic.load.report import charted
from tools.traffic.load.samples import Outcome, Sample
from tools.traffic.load.scenarios import Phase, Schedule, plan_throttle, stage_throttle
from tools.traffic.load.target import Target
from tools.traffic.load.verdicts import Findings, Verdict

SUFFIXES: Final = (".png", ".svg")
# The palette of Okabe and Ito, which people who do not see all colours can tell apart
# (https://jfly.uni-koeln.de/color/); each colour means what it means in the simulator's charts.
_COLOURS: Final = {
    Outcome.ADMITTED: "#009E73",
    Outcome.INVALID: "#56B4E9",
    Outcome.UNAVAILABLE: "#000000",
    Outcome.THROTTLED: "#E69F00",
    Outcome.QUOTA: "#CC79A7",
    Outcome.NO_KEY: "#999999",
    Outcome.WAF: "#D55E00",
    Outcome.FAILED: "#F0E442",
    Outcome.LOST: "#0072B2",
}
"""From the bottom of a stack to its top: what gets furthest is lowest."""
_LABELS: Final = {
    Outcome.ADMITTED: "admitted",
    Outcome.INVALID: "passed, body refused",
    Outcome.UNAVAILABLE: "passed, function busy",
    Outcome.THROTTLED: "refused: throttle",
    Outcome.QUOTA: "refused: quota",
    Outcome.NO_KEY: "refused: API key",
    Outcome.WAF: "refused: WAF",
    Outcome.FAILED: "failed",
    Outcome.LOST: "no answer",
}
_INK: Final = "#222222"
_WIDTH_INCHES: Final = 11.0
_PANEL_INCHES: Final = 2.3
_BIN_SECONDS: Final = 0.5


def draw(
    target: Target,
    schedule: Schedule,
    samples: Sequence[Sample],
    findings: Sequence[Findings],
    path: Path,
) -> None:
    """Draw a run.

    Args:
        target: what was loaded.
        schedule: what was sent.
        samples: what came back.
        findings: what was found, which is the headline.
        path: a file to write, of the kind that its suffix says: one of `SUFFIXES`.

    Raises:
        OSError: when it cannot be written.
    """
    panels = [
        (title, phases, mine)
        for scenario in schedule.scenarios()
        for title, phases in charted(schedule, scenario)
        if (mine := [one for one in samples if one.phase in phases])
    ]
    with mpl.rc_context({"svg.hashsalt": "load", "font.size": 10}):
        count = max(1, len(panels))
        height = 2.1 + _PANEL_INCHES * count
        figure = Figure(figsize=(_WIDTH_INCHES, height), facecolor="white")
        axes = figure.subplots(count, 1, squeeze=False)[:, 0]
        figure.subplots_adjust(
            left=0.08, right=0.82, top=1 - 1.15 / height, bottom=1.2 / height, hspace=0.55
        )
        for axis, (title, phases, mine) in zip(axes, panels, strict=False):
            _panel(axis, title, phases, mine, _limit(target, phases))
        if panels:
            axes[-1].set_xlabel("seconds after the scenario's start")
        figure.text(0.08, 1 - 0.15 / height, headline(findings), size=13, weight="bold", va="top")
        figure.text(
            0.08,
            1 - 0.42 / height,
            f"Stack {target.stack}, {'sandbox' if target.sandbox else 'deployed'}: "
            f"{len(samples):,} requests",
            color="#555555",
            va="top",
        )
        seen = {one.outcome for _, _, mine in panels for one in mine}
        shown = [outcome for outcome in _COLOURS if outcome in seen]
        figure.legend(
            handles=[Patch(color=_COLOURS[one], label=_LABELS[one]) for one in shown],
            loc="lower left",
            bbox_to_anchor=(0.07, 0.0),
            ncols=min(5, max(1, len(shown))),
            frameon=False,
        )
        metadata = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(path, dpi=130, metadata=metadata)


def headline(findings: Sequence[Findings]) -> str:
    """What a run found, in one sentence."""
    found = [one for finding in findings for one in finding.comparisons]
    off = [one.limit for one in found if one.verdict is Verdict.OFF]
    if off:
        more = f" and {len(off) - 2} more" if len(off) > 2 else ""
        return f"Off: {', '.join(off[:2])}{more}"
    unclear = sum(one.verdict is Verdict.UNCLEAR for one in found)
    if unclear:
        return f"{unclear} of {len(found)} comparisons could not be made"
    agreed = sum(one.verdict is Verdict.AGREES for one in found)
    return f"All {agreed} comparisons agree with the configured limits"


def _limit(target: Target, phases: dict[int, Phase]) -> tuple[float, str] | None:
    """The rate at which these requests are to be cut, and its name."""
    phase = next(iter(phases.values()))
    if phase.scenario == "stage":
        throttle, name = stage_throttle(target), "stage"
    elif phase.client:
        throttle, name = plan_throttle(target, phase.client.plan), f"plan {phase.client.plan}"
    else:
        waf = target.limits.waf
        if waf is None:
            return None
        return waf.limit / waf.window_seconds, f"WAF: {waf.limit:,}\nin {waf.window_seconds} s"
    if throttle is None:
        return None
    return throttle.rate, f"{name}: {throttle.rate:g}/s,\nburst {throttle.burst:,}"


def _panel(
    axis: Axes,
    title: str,
    phases: dict[int, Phase],
    samples: Sequence[Sample],
    limit: tuple[float, str] | None,
) -> None:
    start = min(phase.start for phase in phases.values())
    end = max(max(one.sent for one in samples), max(phase.end for phase in phases.values()))
    edges = np.arange(0, end - start + 2 * _BIN_SECONDS, _BIN_SECONDS)
    below = np.zeros(len(edges) - 1)
    for outcome, colour in _COLOURS.items():
        sent = [one.sent - start for one in samples if one.outcome is outcome]
        if not sent:
            continue
        above = below + np.histogram(sent, edges)[0] / _BIN_SECONDS
        axis.fill_between(
            edges,
            np.append(below, below[-1]),
            np.append(above, above[-1]),
            step="post",
            color=colour,
            linewidth=0,
        )
        below = above
    axis.set_title(title, loc="left", fontsize=10, weight="bold", color=_INK, pad=16)
    axis.set_xlim(0, edges[-1])
    axis.set_ylim(0, max(float(below.max()), limit[0] if limit else 0) * 1.08)
    axis.set_ylabel("requests\nper second", fontsize=9)
    axis.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axis.spines[["top", "right"]].set_visible(False)
    if limit:
        # White below black shows on every colour.
        axis.axhline(limit[0], color="white", linewidth=2.6)
        axis.axhline(limit[0], color=_INK, linewidth=1.3, linestyle=(0, (5, 2)))
        axis.annotate(
            limit[1],
            (1.01, limit[0]),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=8.5,
            color=_INK,
        )
    for name, first in {phase.name: phase.start for phase in reversed(phases.values())}.items():
        at = first - start
        axis.axvline(at, color=_INK, linewidth=0.9, linestyle=":")
        axis.annotate(
            name,
            (at, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(2, 2),
            textcoords="offset points",
            fontsize=8.5,
            color=_INK,
        )
