"""The words of profiles, reports, charts and the page. It imports little."""

from typing import Final

from throttling import Client, Layer, Period

NO_KEY: Final = "no-key"
"""Stands for the client of requests that carry no valid API key."""
PERIODS: Final = {Period.DAY: "a day", Period.WEEK: "a week", Period.MONTH: "a month"}

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


def outcome_name(layer: Layer | None) -> str:
    """Return which layer refuses a request, or that it is admitted."""
    return f"refused: {LAYER_NAMES[layer]}" if layer else "admitted"


def client_name(client: Client | None) -> str:
    """Return plan and name of a client, or the word for requests without a key."""
    return NO_KEY if client is None else str(client)
