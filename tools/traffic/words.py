"""Numbers, moments and layers as a person reads them, the same in tables and charts."""

from typing import Final

from throttling import Client, Layer, Period
from throttling.simulation.simulator import ClientResult, Result
from throttling.simulation.traffic import NO_KEY

ALL_CLIENTS: Final = "all clients"
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
BEST_EFFORT: Final = (
    "AWS applies throttles and quotas on a best-effort basis: they are targets, not ceilings, and "
    "some requests above them pass."
)
_PERIODS: Final = {Period.DAY: "a day", Period.WEEK: "a week", Period.MONTH: "a month"}


def client_name(client: Client | None) -> str:
    """Return plan and name of a client, or the word for requests without a key."""
    return NO_KEY if client is None else str(client)


def outcome_name(layer: Layer | None) -> str:
    """Return what a layer does to a request, or that it is admitted."""
    return f"refused: {LAYER_NAMES[layer]}" if layer else "admitted"


def moment(seconds: float) -> str:
    """Return a time after the start: `4.0 s`, `3 m 20 s`, `1 h 05 m`."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours:02} h"
    return f"{hours} h {minutes:02} m" if hours else f"{minutes} m {rest:02} s"


def span(seconds: float) -> str:
    """Return a duration without the parts that are zero: `10 m`, `1 h 30 m`, `0.5 s`."""
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
    """Return requests per second with the digits that matter."""
    return f"{per_second:,.0f}" if per_second >= 100 else f"{per_second:.3g}"


def share(part: int, whole: int) -> str:
    """Return a part of a whole in percent."""
    value = part / whole if whole else 0.0
    return "< 0.1 %" if 0 < value < 0.001 else f"{value * 100:.1f} %"


def quota_words(result: Result, client: ClientResult) -> tuple[str, str]:
    """Return what is left of a client's quota, and of what: `98,000`, `of 100,000 a day`."""
    plan = client.client and result.limits.usage_plans.get(client.client.plan)
    if client.quota_left is None or not plan or not plan.quota:
        return "", ""
    return f"{client.quota_left:,}", f"of {plan.quota.limit:,} {_PERIODS[plan.quota.period]}"


def headline(result: Result) -> str:
    """Return the finding of a run in one sentence: who is refused, by which layer, and when."""
    refusals = [
        (first, client_name(client.client), layer)
        for client in result.clients
        for layer, first in client.first_refused.items()
    ]
    # A request without a key is always refused. That is only worth a headline if nothing else is.
    refusals = [refusal for refusal in refusals if refusal[2] is not Layer.API_KEY] or refusals
    if not refusals:
        return f"All {result.total.sent:,} requests are admitted"
    first, name, layer = min(refusals)
    refused = 1 - result.total.admitted / result.total.sent
    percent = f"{refused:.0%}" if refused >= 0.01 else "under 1%"
    return (
        f"{name} is refused first, by the {LAYER_NAMES[layer]} at {moment(first)}; {percent} of "
        + ("its requests are refused" if len(result.clients) == 1 else "all requests are refused")
    )
