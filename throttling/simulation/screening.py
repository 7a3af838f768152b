"""The aggregated mode's first layers, the WAF and the API keys: a block of seconds at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from throttling.gate import Layer
from throttling.limits import Limits
from throttling.simulation.arrivals import (
    Cells,
    Floats,
    Ints,
    Stream,
    block_ends,
    first_addresses,
    source_clients,
    streams,
)
from throttling.simulation.exact import CODES
from throttling.simulation.tally import Tally
from throttling.simulation.traffic import Traffic
from throttling.simulation.waf_counts import WafCounts

_BLOCK_CELLS: Final = 400_000
"""About how many seconds x addresses are in memory at a time."""
_SHORTEST_BLOCK_SECONDS: Final = 60
_LONGEST_BLOCK_SECONDS: Final = 3_600


@dataclass(frozen=True, slots=True)
class Block:
    """A row of seconds behind the WAF and the API keys."""

    start: float
    """Seconds after the start of the run."""
    streams: Sequence[Stream]
    """By source."""
    cells: Sequence[Cells]
    """By source."""
    passing: Sequence[Ints]
    """By source: requests that the WAF lets pass, by second and address."""
    asked: Ints
    """Requests that go on to the quota, by second and client."""
    uneven: set[int]
    """Seconds in which a phase begins or ends."""
    counts: Ints
    """Decided requests by second, client and outcome."""

    def refuse(self, seconds: slice, client: int, layer: Layer, tally: Tally) -> None:
        """Let `layer` refuse all that a client asks in these seconds."""
        asked = self.asked[seconds, client]
        self.counts[seconds, client, CODES[layer]] += asked
        if asked.any():
            first = (seconds.start or 0) + int(np.argmax(asked > 0))
            tally.note_first(client, CODES[layer], self.start + first)
        asked[:] = 0


class Screening:
    """The traffic of one run, as far as it passes the WAF and has a key."""

    def __init__(
        self,
        limits: Limits,
        traffic: Traffic,
        has_key: NDArray[np.bool_],
        tally: Tally,
        waf_lag_seconds: float,
    ) -> None:
        """Traffic of which nothing was sent.

        Args:
            limits: of the stack.
            traffic: all requests.
            has_key: by client.
            tally: told when each layer first refuses.
            waf_lag_seconds: how far the WAF's view is behind the requests.
        """
        self._traffic = traffic
        self._has_key = has_key
        self._tally = tally
        self._streams = streams(traffic)
        self._offsets = first_addresses(traffic)
        self._client_of = source_clients(traffic)
        self._addresses = sum(traffic.addresses(client) for client in traffic.clients)
        self._waf = limits.waf and WafCounts(limits.waf, waf_lag_seconds, self._addresses)
        self._parts_passing = [np.zeros(source.addresses) for source in traffic.sources]

    def blocks(self) -> Iterator[Block]:
        """All requests, block by block, with those counted that are refused here."""
        wanted = int(_BLOCK_CELLS / self._addresses)
        step = min(max(wanted, _SHORTEST_BLOCK_SECONDS), _LONGEST_BLOCK_SECONDS)
        for end in block_ends(self._traffic, step):
            yield self._block(float(end - step), step)

    def _block(self, start: float, step: int) -> Block:
        counts = np.zeros((step, *self._tally.first.shape), np.int64)
        cells = [stream.next_cells(start + step) for stream in self._streams]
        sent = [_by_second(part, start, step) for part in cells]
        passing = self._past_waf(self._waf, start, sent, counts) if self._waf else sent
        asked = np.zeros((step, counts.shape[1]), np.int64)
        for client, passes in zip(self._client_of, passing, strict=True):
            asked[:, client] += passes.sum(axis=1)
        uneven = {
            int(second - start)
            for part in cells
            for second in np.floor(part.starts[part.seconds < 1])
        }
        block = Block(start, self._streams, cells, passing, asked, uneven, counts)
        for client in np.flatnonzero(~self._has_key).tolist():
            block.refuse(slice(None), client, Layer.API_KEY, self._tally)
        return block

    def _past_waf(
        self, waf: WafCounts, start: float, sent: Sequence[Ints], counts: Ints
    ) -> list[Ints]:
        """What the WAF lets pass of each source, by second and address."""
        by_address = np.zeros((len(counts), self._addresses), np.int64)
        for part, offset in zip(sent, self._offsets, strict=True):
            by_address[:, offset : offset + part.shape[1]] += part
        share, open_for = waf.shares(by_address)
        passing = []
        for source, (part, offset) in enumerate(zip(sent, self._offsets, strict=True)):
            own = slice(offset, offset + part.shape[1])
            passes = self._whole_requests(source, part * share[:, own])
            passing.append(passes)
            blocked = part - passes
            client = self._client_of[source]
            counts[:, client, CODES[Layer.WAF]] += blocked.sum(axis=1)
            if blocked.any():
                first = int(np.argmax(blocked.any(axis=1)))
                after = float(open_for[first, own][blocked[first] > 0].min())
                self._tally.note_first(client, CODES[Layer.WAF], start + first + after)
        return passing

    def _whole_requests(self, source: int, parts: Floats) -> Ints:
        """Parts of requests as whole ones, of which there are as many from second to second."""
        total = np.cumsum(parts, axis=0) + self._parts_passing[source]
        # Parts that make a whole request must not fall short of it by their rounding.
        whole = np.floor(total + 1e-6)
        self._parts_passing[source] = total[-1] - whole[-1]
        return np.diff(whole, axis=0, prepend=0.0).astype(np.int64)


def _by_second(cells: Cells, start: float, step: int) -> Ints:
    """Requests by second and address."""
    counts = np.zeros((step, cells.counts.shape[1]), np.int64)
    np.add.at(counts, np.floor(cells.starts - start).astype(np.int64), cells.counts)
    return counts
