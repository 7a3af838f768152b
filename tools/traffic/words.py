"""Numbers, moments and layers as a person reads them, the same in tables and charts."""

from typing import Final

from throttling.gate import Client, Layer
from throttling.limits import Period
from throttling.simulation.simulator import ClientResult, Result
from throttling.simulation.traffic import NO_KEY

LAYER_NAMES: Final = {
    Layer.WAF: "WAF",
    Layer.API_KEY: "API key",
    Layer.QUOTA: "quota",
    Layer.USAGE_PLAN_METHOD: "usage plan's method throttle",
    Layer.USAGE_PLAN: "usage plan throttle",
    Layer.METHOD: "method throttle",
    Layer.STAGE: "stage throttle",
    Layer.CONCURRENCY: "function's concurrency",
}
NOTES: Final = (
    "AWS applies throttles and quotas on a best-effort basis: they are targets, not ceilings, and "
    "some requests above them pass.",
    "The WAF estimates rates about every 10 s and usually blocks within 30 s, sometimes minutes; "
    "--waf-lag sets how far its view is behind.",
)
"""What every report says about the distance between the model and AWS."""
_PERIODS: Final = {Period.DAY: "a day", Period.WEEK: "a week", Period.MONTH: "a month"}


def client_name(client: Client | None) -> str:
    """How a client is called: plan and name, or the word for requests without a key."""
    return NO_KEY if client is None else str(client)


def moment(seconds: float) -> str:
    """A time after the start: `4.0 s`, `3 m 20 s`, `1 h 05 m`."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours:02} h"
    return f"{hours} h {minutes:02} m" if hours else f"{minutes} m {rest:02} s"


def span(seconds: float) -> str:
    """A duration, without what is zero: `10 m`, `1 h 30 m`, `0.5 s`."""
    parts = []
    rest = seconds
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        number, rest = divmod(rest, size)
        if number:
            parts.append(f"{number:.0f} {unit}")
    if rest or not parts:
        parts.append(f"{rest:.4g} s")
    return " ".join(parts)


def rate(per_second: float) -> str:
    """Requests per second with as many digits as matter."""
    return f"{per_second:,.0f}" if per_second >= 100 else f"{per_second:.3g}"


def quota_words(result: Result, client: ClientResult) -> str:
    """What is left of a client's quota: `98,000 of 100,000 a day`; empty without one."""
    plan = client.client and result.limits.usage_plans.get(client.client.plan)
    if client.quota_left is None or not plan or not plan.quota:
        return ""
    return f"{client.quota_left:,} of {plan.quota.limit:,} {_PERIODS[plan.quota.period]}"


def headline(result: Result) -> str:
    """The finding of a run in one sentence: who is refused, by which layer, and when."""
    refusals = [
        (first, client_name(client.client), layer)
        for client in result.clients
        for layer, first in client.first_refused.items()
    ]
    # That a request without a key is refused is no news, unless there is no other.
    refusals = [refusal for refusal in refusals if refusal[2] is not Layer.API_KEY] or refusals
    if not refusals:
        return f"All {result.total.sent:,} requests are admitted"
    first, name, layer = min(refusals)
    share = 1 - result.total.admitted / result.total.sent
    percent = f"{share:.0%}" if share >= 0.01 else "under 1%"
    return (
        f"{name} is refused first, by the {LAYER_NAMES[layer]} at {moment(first)}; {percent} of "
        + ("its requests are refused" if len(result.clients) == 1 else "all requests are refused")
    )


def mode_words(result: Result) -> str:
    """How the run was decided."""
    if result.share_by_request is None:
        return "exact, request by request"
    return (
        f"aggregated, second by second ({result.share_by_request:.0%} of the seconds that reached "
        f"a throttle request by request)"
    )
