"""The inner loops over single requests, compiled by numba. `simulator.run` is the loop of a run.

numba keeps the machine code in `__pycache__` for later processes, and compiles again only if this
file changes. A function here must therefore take constants of other files as arguments.
No function checks an index: their callers do.
"""

import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from throttling.simulation.traffic import Floats, Ints

Codes = NDArray[np.uint8]
"""What happens to each request: 0 is admitted; `engine.CODES` has the codes of the layers."""
Records = Any
"""An array of buckets, or one of them."""
BUCKET: Final = np.dtype([("tokens", "f8"), ("updated", "f8"), ("rate", "f8"), ("burst", "f8")])
END: Final = -1
NO_KEY: Final = -2

F = TypeVar("F", bound=Callable[..., Any])


class RateRule(NamedTuple):
    """The WAF's rate rule."""

    code: int
    limit: int
    window_seconds: float
    lag_seconds: float
    counts_blocked: bool


class Layers(NamedTuple):
    """The layers behind the WAF."""

    paths: Ints
    """For each source: the indices of its buckets in the order in which they are asked, then `END`;
    `NO_KEY` without a valid API key. A quota is a bucket that does not refill."""
    codes: Ints
    """The codes of the layers of these buckets."""
    quota_steps: Ints
    """Where in its path each source has its quota; `END` without one."""
    api_key_code: int
    concurrency_code: int
    buckets: Records
    function: Records
    """One bucket, which limits the rate of the function."""
    whole_token: float
    """Tokens that are enough for one request."""
    throttled_use_quota: bool
    throttled_take_tokens: bool
    function_refusals_use_quota: bool
    concurrency: int


def compiled(function: F) -> F:
    """Compile a function when it is first called."""
    try:
        return cast(F, numba.njit(cache=True)(function))
    except RuntimeError:
        # There is no writable folder for the machine code: compile in each process.
        return cast(F, numba.njit(function))


@compiled
def screen(
    rule: RateRule,
    times: Floats,
    addresses: Ints,  # address 0 stands for requests that do not count
    counts: Ints,  # for each address, how many of the requests from `first` to `seen` it sent
    first: int,  # index of the first request that is counted
    seen: int,  # index of the first request that the rule has not seen yet
    new: int,  # index of the first request to decide, which the first code is for
    codes: Codes,
) -> tuple[int, int]:
    """Decide requests at the WAF. Return the new `first` and `seen`."""
    for index in range(new, new + len(codes)):
        window_end = times[index] - rule.lag_seconds
        while seen < index and times[seen] <= window_end:
            counts[addresses[seen]] += 1
            seen += 1
        # Requests that have left the window matter only when an address reaches the limit.
        if counts[addresses[index]] >= rule.limit:
            first = forget(times, addresses, counts, first, seen, window_end - rule.window_seconds)
            if counts[addresses[index]] >= rule.limit:
                codes[index - new] = rule.code
                if not rule.counts_blocked:
                    addresses[index] = 0
    first = forget(times, addresses, counts, first, seen, window_end - rule.window_seconds)
    return first, seen


@compiled
def forget(
    times: Floats, addresses: Ints, counts: Ints, first: int, seen: int, until: float
) -> int:
    """Stop counting the requests that were sent up to `until`. Return the new `first`."""
    while first < seen and times[first] <= until:
        counts[addresses[first]] -= 1
        first += 1
    return first


@compiled
def admit(
    layers: Layers,
    times: Floats,
    sources: Ints,
    ends: Floats,  # of the requests, if they are admitted
    in_order: bool,  # `ends` and `in_flight` are sorted; otherwise `in_flight` becomes a heap
    in_flight: Floats,  # ends of the requests in flight in order, then room for all others
    number: int,  # in flight
    peak: int,  # most requests that were in flight
    codes: Codes,  # 0 for the requests to decide
) -> tuple[int, int, int]:
    """Decide requests that passed the WAF, between two renewals of quotas.

    Return the part of `in_flight` that may still be in flight, and the new peak.
    """
    first, last = 0, number
    for index in range(len(times)):
        if codes[index]:
            continue
        now = times[index]
        source = sources[index]
        path = layers.paths[source]
        if path[0] == NO_KEY:
            codes[index] = layers.api_key_code
            continue
        code = 0
        step = 0
        while path[step] >= 0:
            if not take(layers.buckets[path[step]], now, layers.whole_token):
                code = layers.codes[source, step]
                quota_step = layers.quota_steps[source]
                if 0 <= quota_step < step and not layers.throttled_use_quota:
                    layers.buckets[path[quota_step]].tokens += 1
                if not layers.throttled_take_tokens:
                    give_back_tokens(layers.buckets, path[:step], quota_step)
                break
            step += 1
        if not code:
            # Requests that have ended matter only when there may be a new peak.
            if last - first >= peak:
                while first < last and in_flight[first] <= now:
                    if in_order:
                        first += 1
                    else:
                        last = pop(in_flight, last)
            if last - first >= layers.concurrency or not take(
                layers.function[0], now, layers.whole_token
            ):
                code = layers.concurrency_code
                quota_step = layers.quota_steps[source]
                if quota_step >= 0 and not layers.function_refusals_use_quota:
                    layers.buckets[path[quota_step]].tokens += 1
            elif in_order:
                in_flight[last] = ends[index]
                last += 1
            else:
                last = push(in_flight, last, ends[index])
            peak = max(peak, last - first)
        codes[index] = code
    return first, last, peak


@compiled
def take(bucket: Records, now: float, whole_token: float) -> bool:
    """Take one token of a bucket. Return False, and take nothing, if there is no whole one."""
    elapsed = max(0.0, now - bucket.updated)
    tokens = min(bucket.burst, bucket.tokens + elapsed * bucket.rate)
    bucket.updated = now
    if tokens < whole_token:
        bucket.tokens = tokens
        return False
    bucket.tokens = tokens - 1
    return True


@compiled
def give_back_tokens(buckets: Records, path: Ints, quota_step: int) -> None:
    """Give back a token to each bucket of a path, but to no quota."""
    for step in range(len(path)):
        if step != quota_step:
            buckets[path[step]].tokens += 1


@compiled
def push(heap: Floats, size: int, item: float) -> int:
    """Add an item to a heap of four children per item. Return its new size."""
    place = size
    while place and heap[(place - 1) // 4] > item:
        heap[place] = heap[(place - 1) // 4]
        place = (place - 1) // 4
    heap[place] = item
    return size + 1


@compiled
def pop(heap: Floats, size: int) -> int:
    """Remove the smallest item. Return the new size. Three infinities must follow it."""
    size -= 1
    item = heap[size]
    heap[size] = math.inf
    place, child = 0, 1
    while child < size:
        # The smallest of four, without branches that a processor cannot predict.
        left = child + (heap[child + 1] < heap[child])
        right = child + 2 + (heap[child + 3] < heap[child + 2])
        child = right if heap[right] < heap[left] else left
        heap[place] = heap[child]
        place, child = child, 4 * child + 1
    push(heap, place, item)
    return size
