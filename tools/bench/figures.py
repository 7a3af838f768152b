"""A measurement: its samples, its target, and how it is shown and kept."""

import json
import os
import platform
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.table import Table

RESULTS: Final = Path(__file__).with_name("results.json")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One thing, measured several times."""

    what: str
    unit: str
    samples: Sequence[float]
    at_most: float | None = None
    """Target of the median."""
    at_least: float | None = None
    """Target of the median."""
    than: str = ""
    """What it is compared with."""
    others: Sequence[float] = ()
    """Samples of that, each taken next to one of the figure's own."""
    ratio_at_most: float | None = None
    """Target of the ratio."""

    @property
    def median(self) -> float:
        """The median of the samples."""
        return statistics.median(self.samples)

    @property
    def ratio(self) -> float | None:
        """The figure's median divided by the other's."""
        return self.median / statistics.median(self.others) if self.others else None

    @property
    def targets(self) -> str:
        """The targets in words."""
        ratio = None if self.ratio_at_most is None else f"at most {self.ratio_at_most:g} x"
        most = None if self.at_most is None else f"at most {self.at_most:,g} {self.unit}"
        least = None if self.at_least is None else f"at least {self.at_least:,g} {self.unit}"
        return ", ".join(one for one in (most, least, ratio) if one)

    @property
    def met(self) -> bool | None:
        """Whether all targets are met; None without one."""
        if not self.targets:
            return None
        return (
            (self.at_most is None or self.median <= self.at_most)
            and (self.at_least is None or self.median >= self.at_least)
            and (self.ratio_at_most is None or (self.ratio or 0.0) <= self.ratio_at_most)
        )

    def row(self) -> dict[str, Any]:
        """Return the figure as the table and results.json have it."""
        low, high = min(self.samples), max(self.samples)
        return {
            "figure": self.what,
            "median": f"{_short(self.median)} {self.unit}",
            "spread": f"{_short(low)} to {_short(high)}" if high > low else "",
            "ratio": "" if self.ratio is None else f"{self.ratio:.2f} x {self.than}",
            "target": self.targets,
            "met": self.met,
        }


def in_turns(
    times: int, one: Callable[[], float], other: Callable[[], float]
) -> tuple[list[float], list[float]]:
    """Return samples of two things taken in turns, so that a slow machine slows both."""
    pairs = [(one(), other()) for _ in range(times)]
    return [first for first, _ in pairs], [second for _, second in pairs]


def table(title: str, figures: Iterable[Figure]) -> Table:
    """Return the figures of one part as a table."""
    made = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for heading in ("figure", "median", "spread", "ratio", "target"):
        made.add_column(heading, justify="left" if heading in ("figure", "target") else "right")
    verdicts = {True: "[green]met[/]", False: "[bold red]MISSED[/]", None: ""}
    for figure in figures:
        *cells, met = figure.row().values()
        made.add_row(*cells[:-1], f"{cells[-1]} {verdicts[met]}".strip())
    return made


def machine() -> dict[str, Any]:
    """Return what the figures are measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def keep(part: str, figures: Iterable[Figure]) -> None:
    """Write the figures of one part into results.json; other parts stay as they are."""
    kept = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    kept[part] = {
        "measuredOn": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "figures": [figure.row() for figure in figures],
    }
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
