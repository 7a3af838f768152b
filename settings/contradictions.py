"""Problems of settings that contradict each other although each of them is allowed."""

from collections.abc import Iterator, Sequence

from settings.errors import Problem, shown, written
from settings.paths import PROVIDER, Path
from settings.schema import OWN_RULES, StackSettings, StageThrottleSettings, ThrottleSettings
from throttling.account import MAX_API_KEYS, MAX_USAGE_PLANS, MAX_WCU


def contradictions(config: StackSettings) -> Iterator[Problem]:
    """Return all contradictions of a config."""
    old, new = config.table.old_deletion_protection, config.deletion_protection
    if old not in (None, new) and "deletion_protection" in config.model_fields_set:
        message = f"{shown(old)} contradicts its new name, deletionProtection: {shown(new)}."
        yield Problem(("table", "deletionProtection"), message)
    for name, plan in config.usage_plans.items():
        path = ("usagePlans", name)
        yield from _faster_than_stage(path, plan, config.throttle)
        yield from _listed_twice((*path, "clients"), plan.clients)
        for client, numbers in plan.keys.items():
            yield from _listed_twice((*path, "keys", client), numbers)
            if client not in plan.clients:
                message = f"the plan has no client {shown(client)}. Allowed: clients of the plan."
                yield Problem((*path, "keys", client), message)
    yield from _listed_twice(("monitoring", "alarmEmails"), config.monitoring.alarm_emails)
    path, groups = ("waf", "managedRuleGroups"), config.waf.managed_rule_groups
    yield from _listed_twice(path, [group.name for group in groups])
    for index, group in enumerate(groups):
        if group.name in OWN_RULES:
            message = f"{shown(group.name)} is the name of one of the web ACL's own rules."
            yield Problem((*path, index), message)
    least, most = config.waf.rate_limit, config.waf.source_rate_limit
    if config.waf.aggregate_by == "FORWARDED_IP" and most < least:
        message = (
            f"{most:,} from one server of the CDN is less than waf.rateLimit lets one caller send. "
            f"Allowed: at least {least:,}."
        )
        path = ("waf", "sourceRateLimit")
        yield Problem(path, message, [(path, written(least))])
    if config.provider.allowed_account_ids and config.provider.forbidden_account_ids:
        message = "cannot be used together with allowedAccountIds."
        yield Problem((PROVIDER, "forbiddenAccountIds"), message)
    yield from _too_many(config)


def _faster_than_stage(
    path: Path, plan: ThrottleSettings, stage: StageThrottleSettings
) -> Iterator[Problem]:
    # A method's throttle replaces the stage's for that method.
    buckets = (stage, *stage.methods.values())
    for name, value, most in (
        ("rateLimit", plan.rate_limit, max(bucket.rate_limit for bucket in buckets)),
        ("burstLimit", plan.burst_limit, max(bucket.burst_limit for bucket in buckets)),
    ):
        if value > most:
            message = (
                f"{value:,.10g} can never be reached behind the stage's {most:,.10g}. "
                f"Allowed: at most the stage's throttle.{name}, {most:,.10g}."
            )
            yield Problem((*path, name), message, [((*path, name), written(most))])


def _listed_twice(path: Path, items: Sequence[str | int]) -> Iterator[Problem]:
    seen: set[str | int] = set()
    for index, item in enumerate(items):
        if item in seen:
            yield Problem((*path, index), f"{shown(item)} is listed twice.")
        seen.add(item)


def _too_many(config: StackSettings) -> Iterator[Problem]:
    """Return the quotas of AWS that the config exceeds. Each command removes the last item."""
    plans, groups = config.usage_plans, config.waf.managed_rule_groups
    keys = [(name, len(plan.clients) - 1) for name, plan in plans.items() for _ in plan.api_keys()]
    name, last = (keys or [("", 0)])[-1]
    path: Path
    for path, count, most, what, item in (
        (("usagePlans",), len(plans), MAX_USAGE_PLANS, "plans in an account", ([*plans][-1],)),
        (("usagePlans",), len(keys), MAX_API_KEYS, "API keys in a Region", (name, "clients", last)),
        (
            *(("waf", "managedRuleGroups"), config.waf.wcu, MAX_WCU),
            *("capacity units (WCU) in a web ACL", (len(groups) - 1,)),
        ),
    ):
        if count > most:
            message = f"{count:,} {what} are too many. Allowed: at most {most:,}."
            yield Problem(path, message, [((*path, *item), None)])
