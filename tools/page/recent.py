"""The newest requests of a sandbox: counts over time, refusals, and enough to decide them again."""

import time
from array import array
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from throttling import Client
from throttling.gate import order
from tools.traffic.outcomes import outcome_name

KEPT: Final = 100_000
"""Requests that can be decided again."""
HISTORY_SECONDS: Final = 900
_REFUSALS: Final = 50
_ADDRESSES: Final = 64
ADMITTED: Final = "admitted"
FAILED: Final = "failed"
ROUTE: Final = "route"
_FIRST, *_BEHIND = order()
OUTCOMES: Final[dict[str, str]] = {
    ADMITTED: outcome_name(None),
    FAILED: "failed in the function",
    **{layer: outcome_name(layer) for layer in reversed(_BEHIND)},
    ROUTE: "refused: no such route",
    _FIRST: outcome_name(_FIRST),
}
"""What can happen to a request, in words. Those that get furthest come first."""
_INDEX: Final = {name: index for index, name in enumerate(OUTCOMES)}


class Requests(NamedTuple):
    """Requests in any order, as bytes that numpy reads."""

    times: bytes
    """When they came, in POSIX seconds (f8)."""
    seconds: bytes
    """How long the function took (f8); NaN for requests that it did not get."""
    sources: bytes
    """Indices of `named` (i8)."""
    addresses: bytes
    """A number for each address (i8)."""
    outcomes: bytes
    """Indices of `OUTCOMES` (u1)."""
    named: list[tuple[Client | None, str]]
    """Client and method. The client is None without a valid API key or a route."""


class Recent:
    """The newest requests. `add` takes about a microsecond, because each request waits for it."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.number = 0
        """Requests that were added."""
        self.history: dict[int, list[int]] = {}
        """Requests by the second in which they were answered, and by outcome."""
        self.clients: dict[str, Client | None] = {}
        """Who used the newest addresses."""
        self._refusals: deque[tuple[Any, ...]] = deque(maxlen=_REFUSALS)
        self._sources: dict[tuple[Client | None, str], int] = {}
        self._columns: list[array[Any]] = [array(kind, [0]) * KEPT for kind in "ddqqB"]
        self._second = 0

    def add(
        self,
        began: float,
        seconds: float,
        client: Client | None,
        method: str,
        address: str,
        layer: str,
        subject: str,
        status: int,
        line: str,
    ) -> None:
        """Add a request that was answered.

        Args:
            began: when it came, in POSIX seconds.
            seconds: how long the function took; NaN if it did not get the request.
            client: holder of its API key, if that is valid and there is such a route.
            method: verb and path of its route; empty without one.
            address: that it came from.
            layer: that answered it.
            subject: what that layer's limit belongs to.
            status: of the answer.
            line: verb and path as the caller wrote them.
        """
        now = self._clock()
        if layer == "function":
            layer = ADMITTED if status < 500 else FAILED
        outcome = _INDEX[layer]
        place = self.number % KEPT
        self.number += 1
        times, durations, sources, addresses, outcomes = self._columns
        times[place] = began
        durations[place] = seconds
        source = client, method
        sources[place] = self._sources.setdefault(source, len(self._sources))
        addresses[place] = hash(address)
        outcomes[place] = outcome
        if (second := int(now)) != self._second:
            self._second = second
            self.history.setdefault(second, [0] * len(OUTCOMES))
            while next(iter(self.history)) < second - HISTORY_SECONDS:
                del self.history[next(iter(self.history))]
        self.history[second][outcome] += 1
        self.clients.pop(address, None)
        self.clients[address] = client
        if len(self.clients) > _ADDRESSES:
            del self.clients[next(iter(self.clients))]
        if outcome:
            self._refusals.append((self.number, now, client, line, address, layer, subject, status))

    def refusals(self, after: int) -> list[dict[str, Any]]:
        """Return the newest refusals of those behind the first `after` requests."""
        return [
            {
                "time": when,
                "client": str(client or ""),
                "request": line[:200],
                "address": address,
                "layer": layer,
                "subject": subject,
                "status": status,
            }
            for number, when, client, line, address, layer, subject, status in self._refusals
            if number > after
        ]

    def requests(self) -> Requests:
        """Return what can be decided again."""
        times, seconds, sources, addresses, outcomes = (
            memoryview(one)[: self.number].tobytes() for one in self._columns
        )
        return Requests(times, seconds, sources, addresses, outcomes, [*self._sources])
