"""A measurement: its samples, its target, and how it is made and shown."""

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One thing, measured several times, and the target of the median."""

    what: str
    unit: str
    samples: Sequence[float]
    at_most: float = float("inf")
    at_least: float = 0

    @property
    def median(self) -> float:
        """The median of the samples."""
        return statistics.median(self.samples)

    @property
    def met(self) -> bool:
        """Whether the median meets the target."""
        return self.at_least <= self.median <= self.at_most

    @property
    def target(self) -> str:
        """The target in words."""
        word, bound = ("at least", self.at_least) if self.at_least else ("at most", self.at_most)
        return f"{word} {bound:,g} {self.unit}"

    def as_json(self) -> dict[str, Any]:
        """Return the figure as plain values."""
        names = ("what", "unit", "samples", "median", "target", "met")
        return {name: getattr(self, name) for name in names}


def table(title: str, figures: Iterable[Figure]) -> Table:
    """Return the figures of one part as a table."""
    made = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for heading in ("figure", "median", "spread", "target"):
        made.add_column(heading, justify="left" if heading in ("figure", "target") else "right")
    for one in figures:
        low, high = min(one.samples), max(one.samples)
        made.add_row(
            one.what,
            f"{_short(one.median)} {one.unit}",
            f"{_short(low)} to {_short(high)}" if high > low else "",
            f"{one.target} {'[green]met[/]' if one.met else '[bold red]MISSED[/]'}",
        )
    return made


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def machine() -> str:
    """Return what the figures are measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    processor = models[0] if models else platform.processor()
    return f"{processor}, {os.cpu_count()} cores, Python {platform.python_version()}"


def peak_mb(who: int) -> float:
    """Return the peak memory of this process or its children: one of `resource.RUSAGE_*`."""
    peak = resource.getrusage(who).ru_maxrss
    # Linux counts in kilobytes, macOS in bytes.
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def result(script: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401  JSON
    """Run a script in a fresh interpreter, and return its last line, which is JSON."""
    done = subprocess.run(  # noqa: S603  our own scripts
        [sys.executable, "-c", script, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def seconds(command: Sequence[str], folder: Path, **environment: str) -> float:
    """Return the seconds that a command takes."""
    began = time.perf_counter()
    subprocess.run(  # noqa: S603  our own commands
        command,
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        check=True,
    )
    return time.perf_counter() - began
