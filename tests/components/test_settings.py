"""What a stack's config may hold, what it becomes, and what its owner is told when it may not."""

import re
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from components.config_errors import SettingsError
from components.settings import Settings, parse_settings
from tests.components.pulumi_config import PROJECT, STACK, Tree, commands, handed_over, run, text

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


def without(tree: Tree, *path: Any) -> Tree:  # noqa: ANN401
    """A copy of a config without the setting at `path`."""
    copy = deepcopy(tree)
    parent = copy
    for step in path[:-1]:
        parent = parent[step]
    del parent[path[-1]]
    return copy


def changed(*assignments: str) -> Tree:
    """GOOD after `pulumi config set --path` of each `key value`."""
    tree = deepcopy(GOOD)
    for assignment in assignments:
        key, value = assignment.rsplit(" ", 1)
        run(tree, f"pulumi config set --path '{PROJECT}:{key}' {value} --stack {STACK}")
    return tree


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
            },
            "premium": {
                "rateLimit": 500.0,
                "burstLimit": 1000,
                "quota": {"limit": 100_000, "period": "DAY"},
                "clients": ["default"],
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


def test_the_label_has_only_characters_that_every_aws_name_may_have() -> None:
    settings = parse_settings({f"{PROJECT}:stageName": "live"}, project=PROJECT, stack="jane.doe-2")
    assert settings.label == "throttled-api-jane-doe-2"


# Errors


def error(*lines: str) -> str:
    """The whole text of a refusal, whose problems begin with the project's name."""
    count = sum(line.startswith(PROJECT) for line in lines)
    problems = "1 problem" if count == 1 else f"{count} problems"
    return "\n".join(
        [
            f"{problems} in the config of stack dev; nothing was changed.",
            *(f"  {line}" if line.startswith(PROJECT) else f"      {line}" for line in lines),
        ]
    )


COUNT = "Allowed: a whole number from 0 to 1,000,000,000."
BURST = "Allowed: a whole number from 1 to 1,000,000."
RATE = "Allowed: a number of requests per second from 0.001 to 1,000,000."
NAME = "Allowed: 1 to 64 letters, digits, - and _, the first a letter or a digit."
CIDR = "Allowed: an IPv4 network from /16 to /25, as each zone gets an eighth of it."
SECTIONS = (
    "Allowed: stageName, throttle, usagePlans, waf, function, table, network, monitoring, "
    "manageApiGatewayLogging."
)
FUNCTION = (
    "Allowed: memoryMb, timeoutSeconds, reservedConcurrency, expectedDurationMs, architecture, "
    "runtime, snapStart."
)
AWS_GROUPS = (
    "Allowed: one of AWSManagedRulesCommonRuleSet, AWSManagedRulesAdminProtectionRuleSet, "
    "AWSManagedRulesKnownBadInputsRuleSet, AWSManagedRulesSQLiRuleSet, "
    "AWSManagedRulesLinuxRuleSet, AWSManagedRulesUnixRuleSet, AWSManagedRulesWindowsRuleSet, "
    "AWSManagedRulesPHPRuleSet, AWSManagedRulesWordPressRuleSet, "
    "AWSManagedRulesAmazonIpReputationList, AWSManagedRulesAnonymousIpList, or a mapping of name, "
    "vendorName and wcu."
)


@pytest.mark.parametrize(
    ("assignment", "lines"),
    [
        (
            "usagePlans.basic.rateLimit 50.5",
            [
                "throttled-api:usagePlans.basic.rateLimit: 50.5 can never be reached behind the "
                "stage's 50. Allowed: at most the stage's throttle.rateLimit, 50.",
                "pulumi config set --path throttled-api:usagePlans.basic.rateLimit 50 --stack dev",
            ],
        ),
        (
            "usagePlans.premium.burstLimit 1101",
            [
                "throttled-api:usagePlans.premium.burstLimit: 1,101 can never be reached behind "
                "the stage's 100. Allowed: at most the stage's throttle.burstLimit, 100.",
                "pulumi config set --path throttled-api:usagePlans.premium.burstLimit 100 "
                "--stack dev",
            ],
        ),
        (
            'throttle.methods["POST /data"].rateLimit 51',
            [
                'throttled-api:throttle.methods["POST /data"].rateLimit: 51 can never be reached '
                "behind the stage's 50. Allowed: at most the stage's throttle.rateLimit, 50.",
                "pulumi config set --path "
                "'throttled-api:throttle.methods[\"POST /data\"].rateLimit' 50 --stack dev",
            ],
        ),
        (
            'throttle.methods["POST /data"].burstLimit 101',
            [
                'throttled-api:throttle.methods["POST /data"].burstLimit: 101 can never be reached '
                "behind the stage's 100. Allowed: at most the stage's throttle.burstLimit, 100.",
                "pulumi config set --path "
                "'throttled-api:throttle.methods[\"POST /data\"].burstLimit' 100 --stack dev",
            ],
        ),
        (
            "function.timeoutSeconds 30",
            [
                "throttled-api:function.timeoutSeconds: 30 is above what is allowed. "
                "Allowed: a whole number from 1 to 29.",
                "pulumi config set --path throttled-api:function.timeoutSeconds 29 --stack dev",
            ],
        ),
        (
            "function.timeoutSeconds 0",
            [
                "throttled-api:function.timeoutSeconds: 0 is below what is allowed. "
                "Allowed: a whole number from 1 to 29.",
                "pulumi config set --path throttled-api:function.timeoutSeconds 1 --stack dev",
            ],
        ),
        (
            "network.cidr 10.9.0.64/26",
            [
                f"throttled-api:network.cidr: '10.9.0.64/26' is too small for its subnets. {CIDR}",
                "pulumi config set --path throttled-api:network.cidr 10.9.0.0/25 --stack dev",
            ],
        ),
        (
            "network.cidr 10.0.0.0/8",
            [
                f"throttled-api:network.cidr: '10.0.0.0/8' is larger than AWS allows. {CIDR}",
                "pulumi config set --path throttled-api:network.cidr 10.0.0.0/16 --stack dev",
            ],
        ),
        (
            "network.cidr 10.9.0.1/24",
            [
                f"throttled-api:network.cidr: '10.9.0.1/24' has bits set behind its prefix. {CIDR}",
                "pulumi config set --path throttled-api:network.cidr 10.9.0.0/24 --stack dev",
            ],
        ),
        (
            "network.cidr 10.9.0.0",
            [
                f"throttled-api:network.cidr: '10.9.0.0' is not an IPv4 network. {CIDR}",
                "pulumi config set --path throttled-api:network.cidr 10.1.0.0/16 --stack dev",
            ],
        ),
        (
            "network.cidr 2001:db8::/56",
            [
                f"throttled-api:network.cidr: '2001:db8::/56' is not an IPv4 network. {CIDR}",
                "pulumi config set --path throttled-api:network.cidr 10.1.0.0/16 --stack dev",
            ],
        ),
        (
            "throttle.rateLimit fast",
            [
                f"throttled-api:throttle.rateLimit: 'fast' is not a number. {RATE}",
                "pulumi config set --path throttled-api:throttle.rateLimit 10 --stack dev",
            ],
        ),
        (
            "usagePlans.basic.rateLimit 0",
            [
                "throttled-api:usagePlans.basic.rateLimit: 0 is not above 0. " + RATE,
                "pulumi config set --path throttled-api:usagePlans.basic.rateLimit 10 --stack dev",
            ],
        ),
        (
            "usagePlans.basic.rateLimit 1e-9",
            [
                "throttled-api:usagePlans.basic.rateLimit: '1e-9' is below what is allowed. "
                + RATE,
                "pulumi config set --path throttled-api:usagePlans.basic.rateLimit 0.001 "
                "--stack dev",
            ],
        ),
        (
            "throttle.rateLimit 1000001",
            [
                f"throttled-api:throttle.rateLimit: 1000001 is above what is allowed. {RATE}",
                "pulumi config set --path throttled-api:throttle.rateLimit 1000000 --stack dev",
            ],
        ),
        (
            "usagePlans.basic.burstLimit 7.5",
            [
                "throttled-api:usagePlans.basic.burstLimit: '7.5' is not a whole number. " + BURST,
                "pulumi config set --path throttled-api:usagePlans.basic.burstLimit 20 --stack dev",
            ],
        ),
        (
            "usagePlans.basic.burstLimit true",
            [
                "throttled-api:usagePlans.basic.burstLimit: true is not a whole number. " + BURST,
                "pulumi config set --path throttled-api:usagePlans.basic.burstLimit 20 --stack dev",
            ],
        ),
        (
            "usagePlans.basic.burstLimit none",
            [
                "throttled-api:usagePlans.basic.burstLimit: 'none' is not a whole number. " + BURST,
                "pulumi config set --path throttled-api:usagePlans.basic.burstLimit 20 --stack dev",
            ],
        ),
        (
            "function.reservedConcurrency 0",
            [
                "throttled-api:function.reservedConcurrency: 0 is below what is allowed. "
                "Allowed: a whole number from 1 to 100,000, or none.",
                "pulumi config set --path throttled-api:function.reservedConcurrency 1 --stack dev",
            ],
        ),
        (
            "function.snapStart no",
            [
                "throttled-api:function.snapStart: 'no' is neither true nor false. "
                "Allowed: true or false.",
                "pulumi config set --path throttled-api:function.snapStart true --stack dev",
            ],
        ),
        (
            "manageApiGatewayLogging 1",
            [
                "throttled-api:manageApiGatewayLogging: '1' is neither true nor false. "
                "Allowed: true or false.",
                "pulumi config set --path throttled-api:manageApiGatewayLogging true --stack dev",
            ],
        ),
        (
            "waf.windowSeconds 500",
            [
                "throttled-api:waf.windowSeconds: 500 is not among what is allowed. "
                "Allowed: one of 60, 120, 300, 600.",
                "pulumi config set --path throttled-api:waf.windowSeconds 600 --stack dev",
            ],
        ),
        (
            "waf.windowSeconds true",
            [
                "throttled-api:waf.windowSeconds: true is not among what is allowed. "
                "Allowed: one of 60, 120, 300, 600.",
                "pulumi config set --path throttled-api:waf.windowSeconds 60 --stack dev",
            ],
        ),
        (
            "waf.aggregateBy ip",
            [
                "throttled-api:waf.aggregateBy: 'ip' is not among what is allowed. "
                "Allowed: one of IP, FORWARDED_IP.",
                "pulumi config set --path throttled-api:waf.aggregateBy IP --stack dev",
            ],
        ),
        (
            "usagePlans.premium.quota.period HOUR",
            [
                "throttled-api:usagePlans.premium.quota.period: 'HOUR' is not among what is "
                "allowed. Allowed: one of DAY, WEEK, MONTH.",
                "pulumi config set --path throttled-api:usagePlans.premium.quota.period DAY "
                "--stack dev",
            ],
        ),
        (
            "stageName a/b",
            [
                "throttled-api:stageName: 'a/b' does not fit. Allowed: letters, digits, - and _.",
                "pulumi config set --path throttled-api:stageName live --stack dev",
            ],
        ),
        (
            "usagePlans.premium.clients[1] true",
            [
                f"throttled-api:usagePlans.premium.clients[1]: true is not text. {NAME}",
                "pulumi config set --path 'throttled-api:usagePlans.premium.clients[1]' default "
                "--stack dev",
            ],
        ),
        (
            "monitoring.alarmEmails[0] ops",
            [
                "throttled-api:monitoring.alarmEmails[0]: 'ops' does not fit. "
                "Allowed: an e-mail address.",
                "pulumi config set --path 'throttled-api:monitoring.alarmEmails[0]' "
                "ops@example.com --stack dev",
            ],
        ),
        (
            "waf.managedRuleGroups[0] AWSManagedRulesCommon",
            [
                "throttled-api:waf.managedRuleGroups[0]: 'AWSManagedRulesCommon' is not among "
                f"what is allowed. {AWS_GROUPS}",
                "pulumi config set --path 'throttled-api:waf.managedRuleGroups[0]' "
                "AWSManagedRulesCommonRuleSet --stack dev",
            ],
        ),
        (
            "throttle 50",
            [
                "throttled-api:throttle: '50' is not a mapping of settings.",
                "pulumi config rm --path throttled-api:throttle --stack dev",
            ],
        ),
        (
            "throttle.methods 50",
            [
                "throttled-api:throttle.methods: 50 is not a mapping of settings.",
                "pulumi config rm --path throttled-api:throttle.methods --stack dev",
            ],
        ),
        (
            "usagePlans.basic.quota 1000",
            [
                "throttled-api:usagePlans.basic.quota: 1000 is not a mapping of settings.",
                "pulumi config rm --path throttled-api:usagePlans.basic.quota --stack dev",
                "pulumi config set --path throttled-api:usagePlans.basic.quota.limit 10000 "
                "--stack dev",
            ],
        ),
        (
            "usagePlans.trial 1000",
            [
                "throttled-api:usagePlans.trial: 1000 is not a mapping of settings.",
                "pulumi config rm --path throttled-api:usagePlans.trial --stack dev",
            ],
        ),
        (
            "usagePlans.premium.clients acme",
            [
                "throttled-api:usagePlans.premium.clients: 'acme' is not a list.",
                "pulumi config rm --path throttled-api:usagePlans.premium.clients --stack dev",
            ],
        ),
        (
            "monitoring.thresholds.serverErrors 1000000001",
            [
                "throttled-api:monitoring.thresholds.serverErrors: 1000000001 is above what is "
                f"allowed. {COUNT}",
                "pulumi config set --path throttled-api:monitoring.thresholds.serverErrors "
                "1000000000 "
                "--stack dev",
            ],
        ),
        (
            "rateLimit 50",
            [
                f"throttled-api:rateLimit: is not a setting. {SECTIONS}",
                "pulumi config rm --path throttled-api:rateLimit --stack dev",
            ],
        ),
        (
            '["stage.name"] live',
            [
                'throttled-api:["stage.name"]: is not a setting (did you mean stageName?). '
                + SECTIONS,
                "pulumi config rm --path 'throttled-api:[\"stage.name\"]' --stack dev",
            ],
        ),
        (
            "throtle.rateLimit 50",
            [
                f"throttled-api:throtle: is not a setting (did you mean throttle?). {SECTIONS}",
                "pulumi config rm --path throttled-api:throtle --stack dev",
            ],
        ),
        (
            "function.memory 256",
            [
                f"throttled-api:function.memory: is not a setting (did you mean memoryMb?). "
                f"{FUNCTION}",
                "pulumi config rm --path throttled-api:function.memory --stack dev",
            ],
        ),
        (
            "function.handler app.main",
            [
                f"throttled-api:function.handler: is not a setting. {FUNCTION}",
                "pulumi config rm --path throttled-api:function.handler --stack dev",
            ],
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_value_is_refused_with_what_is_allowed_and_a_command(
    assignment: str, lines: list[str]
) -> None:
    assert refusal(changed(assignment)) == error(*lines)


def with_plan(**changes: Any) -> Tree:  # noqa: ANN401
    """GOOD with another plan, whose settings these are."""
    return {**GOOD, "usagePlans": {**GOOD["usagePlans"], "trial": {**PLAN, **changes}}}


@pytest.mark.parametrize(
    ("tree", "lines"),
    [
        (
            {**GOOD, "usagePlans": {"trial": {}}},
            [
                f"throttled-api:usagePlans.trial.rateLimit: is missing. {RATE}",
                "pulumi config set --path throttled-api:usagePlans.trial.rateLimit 10 --stack dev",
                f"throttled-api:usagePlans.trial.burstLimit: is missing. {BURST}",
                "pulumi config set --path throttled-api:usagePlans.trial.burstLimit 20 --stack dev",
                "throttled-api:usagePlans.trial.quota: is missing. "
                "Allowed: a whole number from 1 to 2,147,483,647.",
                "pulumi config set --path throttled-api:usagePlans.trial.quota.limit 10000 "
                "--stack dev",
            ],
        ),
        (
            {"usagePlans": {}},
            [
                "throttled-api:usagePlans: is empty. Allowed: at least one.",
                "pulumi config rm --path throttled-api:usagePlans --stack dev",
            ],
        ),
        (
            {"waf": {"managedRuleGroups": [{"name": "Bots"}]}},
            [
                "throttled-api:waf.managedRuleGroups[0].wcu: is missing. "
                "Allowed: a whole number from 1 to 5,000.",
                "pulumi config set --path 'throttled-api:waf.managedRuleGroups[0].wcu' 100 "
                "--stack dev",
            ],
        ),
        (
            with_plan(rateLimit=float("nan")),
            [
                f"throttled-api:usagePlans.trial.rateLimit: nan is not a number. {RATE}",
                "pulumi config set --path throttled-api:usagePlans.trial.rateLimit 10 --stack dev",
            ],
        ),
        (
            with_plan(rateLimit=[5]),
            [
                f"throttled-api:usagePlans.trial.rateLimit: [5] is not a number. {RATE}",
                "pulumi config set --path throttled-api:usagePlans.trial.rateLimit 10 --stack dev",
            ],
        ),
        (
            with_plan(burstLimit="7" * 80),
            [
                "throttled-api:usagePlans.trial.burstLimit: '" + "7" * 58 + "… is not a whole "
                f"number. {BURST}",
                "pulumi config set --path throttled-api:usagePlans.trial.burstLimit 20 --stack dev",
            ],
        ),
        # Names
        (
            {**GOOD, "usagePlans": {**GOOD["usagePlans"], "pay as you go": {**PLAN, "burst": 1}}},
            [
                "throttled-api:usagePlans[\"pay as you go\"]: the name 'pay as you go' does not "
                f"fit. {NAME}",
                "pulumi config rm --path 'throttled-api:usagePlans[\"pay as you go\"]' --stack dev",
            ],
        ),
        (
            with_plan(clients=["a.b"]),
            [
                f"throttled-api:usagePlans.trial.clients[0]: 'a.b' does not fit. {NAME}",
                "pulumi config set --path 'throttled-api:usagePlans.trial.clients[0]' default "
                "--stack dev",
            ],
        ),
        (
            {"throttle": {"methods": {"GET /data": {"rateLimit": 1, "burstLimit": 1}}}},
            [
                "throttled-api:throttle.methods[\"GET /data\"]: the name 'GET /data' is not among "
                "what is allowed. Allowed: one of POST /data.",
                "pulumi config rm --path 'throttled-api:throttle.methods[\"GET /data\"]' "
                "--stack dev",
            ],
        ),
        # Misspelt settings
        (
            {"stageNam": "v2"},
            [
                f"throttled-api:stageNam: is not a setting (did you mean stageName?). {SECTIONS}",
                "pulumi config rm --path throttled-api:stageNam --stack dev",
                "pulumi config set --path throttled-api:stageName v2 --stack dev",
            ],
        ),
        (
            without(changed("function.memorymb 256"), "function", "memoryMb"),
            [
                f"throttled-api:function.memorymb: is not a setting (did you mean memoryMb?). "
                f"{FUNCTION}",
                "pulumi config rm --path throttled-api:function.memorymb --stack dev",
                "pulumi config set --path throttled-api:function.memoryMb 256 --stack dev",
            ],
        ),
        (
            {"function": {"snapstart": True}},
            [
                f"throttled-api:function.snapstart: is not a setting (did you mean snapStart?). "
                f"{FUNCTION}",
                "pulumi config rm --path throttled-api:function.snapstart --stack dev",
                "pulumi config set --path throttled-api:function.snapStart true --stack dev",
            ],
        ),
        # Duplicates: from the last to the first, as the items behind a removed one move up.
        (
            with_plan(clients=["a", "b", "a", "c", "b", "a"]),
            [
                "throttled-api:usagePlans.trial.clients[5]: 'a' is listed twice.",
                "pulumi config rm --path 'throttled-api:usagePlans.trial.clients[5]' --stack dev",
                "throttled-api:usagePlans.trial.clients[4]: 'b' is listed twice.",
                "pulumi config rm --path 'throttled-api:usagePlans.trial.clients[4]' --stack dev",
                "throttled-api:usagePlans.trial.clients[2]: 'a' is listed twice.",
                "pulumi config rm --path 'throttled-api:usagePlans.trial.clients[2]' --stack dev",
            ],
        ),
        (
            {"monitoring": {"alarmEmails": ["a@b.cd", "a@b.cd"]}},
            [
                "throttled-api:monitoring.alarmEmails[1]: 'a@b.cd' is listed twice.",
                "pulumi config rm --path 'throttled-api:monitoring.alarmEmails[1]' --stack dev",
            ],
        ),
        (
            {"waf": {"managedRuleGroups": ["AWSManagedRulesSQLiRuleSet"] * 2}},
            [
                "throttled-api:waf.managedRuleGroups[1]: 'AWSManagedRulesSQLiRuleSet' is listed "
                "twice.",
                "pulumi config rm --path 'throttled-api:waf.managedRuleGroups[1]' --stack dev",
            ],
        ),
        # Too many
        (
            {
                "waf": {
                    "managedRuleGroups": [
                        {"name": "Bots", "wcu": 4299},
                        "AWSManagedRulesCommonRuleSet",
                    ]
                }
            },
            [
                "throttled-api:waf.managedRuleGroups: all rules together use 5,001 web ACL "
                "capacity units (WCU). Allowed: at most 5,000 WCU in one web ACL.",
                "pulumi config rm --path 'throttled-api:waf.managedRuleGroups[1]' --stack dev",
            ],
        ),
        (
            {**GOOD, "usagePlans": {f"p{i}": PLAN for i in range(301)}},
            [
                "throttled-api:usagePlans: 301 plans are more than an account may have. "
                "Allowed: at most 300.",
                "pulumi config rm --path throttled-api:usagePlans.p300 --stack dev",
            ],
        ),
        (
            with_plan(clients=[f"c{i}" for i in range(9_998)]),
            [
                "throttled-api:usagePlans: 10,001 clients are more API keys than a Region may "
                "have. Allowed: at most 10,000 clients in all plans together.",
                "pulumi config rm --path 'throttled-api:usagePlans.trial.clients[9997]' "
                "--stack dev",
            ],
        ),
        # All at once, and what depends on several values although others are wrong
        (
            {
                **changed("function.timeoutSeconds 60", "network.flowLogs on"),
                "usagePlans": {
                    "basic": {"rateLimit": "x", "burstLimit": 101, "quota": {"limit": 0}},
                    "premium": {**PLAN, "clients": ["a", "a"], "rateLimit": 51},
                },
                "nework": {},
                "table": {"ttl": "1"},
            },
            [
                "throttled-api:usagePlans.basic.rateLimit: 'x' is not a number. " + RATE,
                "pulumi config set --path throttled-api:usagePlans.basic.rateLimit 10 --stack dev",
                "throttled-api:usagePlans.basic.quota.limit: 0 is below what is allowed. "
                "Allowed: a whole number from 1 to 2,147,483,647.",
                "pulumi config set --path throttled-api:usagePlans.basic.quota.limit 1 --stack dev",
                "throttled-api:function.timeoutSeconds: 60 is above what is allowed. "
                "Allowed: a whole number from 1 to 29.",
                "pulumi config set --path throttled-api:function.timeoutSeconds 29 --stack dev",
                "throttled-api:table.ttl: is not a setting. Allowed: maxWriteRequestUnits, "
                "pointInTimeRecovery, deletionProtection.",
                "pulumi config rm --path throttled-api:table.ttl --stack dev",
                "throttled-api:network.flowLogs: 'on' is neither true nor false. "
                "Allowed: true or false.",
                "pulumi config set --path throttled-api:network.flowLogs true --stack dev",
                f"throttled-api:nework: is not a setting (did you mean network?). {SECTIONS}",
                "pulumi config rm --path throttled-api:nework --stack dev",
                "throttled-api:usagePlans.basic.burstLimit: 101 can never be reached behind the "
                "stage's 100. Allowed: at most the stage's throttle.burstLimit, 100.",
                "pulumi config set --path throttled-api:usagePlans.basic.burstLimit 100 "
                "--stack dev",
                "throttled-api:usagePlans.premium.rateLimit: 51 can never be reached behind the "
                "stage's 50. Allowed: at most the stage's throttle.rateLimit, 50.",
                "pulumi config set --path throttled-api:usagePlans.premium.rateLimit 50 "
                "--stack dev",
                "throttled-api:usagePlans.premium.clients[1]: 'a' is listed twice.",
                "pulumi config rm --path 'throttled-api:usagePlans.premium.clients[1]' --stack dev",
            ],
        ),
    ],
)
def test_a_wrong_config_is_refused_whole(tree: Tree, lines: list[str]) -> None:
    assert refusal(tree) == error(*lines)


def test_the_largest_config_is_accepted() -> None:
    clients = [f"c{i}" for i in range(10_000 - 299)]
    plans = {f"p{i}": {**PLAN, "clients": clients if i == 0 else ["c"]} for i in range(300)}
    assert len(parsed({"usagePlans": plans}).usage_plans) == 300
    group = {"name": "Bots", "wcu": 4298}
    waf = parsed({"waf": {"managedRuleGroups": [group, "AWSManagedRulesCommonRuleSet"]}}).waf
    assert waf.wcu == 5000


def test_a_plan_as_fast_as_its_stage_is_accepted() -> None:
    fast = changed("usagePlans.basic.rateLimit 50", "usagePlans.basic.burstLimit 100")
    assert parsed(fast).usage_plans["basic"].rate_limit == 50


def test_a_wrong_stage_is_not_held_against_its_plans() -> None:
    problems = refusal(changed("throttle.rateLimit 0", "throttle.burstLimit 10.5"))
    assert re.findall(f"{PROJECT}:(\\S+): ", problems) == [
        "throttle.rateLimit",
        "throttle.burstLimit",
    ]


def test_a_secret_is_refused_without_being_shown() -> None:
    tree = {**GOOD, "throttle": "correct-horse"}
    message = refusal(tree, secret_keys=[f"{PROJECT}:throttle", "aws:secretKey"])
    assert message == error(
        "throttled-api:throttle: is stored as a secret, which a preview cannot show.",
        "pulumi config rm --path throttled-api:throttle --stack dev",
    )


def test_a_name_with_quotes_is_quoted_for_pulumi_and_for_the_shell() -> None:
    tree = {**GOOD, 'it\'s "new"': "x"}
    message = refusal(tree)
    assert message == error(
        'throttled-api:["it\'s \\"new\\""]: is not a setting. ' + SECTIONS,
        """pulumi config rm --path 'throttled-api:["it'"'"'s \\"new\\""]' --stack dev""",
    )
    run(tree, commands(message)[0])
    assert tree == GOOD


def test_a_command_names_the_stack_as_the_shell_needs_it() -> None:
    config = {f"{PROJECT}:waf": "off", f"{PROJECT}:stageName": "live"}
    with pytest.raises(SettingsError) as refused:
        parse_settings(config, project=PROJECT, stack="my stack")
    assert str(refused.value) == (
        "1 problem in the config of stack my stack; nothing was changed.\n"
        "  throttled-api:waf: 'off' is not a mapping of settings.\n"
        "      pulumi config rm --path throttled-api:waf --stack 'my stack'"
    )


# Every command helps

# Not what a terminal cannot show; and the engine itself refuses a key without a name, or with a
# colon in it.
characters = st.characters(exclude_categories=["C", "Z"], exclude_characters=":")
names = st.text(characters, min_size=1, max_size=8) | st.sampled_from(
    [*GOOD, "rateLimit", "rate.Limit", "pay as you go", "basic", "AWS"]
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(characters, max_size=8)
    | st.sampled_from(["none", "true", "0.5", "1e400", "10.0.0.0/28", "-7", "007", "a@b.cd"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=5,
)


def places(tree: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:  # noqa: ANN401
    """The paths of all values in a config."""
    steps = tree if isinstance(tree, dict) else range(len(tree) if isinstance(tree, list) else 0)
    return [
        path for step in steps for path in [(*above, step), *places(tree[step], (*above, step))]
    ]


@st.composite
def broken_configs(draw: st.DrawFn) -> Tree:
    """A good config after a few careless edits."""
    tree = deepcopy({name: GOOD[name] for name in draw(st.sets(st.sampled_from([*GOOD])))})
    for _ in range(draw(st.integers(0, 4))):
        here = draw(st.sampled_from([(), *places(tree)]))
        container: Any = tree
        parent: Any = None
        for step in here:
            parent, container = container, container[step]
        match draw(st.sampled_from(["replace", "remove", "add", "rename", "repeat"])), container:
            case "add", dict():
                container[draw(names)] = draw(json_values)
            case "add" | "repeat", list():
                container.append(draw(json_values | st.sampled_from(container or [1])))
            case "rename", dict() if container:
                old = draw(st.sampled_from([*container]))
                new = draw(st.sampled_from([f"{old}s", old.lower(), f"{old[1:]}x"]))
                container[new] = container.pop(old)
            case "remove", _ if parent is not None:
                del parent[here[-1]]
            case "replace", _ if parent is not None:
                parent[here[-1]] = draw(json_values)
    return tree


@settings(deadline=None, max_examples=300)
@given(tree=broken_configs())
@example(tree={"usagePlans": {"pay as you go": {"rateLimit": 0}}})
@example(tree={"usagePlans": {"basic": {**PLAN, "quota": "none"}}})
@example(tree={"throttle": {"rateLimit": 0.12345678915, "burstLimit": 1}})
def test_following_the_commands_leads_to_a_good_config(tree: Tree) -> None:
    for _ in range(8):
        try:
            parsed(tree)
        except SettingsError as refused:
            for command in commands(str(refused)):
                run(tree, command)
        else:
            return
    pytest.fail(f"still refused after eight rounds: {refusal(tree)}")


@settings(deadline=None, max_examples=300)
@given(tree=st.dictionaries(names, json_values, max_size=4) | broken_configs())
def test_any_config_is_either_typed_or_refused(tree: Tree) -> None:
    try:
        parsed(tree)
    except SettingsError as error:
        refused = error
    else:
        return
    assert refused.problems
    printed = commands(str(refused))
    assert len(printed) >= len(refused.problems), "every problem has its command"


def test_a_config_nested_beyond_reading_is_refused() -> None:
    deep = {f"{PROJECT}:throttle": "[" * 100_000}
    with pytest.raises(SettingsError, match="is not a mapping of settings"):
        parse_settings(deep, project=PROJECT, stack=STACK)


@pytest.mark.parametrize(
    ("tree", "path"),
    [
        ({"function": {"memoryMb": 256, "memorymb": 512}}, ["function", "memoryMb"]),
        ({"usagePlans": {"p": {**PLAN, "quotas": 5}}}, ["usagePlans", "p", "quota"]),
    ],
)
def test_a_misspelt_setting_does_not_overwrite_the_right_one(tree: Tree, path: list[str]) -> None:
    before: Any = deepcopy(tree)
    for command in commands(refusal(tree)):
        run(tree, command)
    after: Any = tree
    for step in path:
        before, after = before[step], after[step]
    assert after == before


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
