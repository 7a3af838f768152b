"""All rules of the policy pack, in the order in which a request meets their subjects."""

from typing import Final

from . import api, function, monitoring, network, permissions, table, usage_plans, web_acl
from .model import Rule

RULES: Final[tuple[Rule, ...]] = (
    *web_acl.RULES,
    *api.RULES,
    *usage_plans.RULES,
    *function.RULES,
    *network.RULES,
    *permissions.RULES,
    *table.RULES,
    *monitoring.RULES,
)
