"""What is sent: who, how much and when, before any limit is asked."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from throttling.gate import Client

METHOD: Final = "POST /data"
"""The one route of the stack, which all traffic is for."""
NO_KEY: Final = "no-key"
"""How traffic names whoever sends no API key, or an unknown one."""
DEFAULT_START: Final = datetime(2026, 1, 5, tzinfo=UTC)
"""A Monday at midnight UTC: every quota but a WEEK's, which began the day before, is new."""


class Arrivals(StrEnum):
    """How the requests of a rate are spread over time."""

    POISSON = "poisson"
    """Each request independent of all others, as those of many callers are."""
    EVEN = "even"
    """At equal distances, in turn from each address."""


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """The requests of one client. Its phases follow each other, with or without gaps."""

    client: Client | None
    """None for requests without a valid API key."""
    addresses: int
    """How many addresses share the requests; sources of one client use the same ones."""
    phases: tuple[Phase, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Traffic:
    """All requests of one run; the same value is always the same requests."""

    sources: tuple[Source, ...]
    arrivals: Arrivals = Arrivals.POISSON
    seed: int = 0
    start: datetime = DEFAULT_START
    """When the first second begins (UTC): quotas go by the calendar."""

    @property
    def seconds(self) -> float:
        """From the start until the last phase ends."""
        return max((p.end_seconds for s in self.sources for p in s.phases), default=0.0)

    @property
    def clients(self) -> tuple[Client | None, ...]:
        """Who sends, each once, in the order of the sources."""
        return tuple(dict.fromkeys(source.client for source in self.sources))

    @property
    def peak_rps(self) -> float:
        """No second has more requests than this on average."""
        return sum(
            max((max(p.from_rps, p.to_rps) for p in source.phases), default=0.0)
            for source in self.sources
        )

    @property
    def expected_requests(self) -> float:
        """How many requests there are on average over all seeds."""
        return sum((p.from_rps + p.to_rps) / 2 * p.seconds for s in self.sources for p in s.phases)

    def addresses(self, client: Client | None) -> int:
        """From how many addresses a client sends."""
        return max(source.addresses for source in self.sources if source.client == client)
