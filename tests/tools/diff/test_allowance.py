"""The least of all limits is what one client may do."""

from typing import Any

import pytest

from routes import METHODS
from tests.stacks import settings
from tools.diff.allowance import allowance

BASIC: dict[str, Any] = {"rateLimit": 100, "burstLimit": 200}


def plan(**changes: Any) -> dict[str, Any]:  # noqa: ANN401  JSON
    return {"usagePlans": {"basic": BASIC | changes}}


@pytest.mark.parametrize(
    ("changes", "per_second", "at_once", "per_day", "per_address"),
    [
        ({}, (100, "plan"), (100, "function"), (10_000, "quota"), (2000 / 300, "web ACL")),
        (
            {"throttle": {"methods": {METHODS[0]: {"rateLimit": 60, "burstLimit": 90}}}},
            (60, "method"),
            (90, "method"),
            (10_000, "quota"),
            (2000 / 300, "web ACL"),
        ),
        # 4 executions of 100 ms
        (
            {"function": {"reservedConcurrency": 4}},
            (40, "function"),
            (4, "function"),
            (10_000, "quota"),
            (2000 / 300, "web ACL"),
        ),
        # Lambda's own cap of ten requests per second and execution, however short they are
        (
            {"function": {"reservedConcurrency": 4, "expectedDurationMs": 1}},
            (40, "function"),
            (4, "function"),
            (10_000, "quota"),
            (2000 / 300, "web ACL"),
        ),
        (
            {
                "function": {"reservedConcurrency": "none"},
                "table": {"maxWriteRequestUnits": 20},
                "waf": {"enabled": False},
            },
            (20, "table"),
            (200, "plan"),
            (10_000, "quota"),
            (20, "table"),
        ),
        (
            plan(quota={"limit": 3_000_000, "period": "MONTH"}),
            (100, "plan"),
            (100, "function"),
            (3_000_000, "quota, all in one day"),
            (2000 / 300, "web ACL"),
        ),
        (
            plan(rateLimit=1, burstLimit=1, quota={"limit": 3_000_000, "period": "MONTH"}),
            (1, "plan"),
            (1, "plan"),
            (86_400, "plan"),
            (1, "plan"),
        ),
    ],
)
def test_the_least_of_all_limits_bounds_a_client(
    changes: dict[str, Any],
    per_second: tuple[float, str],
    at_once: tuple[float, str],
    per_day: tuple[float, str],
    per_address: tuple[float, str],
) -> None:
    allowed = allowance(settings("prod", **changes), "basic", METHODS[0])

    assert allowed == (per_second, at_once, per_day, per_address)
