"""Errors about a config: every problem, each with its fix."""

import json
import re
from textwrap import dedent
from typing import Any

import botocore.session
import pytest

from routes import METHODS
from settings import SettingsError, StackConfig, parse_settings
from settings.errors import shown
from settings.json_schema import allowed, at, json_schema, section
from settings.paths import parse_path
from settings.schema import Config
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
)

BURST = "a whole number from 1 to 1,000,000"
QUOTA = "a whole number from 1 to 2,147,483,647"
RATE = "a number from 0.001 to 1,000,000"
NAME = "1 to 64 letters, digits, - and _, the first a letter or a digit"
CIDR = "an IPv4 network from /16 to /25, no bits set behind its prefix"
SWITCH = "true or false"


def names(*path: str) -> str:
    """Return the names of the settings in a section, as an error lists them."""
    return ", ".join(section(at(json_schema(Config), path))["properties"]) + "."


SECTIONS = f"Allowed: {names()}"
FUNCTION = f"Allowed: {names('function')}"
RETENTION = allowed(at(json_schema(Config), ("monitoring", "logRetentionDays")))
GROUP = allowed(at(json_schema(Config), ("waf", "managedRuleGroups", 0)))

VALUES: dict[str, tuple[str, dict[str, str]]] = {
    "stageName": ("1 to 128 letters, digits, - and _", {"a/b": "a-b", "??": "live"}),
    "throttle.rateLimit": (
        RATE,
        {"fast": "1000", "1_000": "1000", "2,5": "2.5", "1,500": "1500", "0": "0.001"},
    ),
    "usagePlans.basic.burstLimit": (
        BURST,
        {"0": "1", "1000001": "1000000", "7.5": "8", "1e3": "1000", "true": "20", "none": "20"},
    ),
    "usagePlans.premium.quota.period": (
        "one of DAY, WEEK, MONTH",
        {"month": "MONTH", "Weekly": "WEEK", "HOUR": "DAY"},
    ),
    "usagePlans.premium.clients[1]": (NAME, {"true": "default", "a.b": "a-b"}),
    "waf.enabled": (SWITCH, {"no": "false", "On": "true", "maybe": "true", "disabled": "false"}),
    "waf.windowSeconds": ("one of 60, 120, 300, 600", {"500": "600", "61": "60", "true": "300"}),
    "waf.managedRuleGroups[0]": (GROUP, {"AWSManagedRulesCommon": "AWSManagedRulesCommonRuleSet"}),
    "function.reservedConcurrency": (
        "a whole number from 1 to 100,000, or none",
        {"0": "1", "100001": "100000", "unreserved": "none", "few": "100", "1e12": "100000"},
    ),
    "network.cidr": (
        CIDR,
        {
            **{"10.9.0.64/26": "10.9.0.0/25", "10.0.0.0/8": "10.0.0.0/16"},
            **{"10.9.0.1/24": "10.9.0.0/24", "10.9.0.0": "10.9.0.0/16"},
            **{"10.9.0.0/255.255.0.0": "10.9.0.0/16", "2001:db8::/56": "10.1.0.0/16"},
        },
    ),
    "monitoring.alarmEmails[0]": (
        "an e-mail address",
        {"ops": "ops@example.com", "ops@ex\u00e4mple.com": "ops@example.com"},
    ),
    "monitoring.logRetentionDays": (RETENTION, {"0": "1", "366": "365", "4000": "3653"}),
}
"""For one setting of each kind: what is allowed, and for some wrong values the one meant."""


@pytest.mark.parametrize("key", VALUES)
def test_a_wrong_value_is_refused_with_what_is_allowed_and_what_was_meant(key: str) -> None:
    allowed, fixes = VALUES[key]
    for wrong, fix in fixes.items():
        tree: Any = changed(f"{key} {wrong}")
        value = tree
        for step in parse_path(key):
            value = value[step]
        quoted = f"'{PROJECT}:{key}'" if "[" in key else f"{PROJECT}:{key}"
        assert refusal(tree) == (
            "1 problem in the config of stack dev; nothing was changed.\n"
            f"  {PROJECT}:{key}: {shown(value)} is not allowed. Allowed: {allowed}.\n"
            f"      pulumi config set --path {quoted} {fix} --stack dev"
        )


LOOSE: dict[str, list[object]] = {
    "a whole number": [" 5", "5 ", "1_0", "+5", "5.0", 5.0, True, "0x5", "\uff15", None, "1" * 19],
    "a number": [" 5", "1_0", "+5", "5.", ".5", "inf", "nan", True, "0x5", [5], None, float("inf")],
    SWITCH: ["True", "yes", 1, 0, "1", " true", "", None],
    "one of": ["", "none", None, 1.5, True, ["DAY"]],
    "text": [True, 1.5, None, ["a"], ""],
}
"""Values that pydantic or Python would accept for these kinds of setting."""


@pytest.mark.parametrize("key", VALUES)
def test_nothing_looser_than_the_two_written_forms_is_accepted(key: str) -> None:
    words = VALUES[key][0]
    for value in next((LOOSE[kind] for kind in LOOSE if words.startswith(kind)), LOOSE["text"]):
        if ("or none" in words and value is None) or (key == "stageName" and value):
            continue  # which is accepted, as at the top level everything is text
        tree: Any = changed(f"{key} {next(iter(VALUES[key][1]))}")
        *above, last = parse_path(key)
        place = tree
        for step in above:
            place = place[step]
        place[last] = value
        assert f"  {PROJECT}:{key}: " in refusal(tree), value


def with_plan(**changes: Any) -> Tree:  # noqa: ANN401
    """Return GOOD with another plan that has these settings."""
    return {**GOOD, "usagePlans": {**GOOD["usagePlans"], "trial": {**PLAN, **changes}}}


OTHER_GROUP = "AWSManagedRulesBotControlRuleSet"  # its capacity is not known


@pytest.mark.parametrize(
    ("tree", "text"),
    [
        # Missing settings
        (
            {"usagePlans": {"trial": {}}, "waf": {"shadow": {}}},
            f"""
            usagePlans.trial.rateLimit: is missing. Allowed: {RATE}.
                set usagePlans.trial.rateLimit 10
            usagePlans.trial.burstLimit: is missing. Allowed: {BURST}.
                set usagePlans.trial.burstLimit 20
            usagePlans.trial.quota: is missing. Allowed: a mapping of limit, period.
                set usagePlans.trial.quota.limit 10000
            waf.shadow.rateLimit: is missing. Allowed: a whole number from 10 to 2,000,000,000.
                set waf.shadow.rateLimit 1000
            """,
        ),
        # No limit, as AWS writes it
        (
            {"function": {"reservedConcurrency": -1}},
            """
            function.reservedConcurrency: -1 is not allowed. Allowed: a whole number from 1 to \
100,000, or none.
                set function.reservedConcurrency none
            """,
        ),
        # Other kinds of value
        (
            {"throttle": "50", "usagePlans": {}, "waf": {"managedRuleGroups": [5, OTHER_GROUP]}},
            f"""
            throttle: '50' is not allowed. Allowed: a mapping of {names("throttle")}
                rm throttle
            usagePlans: {{}} is not allowed. Allowed: a mapping of at least one item, by \
name: {NAME}.
                rm usagePlans
            waf.managedRuleGroups[1]: '{OTHER_GROUP}' is not allowed. Allowed: {GROUP}.
                rm 'waf.managedRuleGroups[1]'
            waf.managedRuleGroups[0]: 5 is not allowed. Allowed: {GROUP}.
                rm 'waf.managedRuleGroups[0]'
            """,
        ),
        (
            {
                **with_plan(quota=1000, clients="acme", keys={"default": 2}),
                "monitoring": {"alarmEmails": "none"},
            },
            f"""
            usagePlans.trial.quota: 1000 is not allowed. Allowed: a mapping of limit, period.
                rm usagePlans.trial.quota
                set usagePlans.trial.quota.limit 10000
            usagePlans.trial.clients: 'acme' is not allowed. Allowed: a list, each {NAME}.
                rm usagePlans.trial.clients
                set 'usagePlans.trial.clients[0]' acme
            usagePlans.trial.keys.default: 2 is not allowed. Allowed: a list of at least one \
item, each a whole number from 1 to 9,999.
                rm usagePlans.trial.keys.default
                set 'usagePlans.trial.keys.default[0]' 2
            monitoring.alarmEmails: 'none' is not allowed. Allowed: a list, each an e-mail address.
                rm monitoring.alarmEmails
            """,
        ),
        (
            with_plan(rateLimit=float("nan"), burstLimit="7" * 80),
            f"""
            usagePlans.trial.rateLimit: nan is not allowed. Allowed: {RATE}.
                set usagePlans.trial.rateLimit 10
            usagePlans.trial.burstLimit: '{"7" * 58}… is not allowed. Allowed: {BURST}.
                set usagePlans.trial.burstLimit 1000000
            """,
        ),
        # Names
        (
            {"usagePlans": {"as you go": {**PLAN, "burst": 1}, "a.b": PLAN, "a-b": PLAN}},
            f"""
            usagePlans["as you go"]: the name 'as you go' is not allowed. Allowed: {NAME}.
                rm 'usagePlans["as you go"]'
                set usagePlans.as-you-go.rateLimit 5
                set usagePlans.as-you-go.burstLimit 10
                set usagePlans.as-you-go.quota.limit 20000
                set usagePlans.as-you-go.burst 1
            usagePlans["a.b"]: the name 'a.b' is not allowed. Allowed: {NAME}.
                rm 'usagePlans["a.b"]'
            """,
        ),
        (
            {"throttle": {"methods": {"HEAD /x": {"rateLimit": 1, "burstLimit": 1}}}},
            f"""
            throttle.methods["HEAD /x"]: the name 'HEAD /x' is not allowed. Allowed: \
{"one of" if METHODS[1:] else "only"} {", ".join(METHODS)}.
                rm 'throttle.methods["HEAD /x"]'
            """,
        ),
        # Keys that are not settings
        (
            {
                "stageNam": "v2",
                "function": {"snapstart": True, "memoryMb": 256, "memorymb": 512, "timeout": -5},
                "functon": {"memoryMb": 1024, "timeoutSeconds": 7},
            },
            f"""
            function.snapstart: is not a setting (did you mean snapStart?). {FUNCTION}
                rm function.snapstart
                set function.snapStart true
            function.memorymb: is not a setting (did you mean memoryMb?). {FUNCTION}
                rm function.memorymb
            function.timeout: is not a setting (did you mean timeoutSeconds?). {FUNCTION}
                rm function.timeout
            stageNam: is not a setting (did you mean stageName?). {SECTIONS}
                rm stageNam
                set stageName v2
            functon: is not a setting (did you mean function?). {SECTIONS}
                rm functon
                set function.timeoutSeconds 7
            """,
        ),
        (
            {"waf": {"shadow": {"rateLimt": 500}}},
            """
            waf.shadow.rateLimt: is not a setting (did you mean rateLimit?). Allowed: rateLimit, \
windowSeconds.
                rm waf.shadow.rateLimt
                set waf.shadow.rateLimit 500
            """,
        ),
        # Keys that were set without --path
        (
            {
                **{**GOOD, "table.deletionProtection": "false", "network.cidr": "10.9.0.0/16"},
                'throttle.methods["POST /data"].rateLimit': 5,
            },
            f"""
            ["table.deletionProtection"]: is not a setting (did you mean table.deletionProtection?\
). {SECTIONS}
                rm '["table.deletionProtection"]'
                set table.deletionProtection false
            ["network.cidr"]: is not a setting (did you mean network.cidr?). {SECTIONS}
                rm '["network.cidr"]'
                set network.cidr 10.9.0.0/16
            ["throttle.methods[\\"POST /data\\"].rateLimit"]: is not a setting (did you mean \
throttle.methods["POST /data"].rateLimit?). {SECTIONS}
                rm '["throttle.methods[\\"POST /data\\"].rateLimit"]'
                set 'throttle.methods["POST /data"].rateLimit' 5
            """,
        ),
        # All at once, in the order of the settings; contradictions wait for well-formed values
        (
            {
                **changed("function.timeoutSeconds 60", "network.flowLogs on"),
                "usagePlans": {
                    "basic": {"rateLimit": "x", "burstLimit": 101, "quota": {"limit": 0}},
                    "premium": {**PLAN, "clients": ["a", "a"], "rateLimit": 51},
                },
                **{"nework": {}, "table": {"ttl": "1"}},
            },
            f"""
            usagePlans.basic.rateLimit: 'x' is not allowed. Allowed: {RATE}.
                set usagePlans.basic.rateLimit 10
            usagePlans.basic.quota.limit: 0 is not allowed. Allowed: {QUOTA}.
                set usagePlans.basic.quota.limit 1
            function.timeoutSeconds: 60 is not allowed. Allowed: a whole number from 1 to 29.
                set function.timeoutSeconds 29
            table.ttl: is not a setting. Allowed: {names("table")}
                rm table.ttl
            network.flowLogs: 'on' is not allowed. Allowed: true or false.
                set network.flowLogs true
            nework: is not a setting (did you mean network?). {SECTIONS}
                rm nework
            """,
        ),
        # Contradictions; from the last to the first item, as those behind a removed one move up
        (
            {
                **GOOD,
                "table": {"deletionProtection": True},
                "usagePlans": {
                    "basic": {**PLAN, "rateLimit": 50.5, "burstLimit": 1101, "keys": {"x": [1]}},
                    "premium": {
                        **{**PLAN, "clients": ["a", "b", "a", "c", "b", "a"]},
                        "keys": {"c": [3, 3]},
                    },
                },
                "waf": {
                    "aggregateBy": "FORWARDED_IP",
                    "sourceRateLimit": 1499,
                    "rateLimit": 1500,
                    "managedRuleGroups": [
                        {"name": "rate", "vendorName": "F5", "wcu": 1},
                        *["AWSManagedRulesSQLiRuleSet"] * 2,
                        {"name": "rate-per-address", "wcu": 1},
                    ],
                },
                "monitoring": {"alarmEmails": ["a@b.cd", "a@b.cd"]},
            },
            """
            table.deletionProtection: true contradicts its new name, deletionProtection: false.
                rm table.deletionProtection
            usagePlans.basic.rateLimit: 50.5 can never be reached behind the stage's 50. \
Allowed: at most the stage's throttle.rateLimit, 50.
                set usagePlans.basic.rateLimit 50
            usagePlans.basic.burstLimit: 1,101 can never be reached behind the stage's 100. \
Allowed: at most the stage's throttle.burstLimit, 100.
                set usagePlans.basic.burstLimit 100
            usagePlans.basic.keys.x: the plan has no client 'x'. Allowed: clients of the plan.
                rm usagePlans.basic.keys.x
            waf.sourceRateLimit: 1,499 from one server of the CDN is less than waf.rateLimit lets \
one caller send. Allowed: at least 1,500.
                set waf.sourceRateLimit 1500
            usagePlans.premium.clients[5]: 'a' is listed twice.
                rm 'usagePlans.premium.clients[5]'
            usagePlans.premium.clients[4]: 'b' is listed twice.
                rm 'usagePlans.premium.clients[4]'
            waf.managedRuleGroups[3]: 'rate-per-address' is the name of one of the web ACL's own \
rules.
                rm 'waf.managedRuleGroups[3]'
            usagePlans.premium.clients[2]: 'a' is listed twice.
                rm 'usagePlans.premium.clients[2]'
            waf.managedRuleGroups[2]: 'AWSManagedRulesSQLiRuleSet' is listed twice.
                rm 'waf.managedRuleGroups[2]'
            usagePlans.premium.keys.c[1]: 3 is listed twice.
                rm 'usagePlans.premium.keys.c[1]'
            monitoring.alarmEmails[1]: 'a@b.cd' is listed twice.
                rm 'monitoring.alarmEmails[1]'
            waf.managedRuleGroups[0]: 'rate' is the name of one of the web ACL's own rules.
                rm 'waf.managedRuleGroups[0]'
            """,
        ),
        # Quotas of AWS
        (
            {
                "usagePlans": {
                    **{f"p{i}": PLAN for i in range(300)},
                    "trial": {**PLAN, "clients": [f"c{i}" for i in range(9_701)]},
                },
                "waf": {"managedRuleGroups": [{"name": "B", "wcu": 4999}]},
            },
            """
            usagePlans: 301 plans in an account are too many. Allowed: at most 300.
                rm usagePlans.trial
            usagePlans: 10,001 API keys in a Region are too many. Allowed: at most 10,000.
                rm 'usagePlans.trial.clients[9700]'
            waf.managedRuleGroups: 5,001 capacity units (WCU) in a web ACL are too many. \
Allowed: at most 5,000.
                rm 'waf.managedRuleGroups[0]'
            """,
        ),
    ],
)
def test_a_wrong_config_is_refused_whole(tree: Tree, text: str) -> None:
    lines = refusal(tree).split("\n")
    found = [line.replace(f"{PROJECT}:", "", 1) for line in lines[1:]]
    found = [re.sub(r"pulumi config (\w+) --path (.*) --stack dev", r"\1 \2", x) for x in found]
    expected = dedent(text).strip().split("\n")
    assert [line.strip() for line in found] == [line.strip() for line in expected]
    count = sum(not line.startswith(" ") for line in expected)
    problems = "1 problem" if count == 1 else f"{count} problems"
    assert lines[0] == f"{problems} in the config of stack dev; nothing was changed."
    assert len(commands("\n".join(lines))) == len(expected) - count


def test_the_largest_config_is_accepted() -> None:
    clients = [f"c{i}" for i in range(10_000 - 299)]
    plans = {f"p{i}": {**PLAN, "clients": clients if i == 0 else ["c"]} for i in range(300)}
    assert len(parsed({"usagePlans": plans}).usage_plans) == 300
    group = {"name": "Bots", "wcu": 4298}
    waf = parsed({"waf": {"managedRuleGroups": [group, "AWSManagedRulesCommonRuleSet"]}}).waf
    assert waf.wcu == 5000
    source = {"aggregateBy": "FORWARDED_IP", "sourceRateLimit": 1500, "rateLimit": 1500}
    assert parsed({"waf": source}).waf.source_rate_limit == 1500


def test_a_plan_may_be_as_fast_as_its_stage_or_as_a_faster_method() -> None:
    plan, method = "usagePlans.basic", 'throttle.methods["POST /data"]'
    parsed(changed(f"{plan}.rateLimit 50", f"{plan}.burstLimit 100"))
    fast = changed(f"{method}.rateLimit 70", f"{method}.burstLimit 170")
    fast["usagePlans"]["basic"] = {**PLAN, "rateLimit": 70, "burstLimit": 170}
    parsed(fast)
    fast["usagePlans"]["basic"]["rateLimit"] = 71
    assert "Allowed: at most the stage's throttle.rateLimit, 70." in refusal(fast)


# How values, keys and stacks are shown


def test_a_secret_is_refused_without_being_shown() -> None:
    values = {f"{PROJECT}:throttle": "correct-horse", "aws:secretKey": "hush"}
    keys = frozenset(values)
    values[f"{PROJECT}:usagePlans"] = json.dumps({"fast": {**PLAN, "rateLimit": 5000}})
    given = StackConfig(project=PROJECT, stack=STACK, values=values, secret_keys=keys)
    with pytest.raises(SettingsError) as refused:
        parse_settings(given)
    assert str(refused.value) == (
        "2 problems in the config of stack dev; nothing was changed.\n"
        "  fixture-api:throttle: is stored as a secret, which a preview cannot show.\n"
        "      pulumi config rm --path fixture-api:throttle --stack dev\n"
        "  aws:secretKey: is stored as a secret, which a preview cannot show.\n"
        "      pulumi config rm --path aws:secretKey --stack dev"
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


def test_a_command_names_the_stack_as_the_shell_needs_it() -> None:
    config = {f"{PROJECT}:waf": "off", f"{PROJECT}:stageName": "live"}
    with pytest.raises(SettingsError, match=r"waf --stack 'my stack'$"):
        parse_settings(StackConfig(project=PROJECT, stack="my stack", values=config))


@pytest.mark.parametrize(
    "text",
    [
        '{"a":' * 300 + "1" + "}" * 300,
        '{"a":' * 950 + "1" + "}" * 950,
        "[" * 100_000,
        '{"\\ud800": 1}',
        '{"enabled": true',
    ],
    ids=lambda text: text[:30],
)
def test_json_that_is_broken_or_nested_too_deeply_is_treated_as_text(text: str) -> None:
    said = commands(refusal({"waf": text}))
    assert said == ["pulumi config rm --path fixture-api:waf --stack dev"]


@pytest.mark.parametrize(
    "region",
    [
        *("no", "", '["eu-central-1"]', "us-gov-west-1", "cn-north-1", "us-isob-east-1", "local"),
        *("eusc-de-east-1", "eu-central", "US-EAST-1"),
    ],
)
def test_a_text_that_is_not_a_supported_region_is_refused(region: str) -> None:
    contradiction = changed("usagePlans.basic.rateLimit 51")  # which waits
    title, problem, command = refusal(contradiction, region=region).split("\n")
    assert title == "1 problem in the config of stack dev; nothing was changed."
    assert problem.startswith("  aws:region: ")
    assert problem.endswith(
        " is not allowed. Allowed: a Region outside of China, GovCloud and isolated partitions."
    )
    assert command == "      pulumi config set --path aws:region us-east-1 --stack dev"


def test_every_region_of_the_main_partition_is_accepted() -> None:
    for region in botocore.session.get_session().get_available_regions("apigateway"):
        assert parsed({}, region=region).region == region
