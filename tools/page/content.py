"""The limits of a stack as the page shows them: a row for each, and a slider for each number."""

from collections.abc import Iterator
from typing import Any, Final

from settings import Settings
from settings.json_schema import Node, allowed, at, json_schema
from settings.paths import Path, config_key
from settings.schema import StackSettings, ThrottleSettings
from tools.traffic.outcomes import PERIODS

REASONS: Final = {
    "waf": "too many requests from this address in the rule's window",
    "route": "no such route, or the body is too large",
    "api-key": "no valid API key",
    "quota": "the client's quota is used up",
    "usage-plan-method": "the client's bucket for this method is empty",
    "usage-plan": "the client's bucket is empty",
    "method": "the method's bucket is empty",
    "stage": "the stage's bucket is empty",
    "concurrency": "the function is at its concurrency, or its rate",
    "failed": "the function failed, or took too long",
}
"""Why a layer refuses a request."""


def limit_rows(settings: Settings) -> list[dict[str, Any]]:
    """Return the limits of a stack: what each bounds, its value in words, and its settings."""
    values = settings.model_dump(mode="json", by_alias=True)
    return [
        {
            "limit": limit,
            "value": value,
            "settings": [_setting(values, (*path, name)) for name in names],
        }
        for limit, value, path, names in _rows(settings)
    ]


def _rows(settings: Settings) -> Iterator[tuple[str, str, Path, tuple[str, ...]]]:
    waf, function, cap = settings.waf, settings.function, settings.table.max_write_request_units
    bucket = "rateLimit", "burstLimit"
    if waf.enabled:
        window = "rateLimit", "windowSeconds"
        rate = f"{waf.rate_limit:,} per {waf.window_seconds} s"
        yield "each address: requests per window", rate, ("waf",), window
        if waf.aggregate_by == "FORWARDED_IP":
            rate = f"{waf.source_rate_limit:,} per {waf.window_seconds} s"
            yield "each source, such as a CDN's server", rate, ("waf",), ("sourceRateLimit",)
        if shadow := waf.shadow:
            rate = f"{shadow.rate_limit:,} per {shadow.window_seconds} s"
            yield "each address: only counted, not refused", rate, ("waf", "shadow"), window
    for name, plan in settings.usage_plans.items():
        path: Path = ("usagePlans", name)
        quota = f"{plan.quota.limit:,} {PERIODS[plan.quota.period]}"
        yield f"plan {name}, each client: quota", quota, (*path, "quota"), ("limit", "period")
        yield f"plan {name}, each client: rate and burst", _words(plan), path, bucket
    stage = settings.throttle
    yield "stage, all clients: rate and burst", _words(stage), ("throttle",), bucket
    for name, method in stage.methods.items():
        path = "throttle", "methods", name
        yield f"{name}, all clients: rate and burst", _words(method), path, bucket
    reserved = function.reserved_concurrency
    at_once = "none" if reserved is None else f"{reserved:,}"
    yield "function: executions at once", at_once, ("function",), ("reservedConcurrency",)
    seconds = f"{function.timeout_seconds} s"
    yield "function: time for one request", seconds, ("function",), ("timeoutSeconds",)
    units = "none" if cap is None else f"{cap:,}"
    yield "table: writes of 1 KB per second", units, ("table",), ("maxWriteRequestUnits",)


def _words(bucket: ThrottleSettings) -> str:
    return f"{bucket.rate_text}/s, {bucket.burst_limit:,}"


def _setting(value: Any, path: Path) -> dict[str, Any]:  # noqa: ANN401  JSON
    """Return a setting's value, of all values, and what it may be, from the settings' schema."""
    node = at(json_schema(StackSettings), path)
    number: Node = node.get("anyOf", [node])[0]
    for step in path:
        value = value[step]
    return {
        "path": config_key("", path)[1:],
        "value": value,
        "description": f"{' '.join(node['description'].split())} Allowed: {allowed(node)}.",
        "choices": number.get("enum"),
        "least": number.get("minimum"),
        "most": number.get("maximum"),
        "whole": number.get("type") == "integer",
        "optional": "anyOf" in node,
    }
