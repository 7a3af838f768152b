"""The requests of a load test."""

import json
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

import numpy as np

from handler.record import MAX_TITLE_CHARACTERS
from routes import METHODS, ROUTES
from settings import UserError
from throttling.simulation.arrivals import blocks
from throttling.simulation.traffic import Floats, Ints
from tools.traffic.load.target import Target
from tools.traffic.profiles import Profile

_MAX_REQUESTS: Final = 1_000_000
"""The generator and the judge keep all of them in memory."""
RECORD: Final = "record"
"""Stands for a body that `body` makes for each request."""
_IDS: Final = 1_000
"""Records of a load test overwrite each other under this many ids, so that no table fills up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Requests:
    """All requests of a profile, as arrays in the order of their times."""

    profile: Profile
    due: Floats
    """Seconds after the start."""
    source: Ints
    """Index in the traffic's sources."""
    address: Ints
    body_bytes: Ints

    def job(self, target: Target) -> dict[str, Any]:
        """Return what the generator needs: calls and keys by source, and the requests.

        A request has a number, a time, a source, a size, and for a sandbox an address of the block
        for documentation (RFC 3849). No two runs use the same addresses.
        """
        sources = self.profile.traffic.sources
        prefix = f"2001:db8:{uuid4().hex[:4]}:{uuid4().hex[:4]}"
        addresses = [f"{prefix}::{one:x}" if target.sandbox else None for one in self.address]
        columns = self.due.tolist(), self.source.tolist(), addresses, self.body_bytes.tolist()
        return {
            "url": target.url,
            "calls": [call(one.method, target.url) for one in sources],
            "keys": [one.client and target.keys.get(one.client) for one in sources],
            "requests": list(zip(range(len(addresses)), *columns, strict=True)),
        }


def make_requests(profile: Profile) -> Requests:
    """Return the requests of a profile.

    Raises:
        UserError: when there are too many.
    """
    expected = profile.traffic.expected_requests
    if expected > _MAX_REQUESTS:
        raise UserError(f"{expected:,.0f} requests are too many; allowed: {_MAX_REQUESTS:,}.")
    made = list(blocks(profile.traffic))
    due = np.concatenate([block.times for block in made])
    return Requests(
        profile=profile,
        due=due,
        source=np.concatenate([block.sources for block in made]),
        address=np.concatenate([block.addresses for block in made]),
        body_bytes=np.resize(profile.body_bytes, len(due)),
    )


def call(method: str, url: str) -> tuple[str, str, str | None]:
    """Return verb, URL and body of requests for a route; `url` is that of the first route."""
    route = ROUTES[METHODS.index(method)]
    if route is not ROUTES[0]:
        url = url.removesuffix(ROUTES[0].path) + route.example_path
    if takes_record(method):
        return route.verb, url, RECORD
    return route.verb, url, json.dumps(route.example_body) if route.body else None


def takes_record(method: str) -> bool:
    """Return whether a route's requests have bodies of `body`."""
    return ROUTES[METHODS.index(method)].body == "Record"


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
