"""What a measurement is, and how it is shown and kept."""

import json
import os
import platform
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from rich.console import Console
from rich.table import Table

RESULTS: Final = Path(__file__).with_name("results.json")


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a figure's median, or its ratio to what it is compared with, should be."""

    bound: Literal["at most", "at least"]
    value: float
    of: Literal["median", "ratio"] = "median"

    def met(self, measured: float) -> bool:
        """Whether a median or a ratio is on the right side."""
        return measured <= self.value if self.bound == "at most" else measured >= self.value


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One thing, measured several times."""

    what: str
    unit: str
    samples: Sequence[float]
    targets: Sequence[Target] = ()
    than: str = ""
    """What it is compared with."""
    others: Sequence[float] = ()
    """Samples of that, each taken next to one of the figure's own."""

    @property
    def median(self) -> float:
        """The middle one of the samples."""
        return statistics.median(self.samples)

    @property
    def ratio(self) -> float | None:
        """The figure's median as a share of the other's."""
        return self.median / statistics.median(self.others) if self.others else None

    @property
    def met(self) -> bool | None:
        """Whether all targets are met; None without one."""
        if not self.targets:
            return None
        return all(
            target.met(self.median if target.of == "median" else self.ratio or 0.0)
            for target in self.targets
        )

    def as_json(self) -> dict[str, Any]:
        """All of it, for results.json."""
        return {
            "what": self.what,
            "unit": self.unit,
            "median": _short(self.median),
            "spread": [_short(min(self.samples)), _short(max(self.samples))],
            "samples": [_short(sample) for sample in self.samples],
            **(
                {
                    "than": self.than,
                    "otherMedian": _short(statistics.median(self.others)),
                    "otherSpread": [_short(min(self.others)), _short(max(self.others))],
                    "ratio": _short(self.ratio or 0.0),
                }
                if self.others
                else {}
            ),
            "targets": [
                {"of": target.of, "bound": target.bound, "value": target.value}
                for target in self.targets
            ],
            "met": self.met,
        }


def in_turns(
    times: int, one: Callable[[], float], other: Callable[[], float]
) -> tuple[list[float], list[float]]:
    """Samples of two things, taken alternately: what slows the machine down slows both."""
    pairs = [(one(), other()) for _ in range(times)]
    return [first for first, _ in pairs], [second for _, second in pairs]


def show(console: Console, title: str, figures: Iterable[Figure]) -> None:
    """Print the figures of one part as a table."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("figure", max_width=62)
    for heading in ("median", "spread", "ratio"):
        table.add_column(heading, justify="right")
    table.add_column("target")
    for figure in figures:
        low, high = min(figure.samples), max(figure.samples)
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f} x {figure.than}"
        targets = ", ".join(
            f"{target.bound} {target.value:,g} {'x' if target.of == 'ratio' else figure.unit}"
            for target in figure.targets
        )
        verdict = {True: "[green]met[/]", False: "[bold red]MISSED[/]", None: ""}[figure.met]
        table.add_row(
            figure.what,
            f"{_shown(figure.median)} {figure.unit}",
            f"{_shown(low)} to {_shown(high)}" if high > low else "",
            ratio,
            f"{targets} {verdict}".strip(),
        )
    console.print(table)
    console.print()


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def keep(parts: dict[str, list[Figure]], measured_on: str) -> None:
    """Write the parts that were measured into results.json; the others stay as they are."""
    kept = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {"parts": {}}
    for name, figures in parts.items():
        kept["parts"][name] = {
            "measuredOn": measured_on,
            "machine": machine(),
            "figures": [figure.as_json() for figure in figures],
        }
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
