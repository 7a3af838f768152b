"""Turn the rates of a `Traffic` into requests."""

import itertools
import math
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from throttling.simulation.traffic import Arrivals, Block, Floats, Phase, Source, Traffic

_BLOCK_REQUESTS: Final = 100_000
"""Requests of one block, about. With another number, a seed gives other requests."""
_ROUNDING: Final = 1e-9
"""Part of a request that sums of floating-point numbers may be off by."""


class _Part(NamedTuple):
    """A phase of one source, by index."""

    source: int
    phase: Phase
    before: float
    """Average number of requests of the source's earlier phases."""


def blocks(traffic: Traffic) -> Iterator[Block]:
    """Yield all requests of `traffic` in the order of time.

    The sum of a source's rate over time grows by 1 from each even request to the next. Between two
    moments, the requests of a Poisson process have independent places on that sum.
    """
    random = np.random.default_rng(traffic.seed)
    sent = [0] * len(traffic.sources)
    first_addresses = _first_addresses(traffic)
    for begin, end, parts in _stretches(traffic.sources):
        columns = []
        for index, phase, before in parts:
            number_of_addresses = traffic.sources[index].addresses
            low = _sum_until(phase, begin)
            high = max(low, _sum_until(phase, end))
            if traffic.arrivals is Arrivals.POISSON:
                # Independent places in order: sums of exponential steps, scaled to where they end.
                sums = random.standard_exponential(1 + random.poisson(high - low)).cumsum()
                due = low + (high - low) * sums[:-1] / sums[-1]
                places = random.integers(number_of_addresses, size=len(due))
            else:
                numbers = np.arange(sent[index], math.ceil(before + high - _ROUNDING))
                sent[index] += len(numbers)
                due = np.maximum(numbers - before, 0.0)
                places = numbers % number_of_addresses
            times = np.clip(_moments(phase, due), begin, end)
            columns.append((times, np.full(len(due), index), first_addresses[index] + places))
        times, sources, addresses = map(np.concatenate, zip(*columns, strict=True))
        order = np.argsort(times, kind="stable")
        yield Block(times=times[order], sources=sources[order], addresses=addresses[order])


def _stretches(sources: tuple[Source, ...]) -> Iterator[tuple[float, float, list[_Part]]]:
    """Yield begin and end of each block, and what the sources send in it."""
    parts = []
    for index, source in enumerate(sources):
        before = 0.0
        for phase in source.phases:
            if phase.requests:
                parts.append(_Part(index, phase, before))
            before += phase.requests
    parts.sort(key=lambda part: part.phase.start_seconds)
    edges = {edge for _, phase, _ in parts for edge in (phase.start_seconds, phase.end_seconds)}
    active: list[_Part] = []
    for begin, end in itertools.pairwise(sorted(edges)):
        active = [part for part in active if part.phase.end_seconds > begin]
        while parts and parts[0].phase.start_seconds <= begin:
            active.append(parts.pop(0))
        requests = sum(_sum_until(p, end) - _sum_until(p, begin) for _, p, _ in active)
        cuts = np.linspace(begin, end, 1 + math.ceil(requests / _BLOCK_REQUESTS)).tolist()
        for first, last in itertools.pairwise(cuts):
            yield first, last, active


def _sum_until(phase: Phase, now: float) -> float:
    """Return the average number of requests of a phase until a moment in it."""
    passed = now - phase.start_seconds
    return passed * (phase.from_rps + _slope(phase) * passed / 2)


def _moments(phase: Phase, due: Floats) -> Floats:
    """Return when the sum of a phase's rate reaches some values."""
    # Solve due = from_rps x t + slope x t^2 / 2 in a way that allows a slope of 0.
    root = np.sqrt(np.maximum(phase.from_rps**2 + 2 * _slope(phase) * due, 0.0))
    passed = np.divide(2 * due, phase.from_rps + root, out=np.zeros(len(due)), where=due > 0)
    moments: Floats = phase.start_seconds + passed
    return moments


def _slope(phase: Phase) -> float:
    return (phase.to_rps - phase.from_rps) / phase.seconds


def _first_addresses(traffic: Traffic) -> list[int]:
    """For each source, the index of its first address. Clients do not share addresses."""
    first = {}
    total = 0
    for client in traffic.clients:
        first[client] = total
        total += traffic.addresses(client)
    return [first[source.client] for source in traffic.sources]
