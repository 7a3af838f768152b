"""All rules of the policy pack, in the order in which a request meets what they are about."""

from typing import Final

from . import alarms, api, function, logs, network, permissions, table, usage_plans, web_acl
from .model import Rule

RULES: Final[tuple[Rule, ...]] = (
    *web_acl.RULES,
    *api.RULES,
    *usage_plans.RULES,
    *function.RULES,
    *network.RULES,
    *permissions.RULES,
    *table.RULES,
    *logs.RULES,
    *alarms.RULES,
)
