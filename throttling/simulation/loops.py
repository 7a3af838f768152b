"""The loops of the simulation, compiled by numba.

numba keeps the machine code in `__pycache__` for the next process, and compiles again only when
this file changes. So these functions use no constant and call no function of another file.
"""

import math
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from throttling.simulation.traffic import Floats, Ints

Codes = NDArray[np.uint8]
"""What happens to each request: 0 is admitted, n is refused by the nth of `gate.Layer`."""
Records = Any
"""An array of one of the types below."""

BUCKET: Final = np.dtype(
    [("tokens", "f8"), ("updated", "f8"), ("rate", "f8"), ("burst", "f8")], align=True
)
STREAM: Final = np.dtype(
    [
        ("phase", "i8"),
        ("last_phase", "i8"),
        ("due", "f8"),
        ("moment", "f8"),
        ("first_address", "i8"),
        ("addresses", "i8"),
        ("sent", "i8"),
    ],
    align=True,
)
PHASE: Final = np.dtype(
    [("start", "f8"), ("expected", "f8"), ("from_rps", "f8"), ("slope", "f8")], align=True
)

_WAF, _API_KEY, _QUOTA, _FIRST_BUCKET, _CONCURRENCY = 1, 2, 3, 4, 8
_ROUNDING: Final = 1e-9
"""Share of a request by which a sum of rates, or a share of an interval, may miss a whole one."""

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile a function when it is first called."""
    try:
        return cast(F, numba.njit(cache=True)(function))
    except RuntimeError:
        # No folder for the machine code can be written: compile in each process.
        return cast(F, numba.njit(function))


@compiled
def fill(
    phases: Records,
    streams: Records,
    order: Ints,
    steps: Floats,
    places: Floats,
    times: Floats,
    sources: Ints,
    addresses: Ints,
) -> int:
    """Write the next requests of all streams, and return how many there are.

    Args:
        phases: `PHASE` of all streams.
        streams: `STREAM` of each source.
        order: a heap of the sources by their next moment.
        steps: how much later, in expected requests, the next one of each request's source is due.
        places: which of its source's addresses sends each request, between 0 and 1; empty when
            they take turns.
        times: to write to, as `sources` and `addresses`.
    """
    for index in range(len(times)):
        source = order[0]
        stream = streams[source]
        if stream.moment == math.inf:
            return index
        if len(places):
            place = int(places[index] * stream.addresses)
        else:
            place = stream.sent % stream.addresses
            stream.sent += 1
        times[index] = stream.moment
        sources[index] = source
        addresses[index] = stream.first_address + place
        stream.due += steps[index]
        next_moment(phases, stream)
        sift_down(streams, order, 0)
    return len(times)


@compiled
def begin(phases: Records, streams: Records, order: Ints) -> None:
    """Find the first request of each stream, and put the streams in order."""
    for source in range(len(order)):
        next_moment(phases, streams[source])
    for place in range(len(order) // 2 - 1, -1, -1):
        sift_down(streams, order, place)


@compiled
def next_moment(phases: Records, stream: Records) -> None:
    """Set when the next request of a stream is due; never when its last phase is over."""
    while stream.phase < stream.last_phase:
        phase = phases[stream.phase]
        nth = stream.due
        if nth < phase.expected - _ROUNDING:
            stream.moment = phase.start
            if nth > 0:
                # The solution of nth = from_rps x t + slope x t^2 / 2, also without a slope.
                root = math.sqrt(max(0.0, phase.from_rps**2 + 2 * phase.slope * nth))
                stream.moment += 2 * nth / (phase.from_rps + root)
            return
        stream.due -= phase.expected
        stream.phase += 1
    stream.moment = math.inf


@compiled
def sift_down(streams: Records, order: Ints, place: int) -> None:
    """Restore the heap below a source whose moment has grown."""
    source = order[place]
    moment = streams[source].moment
    while 2 * place + 1 < len(order):
        child = 2 * place + 1
        if (
            child + 1 < len(order)
            and streams[order[child + 1]].moment < streams[order[child]].moment
        ):
            child += 1
        if streams[order[child]].moment >= moment:
            break
        order[place] = order[child]
        place = child
    order[place] = source


@compiled
def screen(
    times: Floats,
    addresses: Ints,
    counts: Ints,
    first: int,
    seen: int,
    new: int,
    limit: int,
    window: float,
    lag: float,
    count_blocked: bool,
    codes: Codes,
) -> tuple[int, int]:
    """Refuse the requests that the WAF's rate rule blocks.

    Args:
        times: a log of requests, the new ones from `new` on.
        addresses: of these requests; requests of address 0 do not count.
        counts: requests in the window, by address.
        first: the first request in the log that `counts` counts.
        seen: the first request behind it that the rule has not seen yet.
        new: the first request to decide.
        limit: requests per window.
        window: in seconds.
        lag: seconds after which the rule sees a request.
        count_blocked: whether blocked requests count.
        codes: of the new requests, to write to.

    Returns:
        `first` and `seen` after the last request.
    """
    for index in range(new, new + len(codes)):
        view = times[index] - lag
        while seen < index and times[seen] <= view:
            counts[addresses[seen]] += 1
            seen += 1
        while first < seen and times[first] <= view - window:
            counts[addresses[first]] -= 1
            first += 1
        if counts[addresses[index]] >= limit:
            codes[index - new] = _WAF
            if not count_blocked:
                addresses[index] = 0
    return first, seen


@compiled
def admit(
    times: Floats,
    sources: Ints,
    ends: Floats,
    ordered: bool,
    codes: Codes,
    paths: Ints,
    buckets: Records,
    whole_token: float,
    quotas: Ints,
    refused_use_quota: bool,
    concurrency: int,
    in_flight: Floats,
    pending: int,
) -> tuple[int, int, int]:
    """Decide the requests that the WAF lets pass, while no quota is renewed.

    Args:
        times: of the requests.
        sources: of the requests.
        ends: when each request ends if it is admitted.
        ordered: whether these ends, and those in flight, never decrease.
        codes: of the requests, to write to.
        paths: by source, index of the quota (-1 without an API key) and of four buckets (-1 for
            none).
        buckets: `BUCKET` of each.
        whole_token: tokens that are enough for a request.
        quotas: requests left.
        refused_use_quota: whether requests that are refused behind the quota use it.
        concurrency: requests that may be in flight.
        in_flight: when requests in flight end, `pending` of them in order; to write to.
        pending: how many were in flight before.

    Returns:
        The range of `in_flight` that is in flight now, and the most that were.
    """
    first, last, peak = 0, pending, 0
    for index in range(len(times)):
        if codes[index]:
            continue
        now = times[index]
        path = paths[sources[index]]
        quota = path[0]
        if quota < 0:
            codes[index] = _API_KEY
            continue
        if quotas[quota] <= 0:
            codes[index] = _QUOTA
            continue
        code = 0
        for layer in range(4):
            number = path[layer + 1]
            if number < 0:
                continue
            bucket = buckets[number]
            elapsed = max(0.0, now - bucket.updated)
            tokens = min(bucket.burst, bucket.tokens + elapsed * bucket.rate)
            bucket.updated = now
            if tokens < whole_token:
                bucket.tokens = tokens
                code = _FIRST_BUCKET + layer
                break
            bucket.tokens = max(0.0, tokens - 1)
        if not code:
            if ordered:
                while first < last and in_flight[first] <= now:
                    first += 1
            else:
                while last and in_flight[0] <= now:
                    last = pop(in_flight, last)
            if last - first >= concurrency:
                code = _CONCURRENCY
            elif ordered:
                in_flight[last] = ends[index]
                last += 1
            else:
                last = push(in_flight, last, ends[index])
            peak = max(peak, last - first)
        if not code or refused_use_quota:
            quotas[quota] -= 1
        codes[index] = code
    return first, last, peak


@compiled
def push(heap: Floats, size: int, item: float) -> int:
    """Add an item to a heap, and return its new size."""
    place = size
    while place and heap[(place - 1) // 2] > item:
        heap[place] = heap[(place - 1) // 2]
        place = (place - 1) // 2
    heap[place] = item
    return size + 1


@compiled
def pop(heap: Floats, size: int) -> int:
    """Remove the smallest item of a heap, and return its new size."""
    size -= 1
    item = heap[size]
    place = 0
    while 2 * place + 1 < size:
        child = 2 * place + 1
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= item:
            break
        heap[place] = heap[child]
        place = child
    heap[place] = item
    return size


@compiled
def count(
    times: Floats,
    clients: Ints,
    sources: Ints,
    codes: Codes,
    interval_seconds: float,
    timeline: Ints,
    first: Floats,
) -> None:
    """Count requests, and note when each client first had each outcome.

    Args:
        times: of the requests.
        clients: the client of each source.
        sources: of the requests.
        codes: of the requests.
        interval_seconds: how long an interval of the timeline is.
        timeline: requests by interval, client and code, to add to.
        first: seconds by client and code, to write to.
    """
    for index in range(len(times)):
        # Rounding can put a request that is due when an interval begins a hair before it.
        interval = int(times[index] / interval_seconds + _ROUNDING)
        interval = max(0, min(interval, len(timeline) - 1))
        client, code = clients[sources[index]], codes[index]
        timeline[interval, client, code] += 1
        first[client, code] = min(first[client, code], times[index])
