"""Problems of settings that contradict each other although each of them is allowed."""

from collections.abc import Iterator, Sequence

from settings.errors import Problem, shown, written
from settings.paths import Path
from settings.schema import RATE_METRIC, RATE_RULE, Config, ThrottleSettings
from throttling.account import MAX_API_KEYS, MAX_USAGE_PLANS, MAX_WCU


def contradictions(config: Config) -> Iterator[Problem]:
    """Return all contradictions of a config."""
    yield from _old_name(config)
    yield from _faster_than_stage(config)
    yield from _too_many(config)
    yield from _taken_names(config)
    yield from _unknown_clients(config)
    yield from _duplicates(config)


def _old_name(config: Config) -> Iterator[Problem]:
    table, new = config.table, config.deletion_protection
    both = "old_deletion_protection" in table.model_fields_set
    both = both and "deletion_protection" in config.model_fields_set
    if both and table.old_deletion_protection != new:
        path = ("table", "deletionProtection")
        message = f"{shown(not new)} contradicts its new name, deletionProtection: {shown(new)}."
        yield Problem(path, message, [(path, None)])


def _faster_than_stage(config: Config) -> Iterator[Problem]:
    buckets: list[tuple[Path, ThrottleSettings]] = [
        *((("usagePlans", name), plan) for name, plan in config.usage_plans.items()),
        *((("throttle", "methods", name), m) for name, m in config.throttle.methods.items()),
    ]
    for above, bucket in buckets:
        for name, value, stage in (
            ("rateLimit", bucket.rate_limit, config.throttle.rate_limit),
            ("burstLimit", bucket.burst_limit, config.throttle.burst_limit),
        ):
            if value > stage:
                message = (
                    f"{value:,.10g} can never be reached behind the stage's {stage:,.10g}. "
                    f"Allowed: at most the stage's throttle.{name}, {stage:,.10g}."
                )
                yield Problem((*above, name), message, [((*above, name), written(stage))])


def _too_many(config: Config) -> Iterator[Problem]:
    """Return the quotas of AWS that the config exceeds. Each command removes the last item."""
    plans, groups = config.usage_plans, config.waf.managed_rule_groups
    keys = sum(1 for plan in plans.values() for _ in plan.api_keys())
    *_, (name, clients) = [(n, plan.clients) for n, plan in plans.items() if plan.clients] or [
        ("", [])
    ]
    counts: list[tuple[Path, int, int, str, Path]] = [
        (("usagePlans",), len(plans), MAX_USAGE_PLANS, "plans in an account", ([*plans][-1],)),
        (
            ("usagePlans",),
            keys,
            MAX_API_KEYS,
            "API keys in a Region",
            (name, "clients", len(clients) - 1),
        ),
        (
            ("waf", "managedRuleGroups"),
            config.waf.wcu,
            MAX_WCU,
            "capacity units (WCU) in a web ACL",
            (len(groups) - 1,),
        ),
    ]
    for path, count, most, what, last in counts:
        if count > most:
            message = f"{count:,} {what} are too many. Allowed: at most {most:,}."
            yield Problem(path, message, [((*path, *last), None)])


def _taken_names(config: Config) -> Iterator[Problem]:
    for index, group in enumerate(config.waf.managed_rule_groups):
        if group.name in (RATE_RULE, RATE_METRIC):
            path = ("waf", "managedRuleGroups", index)
            message = f"{shown(group.name)} is the name of the web ACL's own rule or its metric."
            yield Problem(path, message, [(path, None)])


def _unknown_clients(config: Config) -> Iterator[Problem]:
    for name, plan in config.usage_plans.items():
        for client in sorted(plan.keys.keys() - set(plan.clients)):
            path = ("usagePlans", name, "keys", client)
            message = f"the plan has no client {shown(client)}. Allowed: clients of the plan."
            yield Problem(path, message, [(path, None)])


def _duplicates(config: Config) -> Iterator[Problem]:
    lists: list[tuple[Path, Sequence[str | int]]] = [
        *((("usagePlans", n, "clients"), plan.clients) for n, plan in config.usage_plans.items()),
        *(
            (("usagePlans", name, "keys", client), numbers)
            for name, plan in config.usage_plans.items()
            for client, numbers in plan.keys.items()
        ),
        (("waf", "managedRuleGroups"), [group.name for group in config.waf.managed_rule_groups]),
        (("monitoring", "alarmEmails"), config.monitoring.alarm_emails),
    ]
    for path, items in lists:
        first = {item: index for index, item in reversed([*enumerate(items)])}
        for index, item in enumerate(items):
            if index > first[item]:
                yield Problem(
                    (*path, index), f"{shown(item)} is listed twice.", [((*path, index), None)]
                )
