"""The layers of `Gate`, request by request, at the speed that a long run needs.

`tests/throttling/test_exact.py` holds this engine equal to `Gate`, verdict for verdict. It is fast
because the WAF's rule, which looks at nothing but earlier requests, is asked for many requests at
once, and because the layers behind it are one loop over plain lists.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from throttling import choices
from throttling.gate import Client, Layer
from throttling.limiters import RateWindow, period_end
from throttling.limits import Limits, Quota, Throttle, WafRateLimit

OUTCOMES: Final[tuple[Layer | None, ...]] = (None, *Layer)
"""What may become of a request, by the code that stands for it: admitted, or who refused it."""
CODES: Final = {layer: code for code, layer in enumerate(OUTCOMES)}

_SAME_INSTANT: Final = 1e-6
"""Seconds by which a request ends before its time is up.

Rounding, not policy: 1,000 even requests per second of 100 ms are 100 at a time, although
floating-point seconds put half of the ends a hair behind the arrivals that they make room for.
"""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Codes = NDArray[np.uint8]


Bucket = list[Any]
"""Tokens, when they were counted, rate, burst, and the code of whoever it refuses."""


@dataclass(frozen=True, slots=True)
class Path:
    """What the requests of one source pass through behind the API key."""

    quota: list[float]
    """Its one item is what is left in this period."""
    buckets: tuple[Bucket, ...]
    """In the order in which they are asked."""


class ExactEngine:
    """All layers of one stack, as `Gate` has them, with every admitted request of one duration."""

    def __init__(
        self,
        limits: Limits,
        sources: Sequence[tuple[Client | None, str]],
        *,
        duration_seconds: float,
        waf_lag_seconds: float = choices.WAF_LAG_SECONDS,
        epoch: float = 0.0,
    ) -> None:
        """An engine that has seen no request.

        Args:
            limits: of the stack.
            sources: client and method of what `decide` calls a source.
            duration_seconds: how long the function works on an admitted request.
            waf_lag_seconds: how far the WAF's view is behind the requests.
            epoch: POSIX time of the moment that `decide` calls 0.
        """
        self._waf = _Waf(limits.waf, waf_lag_seconds) if limits.waf else None
        self._epoch = epoch
        self._quotas: dict[Client, _Quota] = {}
        self.paths = self._build_paths(limits, sources)
        """By source; those without a valid API key have an empty one."""
        self.has_key = np.array([client in self._quotas for client, _ in sources], bool)
        """By source."""
        self.next_renewal = float("-inf")
        """When the next quota begins anew."""
        self.duration_seconds = max(0.0, duration_seconds - _SAME_INSTANT)
        self.peak_in_flight = 0
        # When the last admitted requests end, as many as may be in flight: the first of them says
        # whether there is room.
        self._ends = deque[float](maxlen=limits.concurrency or 1)
        self._limited = limits.concurrency is not None
        self._room = limits.concurrency != 0
        self._in_flight = np.empty(0)
        self.assume_in_flight(self._in_flight)

    def decide(self, times: Floats, sources: Ints, addresses: Ints) -> Codes:
        """What becomes of each request, as a code of `OUTCOMES`.

        Args:
            times: seconds, never decreasing, also from one call to the next.
            sources: who sends each request, as an index into the engine's sources.
            addresses: from where, as any numbers.
        """
        codes = np.zeros(len(times), np.uint8)
        passes = self._waf.passes(times, addresses) if self._waf else np.ones(len(times), bool)
        codes[~passes] = CODES[Layer.WAF]
        keyless = passes & ~self.has_key[sources]
        codes[keyless] = CODES[Layer.API_KEY]
        asked = np.flatnonzero(passes & ~keyless)
        codes[asked] = self.pass_through(times[asked], sources[asked])
        return codes

    def pass_through(self, times: Floats, sources: Ints) -> Codes:
        """What becomes of requests that have passed the WAF and have a key; see `decide`."""
        parts = [np.empty(0, np.uint8)]
        while len(times):
            # Quotas begin anew between two requests, never within one stretch.
            self.renew_quotas(times[0])
            last = int(np.searchsorted(times, self.next_renewal))
            parts.append(self._decide_stretch(times[:last], sources[:last]))
            self._note_peak(times[:last][parts[-1] == 0])
            times, sources = times[last:], sources[last:]
        return np.concatenate(parts)

    def renew_quotas(self, now: float) -> None:
        """Begin the quotas' periods that contain `now`."""
        if now < self.next_renewal:
            return
        for quota in self._quotas.values():
            quota.renew(now, self._epoch)
        self.next_renewal = min((quota.ends for quota in self._quotas.values()), default=np.inf)

    def assume_in_flight(self, ends: Floats) -> None:
        """Take it that the requests that end at `ends`, in their order, are in flight."""
        self._in_flight = ends
        room_at = float("-inf") if self._room else float("inf")
        self._ends.extend([room_at] * (self._ends.maxlen or 0))
        self._ends.extend(ends.tolist())

    def quota_left(self, client: Client) -> int | None:
        """Requests that `client` may still make in the period of the last request."""
        quota = self._quotas[client]
        return max(0, int(quota.left[0])) if quota.quota else None

    def quota_renewed(self, client: Client) -> datetime | None:
        """When that period ends."""
        quota = self._quotas[client]
        return datetime.fromtimestamp(self._epoch + quota.ends, UTC) if quota.quota else None

    def _build_paths(
        self, limits: Limits, sources: Sequence[tuple[Client | None, str]]
    ) -> list[Path]:
        # Unlike `TokenBucket`, a bucket here refills before its first request too, which is no
        # difference as long as buckets start full.
        stage = [_bucket(limits.stage, Layer.STAGE)] if limits.stage else []
        methods = {m: _bucket(t, Layer.METHOD) for m, t in limits.methods.items()}
        own: dict[tuple[Client, str], Bucket] = {}
        paths = []
        for client, method in sources:
            plan = limits.usage_plans.get(client.plan) if client else None
            if client is None or plan is None or client.name not in plan.clients:
                paths.append(Path([0.0], ()))
                continue
            buckets = []
            if method in plan.methods:
                bucket = _bucket(plan.methods[method], Layer.USAGE_PLAN_METHOD)
                buckets.append(own.setdefault((client, method), bucket))
            if plan.throttle:
                bucket = _bucket(plan.throttle, Layer.USAGE_PLAN)
                buckets.append(own.setdefault((client, ""), bucket))
            if method in methods:
                buckets.append(methods[method])
            if method not in methods or choices.STAGE_THROTTLE_IS_SHARED:
                buckets += stage
            quota = self._quotas.setdefault(client, _Quota(plan.quota))
            paths.append(Path(quota.left, tuple(buckets)))
        return paths

    def _decide_stretch(self, times: Floats, sources: Ints) -> Codes:
        """The layers behind the API key, none of whose quotas begins anew meanwhile."""
        codes = bytearray()
        decided = codes.append
        paths = [(path.quota, path.buckets) for path in self.paths]
        ends, duration, limited = self._ends, self.duration_seconds, self._limited
        whole = 1 - choices.TOKEN_TOLERANCE
        used_by_refused = int(choices.REFUSED_REQUESTS_USE_QUOTA)
        quota_code, concurrency_code = CODES[Layer.QUOTA], CODES[Layer.CONCURRENCY]
        for now, source in zip(times.tolist(), sources.tolist(), strict=True):
            quota, buckets = paths[source]
            if quota[0] <= 0:
                decided(quota_code)
                continue
            for bucket in buckets:
                tokens, updated, rate, burst, code = bucket
                tokens += (now - updated) * rate
                if tokens > burst:
                    tokens = burst
                bucket[1] = now
                if tokens < whole:
                    bucket[0] = tokens
                    quota[0] -= used_by_refused
                    decided(code)
                    break
                bucket[0] = tokens - 1 if tokens > 1 else 0.0
            else:
                if limited:
                    if ends[0] > now:
                        quota[0] -= used_by_refused
                        decided(concurrency_code)
                        continue
                    ends.append(now + duration)
                quota[0] -= 1
                decided(0)
        return np.frombuffer(codes, np.uint8)

    def _note_peak(self, admitted: Floats) -> None:
        """Count who is in flight whenever a request is admitted."""
        if not len(admitted):
            return
        ends = np.concatenate([self._in_flight, admitted + self.duration_seconds])
        ended = np.searchsorted(ends, admitted, side="right")
        begun = np.arange(len(self._in_flight) + 1, len(ends) + 1)
        self.peak_in_flight = max(self.peak_in_flight, int((begun - ended).max()))
        self._in_flight = ends[ends > admitted[-1]]


def _bucket(throttle: Throttle, layer: Layer) -> Bucket:
    burst = float(throttle.burst)
    return [burst * choices.INITIAL_FILL, 0.0, throttle.rate, burst, CODES[layer]]


class _Quota:
    """One key's quota."""

    def __init__(self, quota: Quota | None) -> None:
        self.quota = quota
        self.ends = float("-inf") if quota else float("inf")
        self.left = [float("inf")]

    def renew(self, now: float, epoch: float) -> None:
        """Begin the period that contains `now`, unless that has been done."""
        if self.quota and now >= self.ends:
            self.left[0] = self.quota.limit
            self.ends = period_end(self.quota.period, epoch + now).timestamp() - epoch


class _Waf:
    """The rate windows of all addresses, many requests at a time."""

    def __init__(self, rule: WafRateLimit, lag_seconds: float) -> None:
        self._rule = rule
        self._lag = lag_seconds
        self._window = rule.window_seconds - choices.WINDOW_TOLERANCE_SECONDS
        self._seen: dict[int, Floats] = {}
        self._windows: dict[int, RateWindow] = {}

    def passes(self, times: Floats, addresses: Ints) -> NDArray[np.bool_]:
        """Count these requests, and say which of them pass."""
        if not choices.WAF_COUNTS_BLOCKED_REQUESTS:
            return self._one_by_one(times, addresses)
        passes = np.empty(len(times), bool)
        order = np.argsort(addresses, kind="stable")
        distinct, firsts = np.unique(addresses[order], return_index=True)
        edges = [*firsts.tolist(), len(times)]
        for address, (first, last) in zip(distinct.tolist(), pairwise(edges), strict=True):
            chosen = order[first:last]
            passes[chosen] = self._passes_from(address, times[chosen])
        return passes

    def _passes_from(self, address: int, times: Floats) -> NDArray[np.bool_]:
        earlier = self._seen.get(address, np.empty(0))
        seen = np.concatenate([earlier, times])
        view = times - self._lag
        if self._lag:
            visible = np.searchsorted(seen, view, side="right")
        else:
            visible = np.arange(len(earlier), len(seen))
        # It passes unless the window is full: the request `limit` before is still inside it.
        filling = visible - self._rule.limit
        outside = view - self._window
        passes: NDArray[np.bool_] = (filling < 0) | (seen[np.maximum(filling, 0)] <= outside)
        still_counts = np.searchsorted(seen, outside[-1], side="right")
        self._seen[address] = seen[still_counts:]
        return passes

    def _one_by_one(self, times: Iterable[float], addresses: Ints) -> NDArray[np.bool_]:
        rule = self._rule
        for address in np.unique(addresses).tolist():
            if address not in self._windows:
                self._windows[address] = RateWindow(rule.limit, rule.window_seconds, self._lag)
        return np.array(
            [
                self._windows[address].take(now)
                for now, address in zip(times, addresses.tolist(), strict=True)
            ],
            bool,
        )
