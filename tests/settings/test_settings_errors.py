"""What the owner of a config is told that cannot be used: every problem, each with its fix."""

import re
from copy import deepcopy
from typing import Any

import pytest

from settings.errors import SettingsError
from settings.schema import parse_settings
from tests.settings.configs import GOOD, PLAN, changed, parsed, refusal
from tests.settings.pulumi_config import PROJECT, STACK, Tree, commands, run


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


def without(tree: Tree, *path: Any) -> Tree:  # noqa: ANN401
    """A copy of a config without the setting at `path`."""
    copy = deepcopy(tree)
    parent = copy
    for step in path[:-1]:
        parent = parent[step]
    del parent[path[-1]]
    return copy


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
                "throttled-api:usagePlans: 10,001 API keys of all clients are more than a Region "
                "may have. Allowed: at most 10,000 in all plans together.",
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


@pytest.mark.parametrize(
    ("key", "low", "high"),
    [
        ("throttle.burstLimit", 1, 1_000_000),
        ("usagePlans.basic.burstLimit", 1, 1_000_000),
        ("usagePlans.basic.quota.limit", 1, 2_147_483_647),
        ("waf.rateLimit", 10, 2_000_000_000),
        ("function.memoryMb", 128, 10_240),
        ("function.timeoutSeconds", 1, 29),
        ("function.reservedConcurrency", 1, 100_000),
        ("function.expectedDurationMs", 1, 29_000),
        ("table.maxWriteRequestUnits", 1, 1_000_000),
        ("network.availabilityZones", 1, 6),
        ("monitoring.thresholds.throttledRequests", 0, 1_000_000_000),
        ("monitoring.thresholds.quotaExceededRequests", 0, 1_000_000_000),
        ("monitoring.thresholds.wafBlockedRequests", 0, 1_000_000_000),
        ("monitoring.thresholds.serverErrors", 0, 1_000_000_000),
        ("monitoring.thresholds.latencyP99Ms", 1, 29_000),
        ("monitoring.thresholds.functionThrottles", 0, 1_000_000_000),
        ("monitoring.thresholds.functionErrors", 0, 1_000_000_000),
        ("monitoring.thresholds.functionDurationPercent", 1, 100),
        ("monitoring.thresholds.functionConcurrencyPercent", 1, 100),
        ("monitoring.thresholds.tableThrottles", 0, 1_000_000_000),
    ],
)
def test_a_number_is_accepted_within_its_bounds_only(key: str, low: int, high: int) -> None:
    def fixes(value: int) -> list[str | None]:
        """What would put the value right; nothing for one that is."""
        *sections, name = key.split(".")
        tree = deepcopy(GOOD)
        # Faster than anything, so that only the number itself is in question.
        tree["throttle"] = {"rateLimit": 1_000_000, "burstLimit": 1_000_000}
        section: Any = tree
        for step in sections:
            section = section.setdefault(step, {})
        section[name] = value
        try:
            parsed(tree)
        except SettingsError as error:
            return [p.fix for p in error.problems if p.path == (*sections, name)]
        return []

    assert [fixes(low), fixes(high)] == [[], []]
    assert fixes(low - 1) == [str(low)]
    assert fixes(high + 1) == [str(high)]


@pytest.mark.parametrize(
    ("key", "choices"),
    [
        ("waf.windowSeconds", ["60", "120", "300", "600"]),
        ("waf.aggregateBy", ["IP", "FORWARDED_IP"]),
        ("function.architecture", ["arm64", "x86_64"]),
        ("function.runtime", ["python3.13", "python3.12", "python3.14"]),
        ("usagePlans.basic.quota.period", ["DAY", "WEEK", "MONTH"]),
        (
            "monitoring.logRetentionDays",
            [
                *("1", "3", "5", "7", "14", "30", "60", "90", "120", "150", "180", "365", "400"),
                *("545", "731", "1096", "1827", "2192", "2557", "2922", "3288", "3653"),
            ],
        ),
    ],
)
def test_a_choice_is_one_of_those_that_aws_has(key: str, choices: list[str]) -> None:
    for choice in choices:
        parsed(changed(f"{key} {choice}"))
    assert f"Allowed: one of {', '.join(choices)}." in refusal(changed(f"{key} 0"))


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


def test_a_config_nested_beyond_reading_is_refused() -> None:
    deep = {f"{PROJECT}:throttle": "[" * 100_000}
    with pytest.raises(SettingsError, match="is not a mapping of settings"):
        parse_settings(deep, project=PROJECT, stack=STACK)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (
            {"nobody": [1]},
            "throttled-api:usagePlans.trial.keys.nobody: the plan has no client 'nobody'. "
            "Allowed: clients of the plan.",
        ),
        (
            {"default": []},
            "throttled-api:usagePlans.trial.keys.default: is empty. Allowed: at least one.",
        ),
        (
            {"default": [1, 1]},
            "throttled-api:usagePlans.trial.keys.default[1]: 1 is listed twice.",
        ),
        (
            {"default": ["new"]},
            "throttled-api:usagePlans.trial.keys.default[0]: 'new' is not a whole number. "
            "Allowed: a whole number from 1 to 9,999.",
        ),
    ],
)
def test_numbers_of_keys_that_make_no_sense_are_refused(keys: object, line: str) -> None:
    assert line in refusal(with_plan(keys=keys))


# What no setting can hold


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"enabled": true, "enabled": false}', "has the key 'enabled' twice"),
        ('{"managedRuleGroups": [{"name": "a", "name": "b"}]}', "has the key 'name' twice"),
        ('{"a":' * 300 + "1" + "}" * 300, "is nested too deeply"),
        ("[" * 30 + "]" * 30, "is nested too deeply"),
        ('{"\\ud800": 1}', "has half a character (a surrogate)"),
    ],
    ids=["a key twice", "a key twice, deeper", "mappings in mappings", "lists in lists", "half"],
)
def test_a_value_that_cannot_be_read_as_it_is_written_is_refused(text: str, problem: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse_settings({f"{PROJECT}:waf": text}, project=PROJECT, stack=STACK)
    assert str(refused.value) == error(
        f"throttled-api:waf: {problem}.",
        "pulumi config rm --path throttled-api:waf --stack dev",
    )


def test_a_key_is_shown_on_one_line_and_gives_the_terminal_no_orders() -> None:
    lines = refusal({"a\n\x1b[31mb": "1"}).split("\n")
    assert lines[1:] == [
        f'  throttled-api:["a\\n\\x1b[31mb"]: is not a setting. {SECTIONS}',
        "      pulumi config rm --path 'throttled-api:[\"a\\n\\x1b[31mb\"]' --stack dev",
    ]


@pytest.mark.parametrize(
    "address",
    [
        "o\u0300ps@example.com",
        "ops@exämple.com",
        "ops\x07@example.com",
        "a@b@example.com",
    ],
)
def test_an_address_that_sns_does_not_take_is_refused(address: str) -> None:
    assert refusal({"monitoring": {"alarmEmails": [address]}}) == error(
        f"throttled-api:monitoring.alarmEmails[0]: {address!r} does not fit. Allowed: an e-mail "
        "address.",
        "pulumi config set --path 'throttled-api:monitoring.alarmEmails[0]' ops@example.com "
        "--stack dev",
    )


@pytest.mark.parametrize("vendor", ["", " ", "F5\n", "Vendör", "v" * 129])
def test_a_vendor_that_waf_does_not_take_is_refused(vendor: str) -> None:
    group = {"name": "Bots", "vendorName": vendor, "wcu": 1}
    assert ".vendorName: " in refusal({"waf": {"managedRuleGroups": [group]}})


# The provider's


@pytest.mark.parametrize(
    "region", ["no", "", '["eu-central-1"]', "eu-central", "EU-CENTRAL-1", "local"]
)
def test_what_is_no_region_is_refused(region: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse_settings({"aws:region": region}, project=PROJECT, stack=STACK)
    assert str(refused.value) == (
        "1 problem in the config of stack dev; nothing was changed.\n"
        f"  aws:region: {region!r} does not fit. Allowed: the name of a Region.\n"
        "      pulumi config set --path aws:region us-east-1 --stack dev"
    )


@pytest.mark.parametrize(
    "region",
    [
        "us-east-1",
        "ap-southeast-7",
        "us-gov-west-1",
        "us-isob-east-1",
        "cn-north-1",
        "eusc-de-east-1",
    ],
)
def test_a_region_of_any_partition_is_accepted(region: str) -> None:
    settings = parse_settings({"aws:region": region}, project=PROJECT, stack=STACK)
    assert settings.region == region


@pytest.mark.parametrize("name", ["region", "profile"])
def test_a_secret_region_or_profile_is_refused_without_being_shown(name: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse_settings(
            {f"aws:{name}": "hush", f"{PROJECT}:waf": "no"},
            project=PROJECT,
            stack=STACK,
            secret_keys=[f"aws:{name}"],
        )
    assert str(refused.value) == (
        "2 problems in the config of stack dev; nothing was changed.\n"
        f"  aws:{name}: is stored as a secret, which a preview cannot show.\n"
        f"      pulumi config rm --path aws:{name} --stack dev\n"
        "  throttled-api:waf: 'no' is not a mapping of settings.\n"
        "      pulumi config rm --path throttled-api:waf --stack dev"
    )


def test_an_empty_profile_is_none() -> None:
    assert parse_settings({"aws:profile": ""}, project=PROJECT, stack=STACK).profile is None


# Names of the program's own


@pytest.mark.parametrize("name", ["rate-per-address", "rate"])
def test_a_rule_group_with_the_name_of_the_rate_rule_is_refused(name: str) -> None:
    groups = ["AWSManagedRulesSQLiRuleSet", {"name": name, "vendorName": "F5", "wcu": 1}]
    assert refusal({"waf": {"managedRuleGroups": groups}}) == error(
        f"throttled-api:waf.managedRuleGroups[1]: {name!r} is the name of the web ACL's own rule "
        "or its metric.",
        "pulumi config rm --path 'throttled-api:waf.managedRuleGroups[1]' --stack dev",
    )
