"""What the owner of a config reads about what cannot be used: every problem, each with its fix."""

from copy import deepcopy
from typing import Any

import pytest

from settings import SettingsError, StackConfig, parse_settings
from tests.settings.configs import (
    GOOD,
    PLAN,
    PROJECT,
    STACK,
    Tree,
    changed,
    commands,
    parsed,
    refusal,
    run,
)


def error(*lines: str) -> str:
    """Return the text of an error: keys without the project, and commands without what is common.

    A line that begins with "set " or "rm " is a command.
    """
    text = []
    for line in lines:
        word, _, rest = line.partition(" ")
        if word in ("set", "rm"):
            key, space, value = rest.partition(" ") if rest[0] != "'" else rest[1:].partition("' ")
            quoted = f"{PROJECT}:{key.removesuffix(chr(39))}"
            quoted = f"'{quoted}'" if rest[0] == "'" else quoted
            text.append(
                f"      pulumi config {word} --path {quoted}{space and ' '}{value} --stack dev"
            )
        else:
            text.append(f"  {PROJECT}:{line}")
    count = sum(not line.startswith("      ") for line in text)
    problems = "1 problem" if count == 1 else f"{count} problems"
    return "\n".join([f"{problems} in the config of stack dev; nothing was changed.", *text])


COUNT = "Allowed: a whole number from 0 to 1,000,000,000."
BURST = "Allowed: a whole number from 1 to 1,000,000."
RATE = "Allowed: a number from 0.001 to 1,000,000."
QUOTA = "Allowed: a whole number from 1 to 2,147,483,647."
NAME = "Allowed: 1 to 64 letters, digits, - and _, the first a letter or a digit."
STAGE = "Allowed: 1 to 128 letters, digits, - and _."
CIDR = "Allowed: an IPv4 network from /16 to /25, no bits set behind its prefix."
SWITCH = "Allowed: true or false."
SECTIONS = (
    "Allowed: stageName, deletionProtection, throttle, usagePlans, waf, function, table, network, "
    "monitoring, manageApiGatewayLogging."
)
FUNCTION = (
    "Allowed: memoryMb, timeoutSeconds, reservedConcurrency, expectedDurationMs, architecture, "
    "runtime, snapStart."
)
THROTTLE = "Allowed: a mapping of rateLimit, burstLimit, methods."
A_PLAN = "Allowed: a mapping of rateLimit, burstLimit, quota, clients, keys."
GROUP = (
    "one of AWSManagedRulesCommonRuleSet, AWSManagedRulesAdminProtectionRuleSet, "
    "AWSManagedRulesKnownBadInputsRuleSet, AWSManagedRulesSQLiRuleSet, "
    "AWSManagedRulesLinuxRuleSet, AWSManagedRulesUnixRuleSet, AWSManagedRulesWindowsRuleSet, "
    "AWSManagedRulesPHPRuleSet, AWSManagedRulesWordPressRuleSet, "
    "AWSManagedRulesAmazonIpReputationList, AWSManagedRulesAnonymousIpList, or a mapping of name, "
    "vendorName, wcu."
)


@pytest.mark.parametrize(
    ("assignment", "shown", "allowed", "fix"),
    [
        ("function.timeoutSeconds 30", "30", "Allowed: a whole number from 1 to 29.", "29"),
        ("function.timeoutSeconds 0", "0", "Allowed: a whole number from 1 to 29.", "1"),
        ("network.cidr 10.9.0.64/26", "'10.9.0.64/26'", CIDR, "10.9.0.0/25"),
        ("network.cidr 10.0.0.0/8", "'10.0.0.0/8'", CIDR, "10.0.0.0/16"),
        ("network.cidr 10.9.0.1/24", "'10.9.0.1/24'", CIDR, "10.9.0.0/24"),
        ("network.cidr 10.9.0.0", "'10.9.0.0'", CIDR, "10.9.0.0/16"),
        ("network.cidr 10.9.0.0/255.255.0.0", "'10.9.0.0/255.255.0.0'", CIDR, "10.9.0.0/16"),
        ("network.cidr 2001:db8::/56", "'2001:db8::/56'", CIDR, "10.1.0.0/16"),
        ("throttle.rateLimit fast", "'fast'", RATE, "1000"),
        ("throttle.rateLimit 1_000", "'1_000'", RATE, "1000"),
        ("usagePlans.basic.rateLimit 0", "0", RATE, "0.001"),
        ("usagePlans.basic.rateLimit 1e-9", "1e-09", RATE, "0.001"),
        ("throttle.rateLimit 1000001", "1000001", RATE, "1000000"),
        ("usagePlans.basic.burstLimit 7.5", "'7.5'", BURST, "8"),
        ("usagePlans.basic.burstLimit true", "true", BURST, "20"),
        ("usagePlans.basic.burstLimit none", "'none'", BURST, "20"),
        (
            "function.reservedConcurrency 0",
            *("0", "Allowed: a whole number from 1 to 100,000, or none.", "1"),
        ),
        (
            "function.reservedConcurrency unlimited",
            *("'unlimited'", "Allowed: a whole number from 1 to 100,000, or none.", "none"),
        ),
        ("function.snapStart no", "'no'", SWITCH, "false"),
        ("function.snapStart On", "'On'", SWITCH, "true"),
        ("manageApiGatewayLogging 1", "'1'", SWITCH, "true"),
        ("waf.logging maybe", "'maybe'", SWITCH, "true"),
        ("waf.windowSeconds 500", "500", "Allowed: one of 60, 120, 300, 600.", "600"),
        ("waf.windowSeconds true", "true", "Allowed: one of 60, 120, 300, 600.", "300"),
        ("waf.aggregateBy ip", "'ip'", "Allowed: one of IP, FORWARDED_IP.", "IP"),
        (
            "usagePlans.premium.quota.period month",
            *("'month'", "Allowed: one of DAY, WEEK, MONTH.", "MONTH"),
        ),
        (
            "usagePlans.premium.quota.period Weekly",
            *("'Weekly'", "Allowed: one of DAY, WEEK, MONTH.", "WEEK"),
        ),
        (
            "usagePlans.premium.quota.period HOUR",
            *("'HOUR'", "Allowed: one of DAY, WEEK, MONTH.", "DAY"),
        ),
        ("stageName a/b", "'a/b'", STAGE, "a-b"),
        ("stageName ??", "'??'", STAGE, "live"),
        ("usagePlans.premium.clients[1] true", "true", NAME, "default"),
        ("usagePlans.premium.clients[1] a.b", "'a.b'", NAME, "a-b"),
        (
            "monitoring.alarmEmails[0] ops",
            "'ops'",
            "Allowed: an e-mail address.",
            "ops@example.com",
        ),
        (
            "monitoring.thresholds.serverErrors 1000000001",
            *("1000000001", COUNT, "1000000000"),
        ),
        (
            "waf.managedRuleGroups[0] AWSManagedRulesCommon",
            *("'AWSManagedRulesCommon'", f"Allowed: {GROUP}", "AWSManagedRulesCommonRuleSet"),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value[:-1] else "",
)
def test_a_wrong_value_is_refused_with_what_is_allowed_and_the_value_that_was_meant(
    assignment: str, shown: str, allowed: str, fix: str
) -> None:
    key = assignment.split(" ")[0]
    quoted = f"'{key}'" if "[" in key else key
    assert refusal(changed(assignment)) == error(
        f"{key}: {shown} is not allowed. {allowed}", f"set {quoted} {fix}"
    )


def with_plan(**changes: Any) -> Tree:  # noqa: ANN401
    """Return GOOD with another plan that has these settings."""
    return {**GOOD, "usagePlans": {**GOOD["usagePlans"], "trial": {**PLAN, **changes}}}


def with_function(**changes: Any) -> Tree:  # noqa: ANN401
    return {**GOOD, "function": changes}


TRIAL = "usagePlans.trial"


@pytest.mark.parametrize(
    ("tree", "lines"),
    [
        # Missing settings
        (
            {"usagePlans": {"trial": {}}},
            [
                f"{TRIAL}.rateLimit: is missing. {RATE}",
                f"set {TRIAL}.rateLimit 10",
                f"{TRIAL}.burstLimit: is missing. {BURST}",
                f"set {TRIAL}.burstLimit 20",
                f"{TRIAL}.quota: is missing. Allowed: a mapping of limit, period.",
                f"set {TRIAL}.quota.limit 10000",
            ],
        ),
        (
            {"waf": {"managedRuleGroups": [{"name": "Bots"}]}},
            [
                "waf.managedRuleGroups[0].wcu: is missing. "
                "Allowed: a whole number from 1 to 5,000.",
                "set 'waf.managedRuleGroups[0].wcu' 100",
            ],
        ),
        # Other kinds of value
        (
            {"throttle": "50"},
            [f"throttle: '50' is not allowed. {THROTTLE}", "rm throttle"],
        ),
        (
            {"throttle": {"methods": 50}},
            ["throttle.methods: 50 is not allowed. Allowed: a mapping.", "rm throttle.methods"],
        ),
        (
            with_plan(quota=1000),
            [
                f"{TRIAL}.quota: 1000 is not allowed. Allowed: a mapping of limit, period.",
                f"rm {TRIAL}.quota",
                f"set {TRIAL}.quota.limit 10000",
            ],
        ),
        (
            {"usagePlans": {"trial": 1000}},
            [f"{TRIAL}: 1000 is not allowed. {A_PLAN}", f"rm {TRIAL}"],
        ),
        (
            with_plan(clients="acme"),
            [
                f"{TRIAL}.clients: 'acme' is not allowed. Allowed: a list, each "
                + NAME.removeprefix("Allowed: "),
                f"rm {TRIAL}.clients",
                f"set '{TRIAL}.clients[0]' acme",
            ],
        ),
        (
            with_plan(keys={"default": 2}),
            [
                f"{TRIAL}.keys.default: 2 is not allowed. Allowed: a list of at least one, each a "
                "whole number from 1 to 9,999.",
                f"rm {TRIAL}.keys.default",
                f"set '{TRIAL}.keys.default[0]' 2",
            ],
        ),
        (
            {"usagePlans": {}},
            ["usagePlans: {} is not allowed. Allowed: a mapping of at least one.", "rm usagePlans"],
        ),
        (
            {"waf": {"managedRuleGroups": [5]}},
            [
                f"waf.managedRuleGroups[0]: 5 is not allowed. Allowed: {GROUP}",
                "rm 'waf.managedRuleGroups[0]'",
            ],
        ),
        (
            with_plan(rateLimit=float("nan")),
            [f"{TRIAL}.rateLimit: nan is not allowed. {RATE}", f"set {TRIAL}.rateLimit 10"],
        ),
        (
            with_plan(rateLimit=[5]),
            [f"{TRIAL}.rateLimit: [5] is not allowed. {RATE}", f"set {TRIAL}.rateLimit 10"],
        ),
        (
            with_plan(burstLimit=7.0),
            [f"{TRIAL}.burstLimit: 7.0 is not allowed. {BURST}", f"set {TRIAL}.burstLimit 7"],
        ),
        (
            with_plan(burstLimit="7" * 80),
            [
                f"{TRIAL}.burstLimit: '" + "7" * 58 + f"… is not allowed. {BURST}",
                f"set {TRIAL}.burstLimit 1000000",
            ],
        ),
        # Names
        (
            {"usagePlans": {"basic": PLAN, "pay as you go": {**PLAN, "burst": 1}}},
            [
                f"usagePlans[\"pay as you go\"]: the name 'pay as you go' is not allowed. {NAME}",
                "rm 'usagePlans[\"pay as you go\"]'",
                "set usagePlans.pay-as-you-go.rateLimit 5",
                "set usagePlans.pay-as-you-go.burstLimit 10",
                "set usagePlans.pay-as-you-go.quota.limit 20000",
                "set usagePlans.pay-as-you-go.burst 1",
            ],
        ),
        (
            {"usagePlans": {"a.b": PLAN, "a-b": PLAN}},
            [
                f"usagePlans[\"a.b\"]: the name 'a.b' is not allowed. {NAME}",
                "rm 'usagePlans[\"a.b\"]'",
            ],
        ),
        (
            {"throttle": {"methods": {"GET /data": {"rateLimit": 1, "burstLimit": 1}}}},
            [
                "throttle.methods[\"GET /data\"]: the name 'GET /data' is not allowed. "
                "Allowed: only POST /data.",
                "rm 'throttle.methods[\"GET /data\"]'",
            ],
        ),
        # Keys that are not settings
        ({"rateLimit": 50}, [f"rateLimit: is not a setting. {SECTIONS}", "rm rateLimit"]),
        (
            {"stageNam": "v2"},
            [
                f"stageNam: is not a setting (did you mean stageName?). {SECTIONS}",
                "rm stageNam",
                "set stageName v2",
            ],
        ),
        (
            with_function(snapstart=True),
            [
                f"function.snapstart: is not a setting (did you mean snapStart?). {FUNCTION}",
                "rm function.snapstart",
                "set function.snapStart true",
            ],
        ),
        (
            with_function(memoryMb=256, memorymb=512),
            [
                f"function.memorymb: is not a setting (did you mean memoryMb?). {FUNCTION}",
                "rm function.memorymb",
            ],
        ),
        (
            with_function(handler="app.main"),
            [f"function.handler: is not a setting. {FUNCTION}", "rm function.handler"],
        ),
        (
            {"throtle": {"rateLimit": 50, "methods": {"POST /data": {"rateLimit": 5}}}},
            [
                f"throtle: is not a setting (did you mean throttle?). {SECTIONS}",
                "rm throtle",
                "set throttle.rateLimit 50",
                "set 'throttle.methods[\"POST /data\"].rateLimit' 5",
            ],
        ),
        (
            {"throtle": "50"},
            [f"throtle: is not a setting (did you mean throttle?). {SECTIONS}", "rm throtle"],
        ),
        (
            {"usagePlans": {"trial": {"rateLimt": 5, "burstLimit": 10, "qota": {"limit": 7}}}},
            [
                f"{TRIAL}.rateLimt: is not a setting (did you mean rateLimit?). "
                "Allowed: rateLimit, burstLimit, quota, clients, keys.",
                f"rm {TRIAL}.rateLimt",
                f"set {TRIAL}.rateLimit 5",
                f"{TRIAL}.qota: is not a setting (did you mean quota?). "
                "Allowed: rateLimit, burstLimit, quota, clients, keys.",
                f"rm {TRIAL}.qota",
                f"set {TRIAL}.quota.limit 7",
            ],
        ),
        (
            {**GOOD, "network.cidr": "10.9.0.0/16"},
            [
                f'["network.cidr"]: is not a setting (did you mean network.cidr?). {SECTIONS}',
                "rm '[\"network.cidr\"]'",
                "set network.cidr 10.9.0.0/16",
            ],
        ),
        (
            {'throttle.methods["POST /data"].rateLimit': "5"},
            [
                '["throttle.methods[\\"POST /data\\"].rateLimit"]: is not a setting (did you mean '
                f'throttle.methods["POST /data"].rateLimit?). {SECTIONS}',
                'rm \'["throttle.methods[\\"POST /data\\"].rateLimit"]\'',
                "set 'throttle.methods[\"POST /data\"].rateLimit' 5",
            ],
        ),
        # All at once, in the order of the settings; contradictions wait for well-formed values
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
                f"usagePlans.basic.rateLimit: 'x' is not allowed. {RATE}",
                "set usagePlans.basic.rateLimit 10",
                f"usagePlans.basic.quota.limit: 0 is not allowed. {QUOTA}",
                "set usagePlans.basic.quota.limit 1",
                "function.timeoutSeconds: 60 is not allowed. Allowed: a whole number from 1 to 29.",
                "set function.timeoutSeconds 29",
                "table.ttl: is not a setting. Allowed: maxWriteRequestUnits, pointInTimeRecovery, "
                "deletionProtection.",
                "rm table.ttl",
                f"network.flowLogs: 'on' is not allowed. {SWITCH}",
                "set network.flowLogs true",
                f"nework: is not a setting (did you mean network?). {SECTIONS}",
                "rm nework",
            ],
        ),
        (
            {
                **changed('throttle.methods["POST /data"].burstLimit 101'),
                "table": {"deletionProtection": True},
                "usagePlans": {
                    "basic": {**PLAN, "rateLimit": 50.5, "burstLimit": 1101, "keys": {"x": [1]}},
                    "premium": {**PLAN, "clients": ["a", "b", "a", "c", "b", "a"]},
                },
                "waf": {"managedRuleGroups": [{"name": "rate", "vendorName": "F5", "wcu": 1}]},
                "monitoring": {"alarmEmails": ["a@b.cd", "a@b.cd"]},
            },
            [
                "table.deletionProtection: true contradicts its new name, deletionProtection: "
                "false.",
                "rm table.deletionProtection",
                "usagePlans.basic.rateLimit: 50.5 can never be reached behind the stage's 50. "
                "Allowed: at most the stage's throttle.rateLimit, 50.",
                "set usagePlans.basic.rateLimit 50",
                "usagePlans.basic.burstLimit: 1,101 can never be reached behind the stage's 100. "
                "Allowed: at most the stage's throttle.burstLimit, 100.",
                "set usagePlans.basic.burstLimit 100",
                'throttle.methods["POST /data"].burstLimit: 101 can never be reached behind the '
                "stage's 100. Allowed: at most the stage's throttle.burstLimit, 100.",
                "set 'throttle.methods[\"POST /data\"].burstLimit' 100",
                "usagePlans.basic.keys.x: the plan has no client 'x'. "
                "Allowed: clients of the plan.",
                "rm usagePlans.basic.keys.x",
                # From the last to the first, as the items behind a removed one move up.
                "usagePlans.premium.clients[5]: 'a' is listed twice.",
                "rm 'usagePlans.premium.clients[5]'",
                "usagePlans.premium.clients[4]: 'b' is listed twice.",
                "rm 'usagePlans.premium.clients[4]'",
                "usagePlans.premium.clients[2]: 'a' is listed twice.",
                "rm 'usagePlans.premium.clients[2]'",
                "monitoring.alarmEmails[1]: 'a@b.cd' is listed twice.",
                "rm 'monitoring.alarmEmails[1]'",
                "waf.managedRuleGroups[0]: 'rate' is the name of the web ACL's own rule or its "
                "metric.",
                "rm 'waf.managedRuleGroups[0]'",
            ],
        ),
        # Quotas of AWS
        (
            {
                "waf": {
                    "managedRuleGroups": [
                        {"name": "B", "wcu": 4299},
                        "AWSManagedRulesCommonRuleSet",
                    ]
                }
            },
            [
                "waf.managedRuleGroups: 5,001 capacity units (WCU) in a web ACL are too many. "
                "Allowed: at most 5,000.",
                "rm 'waf.managedRuleGroups[1]'",
            ],
        ),
        (
            {**GOOD, "usagePlans": {f"p{i}": PLAN for i in range(301)}},
            [
                "usagePlans: 301 plans in an account are too many. Allowed: at most 300.",
                "rm usagePlans.p300",
            ],
        ),
        (
            {
                **GOOD,
                "usagePlans": {
                    "trial": {**PLAN, "clients": [f"c{i}" for i in range(10_001)]},
                    "empty": {**PLAN, "clients": []},
                },
            },
            [
                "usagePlans: 10,001 API keys in a Region are too many. Allowed: at most 10,000.",
                "rm 'usagePlans.trial.clients[10000]'",
            ],
        ),
    ],
)
def test_a_wrong_config_is_refused_whole(tree: Tree, lines: list[str]) -> None:
    assert refusal(tree) == error(*lines)


@pytest.mark.parametrize(
    "groups",
    [
        ["AWSManagedRulesSQLiRuleSet"] * 2,
        [{"name": "x", "wcu": 1}, {"name": "rate-per-address", "wcu": 1}],
    ],
)
def test_the_names_of_rules_in_the_web_acl_differ(groups: list[Any]) -> None:
    assert "rm --path 'fixture-api:waf.managedRuleGroups[1]'" in refusal(
        {"waf": {"managedRuleGroups": groups}}
    )


@pytest.mark.parametrize(
    ("key", "low", "high"),
    [
        ("throttle.burstLimit", 1, 1_000_000),
        ("usagePlans.basic.burstLimit", 1, 1_000_000),
        ("usagePlans.basic.quota.limit", 1, 2_147_483_647),
        ("usagePlans.premium.keys.acme[0]", 1, 9999),
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
    def with_value(value: int) -> Tree:
        tree = changed(f"{key} {max(value, 0)}")
        # Faster than anything, so that only the number itself is in question.
        tree["throttle"] = {"rateLimit": 1_000_000, "burstLimit": 1_000_000} | (
            {"burstLimit": value} if key == "throttle.burstLimit" else {}
        )
        if value < 0:  # which no command can set
            tree["monitoring"]["thresholds"][key.split(".")[-1]] = value
        if key == "throttle.burstLimit":
            tree["usagePlans"] = {"basic": {**PLAN, "burstLimit": 1}}
        return tree

    for inside in (low, high):
        parsed(with_value(inside))
    for outside, nearest in ((low - 1, low), (high + 1, high)):
        [command] = commands(refusal(with_value(outside)))
        assert f"fixture-api:{key}" in command
        assert command.endswith(f" {nearest} --stack dev")


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


def test_an_empty_list_of_numbers_of_keys_is_refused() -> None:
    said = refusal(with_plan(keys={"default": []}))
    assert commands(said) == [f"pulumi config rm --path {PROJECT}:{TRIAL}.keys.default --stack dev"]


# What is shown, and how


def test_a_secret_is_refused_without_being_shown() -> None:
    values = {f"{PROJECT}:throttle": "correct-horse", "aws:region": "hush", "aws:secretKey": "x"}
    given = StackConfig(project=PROJECT, stack=STACK, values=values, secret_keys=frozenset(values))
    with pytest.raises(SettingsError) as refused:
        parse_settings(given)
    assert str(refused.value) == (
        "2 problems in the config of stack dev; nothing was changed.\n"
        "  fixture-api:throttle: is stored as a secret, which a preview cannot show.\n"
        "      pulumi config rm --path fixture-api:throttle --stack dev\n"
        "  aws:region: is stored as a secret, which a preview cannot show.\n"
        "      pulumi config rm --path aws:region --stack dev"
    )


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ('it\'s "new"', """'fixture-api:["it'"'"'s \\"new\\""]'"""),
        ("a\n\x1b[31mb", "'fixture-api:[\"a\\n\\x1b[31mb\"]'"),
        ("\ud800", "'fixture-api:[\"\\ud800\"]'"),
        ("[key]", "'fixture-api:[\"[key]\"]'"),
    ],
)
def test_a_key_is_shown_on_one_line_as_pulumi_the_shell_and_a_terminal_need_it(
    name: str, path: str
) -> None:
    first, problem, *command = refusal({**GOOD, name: "x"}).split("\n")
    assert command == [f"      pulumi config rm --path {path} --stack dev"]
    assert (first + problem).isprintable()


def test_a_quoted_key_is_removed_by_its_command() -> None:
    tree = {**deepcopy(GOOD), 'it\'s "new"': "x"}
    run(tree, commands(refusal(tree))[0])
    assert tree == GOOD


def test_a_command_names_the_stack_as_the_shell_needs_it() -> None:
    config = {f"{PROJECT}:waf": "off", f"{PROJECT}:stageName": "live"}
    with pytest.raises(SettingsError, match=r"waf --stack 'my stack'$"):
        parse_settings(StackConfig(project=PROJECT, stack="my stack", values=config))


@pytest.mark.parametrize(
    "text",
    [
        '{"enabled": true, "enabled": false}',
        '{"managedRuleGroups": [{"name": "a", "name": "b"}]}',
        '{"a":' * 300 + "1" + "}" * 300,
        '{"a":' * 950 + "1" + "}" * 950,
        "[" * 100_000,
        '{"\\ud800": 1}',
        '{"enabled": true',
    ],
    ids=lambda text: text[:30],
)
def test_json_that_is_ambiguous_or_nested_too_deeply_is_only_a_text(text: str) -> None:
    assert commands(refusal({"waf": text})) == [
        "pulumi config rm --path fixture-api:waf --stack dev"
    ]


@pytest.mark.parametrize(
    "address",
    ["o\u0300ps@example.com", "ops@exämple.com", "ops\x07@example.com", "a@b@example.com"],
)
def test_an_address_that_sns_does_not_take_is_refused(address: str) -> None:
    assert "monitoring.alarmEmails[0]: " in refusal({"monitoring": {"alarmEmails": [address]}})


@pytest.mark.parametrize("vendor", ["", " ", "F5\n", "Vendör", "v" * 129])
def test_a_vendor_that_waf_does_not_take_is_refused(vendor: str) -> None:
    group = {"name": "Bots", "vendorName": vendor, "wcu": 1}
    assert ".vendorName: " in refusal({"waf": {"managedRuleGroups": [group]}})


@pytest.mark.parametrize(
    ("region", "fix"),
    [
        *(("no", "us-east-1"), ("", "us-east-1"), ('["eu-central-1"]', "us-east-1")),
        *(("eu-central", "us-east-1"), ("EU-CENTRAL-1", "eu-central-1"), ("local", "us-east-1")),
    ],
)
def test_another_text_than_a_region_is_refused(region: str, fix: str) -> None:
    title, problem, command = refusal({}, region=region).split("\n")
    assert title == "1 problem in the config of stack dev; nothing was changed."
    assert problem.startswith("  aws:region: ")
    assert problem.endswith(" is not allowed. Allowed: the name of a Region.")
    assert command == f"      pulumi config set --path aws:region {fix} --stack dev"


@pytest.mark.parametrize(
    "region",
    [
        *("us-east-1", "ap-southeast-7", "us-gov-west-1"),
        *("us-isob-east-1", "cn-north-1", "eusc-de-east-1"),
    ],
)
def test_a_region_of_any_partition_is_accepted(region: str) -> None:
    assert parsed({}, region=region).region == region
