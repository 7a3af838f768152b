"""What can happen to a request, in the words of reports, charts and the page."""

from typing import Final

from throttling import Layer

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
