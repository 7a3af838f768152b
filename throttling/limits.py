"""`Limits`: all numbers that decide whether a request passes, as one plain value.

The settings of a stack make one, and so do the resources that the program registers. A test holds
the two equal.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Period(StrEnum):
    """How long a quota lasts until it is renewed."""

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
    """Limits of each client of a plan. Every client has its own buckets and its own quota."""

    clients: tuple[str, ...]
    throttle: Throttle | None
    quota: Quota | None
    methods: Mapping[str, Throttle] = field(default_factory=dict)
    """Throttles of single methods within the plan, such as `{"GET /items": ...}`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WafRateLimit:
    """The web ACL's rate-based rule: requests per window from each source address."""

    limit: int
    window_seconds: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """All limits of one stack. None means that a stack does not have the layer."""

    waf: WafRateLimit | None
    usage_plans: Mapping[str, UsagePlan]
    stage: Throttle | None
    methods: Mapping[str, Throttle] = field(default_factory=dict)
    """The stage's throttles of single methods, such as `{"GET /items": ...}`."""
    keyless: tuple[str, ...] = ()
    """Methods that need no API key. Their requests count toward no plan."""
    concurrency: int | None
    """Requests that the function works on at the same time: its reserved concurrency."""
