"""What a stack's config may hold, what it becomes, and what its owner is warned of."""

import re
from typing import Any

import pytest

from settings.schema import parse_settings
from tests.settings.configs import GOOD, PLAN, changed, parsed, typed
from tests.settings.pulumi_config import PROJECT, STACK, Tree, handed_over, run, text

# Values


def test_an_empty_config_has_the_documented_defaults() -> None:
    settings = parse_settings({}, project=PROJECT, stack="prod")
    assert settings.model_dump(by_alias=True, mode="json") == {
        "stageName": "prod",
        "throttle": {"rateLimit": 1000.0, "burstLimit": 2000, "methods": {}},
        "usagePlans": {
            "basic": {
                "rateLimit": 100.0,
                "burstLimit": 200,
                "quota": {"limit": 10_000, "period": "DAY"},
                "clients": ["default"],
                "keys": {},
            },
            "premium": {
                "rateLimit": 500.0,
                "burstLimit": 1000,
                "quota": {"limit": 100_000, "period": "DAY"},
                "clients": ["default"],
                "keys": {},
            },
        },
        "waf": {
            "enabled": True,
            "rateLimit": 2000,
            "windowSeconds": 300,
            "aggregateBy": "IP",
            "managedRuleGroups": [],
            "logging": True,
        },
        "function": {
            "memoryMb": 1024,
            "timeoutSeconds": 10,
            "reservedConcurrency": 100,
            "expectedDurationMs": 100,
            "architecture": "arm64",
            "runtime": "python3.13",
            "snapStart": False,
        },
        "table": {
            "maxWriteRequestUnits": None,
            "pointInTimeRecovery": True,
            "deletionProtection": True,
        },
        "network": {"cidr": "10.1.0.0/16", "availabilityZones": 2, "flowLogs": True},
        "monitoring": {
            "alarmEmails": [],
            "logRetentionDays": 365,
            "thresholds": {
                "throttledRequests": 100,
                "quotaExceededRequests": 100,
                "wafBlockedRequests": 100,
                "serverErrors": 5,
                "latencyP99Ms": 3000,
                "functionThrottles": 10,
                "functionErrors": 0,
                "functionDurationPercent": 80,
                "functionConcurrencyPercent": 80,
                "tableThrottles": 0,
            },
            "dashboard": True,
        },
        "manageApiGatewayLogging": True,
        "project": "throttled-api",
        "stack": "prod",
        "region": None,
        "profile": None,
    }


def test_a_plan_without_period_and_clients_has_a_daily_quota_and_one_default_client() -> None:
    assert typed({"usagePlans": {"only": PLAN}})["usagePlans"] == {
        "only": {
            "rateLimit": 5.0,
            "burstLimit": 10,
            "quota": {"limit": 20_000, "period": "DAY"},
            "clients": ["default"],
            "keys": {},
        }
    }


@pytest.mark.parametrize(
    ("key", "value", "path", "expected"),
    [
        ("stageName", "v2", ["stageName"], "v2"),
        ("stageName", "2024", ["stageName"], "2024"),
        ("manageApiGatewayLogging", "false", ["manageApiGatewayLogging"], False),
        ("throttle.rateLimit", "60", ["throttle", "rateLimit"], 60.0),
        ("throttle.rateLimit", "60.25", ["throttle", "rateLimit"], 60.25),
        ("throttle.rateLimit", "1e3", ["throttle", "rateLimit"], 1000.0),
        ("usagePlans.basic.rateLimit", "0.5", ["usagePlans", "basic", "rateLimit"], 0.5),
        ("usagePlans.basic.burstLimit", "007", ["usagePlans", "basic", "burstLimit"], 7),
        (
            "usagePlans.basic.quota.period",
            "WEEK",
            ["usagePlans", "basic", "quota", "period"],
            "WEEK",
        ),
        ("usagePlans.basic.clients[0]", "acme", ["usagePlans", "basic", "clients"], ["acme"]),
        ("usagePlans.basic.clients[0]", "2024", ["usagePlans", "basic", "clients"], ["2024"]),
        (
            'throttle.methods["POST /data"].rateLimit',
            "1.5",
            ["throttle", "methods", "POST /data", "rateLimit"],
            1.5,
        ),
        ("waf.enabled", "false", ["waf", "enabled"], False),
        ("waf.windowSeconds", "600", ["waf", "windowSeconds"], 600),
        (
            "waf.managedRuleGroups[1]",
            "AWSManagedRulesAnonymousIpList",
            ["waf", "managedRuleGroups", 1],
            {"name": "AWSManagedRulesAnonymousIpList", "vendorName": "AWS", "wcu": 50},
        ),
        ("function.reservedConcurrency", "none", ["function", "reservedConcurrency"], None),
        ("function.reservedConcurrency", "30", ["function", "reservedConcurrency"], 30),
        ("function.architecture", "x86_64", ["function", "architecture"], "x86_64"),
        ("function.snapStart", "true", ["function", "snapStart"], True),
        ("table.maxWriteRequestUnits", "none", ["table", "maxWriteRequestUnits"], None),
        ("network.cidr", "10.9.0.0/25", ["network", "cidr"], "10.9.0.0/25"),
        ("monitoring.alarmEmails[0]", "a@b.cd", ["monitoring", "alarmEmails"], ["a@b.cd"]),
        ("monitoring.logRetentionDays", "3653", ["monitoring", "logRetentionDays"], 3653),
        (
            "monitoring.thresholds.functionErrors",
            "0",
            ["monitoring", "thresholds", "functionErrors"],
            0,
        ),
    ],
)
def test_what_config_set_stores_is_accepted(
    key: str, value: str, path: list[Any], expected: object
) -> None:
    found: Any = typed(changed(f"{key} {value}"))
    for step in path:
        found = found[step]
    assert found == expected


def test_values_typed_by_hand_are_accepted_in_either_form() -> None:
    def texts(value: Any) -> Any:  # noqa: ANN401  JSON
        if isinstance(value, dict):
            return {name: texts(item) for name, item in value.items()}
        return [texts(item) for item in value] if isinstance(value, list) else text(value)

    assert typed(texts(GOOD)) == typed(GOOD)


def test_a_missing_value_is_none_where_none_is_allowed() -> None:
    assert parsed({"function": {"reservedConcurrency": None}}).function.reserved_concurrency is None


def test_a_managed_rule_group_of_another_vendor_comes_with_its_capacity() -> None:
    group = {"name": "Bots", "vendorName": "F5", "wcu": 1000}
    waf = parsed({"waf": {"managedRuleGroups": ["AWSManagedRulesCommonRuleSet", group]}}).waf
    assert [(g.vendor_name, g.name, g.wcu) for g in waf.managed_rule_groups] == [
        ("AWS", "AWSManagedRulesCommonRuleSet", 700),
        ("F5", "Bots", 1000),
    ]
    assert waf.wcu == 2 + 700 + 1000, "the rate rule itself takes 2 WCU"


def test_region_and_profile_come_from_the_namespace_of_the_provider() -> None:
    config = {**handed_over(GOOD), "aws:region": "eu-south-1", "aws:profile": "ops", "x:y": "z"}
    settings = parse_settings(config, project=PROJECT, stack=STACK)
    assert (settings.region, settings.profile) == ("eu-south-1", "ops")


def test_the_config_of_another_project_is_not_looked_at() -> None:
    assert parse_settings({"other:throttle": "5"}, project=PROJECT, stack=STACK) == parsed({})


def label(stack: str) -> str:
    return parse_settings({f"{PROJECT}:stageName": "a"}, project=PROJECT, stack=stack).label


def test_the_label_has_only_characters_that_every_aws_name_may_have() -> None:
    assert label("jane_doe-2") == "throttled-api-jane_doe-2"
    assert re.fullmatch("throttled-api-jane-doe-2-[0-9a-f]{6}", label("jane.doe-2"))


def test_no_two_stacks_have_one_label() -> None:
    stacks = ["jane.doe", "jane-doe", "jane_doe", "Jane-doe", "jane..doe", "jane.-doe"]
    assert len({label(stack) for stack in stacks}) == len(stacks)


# Warnings

WARNING = re.compile(
    r"throttled-api:(?P<key>\S+): (?P<message>.*)\n      (?P<command>pulumi config set .*)"
)


def warnings(tree: Tree, region: str = "eu-central-1") -> list[tuple[str, str, str]]:
    """Key, message and command of each warning about a config."""
    config = {**handed_over(tree), "aws:region": region}
    found = parse_settings(config, project=PROJECT, stack=STACK).warnings()
    parts = [WARNING.fullmatch(warning) for warning in found]
    assert None not in parts, f"a warning is a key, a message and a command: {found}"
    return [(part["key"], part["message"], part["command"]) for part in parts if part]


@pytest.mark.parametrize(
    ("assignments", "region", "key", "numbers", "fix"),
    [
        pytest.param(
            ["waf.rateLimit 1199"],
            "eu-central-1",
            "waf.rateLimit",
            ["1,199", "60", "20.0", "premium"],
            "1200",
            id="the WAF blocks an address before its plan's rate",
        ),
        pytest.param(
            ["usagePlans.basic.quota.limit 17999"],
            "eu-central-1",
            "usagePlans.basic.quota.limit",
            ["17,999", "3,600", "5"],
            "432000",
            id="a quota is gone in less than an hour",
        ),
        pytest.param(
            ["function.expectedDurationMs 501"],
            "eu-central-1",
            "function.reservedConcurrency",
            ["50", "501", "26", "25"],
            "26",
            id="the function is busy before the stage's rate",
        ),
        pytest.param(
            ["throttle.burstLimit 1251"],
            "eu-south-1",
            "throttle.burstLimit",
            ["1,251", "1,250", "eu-south-1"],
            "1250",
            id="the stage's burst is above a small Region's",
        ),
        pytest.param(
            ["usagePlans.premium.clients[2] third"],
            "eu-central-1",
            "throttle.rateLimit",
            ["65", "50"],
            "65",
            id="all clients together are faster than the stage",
        ),
    ],
)
def test_limits_that_contradict_each_other_are_warned_of_with_a_fix(
    assignments: list[str], region: str, key: str, numbers: list[str], fix: str
) -> None:
    assert warnings(GOOD, region) == [], "the limits agree before the edit"
    tree = changed(*assignments)
    [(found, message, command)] = warnings(tree, region)
    assert found == key
    for number in numbers:
        assert re.search(rf"(?<![\d.,]){re.escape(number)}(?![\d])", message), message
    assert command == f"pulumi config set --path throttled-api:{key} {fix} --stack dev"
    run(tree, command)
    assert warnings(tree, region) == [], "the command takes the warning away"


def test_a_burst_that_fits_a_large_region_is_not_warned_of_there() -> None:
    assert warnings(changed("throttle.burstLimit 1251"), "eu-central-1") == []


@pytest.mark.parametrize("assignment", ["waf.enabled false", "function.reservedConcurrency none"])
def test_a_limit_that_is_not_there_contradicts_none(assignment: str) -> None:
    low = ["waf.rateLimit 10", "function.expectedDurationMs 29000"]
    both = {key for key, _, _ in warnings(changed(*low))}
    left = {key for key, _, _ in warnings(changed(*low, assignment))}
    assert both == {"waf.rateLimit", "function.reservedConcurrency"}
    assert both - left == {assignment.replace("enabled false", "rateLimit").split()[0]}
