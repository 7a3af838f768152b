"""What became of the requests, counted by client, outcome and interval of time."""

from typing import Final

import numpy as np

from throttling.simulation.arrivals import Block, Floats, Ints
from throttling.simulation.exact import OUTCOMES, Codes
from throttling.simulation.traffic import Traffic

_MOST_INTERVALS: Final = 120
"""More than these are more than a chart or a line of text can show."""
_INTERVALS_SECONDS: Final = (
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400),
)
_ROUNDING: Final = 1e-9
"""Share of an interval by which a moment may miss its beginning."""
_WEEK_SECONDS: Final = 604_800


class Tally:
    """Counts of one run, filled while it goes on."""

    def __init__(self, traffic: Traffic, *, shortest_interval_seconds: float = 0.01) -> None:
        self.interval_seconds = _interval(traffic.seconds, shortest_interval_seconds)
        intervals = max(1, int(np.ceil(traffic.seconds / self.interval_seconds - _ROUNDING)))
        shape = (intervals, len(traffic.clients), len(OUTCOMES))
        self.counts = np.zeros(shape, np.int64)
        """Requests by interval, client and code of outcome."""
        self.first = np.full(shape[1:], np.inf)
        """Seconds until the first request of each client with each outcome."""

    def add_requests(self, block: Block, codes: Codes) -> None:
        """Count requests one by one."""
        _, clients, outcomes = self.counts.shape
        cell = (self._interval_of(block.times) * clients + block.clients) * outcomes + codes
        self.counts += np.bincount(cell, minlength=self.counts.size).reshape(self.counts.shape)
        self.note_all_first(block.times, block.clients, codes)

    def note_all_first(self, times: Floats, clients: Ints, codes: Codes) -> None:
        """Keep the earliest moment of each outcome, of requests in their order."""
        pairs, firsts = np.unique(clients * len(OUTCOMES) + codes, return_index=True)
        moments = self.first.reshape(-1)
        moments[pairs] = np.minimum(moments[pairs], times[firsts])

    def add_counts(self, starts: Floats, counts: Ints) -> None:
        """Add counts of short times, by time, client and code of outcome."""
        np.add.at(self.counts, self._interval_of(starts), counts)

    def note_first(self, client: int, code: int, moment: float) -> None:
        """Say when a client had an outcome; the earliest such moment is kept."""
        self.first[client, code] = min(self.first[client, code], moment)

    def _interval_of(self, times: Floats) -> Ints:
        # Rounding can put a request that is due when an interval begins a hair before it, and one
        # that is due when the run ends behind it.
        interval = (times / self.interval_seconds + _ROUNDING).astype(np.int64)
        return np.minimum(interval, len(self.counts) - 1)


def _interval(seconds: float, shortest: float) -> float:
    """The shortest round interval of which not too many make up the run."""
    for interval in _INTERVALS_SECONDS:
        if interval >= shortest and seconds <= interval * _MOST_INTERVALS:
            return interval
    return _WEEK_SECONDS * float(np.ceil(seconds / _WEEK_SECONDS / _MOST_INTERVALS))
