"""The requests of a load test."""

import json
from typing import Any, Final
from uuid import uuid4

import numpy as np

from handler.record import MAX_TITLE_CHARACTERS
from routes import METHODS, ROUTES
from settings import UserError
from throttling.simulation.arrivals import blocks
from throttling.simulation.traffic import Block
from tools.traffic.load.target import Target
from tools.traffic.profiles import Profile

_MAX_REQUESTS: Final = 1_000_000
"""All of them are kept in memory."""
RECORD: Final = "record"
"""Stands for a body that `body` makes for each request."""
_IDS: Final = 1_000
"""Records of a load test overwrite each other under this many ids, so that no table fills up."""


def make_requests(profile: Profile) -> Block:
    """Return all requests of a profile in the order of time. A request's index is its number.

    Raises:
        UserError: when there are too many.
    """
    expected = profile.traffic.expected_requests
    if expected > _MAX_REQUESTS:
        raise UserError(f"{expected:,.0f} requests are too many; allowed: {_MAX_REQUESTS:,}.")
    columns = [(one.times, one.sources, one.addresses) for one in blocks(profile.traffic)]
    times, sources, addresses = map(np.concatenate, zip(*columns, strict=True))
    return Block(times=times, sources=sources, addresses=addresses)


def job(profile: Profile, requests: Block, target: Target) -> dict[str, Any]:
    """Return what the sender needs as JSON: columns of the requests, and how to call each source.

    A sandbox gets addresses of the block for documentation (RFC 3849). No two runs use the same.
    """
    return {
        "due": requests.times.tolist(),
        "sources": requests.sources.tolist(),
        "addresses": requests.addresses.tolist(),
        "prefix": f"2001:db8:{uuid4().hex[:4]}:{uuid4().hex[:4]}::",
        "address_headers": target.address_headers,
        "sizes": list(profile.body_bytes),
        "calls": [
            (*_call(one.method, target.url), one.client and target.keys.get(one.client))
            for one in profile.traffic.sources
        ],
    }


def _call(method: str, url: str) -> tuple[str, str, str | None]:
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
    """Return a record of about `size` bytes of UTF-8, at least 60. The number decides its id.

    Four-byte characters fill the title up to its longest, then spaces fill the body.
    """
    record = {"id": f"load-test-{number % _IDS:04}", "title": "", "year": "2023"}
    characters = min((size - len(json.dumps(record))) // 4, MAX_TITLE_CHARACTERS)
    record["title"] = "\N{CLAPPER BOARD}" * max(characters, 1)
    text = json.dumps(record, ensure_ascii=False)
    return text + " " * (size - len(text.encode()))
