"""What a generator is told to send, and how its share of it is found.

A job and its samples travel as JSON: between two processes here, or through Locust's own messages
between machines.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, field
from heapq import merge
from typing import Any, Final, NamedTuple

from tools.traffic.load.bodies import body
from tools.traffic.load.samples import Sample
from tools.traffic.load.scenarios import Kind, Phase, Schedule
from tools.traffic.load.target import Target
from throttling import Client

ANSWER_SECONDS: Final = 35.0
"""How long an answer is waited for: longer than API Gateway waits for the function."""


class Arrival(NamedTuple):
    """When a request is due, and which one it is."""

    due: float
    """Seconds after the start of the run."""
    phase: int
    number: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What to send, and where to."""

    url: str
    keys: dict[str, str] = field(repr=False)
    """Values of the API keys by `plan/client`."""
    phases: tuple[Phase, ...]

    @property
    def requests(self) -> int:
        """How many there are."""
        return sum(phase.count for phase in self.phases)

    def arrivals(self, share: int = 0, shares: int = 1) -> Iterator[Arrival]:
        """The requests of one of several generators, in the order in which they are due."""
        return merge(*(self._arrivals_of(i, share, shares) for i in range(len(self.phases))))

    def _arrivals_of(self, index: int, share: int, shares: int) -> Iterator[Arrival]:
        phase = self.phases[index]
        for number in range((share - index) % shares, phase.count, shares):
            yield Arrival(phase.start + number / phase.rate, index, number)

    def request(self, arrival: Arrival) -> tuple[dict[str, str], str]:
        """Headers and body of a request."""
        phase, number = self.phases[arrival.phase], arrival.number
        headers = {"Content-Type": "application/json"}
        if phase.client:
            headers["x-api-key"] = self.keys[str(phase.client)]
        if phase.addresses:
            headers["X-Forwarded-For"] = phase.addresses[number % len(phase.addresses)]
        return headers, body(phase.sizes[number % len(phase.sizes)], number)

    def to_json(self) -> dict[str, Any]:
        """This job as plain values, keys included."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> "Job":
        """The job that `to_json` made these values of."""
        return cls(
            url=plain["url"],
            keys=plain["keys"],
            phases=tuple(_phase(phase) for phase in plain["phases"]),
        )


def make_job(target: Target, schedule: Schedule) -> Job:
    """What to send to a target."""
    return Job(
        url=target.url,
        keys={str(client): value for client, value in target.keys.items()},
        phases=schedule.phases,
    )


def _phase(plain: dict[str, Any]) -> Phase:
    client = plain["client"]
    return Phase(
        **{
            **plain,
            "kind": Kind(plain["kind"]),
            "client": Client(**client) if client else None,
            "addresses": tuple(plain["addresses"]),
            "sizes": tuple(plain["sizes"]),
        }
    )


def samples_to_json(samples: Sequence[Sample]) -> list[tuple[Any, ...]]:
    """Samples as plain values."""
    return [astuple(sample) for sample in samples]


def samples_from_json(plain: Sequence[Sequence[Any]]) -> list[Sample]:
    """The samples that `samples_to_json` made these values of."""
    names = list(Sample.__dataclass_fields__)
    return [Sample(**dict(zip(names, values, strict=True))) for values in plain]
