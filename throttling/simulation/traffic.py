"""Traffic: rates that clients send at, and the requests that these rates become."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from throttling.gate import Client

DEFAULT_START: Final = datetime(2026, 1, 5, tzinfo=UTC)
"""A Monday at midnight UTC. DAY quotas are new then; WEEK quotas are a day old."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Arrivals(StrEnum):
    """How the requests of a rate are spread over time."""

    POISSON = "poisson"
    """Each request is independent of all others and comes from a random address."""
    EVEN = "even"
    """Requests come at equal distances, and the addresses take turns."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """A stretch of time in which the rate goes from one value to another in a straight line."""

    start_seconds: float
    """After the start of the run."""
    seconds: float
    from_rps: float
    to_rps: float

    @property
    def end_seconds(self) -> float:
        """After the start of the run."""
        return self.start_seconds + self.seconds

    @property
    def requests(self) -> float:
        """Number of requests, on average over all seeds."""
        return (self.from_rps + self.to_rps) / 2 * self.seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Requests of one client for one method, as phases in the order of time, gaps allowed."""

    client: Client | None
    """None for requests without a valid API key."""
    method: str
    """The route that the requests are for, such as "POST /data"."""
    addresses: int
    """Number of addresses that send the requests. Sources of one client share their addresses."""
    phases: tuple[Phase, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Traffic:
    """All requests of one run. Equal values give equal requests."""

    sources: tuple[Source, ...]
    arrivals: Arrivals = Arrivals.POISSON
    seed: int = 0
    start: datetime = DEFAULT_START
    """When the first second begins (UTC). Quotas follow the calendar."""

    @property
    def seconds(self) -> float:
        """From the start until the last phase ends."""
        return max((p.end_seconds for s in self.sources for p in s.phases), default=0.0)

    @property
    def clients(self) -> tuple[Client | None, ...]:
        """The clients, each once, in the order of the sources."""
        return tuple(dict.fromkeys(source.client for source in self.sources))

    @property
    def expected_requests(self) -> float:
        """Number of requests, on average over all seeds."""
        return sum(phase.requests for source in self.sources for phase in source.phases)

    def addresses(self, client: Client | None) -> int:
        """Number of addresses that a client sends from."""
        return max(source.addresses for source in self.sources if source.client == client)


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """Some of a run's requests, in the order of their arrival. All arrays have equal lengths."""

    times: Floats
    """Seconds after the start of the run."""
    sources: Ints
    """Index of each request's (client, method) in the sources of the run."""
    addresses: Ints
    """Index of each request's address: any small numbers from 0 on."""
    durations: Floats | None = None
    """Seconds the function works on each request; None when all take the run's."""
    outcomes: NDArray[np.uint8] | None = None
    """What really happened, as codes of `engine.OUTCOMES`; None when the engine is to decide."""
