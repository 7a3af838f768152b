"""Requests out of rates: how many in each second, and at which moments.

The numbers per second are drawn first, and the moments within it apart from them. So the
aggregated mode, which needs only the numbers, decides the very traffic that the exact mode does.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from throttling.simulation.traffic import Arrivals, Phase, Source, Traffic

_BLOCK_REQUESTS: Final = 400_000
"""About how many requests are in memory at a time."""
_BLOCK_CELLS: Final = 4_000_000
"""The same for numbers of requests, of each address in each second."""
_LONGEST_BLOCK_SECONDS: Final = 3_600
_ROUNDING: Final = 1e-9
"""Share of a request by which a sum of rates may miss the whole request that it stands for."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Block:
    """Requests in the order of their arrival."""

    times: Floats
    """Seconds after the start of the run."""
    clients: Ints
    """Index into `Traffic.clients`."""
    addresses: Ints
    """Index of an address, unique over all clients."""


@dataclass(frozen=True, slots=True)
class Cells:
    """How many requests of one source arrive in each of a row of short times."""

    first: int
    """Number of the first cell, counted over the whole run."""
    starts: Floats
    """Seconds after the start of the run; no cell goes over a whole second."""
    seconds: Floats
    """How long each cell is; 1 except at the ends of a phase."""
    counts: Ints
    """Requests by cell and address."""
    earlier_requests: int
    """How many requests the source had before these cells."""


def first_addresses(traffic: Traffic) -> list[int]:
    """The index of the first address of each source; clients do not share addresses."""
    first: dict[object, int] = {}
    total = 0
    for client in traffic.clients:
        first[client] = total
        total += traffic.addresses(client)
    return [first[source.client] for source in traffic.sources]


def source_clients(traffic: Traffic) -> list[int]:
    """The client of each source, as an index into the traffic's clients."""
    index = {client: number for number, client in enumerate(traffic.clients)}
    return [index[source.client] for source in traffic.sources]


def blocks(traffic: Traffic) -> Iterator[tuple[float, Block]]:
    """All requests, a block of time after the other, each with the second at which it ends."""
    sources = streams(traffic)
    client_of = source_clients(traffic)
    offsets = first_addresses(traffic)
    a_second = sum(source.addresses for source in traffic.sources)
    wanted = min(_BLOCK_REQUESTS / max(traffic.peak_rps, 1), _BLOCK_CELLS / a_second)
    step = int(np.clip(wanted, 1, _LONGEST_BLOCK_SECONDS))
    for end in block_ends(traffic, step):
        parts = [stream.requests(stream.next_cells(end)) for stream in sources]
        times = np.concatenate([part[0] for part in parts])
        addresses = np.concatenate(
            [part[1] + offset for part, offset in zip(parts, offsets, strict=True)]
        )
        clients = np.repeat(client_of, [len(part[0]) for part in parts])
        order = np.argsort(times, kind="stable")
        yield end, Block(times[order], clients[order], addresses[order])


def block_ends(traffic: Traffic, step: int) -> range:
    """The seconds at which blocks of `step` seconds end, until the traffic has."""
    return range(step, int(np.ceil(traffic.seconds)) + step, step)


def streams(traffic: Traffic) -> "list[Stream]":
    """The requests of each source, from the first on."""
    kind = _PoissonStream if traffic.arrivals is Arrivals.POISSON else _EvenStream
    seeds = np.random.SeedSequence(traffic.seed).spawn(len(traffic.sources))
    return [kind(source, seed) for source, seed in zip(traffic.sources, seeds, strict=True)]


class Stream(ABC):
    """The requests of one source. They can be read once, from the first cell on."""

    def __init__(self, source: Source) -> None:
        parts = [_phase_cells(phase) for phase in source.phases if phase.seconds > 0]
        joined = np.concatenate(parts, axis=1) if parts else np.empty((4, 0))
        self._starts, self._seconds, self._from_rps, to_rps = joined
        self._slopes = (to_rps - self._from_rps) / self._seconds
        self._expected = (self._from_rps + to_rps) / 2 * self._seconds
        self._addresses = source.addresses
        self._next_cell = 0
        self._counted = 0

    def next_cells(self, until: float) -> Cells:
        """The cells that start before `until`, from the first one that was not read."""
        first, last = self._next_cell, int(np.searchsorted(self._starts, until))
        counts = self._counts(first, last)
        cells = Cells(
            first, self._starts[first:last], self._seconds[first:last], counts, self._counted
        )
        self._next_cell = last
        self._counted += int(counts.sum())
        return cells

    def requests(
        self, cells: Cells, first: int = 0, last: int | None = None
    ) -> tuple[Floats, Ints]:
        """Moments and addresses of the requests in `cells[first:last]`.

        Cells may be left out, but not read again. The moments of one cell are in no order.
        """
        counts = cells.counts[first:last]
        cell = np.repeat(np.arange(len(counts)), counts.sum(axis=1)) + cells.first + first
        earlier = cells.earlier_requests + int(cells.counts[:first].sum())
        nth, addresses = self._nth(cell, counts, earlier)
        from_rps, slope = self._from_rps[cell], self._slopes[cell]
        # The solution of nth = from_rps x t + slope x t^2 / 2 that also holds without a slope.
        divisor = from_rps + np.sqrt(np.maximum(from_rps**2 + 2 * slope * nth, 0.0))
        after = np.divide(2 * nth, divisor, out=np.zeros_like(nth), where=divisor > 0)
        return self._starts[cell] + after, addresses

    @abstractmethod
    def _counts(self, first: int, last: int) -> Ints:
        """Requests by cell and address."""

    @abstractmethod
    def _nth(self, cell: Ints, counts: Ints, earlier: int) -> tuple[Floats, Ints]:
        """How much of its cell's expected number is due when each request arrives, and from where.

        `earlier` requests of this source came before these.
        """


class _PoissonStream(Stream):
    def __init__(self, source: Source, seed: np.random.SeedSequence) -> None:
        super().__init__(source)
        number_seed, moment_seed = seed.spawn(2)
        self._numbers = np.random.default_rng(number_seed)
        self._moments = np.random.PCG64(moment_seed)
        self._moments_drawn = 0

    def _counts(self, first: int, last: int) -> Ints:
        mean = self._expected[first:last, np.newaxis] / self._addresses
        return self._numbers.poisson(mean, (last - first, self._addresses))

    def _nth(self, cell: Ints, counts: Ints, earlier: int) -> tuple[Floats, Ints]:
        # Each moment takes one draw, so that those of the cells left out can be skipped.
        self._moments.advance(earlier - self._moments_drawn)
        self._moments_drawn = earlier + len(cell)
        nth = np.random.Generator(self._moments).random(len(cell)) * self._expected[cell]
        address = np.tile(np.arange(self._addresses), len(counts))
        return nth, np.repeat(address, counts.ravel())


class _EvenStream(Stream):
    def __init__(self, source: Source, _: np.random.SeedSequence) -> None:
        super().__init__(source)
        self._due = np.concatenate([[0.0], np.cumsum(self._expected)])
        # Requests are numbered from 0, and each arrives when its number of requests is due.
        self._first = np.ceil(self._due - _ROUNDING).astype(np.int64)

    def _counts(self, first: int, last: int) -> Ints:
        # How many of the numbers below each cell's edge belong to each address.
        edges = self._first[first : last + 1, np.newaxis]
        turns = (edges - np.arange(self._addresses) + self._addresses - 1) // self._addresses
        return np.diff(turns, axis=0)

    def _nth(self, cell: Ints, counts: Ints, earlier: int) -> tuple[Floats, Ints]:
        number = np.arange(earlier, earlier + len(cell))
        return np.maximum(number - self._due[cell], 0.0), number % self._addresses


def _phase_cells(phase: Phase) -> Floats:
    """Start, seconds, first and last rate of each cell of a phase."""
    inner = np.arange(np.floor(phase.start_seconds) + 1, np.ceil(phase.end_seconds))
    edges = np.concatenate([[phase.start_seconds], inner, [phase.end_seconds]])
    rates = phase.from_rps + (phase.to_rps - phase.from_rps) * (
        (edges - phase.start_seconds) / phase.seconds
    )
    return np.stack([edges[:-1], np.diff(edges), rates[:-1], rates[1:]])
