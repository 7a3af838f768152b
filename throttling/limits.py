"""`Limits`: every number that decides whether a request passes, as one plain value.

It is made from a stack's settings and, separately, from the resources that the program registers;
that the two are equal is a test.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Period(StrEnum):
    """How long a quota lasts before it starts anew."""

    DAY = "DAY"
    WEEK = "WEEK"
    MONTH = "MONTH"


@dataclass(frozen=True, kw_only=True, slots=True)
class Throttle:
    """A token bucket: `rate` tokens are added each second, up to `burst`; a request takes one."""

    rate: float
    """Requests per second over the long run."""
    burst: int
    """The bucket's capacity: requests that may arrive at once after a pause."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Quota:
    """Requests that one API key may make in a period."""

    limit: int
    period: Period


@dataclass(frozen=True, kw_only=True, slots=True)
class UsagePlan:
    """What each client of a plan may do. Every client has buckets and a quota of its own."""

    clients: tuple[str, ...]
    throttle: Throttle | None
    quota: Quota | None
    methods: Mapping[str, Throttle] = field(default_factory=dict)
    """Throttles of single methods within the plan, such as `{"POST /data": ...}`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WafRateLimit:
    """The web ACL's rate-based rule: requests per window for each source address."""

    limit: int
    window_seconds: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """All limits of one stack. None means that the layer is not there, and refuses nobody."""

    waf: WafRateLimit | None
    usage_plans: Mapping[str, UsagePlan]
    stage: Throttle | None
    methods: Mapping[str, Throttle] = field(default_factory=dict)
    """The stage's throttles of single methods, such as `{"POST /data": ...}`."""
    concurrency: int | None
    """Requests that the function works on at the same time: its reserved concurrency."""
