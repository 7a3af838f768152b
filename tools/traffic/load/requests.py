"""The requests of a load test: those of one profile after the other."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from handler.record import MAX_TITLE_CHARACTERS
from settings import UserError
from throttling import Client
from throttling.simulation.arrivals import blocks
from tools.traffic.profiles import Profile

REQUEST: Final = np.dtype(
    [("due", "f8"), ("client", "i8"), ("address", "i8"), ("body_bytes", "i8")]
)
"""Seconds after the start of the run, index of the client, number of the address, size."""
_MAX_REQUESTS: Final = 1_000_000
"""The generator and the judge keep all of them in memory."""
_IDS: Final = 1_000
"""Records of a load test overwrite each other under this many ids, so that no table fills up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """The requests of one profile."""

    name: str
    start: float
    """Seconds after the start of the run."""
    seconds: float
    clients: tuple[Client | None, ...]
    numbers: range
    """Of its requests."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Requests:
    """All requests of a run, by number."""

    parts: tuple[Part, ...]
    clients: tuple[Client | None, ...]
    table: NDArray[np.void]
    """Of the type `REQUEST`. No two parts share an address."""

    @property
    def seconds(self) -> float:
        """When the last part ends."""
        return self.parts[-1].start + self.parts[-1].seconds

    def to_json(self, *, own_addresses: bool) -> list[list[Any]]:
        """Return number, time, client, address and size of each request, for the generator.

        Args:
            own_addresses: whether each request brings its source address, from the block for
                documentation (RFC 3849). Each run has addresses of its own.
        """
        run = uuid4().hex[:4]
        return [
            [number, due, client, f"2001:db8:{run}:{address:x}::1" if own_addresses else None, size]
            for number, (due, client, address, size) in enumerate(self.table.tolist())
        ]


def make_requests(profiles: Sequence[Profile], pause_seconds: float) -> Requests:
    """Return the requests of profiles that are sent one after the other, with a pause between.

    Raises:
        UserError: when there are too many.
    """
    expected = sum(profile.traffic.expected_requests for profile in profiles)
    if expected > _MAX_REQUESTS:
        raise UserError(f"{expected:,.0f} requests are too many; allowed: {_MAX_REQUESTS:,}.")
    clients = tuple(dict.fromkeys(one for p in profiles for one in p.traffic.clients))
    parts: list[Part] = []
    tables = []
    start, addresses, number = 0.0, 0, 0
    for profile in profiles:
        traffic = profile.traffic
        client_of = np.array([clients.index(source.client) for source in traffic.sources])
        first = number
        for block in blocks(traffic):
            table = np.empty(len(block.times), REQUEST)
            table["due"] = block.times + start
            table["client"] = client_of[block.sources]
            table["address"] = block.addresses + addresses
            table["body_bytes"] = np.resize(profile.body_bytes, len(table))
            tables.append(table)
            number += len(table)
        parts.append(
            Part(
                name=profile.name,
                start=start,
                seconds=traffic.seconds,
                clients=traffic.clients,
                numbers=range(first, number),
            )
        )
        addresses += sum(traffic.addresses(client) for client in traffic.clients)
        start += traffic.seconds + pause_seconds
    return Requests(parts=tuple(parts), clients=clients, table=np.concatenate(tables))


def body(size: int, number: int) -> str:
    """Return a record of about `size` bytes of UTF-8.

    Four-byte characters fill the title up to its longest, then spaces fill the body.

    Args:
        size: bytes, at least; no record is shorter than 60.
        number: of the request. It decides the record's id.
    """
    record = {"id": f"load-test-{number % _IDS:04}", "title": "", "year": "2023"}
    characters = min((size - len(json.dumps(record))) // 4, MAX_TITLE_CHARACTERS)
    record["title"] = "\N{CLAPPER BOARD}" * max(characters, 1)
    text = json.dumps(record, ensure_ascii=False)
    return text + " " * (size - len(text.encode()))
