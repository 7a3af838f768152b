"""A measurement: its samples, its target, and how it is shown."""

import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table


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

    @property
    def median(self) -> float:
        """The median of the samples."""
        return statistics.median(self.samples)

    @property
    def targets(self) -> str:
        """The targets in words."""
        targets = (("at most", self.at_most), ("at least", self.at_least))
        return ", ".join(f"{word} {x:,g} {self.unit}" for word, x in targets if x is not None)

    @property
    def met(self) -> bool | None:
        """Whether all targets are met; None without one."""
        if not self.targets:
            return None
        return (self.at_most is None or self.median <= self.at_most) and (
            self.at_least is None or self.median >= self.at_least
        )


def table(title: str, figures: Iterable[Figure]) -> Table:
    """Return the figures of one part as a table."""
    made = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for heading in ("figure", "median", "spread", "target"):
        made.add_column(heading, justify="left" if heading in ("figure", "target") else "right")
    verdicts = {True: "[green]met[/]", False: "[bold red]MISSED[/]", None: ""}
    for one in figures:
        low, high = min(one.samples), max(one.samples)
        made.add_row(
            one.what,
            f"{_short(one.median)} {one.unit}",
            f"{_short(low)} to {_short(high)}" if high > low else "",
            f"{one.targets} {verdicts[one.met]}".strip(),
        )
    return made


def machine() -> str:
    """Return what the figures are measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    processor = models[0] if models else platform.processor()
    return f"{processor}, {os.cpu_count()} cores, Python {platform.python_version()}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
