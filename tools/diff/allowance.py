"""The requests that one client may send, and the layer that limits each number."""

from collections.abc import Mapping
from typing import Final

from throttling import Limits, Period
from throttling.account import REQUESTS_PER_SECOND_PER_CONCURRENCY
from throttling.review import Expectations

_DAY_SECONDS: Final = 86_400

Bound = tuple[float, str]
"""A number, and the layer that sets it."""


def allowance(
    limits: Limits, expected: Expectations, plan: str | None, method: str
) -> dict[str, Bound]:
    """Return the requests to a method that one client may send while all others send none.

    Per second, over the long run, from many addresses and from one; at once after a pause; and per
    day. `plan` is None for a client without an API key.
    """
    throttles = {}
    if plan is not None:
        throttles["plan"] = limits.usage_plans[plan].throttle
    # A method's throttle replaces the stage's for that method.
    of_method = limits.methods.get(method)
    throttles["method" if of_method else "stage"] = of_method or limits.stage
    rates = {layer: one.rate for layer, one in throttles.items() if one}
    bursts: dict[str, float] = {layer: one.burst for layer, one in throttles.items() if one}
    if limits.concurrency is not None:
        bursts["function"] = limits.concurrency
        rates["function"] = limits.concurrency * min(
            1 / expected.duration_seconds, REQUESTS_PER_SECOND_PER_CONCURRENCY
        )
    if expected.max_write_request_units is not None:
        rates["table"] = expected.max_write_request_units
    rate, layer = _least(rates)
    days, addresses = {layer: rate * _DAY_SECONDS}, {layer: rate}
    if plan is not None and (quota := limits.usage_plans[plan].quota):
        name = "quota" if quota.period is Period.DAY else "quota, all in one day"
        days[name] = quota.limit
    if limits.waf:
        addresses["web ACL"] = limits.waf.limit / limits.waf.window_seconds
    return {
        "per_second": (rate, layer),
        "at_once": _least(bursts),
        "per_day": _least(days),
        "per_second_from_one_address": _least(addresses),
    }


def _least(values: Mapping[str, float]) -> Bound:
    """Return the smallest value with its layer; the first if several are equal."""
    layer = min(values, key=lambda key: values[key])
    return values[layer], layer
