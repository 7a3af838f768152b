"""The requests that one client may send, and the layer that limits each number."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from settings import Settings
from throttling import Period
from throttling.account import REQUESTS_PER_SECOND_PER_CONCURRENCY

_DAY_SECONDS: Final = 86_400

Bound = tuple[float, str]
"""A number, and the layer that sets it."""


class Allowance(NamedTuple):
    """The requests that one client may send while all others send none."""

    per_second: Bound
    """Requests per second over the long run, from many addresses."""
    at_once: Bound
    """Requests after a pause."""
    per_day: Bound
    per_address: Bound
    """Requests per second over the long run from one address."""


def allowance(settings: Settings, plan: str, method: str) -> Allowance:
    """Return the requests to a method that one client of a plan may send."""
    function, bucket = settings.function, settings.usage_plans[plan]
    quota = bucket.quota
    # A method's throttle replaces the stage's for that method.
    of_method = settings.throttle.methods.get(method)
    stage, layer = (of_method, "method") if of_method else (settings.throttle, "stage")
    rates = {"plan": bucket.rate_limit, layer: stage.rate_limit}
    bursts = {"plan": bucket.burst_limit, layer: stage.burst_limit}
    if function.reserved_concurrency is not None:
        bursts["function"] = function.reserved_concurrency
        rates["function"] = function.reserved_concurrency * min(
            1000 / function.expected_duration_ms, REQUESTS_PER_SECOND_PER_CONCURRENCY
        )
    if settings.table.max_write_request_units is not None:
        rates["table"] = settings.table.max_write_request_units
    rate, layer = _least(rates)
    addresses = {layer: rate}
    if settings.waf.enabled:
        addresses["web ACL"] = settings.waf.rate_limit / settings.waf.window_seconds
    quota_name = "quota" if quota.period is Period.DAY else "quota, all in one day"
    return Allowance(
        per_second=(rate, layer),
        at_once=_least(bursts),
        per_day=_least({layer: rate * _DAY_SECONDS, quota_name: quota.limit}),
        per_address=_least(addresses),
    )


def _least(values: Mapping[str, float]) -> Bound:
    """Return the smallest value with its layer; the first if several are equal."""
    layer = min(values, key=lambda key: values[key])
    return values[layer], layer
