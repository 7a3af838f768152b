"""The layers of `Gate` second by second, for horizons that are too long request by request.

The traffic is the exact mode's: the numbers of requests per second and address are the same draws.
A second is decided at once where the order of its requests cannot matter: each bucket has tokens
enough for all of them, or has been empty and gets far fewer than they ask for; each quota lasts or
is gone; the function has room to spare. Every other second is decided request by request, by the
exact engine, at the moments that the exact mode has.

What that leaves approximate:
- The WAF's window is counted as if the requests of one address were spread evenly over a second.
- How many tokens a full bucket misses within a second is known on average only.
- After two million requests at an empty bucket of several clients, each gets tokens in proportion
  to its requests; how many there are for all is not touched by that.
- Peak concurrency is that of the seconds decided request by request, the busiest among them.
"""

from collections import deque
from collections.abc import Callable, Sequence
from math import ceil, sqrt
from typing import Final, NamedTuple

import numpy as np

from throttling import choices
from throttling.gate import Layer
from throttling.limits import Limits
from throttling.simulation.arrivals import Floats, Ints, source_clients
from throttling.simulation.exact import CODES, OUTCOMES, Bucket, ExactEngine
from throttling.simulation.screening import Block, Screening
from throttling.simulation.tally import Tally
from throttling.simulation.traffic import Arrivals, Traffic

_DEVIATIONS: Final = 1.5
"""How far, in square roots of their number, independent requests stray from an even spread.

The largest distance of n requests from an even spread over a second is above 1.5 times the square
root of n in 1 of 45 seconds (Kolmogorov's distribution), and then by a few requests.
"""
_CONCURRENCY_DEVIATIONS: Final = 6.0
"""The same for how many requests are in flight, which are as random as a Poisson number."""
_MISSED_OVERFLOW: Final = 0.5826
"""How far below its burst a bucket ends a second in which it was full, in square roots of requests.

Within the second it was full, then lost some, which the second's numbers do not show: Broadie,
Glasserman and Kou, "A continuity correction for discrete barrier options", Mathematical Finance
7 (1997).
"""
_SHARED_BY_REQUEST: Final = 2_000_000
"""Requests at an empty bucket of several clients that are decided one by one.

Which of them meets a token is a matter of moments; for more, the law of large numbers will do.
"""
_LONGEST_RUN_BY_REQUEST: Final = 20
"""Seconds that are decided request by request before the next is tried at once."""
_LONGEST_CALM_SECONDS: Final = 64
_NEW_PEAK: Final = 1.02
"""A second that admits this much more than any before it is decided request by request."""
_GOLDEN_RATIO: Final = 0.6180339887498949
_COMMON: Final = (CODES[Layer.METHOD], CODES[Layer.STAGE])
"""Whose buckets all clients share."""


class _Admitted(NamedTuple):
    """How many requests one second admitted."""

    second: float
    number: int
    random: int
    """Those at moments independent of each other, which no empty bucket has evened out."""


class AggregatedEngine:
    """All layers of one stack, for the traffic of one run."""

    def __init__(
        self,
        limits: Limits,
        traffic: Traffic,
        engine: ExactEngine,
        tally: Tally,
        waf_lag_seconds: float,
    ) -> None:
        """A run that has not begun.

        Args:
            limits: of the stack.
            traffic: all requests.
            engine: decides request by request. Its sources are the traffic's clients, all with the
                same method; its buckets and quotas are this run's.
            tally: where the outcomes are counted.
            waf_lag_seconds: how far the WAF's view is behind the requests.
        """
        self._screening = Screening(limits, traffic, engine.has_key, tally, waf_lag_seconds)
        self._engine = engine
        self._tally = tally
        self._concurrency = limits.concurrency
        self._client_of = source_clients(traffic)
        paths = [path.buckets for path in engine.paths]
        self._own = [[b for b in path if b[4] not in _COMMON] for path in paths]
        self._common = next(([b for b in path if b[4] in _COMMON] for path in paths if path), [])
        self._own_clients = [client for client, own in enumerate(self._own) for _ in own]
        self._all_buckets = [bucket for own in self._own for bucket in own] + self._common
        self._even = traffic.arrivals is Arrivals.EVEN
        self._missed_overflow = 0.0 if self._even else _MISSED_OVERFLOW
        self._shared = 0
        # The seconds whose requests may be in flight.
        self._recent: deque[_Admitted] = deque(maxlen=ceil(engine.duration_seconds) + 1)
        self._calm = True
        self._by_request_run = 0
        self._most_admitted = 0.0
        self.seconds = 0
        """Seconds with requests that are not refused by the WAF, for their key or for a quota."""
        self.seconds_by_request = 0
        """Those of them that were decided request by request."""

    def run(self, progress: Callable[[float], None]) -> None:
        """Decide all requests.

        Args:
            progress: told each second that was reached, now and then.
        """
        for block in self._screening.blocks():
            step = len(block.asked)
            second = 0
            while second < step:
                second = self._decide(block, second)
            self._tally.add_counts(block.start + np.arange(step, dtype=float), block.counts)
            progress(block.start + step)

    def _decide(self, block: Block, second: int) -> int:
        """Decide at least one second; the first that is not decided."""
        now = block.start + second
        self._engine.renew_quotas(now)
        if self._calm:
            until = self._while_calm(block, second)
            if until > second:
                return until
        asked = block.asked[second].tolist()
        if not any(asked):
            return second + 1
        shared = self._shared
        if second not in block.uneven and self._engine.next_renewal >= now + 1:
            admitted = self._at_once(block, second, asked)
            if admitted is not None:
                self.seconds += 1
                self._note(admitted)
                self._by_request_run = 0
                return second + 1
        self._calm = False
        # Many seconds at a time cost less, and one that was close is seldom alone.
        self._by_request_run = min(self._by_request_run * 3 // 2 + 1, _LONGEST_RUN_BY_REQUEST)
        until = min(second + self._by_request_run, len(block.asked))
        if self._shared > shared:
            self._shared += int(block.asked[second + 1 : until].sum())
        self._by_request(block, second, until)
        return until

    def _note(self, admitted: _Admitted) -> None:
        self._recent.append(admitted)
        self._most_admitted = max(self._most_admitted, admitted.number)

    def _while_calm(self, block: Block, second: int) -> int:
        """Decide a stretch of seconds in which all requests are admitted; where it ends.

        The rules are those of `_at_once`, for all buckets and seconds of the stretch together.
        """
        now = block.start + second
        until = min(len(block.asked), second + _LONGEST_CALM_SECONDS)
        until = int(min(until, self._engine.next_renewal - block.start))
        until = min([until, *(uneven for uneven in block.uneven if uneven >= second)])
        asked = block.asked[second:until]
        totals = asked.sum(axis=1)
        common = np.repeat(totals[:, np.newaxis], len(self._common), axis=1)
        numbers = np.concatenate([asked[:, self._own_clients], common], axis=1)
        buckets = self._all_buckets
        rates = np.array([rate for _, _, rate, _, _ in buckets])
        first = np.array(
            [min(burst, tokens + (now - at) * rate) for tokens, at, rate, burst, _ in buckets]
        )
        roots = np.sqrt(numbers)
        # Each level is the last one and what the second adds, or else what a full bucket has: the
        # sum of all seconds, less whatever of it has flowed over since any of them.
        added = np.cumsum(rates - numbers, axis=0)
        full = np.array([bucket[3] for bucket in buckets]) - self._missed_overflow * roots
        levels = added + np.minimum(first, np.minimum.accumulate(full - added, axis=0))
        before = np.concatenate([first[np.newaxis], levels[:-1]])
        margin = 1 + _DEVIATIONS * roots
        enough = (before >= margin) & (before + rates - numbers >= margin)
        quotas = [path.quota for path in self._engine.paths]
        in_quota = np.cumsum(asked, axis=0) <= np.array([quota[0] for quota in quotas])
        fine = np.all(enough | (numbers == 0), axis=1) & np.all(in_quota, axis=1)
        fine &= totals <= self._most_at_ease()
        number = len(fine) if fine.all() else int(np.argmin(fine))
        if number == 0:
            return second
        for bucket, level in zip(buckets, levels[number - 1].tolist(), strict=True):
            bucket[0], bucket[1] = level, now + number
        for quota, used in zip(quotas, asked[:number].sum(axis=0).tolist(), strict=True):
            quota[0] -= used
        block.counts[second : second + number, :, 0] += asked[:number]
        for later, total in enumerate(totals[:number].tolist()):
            self._note(_Admitted(now + later, total, 0 if self._even else total))
        self.seconds += int(np.count_nonzero(totals[:number]))
        self._by_request_run = 0
        return second + number

    def _at_once(self, block: Block, second: int, flow: list[int]) -> _Admitted | None:
        """Decide one second's requests by their numbers; None when their order matters.

        Args:
            block: where the second is.
            second: of the block.
            flow: how many requests each client has in it.
        """
        now = block.start + second
        quotas = [path.quota for path in self._engine.paths]
        charged = []
        levels = []
        refused = []
        evened = 0
        for client, number in enumerate(flow):
            if not number:
                continue
            if quotas[client][0] <= 0:
                until = min(self._engine.next_renewal - block.start, len(block.asked))
                block.refuse(slice(second, int(until)), client, Layer.QUOTA, self._tally)
                flow[client] = 0
                continue
            if quotas[client][0] < number:
                return None
            charged.append((quotas[client], client, number))
            for bucket in self._own[client]:
                passing_and_left = _through(bucket, flow[client], now, self._missed_overflow)
                if passing_and_left is None:
                    return None
                passing, left = passing_and_left
                levels.append((bucket, left))
                if passing < flow[client]:
                    refused.append((client, int(bucket[4]), flow[client] - passing))
                    flow[client] = passing
                    evened += passing
        for bucket in self._common:
            number = sum(flow)
            passing_and_left = _through(bucket, number, now, self._missed_overflow)
            if passing_and_left is None:
                return None
            passing, left = passing_and_left
            levels.append((bucket, left))
            if passing == number:
                continue
            if max(flow) < number:
                self._shared += number
                if self._even or self._shared <= _SHARED_BY_REQUEST:
                    return None
            for client, part in enumerate(_in_proportion(flow, passing, self._shared)):
                if part < flow[client]:
                    refused.append((client, int(bucket[4]), flow[client] - part))
                    flow[client] = part
            evened = passing
        number = sum(flow)
        admitted = _Admitted(now, number, 0 if self._even else max(0, number - evened))
        if self._may_be_busy(admitted):
            return None
        for bucket, left in levels:
            bucket[0], bucket[1] = left, now + 1
        for quota, client, asked in charged:
            quota[0] -= asked if choices.REFUSED_REQUESTS_USE_QUOTA else flow[client]
        block.counts[second, :, 0] += flow
        self._calm = not refused
        for client, code, number in refused:
            block.counts[second, client, code] += number
            self._tally.note_first(client, code, now)
        return admitted

    def _most_at_ease(self) -> float:
        """How many requests of a second surely find room in the function, and are no new peak."""
        most = self._most_admitted * _NEW_PEAK
        duration = self._engine.duration_seconds
        if self._concurrency is None or not duration:
            return most
        together = 2 * len(self._own) if self._even else 1
        room = self._concurrency - together
        spread = 0.0 if self._even else _CONCURRENCY_DEVIATIONS
        if room < 0:
            return 0
        # The x in flight for which x and `spread` times its root are the room there is.
        root = sqrt(room + spread**2 / 4) - spread / 2
        at_ease = root**2 / duration
        return min(most, at_ease) if all(p.number <= at_ease for p in self._recent) else 0

    def _may_be_busy(self, admitted: _Admitted) -> bool:
        """Whether the function may be at its concurrency, or busier than it has been."""
        if admitted.number > self._most_admitted * _NEW_PEAK:
            return True
        if self._concurrency is None:
            return False
        duration = self._engine.duration_seconds
        recent = [admitted, *self._recent]
        in_flight = max(second.number for second in recent) * duration
        stray = _CONCURRENCY_DEVIATIONS * sqrt(max(second.random for second in recent) * duration)
        # Even requests of different clients, or those that meet a token, may still come together.
        together = 2 * len(self._own) if admitted.random < admitted.number else 1
        return in_flight + stray + together > self._concurrency

    def _by_request(self, block: Block, first: int, until: int) -> None:
        """Decide these seconds as the exact mode does."""
        times, clients = self._requests(block, first, until)
        if self._by_request_run == 1:
            self._engine.assume_in_flight(self._ends_after(block.start + first))
        codes = self._engine.pass_through(times, clients)
        counts = block.counts[first:until]
        seconds = np.minimum((times - block.start - first).astype(np.int64), len(counts) - 1)
        cell = (seconds * counts.shape[1] + clients) * len(OUTCOMES) + codes
        counts += np.bincount(cell, minlength=counts.size).reshape(counts.shape)
        self._tally.note_all_first(times, clients, codes)
        admitted = counts[:, :, 0].sum(axis=1).tolist()
        for second, number in enumerate(admitted, first):
            self._note(_Admitted(block.start + second, number, 0 if self._even else number))
        self.seconds += until - first
        self.seconds_by_request += until - first

    def _requests(self, block: Block, first: int, until: int) -> tuple[Floats, Ints]:
        """Moments and clients of the requests that go on to the quota."""
        edges = [block.start + first, block.start + until]
        parts = [np.empty(0)] * len(self._client_of)
        for source, client in enumerate(self._client_of):
            if not block.asked[first:until, client].any():
                continue
            cells = block.cells[source]
            chosen = np.searchsorted(cells.starts, edges).tolist()
            moments, addresses = block.streams[source].requests(cells, *chosen)
            # Seconds that a used-up quota has refused as a whole are counted.
            open_seconds = block.asked[first:until, client, np.newaxis] > 0
            passing = np.where(open_seconds, block.passing[source][first:until], 0)
            if passing.sum() < len(moments):
                second = np.minimum((moments - edges[0]).astype(np.int64), len(passing) - 1)
                moments = _earliest(moments, second, addresses, passing)
            parts[source] = moments
        clients = np.repeat(self._client_of, [len(part) for part in parts])
        times = np.concatenate(parts)
        order = np.argsort(times, kind="stable")
        return times[order], clients[order]

    def _ends_after(self, now: float) -> Floats:
        """When the requests in flight end, if each second admitted its own evenly."""
        begun = [
            past.second + (np.arange(past.number) + 0.5) / past.number
            for past in self._recent
            if past.number
        ]
        ends = np.concatenate([*begun, np.empty(0)]) + self._engine.duration_seconds
        return ends[ends > now]


def _through(
    bucket: Bucket, number: int, now: float, missed_overflow: float
) -> tuple[int, float] | None:
    """How many of a second's requests pass a bucket, and its tokens then; None if it is close."""
    tokens, updated, rate, burst, _ = bucket
    tokens = min(burst, tokens + (now - updated) * rate)
    margin = 1 + _DEVIATIONS * sqrt(number)
    left = tokens + rate - number
    if tokens >= margin and left >= margin:
        return number, min(burst - missed_overflow * sqrt(number), left)
    if tokens < margin and left <= -margin and tokens + rate <= burst:
        passing = int(tokens + rate)
        return passing, tokens + rate - passing
    return None


def _in_proportion(numbers: Sequence[int], total: int, turn: int) -> list[int]:
    """`total` shared out in proportion to `numbers`, rounded for or against each in turn."""
    edges = np.concatenate([[0], np.cumsum(numbers)])
    # Multiples of the golden ratio fall evenly on all fractions.
    offset = int(edges[-1] * (turn * _GOLDEN_RATIO % 1))
    parts: list[int] = np.diff((edges * total + offset) // edges[-1]).tolist()
    return parts


def _earliest(times: Floats, seconds: Ints, addresses: Ints, passing: Ints) -> Floats:
    """The first requests of each second and address, as many as `passing` says."""
    cell = seconds * passing.shape[1] + addresses
    order = np.lexsort((times, cell))
    cell = cell[order]
    nth = np.arange(len(cell)) - np.searchsorted(cell, cell)
    earliest: Floats = times[order][nth < passing.ravel()[cell]]
    return earliest
