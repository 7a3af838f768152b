"""Rates and bursts from what came back, each with the bounds that the measurement leaves.

A request is decided somewhere between being sent and being answered, and a bucket that refuses
holds less than one token. Both are known, so every figure here comes with the lowest and the
highest value that explain what was seen.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tools.traffic.load.samples import Outcome, Sample
from throttling import Throttle
from throttling.limiters import TokenBucket

_FEWEST_REFUSALS: Final = 3
"""Fewer refusals than these may be chance."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure, and the bounds between which the true one is."""

    value: float
    low: float
    high: float


def in_order(samples: Iterable[Sample]) -> list[Sample]:
    """Answered requests in the order in which they were sent."""
    answered = (one for one in samples if one.outcome is not Outcome.LOST)
    return sorted(answered, key=lambda one: one.sent)


def sustained_rate(samples: Iterable[Sample]) -> Measured | None:
    """Requests per second that pass a bucket while it refuses others.

    Between two refusals, both of which found less than a token, as many tokens were taken as were
    added, give or take one. So it is with buckets that hold two or more: one that holds a single
    token is full, and adds none, between many a request and the next. None when fewer than
    `_FEWEST_REFUSALS` were refused.
    """
    decided = in_order(samples)
    refused = [one for one in decided if not one.passed]
    if len(refused) < _FEWEST_REFUSALS:
        return None
    first, last = refused[0], refused[-1]
    taken = sum(one.passed for one in decided if first.sent <= one.sent <= last.sent)
    shortest, longest = last.sent - first.answered, last.answered - first.sent
    if shortest <= 0:
        return None
    return Measured(
        value=taken / (last.sent - first.sent),
        low=max(0.0, (taken - 1) / longest),
        high=(taken + 1) / shortest,
    )


def burst_size(samples: Iterable[Sample], rate: float) -> Measured | None:
    """Requests that a full bucket passes at once.

    What passed until the last refusal is the bucket's capacity and what was added meanwhile, but
    for the part of a token that the refusal found: again for buckets of two tokens or more. None
    when nothing was refused.

    Args:
        samples: of requests that began with a full bucket.
        rate: tokens that are added to it per second.
    """
    decided = in_order(samples)
    refused = [one for one in decided if not one.passed]
    if not refused:
        return None
    first, last = decided[0], refused[-1]
    taken = sum(one.passed for one in decided if one.sent <= last.sent)
    shortest = max(0.0, last.sent - first.answered)
    longest = last.answered - first.sent
    return Measured(
        value=taken - rate * (last.sent - first.sent) + 0.5,
        low=taken - rate * longest,
        high=taken - rate * shortest + 1,
    )


def modelled_passes(samples: Iterable[Sample], throttle: Throttle) -> int:
    """How many of these requests, sent when they were, a full bucket would pass."""
    bucket = TokenBucket(throttle)
    return sum(bucket.take(one.sent) for one in in_order(samples))


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The smallest value that is not below `percent` of them; None of none."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Offered:
    """How well a phase's requests were sent as they were planned."""

    planned_rate: float
    rate: float | None
    """What was sent per second; None of fewer than two requests."""
    late_seconds: float
    """How late 95 of 100 requests were at most."""
    in_flight: int
    """Requests that one generator waited for, at most."""

    @property
    def held_up(self) -> bool:
        """Whether the requests came clearly later, or slower, than planned."""
        slow = self.rate is not None and self.rate < self.planned_rate * _SLOW
        return slow or self.late_seconds > _LATE_SECONDS


_SLOW: Final = 0.95
_LATE_SECONDS: Final = 0.25


def offered(samples: Sequence[Sample], planned_rate: float) -> Offered:
    """How well these requests of one phase were sent."""
    sent = sorted(one.sent for one in samples)
    span = sent[-1] - sent[0] if sent else 0.0
    return Offered(
        planned_rate=planned_rate,
        rate=(len(sent) - 1) / span if span > 0 else None,
        late_seconds=percentile([one.sent - one.due for one in samples], 95) or 0.0,
        in_flight=max((one.in_flight for one in samples), default=0),
    )
