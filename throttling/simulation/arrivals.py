"""Turn the rates of a `Traffic` into requests."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from throttling.simulation import loops
from throttling.simulation.traffic import Arrivals, Block, Traffic

_BLOCK_REQUESTS: Final = 100_000
"""Requests of one block. With another number, a seed gives other requests."""


def blocks(traffic: Traffic) -> Iterator[Block]:
    """Yield all requests of `traffic` in the order of time.

    The sum of a source's rate over time grows by 1 from each even request to the next, and by an
    exponentially distributed number of mean 1 from each request of a Poisson process to the next.
    """
    if not traffic.sources:
        return
    poisson = traffic.arrivals is Arrivals.POISSON
    random = np.random.default_rng(traffic.seed)
    phases = np.array(
        [
            (p.start_seconds, p.requests, p.from_rps, (p.to_rps - p.from_rps) / (p.seconds or 1))
            for source in traffic.sources
            for p in source.phases
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
    loops.set_moments(phases, streams)
    order = np.argsort(streams["moment"], kind="stable")
    size = _BLOCK_REQUESTS
    while size == _BLOCK_REQUESTS:
        steps = random.standard_exponential(size) if poisson else np.ones(size)
        places = random.random(size) if poisson else np.empty(0)
        times, sources, addresses = np.empty(size), np.empty(size, int), np.empty(size, int)
        size = loops.fill(phases, streams, order, steps, places, times, sources, addresses)
        yield Block(times=times[:size], sources=sources[:size], addresses=addresses[:size])


def _first_addresses(traffic: Traffic) -> list[int]:
    """For each source, the index of its first address. Clients do not share addresses."""
    first = {}
    total = 0
    for client in traffic.clients:
        first[client] = total
        total += traffic.addresses(client)
    return [first[source.client] for source in traffic.sources]
