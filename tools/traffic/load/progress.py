"""What one sees while a load test runs: a bar on a terminal, a line a phase elsewhere."""

from collections import Counter
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from tools.traffic.load.samples import Sample
from tools.traffic.load.scenarios import Schedule


class Watch:
    """Follows a run through its schedule."""

    def __init__(self, console: Console, schedule: Schedule) -> None:
        self._console = console
        self._schedule = schedule
        self._sent: Counter[int] = Counter()
        self._passed: Counter[int] = Counter()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting the generator", total=schedule.requests)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def see(self, sample: Sample) -> bool:
        """Count one answer; whether it was the last of its scenario."""
        index = sample.phase
        self._sent[index] += 1
        self._passed[index] += sample.passed
        phase = self._schedule.phases[index]
        words = (
            f"{phase.title}: {self._sent[index]:,} of {phase.count:,} sent, "
            f"{self._passed[index]:,} passed, "
            f"{self._sent[index] - self._passed[index]:,} refused"
        )
        self._bar.update(self._task, description=words, completed=self._sent.total())
        if self._sent[index] < phase.count:
            return False
        if not self._console.is_terminal:
            self._console.print(words, markup=False)
        return all(
            self._sent[i] == other.count
            for i, other in enumerate(self._schedule.phases)
            if other.scenario == phase.scenario
        )
