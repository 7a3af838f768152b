"""Turn the rates of a `Traffic` into requests."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from throttling.simulation import loops
from throttling.simulation.traffic import Arrivals, Block, Traffic

_BLOCK_REQUESTS: Final = 100_000
"""Requests in memory at a time. Another number gives a seed other requests."""


def blocks(traffic: Traffic) -> Iterator[Block]:
    """Yield all requests of `traffic` in the order of their arrival.

    A request of a source arrives when the integral of the source's rate reaches a certain number:
    0, 1, 2... for even arrivals, sums of exponential numbers of mean 1 for a Poisson process.
    """
    poisson = traffic.arrivals is Arrivals.POISSON
    random = np.random.default_rng(traffic.seed)
    phases = np.array(
        [
            (
                phase.start_seconds,
                (phase.from_rps + phase.to_rps) / 2 * phase.seconds,
                phase.from_rps,
                (phase.to_rps - phase.from_rps) / phase.seconds if phase.seconds else 0.0,
            )
            for source in traffic.sources
            for phase in source.phases
        ],
        loops.PHASE,
    )
    streams = np.zeros(len(traffic.sources), loops.STREAM)
    streams["last_phase"] = np.cumsum([len(source.phases) for source in traffic.sources])
    streams["phase"][1:] = streams["last_phase"][:-1]
    streams["addresses"] = [source.addresses for source in traffic.sources]
    streams["first_address"] = _first_addresses(traffic)
    if poisson:
        streams["due"] = random.standard_exponential(len(streams))
    order = np.arange(len(streams))
    loops.begin(phases, streams, order)
    size = _BLOCK_REQUESTS
    while size == _BLOCK_REQUESTS:
        steps = random.standard_exponential(size) if poisson else np.ones(size)
        places = random.random(size) if poisson else np.empty(0)
        times, sources, addresses = np.empty(size), np.empty(size, int), np.empty(size, int)
        size = loops.fill(phases, streams, order, steps, places, times, sources, addresses)
        yield Block(times=times[:size], sources=sources[:size], addresses=addresses[:size])


def _first_addresses(traffic: Traffic) -> list[int]:
    """The index of the first address of each source. Clients do not share addresses."""
    first = {}
    total = 0
    for client in traffic.clients:
        first[client] = total
        total += traffic.addresses(client)
    return [first[source.client] for source in traffic.sources]
