"""The layers of `Gate` over arrays of requests, compiled: tens of millions of verdicts a second.

`Gate` is the law to read, and the sandbox asks it. The simulator asks this engine.
`tests/throttling/test_engine.py` holds the two equal, verdict for verdict.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import numpy as np

from throttling import choices
from throttling.gate import Client, Layer
from throttling.limiters import period_end
from throttling.limits import Limits, Period, Throttle, WafRateLimit
from throttling.simulation import loops
from throttling.simulation.loops import Codes
from throttling.simulation.traffic import Floats, Ints

OUTCOMES: Final[tuple[Layer | None, ...]] = (None, *Layer)
"""What can happen to a request, by its code: 0 is admitted, n is refused by the nth layer."""
CODES: Final = {layer: code for code, layer in enumerate(OUTCOMES)}
_NONE: Final = -1
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
            limits: of the stack.
            sources: client and method of the requests that `decide` is asked about.
            waf_lag_seconds: how far the WAF's view is behind the requests.
            epoch: POSIX seconds of the moment that `decide` calls 0.
        """
        self.peak_in_flight = 0
        """Most admitted requests that were in flight at the same time."""
        self._epoch = epoch
        self._waf = _RateRule(limits.waf, waf_lag_seconds) if limits.waf else None
        self._concurrency = _UNLIMITED if limits.concurrency is None else limits.concurrency
        self._in_flight = np.empty(0)
        self._buckets: list[tuple[float, float, float, float]] = []
        self._quotas: dict[Client, int] = {}
        self._limits = limits
        self._paths = self._build_paths(sources)
        self._tokens = np.array(self._buckets, loops.BUCKET)
        self._quota_limits = np.full(len(self._quotas), _UNLIMITED)
        self._periods: dict[Period, list[int]] = {}
        for client, index in self._quotas.items():
            if quota := limits.usage_plans[client.plan].quota:
                self._quota_limits[index] = quota.limit
                self._periods.setdefault(quota.period, []).append(index)
        self._left = self._quota_limits.copy()
        self._ends = dict.fromkeys(self._periods, float("-inf"))

    def decide(
        self, times: Floats, sources: Ints, addresses: Ints, durations: float | Floats
    ) -> Codes:
        """Return what happens to each request, as codes of `OUTCOMES`.

        Args:
            times: seconds after the epoch. They never decrease, also from one call to the next.
            sources: index of each request's client and method in the engine's sources.
            addresses: index of each request's address, small numbers from 0 on.
            durations: seconds that the function works on a request, one for all or one for each.
        """
        codes = np.zeros(len(times), np.uint8)
        if self._waf:
            self._waf.screen(times, addresses, codes)
        ends = times + np.maximum(np.subtract(durations, choices.DURATION_TOLERANCE_SECONDS), 0.0)
        start = 0
        while start < len(times):
            self._renew(times[start])
            next_renewal = min(self._ends.values(), default=np.inf)
            stop = start + int(np.searchsorted(times[start:], next_renewal))
            part = slice(start, stop)
            self._admit(times[part], sources[part], ends[part], codes[part])
            start = stop
        return codes

    def quota_left(self, now: float, client: Client) -> int | None:
        """Requests that `client` may still make in the period of `now`; None without a quota."""
        self._renew(now)
        left = int(self._left[self._quotas[client]])
        return left if self._limits.usage_plans[client.plan].quota else None

    def quota_renewed(self, now: float, client: Client) -> datetime | None:
        """When that period ends (UTC)."""
        quota = self._limits.usage_plans[client.plan].quota
        return period_end(quota.period, self._epoch + now) if quota else None

    def _build_paths(self, sources: Sequence[tuple[Client | None, str]]) -> Ints:
        """By source: index of the quota, and of each layer's bucket."""
        limits = self._limits
        stage = self._bucket(limits.stage)
        methods = {method: self._bucket(throttle) for method, throttle in limits.methods.items()}
        own: dict[Client, int] = {}
        own_methods: dict[tuple[Client, str], int] = {}
        paths = np.full((len(sources), 5), _NONE, np.int64)
        for path, (client, method) in zip(paths, sources, strict=True):
            plan = limits.usage_plans.get(client.plan) if client else None
            if client is None or plan is None or client.name not in plan.clients:
                continue
            if client not in self._quotas:
                self._quotas[client] = len(self._quotas)
                own[client] = self._bucket(plan.throttle)
            if (client, method) not in own_methods:
                own_methods[client, method] = self._bucket(plan.methods.get(method))
            shared = method not in methods or choices.STAGE_THROTTLE_IS_SHARED
            path[:] = (
                self._quotas[client],
                own_methods[client, method],
                own[client],
                methods.get(method, _NONE),
                stage if shared else _NONE,
            )
        return paths

    def _bucket(self, throttle: Throttle | None) -> int:
        """Add a full bucket and return its index."""
        if throttle is None:
            return _NONE
        tokens = throttle.burst * choices.INITIAL_FILL
        # Before its first request a bucket does not refill.
        self._buckets.append((tokens, float("inf"), throttle.rate, throttle.burst))
        return len(self._buckets) - 1

    def _renew(self, now: float) -> None:
        """Begin the quota periods that contain `now`."""
        for period, ends in self._ends.items():
            if now >= ends:
                indices = self._periods[period]
                self._left[indices] = self._quota_limits[indices]
                self._ends[period] = period_end(period, self._epoch + now).timestamp() - self._epoch

    def _admit(self, times: Floats, sources: Ints, ends: Floats, codes: Codes) -> None:
        pending = len(self._in_flight)
        in_flight = np.concatenate([self._in_flight, np.empty(len(times))])
        ordered = bool((ends[1:] >= ends[:-1]).all()) and (
            not pending or bool(ends[0] >= self._in_flight[-1])
        )
        first, last, peak = loops.admit(
            times,
            sources,
            ends,
            ordered,
            codes,
            self._paths,
            self._tokens,
            1 - choices.TOKEN_TOLERANCE,
            self._left,
            choices.REFUSED_REQUESTS_USE_QUOTA,
            self._concurrency,
            in_flight,
            pending,
        )
        self._in_flight = np.sort(in_flight[first:last])
        self.peak_in_flight = max(self.peak_in_flight, peak)


class _RateRule:
    """The WAF's rate windows of all addresses.

    One log keeps the requests of all addresses that are in the window or not yet seen.
    """

    def __init__(self, rule: WafRateLimit, lag_seconds: float) -> None:
        self._limit = rule.limit
        self._window = rule.window_seconds - choices.WINDOW_TOLERANCE_SECONDS
        self._lag = lag_seconds
        self._times = np.empty(0)
        self._addresses = np.empty(0, np.int64)
        self._first, self._seen, self._last = 0, 0, 0
        self._counts = np.zeros(1, np.int64)

    def screen(self, times: Floats, addresses: Ints, codes: Codes) -> None:
        """Count requests, and mark those that are refused."""
        if not len(times):
            return
        highest = int(addresses.max()) + 2
        if highest > len(self._counts):
            self._counts = np.concatenate([self._counts, np.zeros(highest, np.int64)])
        begin = self._make_room(len(times))
        self._last = begin + len(times)
        self._times[begin : self._last] = times
        # Address 0 stands for requests that do not count.
        np.add(addresses, 1, out=self._addresses[begin : self._last])
        self._first, self._seen = loops.screen(
            self._times,
            self._addresses,
            self._counts,
            self._first,
            self._seen,
            begin,
            self._limit,
            self._window,
            self._lag,
            choices.WAF_COUNTS_BLOCKED_REQUESTS,
            codes,
        )

    def _make_room(self, number: int) -> int:
        """Make room in the log, and return the index at which to go on."""
        if self._last + number > len(self._times):
            kept = slice(self._first, self._last)
            room = np.zeros(self._last - self._first + 2 * number, np.int64)
            self._times = np.concatenate([self._times[kept], room])
            self._addresses = np.concatenate([self._addresses[kept], room])
            self._first, self._seen, self._last = 0, self._seen - kept.start, kept.stop - kept.start
        return self._last
