"""Configs that tests start from, and what becomes of them."""

from copy import deepcopy
from typing import Any

import pytest

from settings.errors import SettingsError
from settings.schema import Settings, parse_settings
from tests.settings.pulumi_config import PROJECT, STACK, Tree, handed_over, run

PLAN = {"rateLimit": 5, "burstLimit": 10, "quota": {"limit": 20_000}}
# Limits that agree with each other.
GOOD: Tree = {
    "stageName": "dev",
    "throttle": {"rateLimit": 50, "burstLimit": 100, "methods": {"POST /data": {**PLAN}}},
    "usagePlans": {
        "basic": PLAN,
        "premium": {
            **{"rateLimit": 20, "burstLimit": 40},
            **{"quota": {"limit": 100_000, "period": "DAY"}, "clients": ["acme", "default"]},
        },
    },
    "waf": {
        **{"enabled": True, "rateLimit": 1500, "windowSeconds": 60, "aggregateBy": "IP"},
        **{"managedRuleGroups": ["AWSManagedRulesCommonRuleSet"], "logging": True},
    },
    "function": {
        **{"memoryMb": 512, "timeoutSeconds": 5, "reservedConcurrency": 25},
        **{"expectedDurationMs": 100, "architecture": "arm64", "runtime": "python3.13"},
        **{"snapStart": False},
    },
    "table": {"maxWriteRequestUnits": 100, "pointInTimeRecovery": True},
    "network": {"cidr": "10.0.0.0/20", "availabilityZones": 2, "flowLogs": True},
    "monitoring": {
        **{"alarmEmails": ["ops@example.com"], "logRetentionDays": 14},
        **{"thresholds": {"throttledRequests": 20}, "dashboard": True},
    },
    "manageApiGatewayLogging": True,
}
del GOOD["throttle"]["methods"]["POST /data"]["quota"]


def parsed(tree: Tree, **more: Any) -> Settings:  # noqa: ANN401  passed on
    """The settings that a config becomes."""
    return parse_settings(handed_over(tree), project=PROJECT, stack=STACK, **more)


def typed(tree: Tree) -> dict[str, Any]:
    """The same as a config has them, defaults included."""
    return parsed(tree).model_dump(by_alias=True, mode="json")


def refusal(tree: Tree, **more: Any) -> str:  # noqa: ANN401  passed on
    """The text with which a config is refused."""
    with pytest.raises(SettingsError) as refused:
        parsed(tree, **more)
    return str(refused.value)


def changed(*assignments: str) -> Tree:
    """GOOD after `pulumi config set --path` of each `key value`."""
    tree = deepcopy(GOOD)
    for assignment in assignments:
        key, value = assignment.rsplit(" ", 1)
        run(tree, f"pulumi config set --path '{PROJECT}:{key}' {value} --stack {STACK}")
    return tree
