"""The least of all limits is what one client may do."""

from typing import Any

import pytest

from routes import METHODS
from tests.stacks import settings
from tools.diff.allowance import allowance

METHOD: dict[str, Any] = {"methods": {METHODS[0]: {"rateLimit": 60, "burstLimit": 90}}}
MONTH = {"limit": 3_000_000, "period": "MONTH"}
RARE: dict[str, Any] = {"rateLimit": 1, "burstLimit": 1, "quota": MONTH}
ONLY_TABLE: dict[str, Any] = {
    "function": {"reservedConcurrency": "none"},
    "table": {"maxWriteRequestUnits": 20},
    "waf": {"enabled": False},
}


@pytest.mark.parametrize(
    ("changes", "bounds"),
    [
        ({}, "100 plan, 100 function, 10000 quota, 6.67 web ACL"),
        ({"throttle": METHOD}, "60 method, 90 method, 10000 quota, 6.67 web ACL"),
        # 4 executions of 200 ms
        (
            {"function": {"reservedConcurrency": 4, "expectedDurationMs": 200}},
            "20 function, 4 function, 10000 quota, 6.67 web ACL",
        ),
        # Lambda's own cap of ten requests per second and execution, however short they are
        (
            {"function": {"reservedConcurrency": 4, "expectedDurationMs": 1}},
            "40 function, 4 function, 10000 quota, 6.67 web ACL",
        ),
        (ONLY_TABLE, "20 table, 200 plan, 10000 quota, 20 table"),
        (
            {"usagePlans": {"basic": {"quota": MONTH}}},
            "100 plan, 100 function, 3000000 quota, all in one day, 6.67 web ACL",
        ),
        ({"usagePlans": {"basic": RARE}}, "1 plan, 1 plan, 86400 plan, 1 plan"),
    ],
)
def test_the_least_of_all_limits_bounds_a_client(changes: dict[str, Any], bounds: str) -> None:
    stack = settings("prod", **changes)
    allowed = allowance(stack.limits(), stack.expectations(), "basic", METHODS[0])

    assert (
        ", ".join(f"{round(value, 2):.7g} {layer}" for value, layer in allowed.values()) == bounds
    )
