"""The layers of `Gate` over arrays of requests: tens of millions of verdicts a second.

Read `Gate` for the rules. `tests/throttling/test_engine.py` checks that both give the same
verdicts, as long as the gate sees no more than `choices.MAX_ADDRESSES` addresses.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import numpy as np

from throttling import choices
from throttling.gate import Client, Layer, function_rate, met, order
from throttling.limiters import period_end
from throttling.limits import Limits, Quota, Throttle, WafRateLimit
from throttling.simulation import loops
from throttling.simulation.loops import Codes
from throttling.simulation.traffic import Floats, Ints

OUTCOMES: Final[tuple[Layer | None, ...]] = (None, *order())
"""What can happen to a request, by its code: None is admitted, else the layer that refuses it."""
CODES: Final = {outcome: code for code, outcome in enumerate(OUTCOMES)}

_UNLIMITED: Final = 2**62


class Engine:
    """All layers of one stack. It decides requests in chunks and keeps its state between them."""

    def __init__(
        self,
        limits: Limits,
        sources: Sequence[tuple[Client | None, str]],
        *,
        waf_lag_seconds: float = choices.WAF_LAG_SECONDS,
        epoch: float = 0.0,
    ) -> None:
        """Make an engine that has seen no request.

        Args:
            limits: the stack's limits.
            sources: client and method of the requests to come. The client is None for requests
                without a valid API key. A pair may be there more than once.
            waf_lag_seconds: how long after a request the WAF sees it.
            epoch: POSIX seconds of the moment that `decide` calls 0.
        """
        self.peak_in_flight = 0
        """Most admitted requests that were in flight at the same time."""
        self._waf = _RateWindows(limits.waf, waf_lag_seconds) if limits.waf else None
        self._layers, self._places = _layers(limits, sources)
        self._quotas = {
            Client(name, client): plan.quota
            for name, plan in limits.usage_plans.items()
            for client in plan.clients
            if plan.quota
        }
        self._epoch = epoch
        self._ends = {quota.period: float("-inf") for quota in self._quotas.values()}
        """When the present period of each kind ends, in seconds after the epoch."""
        self._in_flight = np.empty(0)
        """When the requests that may be in flight end, in order."""
        self._now = float("-inf")

    def decide(
        self, times: Floats, sources: Ints, addresses: Ints, durations: float | Floats
    ) -> Codes:
        """Return what happens to each request, as codes of `OUTCOMES`.

        Args:
            times: seconds after the epoch, never decreasing, even from one call to the next.
            sources: index of each request's client and method in the engine's sources.
            addresses: index of each request's source address: 0, 1, 2...
            durations: seconds that the function works on a request: one number for all requests or
                one for each.

        Raises:
            ValueError: if the arrays differ in length, if times decrease, or if there is no such
                source or address.
        """
        times = np.ascontiguousarray(times, np.float64)
        sources = np.ascontiguousarray(sources, np.int64)
        addresses = np.ascontiguousarray(addresses, np.int64)
        codes = np.zeros(len(times), np.uint8)
        if not len(times) == len(sources) == len(addresses):
            raise ValueError("times, sources and addresses differ in length")
        if not len(times):
            return codes
        if not (times[0] >= self._now and (times[1:] >= times[:-1]).all()):
            raise ValueError("times decrease")
        # The compiled loops check no index.
        if min(sources.min(), addresses.min()) < 0 or sources.max() >= len(self._layers.paths):
            raise ValueError("there is no such source or address")
        self._now = times[-1]
        if self._waf:
            self._waf.screen(times, addresses, codes)
        ends = times + np.maximum(np.subtract(durations, choices.DURATION_TOLERANCE_SECONDS), 0.0)
        start = 0
        while start < len(times):
            renewal = self._renew(times[start])
            stop = start + int(np.searchsorted(times[start:], renewal))
            part = slice(start, stop)
            self._admit(times[part], sources[part], ends[part], codes[part])
            start = stop
        return codes

    def quota_left(self, now: float, client: Client) -> int | None:
        """Return how many requests `client` has left in the period of `now`; None without a quota.

        `now` must not be before the last request.
        """
        self._renew(now)
        quota, place = self._quotas.get(client), self._places.get(client)
        if quota and place is not None:
            return int(self._layers.buckets[place]["tokens"])
        return quota.limit if quota else None

    def quota_renewed(self, now: float, client: Client) -> datetime | None:
        """Return when the period of `now` ends (UTC); None without a quota. See `quota_left`."""
        self._renew(now)
        quota = self._quotas.get(client)
        ends = self._ends[quota.period] if quota else 0.0
        return datetime.fromtimestamp(self._epoch + ends, UTC) if quota else None

    def _renew(self, now: float) -> float:
        """Renew the quotas whose period is over. Return when the next period ends."""
        for period, ends in self._ends.items():
            if now >= ends:
                for client, place in self._places.items():
                    if self._quotas[client].period is period:
                        self._layers.buckets["tokens"][place] = self._quotas[client].limit
                end = period_end(period, self._epoch + now)
                self._ends[period] = end.timestamp() - self._epoch
        return min(self._ends.values(), default=float("inf"))

    def _admit(self, times: Floats, sources: Ints, ends: Floats, codes: Codes) -> None:
        """Decide the requests that passed the WAF, between two renewals of quotas."""
        known = self._in_flight
        in_order = bool((ends[1:] >= ends[:-1]).all() and (ends[:1] >= known[-1:]).all())
        in_flight = np.concatenate([known, np.full(len(times) + 3, np.inf)])
        first, last, self.peak_in_flight = loops.admit(
            self._layers,
            times,
            sources,
            ends,
            in_order,
            in_flight,
            len(known),
            self.peak_in_flight,
            codes,
        )
        self._in_flight = np.sort(in_flight[first:last])


def _layers(
    limits: Limits, sources: Sequence[tuple[Client | None, str]]
) -> tuple[loops.Layers, dict[Client, int]]:
    """Return the layers behind the WAF, with full buckets, and the places of clients' quotas."""
    requests = [met(limits, client, method) for client, method in sources]
    places = {one: 0 for path in requests for one in path or ()}
    places = {one: place for place, one in enumerate(places)}
    paths = np.full((len(sources), len(Layer)), loops.END, np.int64)
    codes = np.zeros_like(paths)
    for source, path in enumerate(requests):
        if path is None:
            paths[source] = loops.NO_KEY
        elif path:
            paths[source, : len(path)] = [places[one] for one in path]
            codes[source, : len(path)] = [CODES[one.layer] for one in path]
    is_quota = codes == CODES[Layer.QUOTA]
    function = function_rate(limits.concurrency) or Throttle(rate=0, burst=_UNLIMITED)
    layers = loops.Layers(
        paths=paths,
        codes=codes,
        quota_steps=np.where(is_quota.any(axis=1), is_quota.argmax(axis=1), loops.END),
        api_key_code=CODES[Layer.API_KEY],
        concurrency_code=CODES[Layer.CONCURRENCY],
        buckets=np.array([_bucket(one.limit) for one in places], loops.BUCKET),
        function=np.array([_bucket(function)], loops.BUCKET),
        whole_token=1 - choices.TOKEN_TOLERANCE,
        throttled_use_quota=choices.THROTTLED_REQUESTS_USE_QUOTA,
        throttled_take_tokens=choices.THROTTLED_REQUESTS_TAKE_TOKENS,
        function_refusals_use_quota=choices.FUNCTION_REFUSALS_USE_QUOTA,
        concurrency=_UNLIMITED if limits.concurrency is None else limits.concurrency,
    )
    quotas = {one.client: place for one, place in places.items() if one.layer is Layer.QUOTA}
    return layers, {client: place for client, place in quotas.items() if client}


def _bucket(limit: Quota | Throttle) -> tuple[float, float, float, float]:
    # Infinity marks a bucket without requests: it does not refill before its first one.
    if isinstance(limit, Quota):
        return limit.limit, np.inf, 0, limit.limit
    return limit.burst * choices.INITIAL_FILL, np.inf, limit.rate, limit.burst


class _RateWindows:
    """The WAF's rate windows of all addresses: one log of the requests that may be in a window."""

    def __init__(self, rule: WafRateLimit, lag_seconds: float) -> None:
        self._rule = loops.RateRule(
            code=CODES[Layer.WAF],
            limit=rule.limit,
            window_seconds=rule.window_seconds - choices.WINDOW_TOLERANCE_SECONDS,
            lag_seconds=lag_seconds,
            counts_blocked=choices.WAF_COUNTS_BLOCKED_REQUESTS,
        )
        self._times, self._addresses = np.empty(0), np.empty(0, np.int64)
        """The log. It has room at its end, so that it rarely moves."""
        self._counts = np.zeros(1, np.int64)
        """Requests in the window, by address."""
        self._first = self._seen = self._last = 0
        """Indices in the log: the first request counted, the first not seen, and the end."""

    def screen(self, times: Floats, addresses: Ints, codes: Codes) -> None:
        """Decide requests at the WAF."""
        self._make_room(len(times))
        new, self._last = self._last, self._last + len(times)
        self._times[new : self._last] = times
        # Address 0 stands for requests that do not count.
        np.add(addresses, 1, out=self._addresses[new : self._last])
        unknown = int(addresses.max()) + 2 - len(self._counts)
        if unknown > 0:
            self._counts = np.append(self._counts, np.zeros(unknown, np.int64))
        if not self._all_pass():
            self._first, self._seen = loops.screen(
                self._rule,
                self._times,
                self._addresses,
                self._counts,
                self._first,
                self._seen,
                new,
                codes,
            )

    def _all_pass(self) -> bool:
        """Count all requests in one step if no address can reach the limit. Else return False."""
        times = self._times[: self._last]
        window_end = times[-1] - self._rule.lag_seconds
        ends = window_end - self._rule.window_seconds, window_end
        first, seen = np.searchsorted(times, ends, side="right").tolist()
        number = len(self._counts)
        counts = self._counts + np.bincount(self._addresses[self._seen : seen], minlength=number)
        if counts.max() >= self._rule.limit:
            return False
        gone = self._addresses[self._first : first]
        self._counts = counts - np.bincount(gone, minlength=number)
        self._first, self._seen = first, seen
        return True

    def _make_room(self, number: int) -> None:
        """Make room in the log for a number of requests."""
        if self._last + number > len(self._times):
            kept, size = slice(self._first, self._last), self._last - self._first
            times, addresses = self._times, self._addresses
            if 2 * (size + number) > len(times):
                self._times = np.empty(3 * (size + number))
                self._addresses = np.empty(3 * (size + number), np.int64)
            self._times[:size], self._addresses[:size] = times[kept], addresses[kept]
            self._seen -= self._first
            self._first, self._last = 0, size
