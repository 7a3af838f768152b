"""What a stack's config may hold, which settings it becomes, and which warnings it gets."""

import re
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from settings import StackConfig, UserError, parse_settings, read_stack
from settings.paths import parse_path
from settings.schema import api_key_holder
from tests.settings.configs import (
    FIXTURES,
    GOOD,
    PLAN,
    PROJECT,
    Tree,
    changed,
    commands,
    parsed,
    run,
    stack_config,
    text,
    typed,
)


def test_what_is_not_set_has_the_defaults_that_stack_prod_spells_out() -> None:
    prod = read_stack("prod", FIXTURES)
    empty = replace(prod, values={"aws:region": "eu-central-1"})
    assert parse_settings(empty) == parse_settings(prod)
    settings = parse_settings(StackConfig(project="api", stack="live", values={}))
    assert (settings.project, settings.stack, settings.stage_name) == ("api", "live", "live")
    assert (settings.region, settings.profile) == (None, None)
    plan = {**PLAN, "quota": {"limit": 20_000, "period": "DAY"}, "clients": ["default"], "keys": {}}
    assert typed({"usagePlans": {"only": PLAN}})["usagePlans"] == {"only": plan}


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("stageName 2024", "2024"),
        ("manageApiGatewayLogging false", False),
        ("throttle.rateLimit 60", 60.0),
        ("throttle.rateLimit 1e3", 1000.0),
        ("usagePlans.basic.rateLimit 0.5", 0.5),
        ("usagePlans.basic.burstLimit 007", 7),
        ("usagePlans.basic.clients[0] 2024", "2024"),
        (
            "waf.managedRuleGroups[1] AWSManagedRulesAnonymousIpList",
            {"name": "AWSManagedRulesAnonymousIpList", "vendorName": "AWS", "wcu": 50},
        ),
        ("function.reservedConcurrency none", None),
        ("network.cidr 10.9.0.0/25", "10.9.0.0/25"),
    ],
)
def test_what_config_set_stores_is_accepted(assignment: str, expected: object) -> None:
    found: Any = typed(changed(assignment))
    for step in parse_path(assignment.split()[0]):
        found = found[step]
    assert found == expected
    assert type(found) is type(expected)


def test_values_written_by_hand_are_accepted_in_either_form() -> None:
    def texts(value: Any) -> Any:  # noqa: ANN401  JSON
        if isinstance(value, dict):
            return {name: texts(item) for name, item in value.items()}
        return [texts(item) for item in value] if isinstance(value, list) else text(value)

    assert typed(texts(GOOD)) == typed(GOOD)
    assert parsed({"function": {"reservedConcurrency": None}}).function.reserved_concurrency is None


def test_a_managed_rule_group_of_another_vendor_comes_with_its_capacity() -> None:
    group = {"name": "Bots", "vendorName": 5, "wcu": "1000"}
    groups = ["AWSManagedRulesCommonRuleSet", group]
    waf = parsed({"waf": {"managedRuleGroups": groups, "shadow": {"rateLimit": 10}}}).waf
    assert [(g.vendor_name, g.name, g.wcu) for g in waf.managed_rule_groups] == [
        ("AWS", "AWSManagedRulesCommonRuleSet", 700),
        ("5", "Bots", 1000),
    ]
    assert waf.wcu == 2 + 2 + 700 + 1000, "each of the two rate rules takes 2 WCU"


def test_what_is_turned_off_is_no_limit() -> None:
    off = {"waf": {"enabled": False}, "function": {"reservedConcurrency": "none"}}
    limits = parsed(off).limits()
    assert (limits.waf, limits.concurrency) == (None, None)


def test_each_client_has_the_keys_that_are_listed_or_the_first() -> None:
    plan = parsed(changed("usagePlans.premium.keys.acme[0] 2")).usage_plans["premium"]
    assert [*plan.api_keys()] == [("acme", 2), ("default", 1)]
    assert [api_key_holder(*key) for key in plan.api_keys()] == ["acme.2", "default"]


def test_region_and_profile_come_from_the_namespace_of_the_provider() -> None:
    settings = parsed(GOOD, region="eu-south-1", profile="ops")
    assert (settings.region, settings.profile) == ("eu-south-1", "ops")
    assert parsed(GOOD, profile="").profile is None


def test_settings_under_another_name_than_the_projects_are_refused_by_name() -> None:
    config = stack_config(GOOD, "dev", project="old-api", region="eu-south-1")
    others = {"aws-native:region": "x", "pulumi:tags": "{}", "gcp:project": "p"}
    with pytest.raises(UserError) as refused:
        parse_settings(replace(config, project=PROJECT, values={**config.values, **others}))
    assert str(refused.value) == (
        "Stack dev has settings under another name than its project's, fixture-api: "
        f"{', '.join(f'old-api:{name}' for name in GOOD)}. In the stack's file, write "
        "`fixture-api:` before each, or change the name in Pulumi.yaml back."
    )
    assert parse_settings(StackConfig(project=PROJECT, stack="dev", values=others)) == parsed({})


def test_the_label_has_only_characters_that_every_aws_name_may_have() -> None:
    def label(stack: str) -> str:
        return parse_settings(stack_config({"stageName": "a"}, stack)).label

    long = parse_settings(stack_config({}, "s" * 100, project="p" * 38)).label
    assert re.fullmatch("p{38}-s{82}-[0-9a-f]{6}", long), "AWS WAF takes 128 as a metric's name"
    assert label("jane_doe-2") == "fixture-api-jane_doe-2"
    assert re.fullmatch("fixture-api-jane-doe-2-[0-9a-f]{6}", label("jane.doe-2"))
    stacks = ["jane.doe", "jane-doe", "jane_doe", "Jane-doe", "jane..doe", "jane.-doe"]
    assert len({label(stack) for stack in stacks}) == len(stacks), "no two stacks have one label"


def test_importing_the_settings_does_not_load_pulumi() -> None:
    code = "import sys, settings, tools.schema; sys.exit('pulumi' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Protection


@pytest.mark.parametrize(
    ("tree", "protected"),
    [
        ({}, True),
        ({"deletionProtection": "false"}, False),
        ({"table": {"deletionProtection": False}}, False),
        ({"table": {"deletionProtection": "true"}, "deletionProtection": True}, True),
    ],
)
def test_protection_is_set_by_its_new_or_its_old_name(tree: Tree, protected: bool) -> None:
    assert parsed(tree).deletion_protection is protected


def test_the_old_name_of_the_protection_is_warned_about_with_the_commands_that_rename_it() -> None:
    tree = {**GOOD, "table": {"deletionProtection": True}}
    del tree["deletionProtection"]
    [warning] = [w for w in parsed(tree).warnings() if "deletionProtection" in w]
    assert warning == (
        "fixture-api:table.deletionProtection: is the old name of deletionProtection.\n"
        "      pulumi config set --path fixture-api:deletionProtection true --stack dev\n"
        "      pulumi config rm --path fixture-api:table.deletionProtection --stack dev"
    )
    for command in commands(warning):
        run(tree, command)
    assert tree == {**GOOD, "deletionProtection": "true", "table": {}}
    assert parsed(GOOD).warnings() == []


# Warnings


def warned(tree: Tree, region: str = "eu-south-1") -> list[str]:
    """Return the keys of the warnings about a config."""
    return [text[12 : text.index(": ")] for text in parsed(tree, region=region).warnings()]


def test_limits_that_contradict_each_other_get_warnings_whose_commands_resolve_them() -> None:
    assert warned(GOOD) == [], "the limits agree before the edits"
    tree = changed(
        *("waf.rateLimit 1199", "usagePlans.basic.quota.limit 17999"),
        *("function.expectedDurationMs 501", "table.maxWriteRequestUnits 49"),
        *("usagePlans.premium.clients[2] third", "throttle.burstLimit 1251"),
    )
    keys = warned(tree)
    assert sorted(set(keys)) == [
        *("function.reservedConcurrency", "table.maxWriteRequestUnits", "throttle.burstLimit"),
        *("throttle.rateLimit", "usagePlans.basic.quota.limit", "waf.rateLimit"),
    ]
    assert {*keys} - {*warned(tree, "eu-central-1")} == {"throttle.burstLimit"}
    for _ in range(2):  # a faster stage needs more of the others
        for warning in parsed(tree, region="eu-south-1").warnings():
            assert re.fullmatch(r"fixture-api:\S+: .+\n      pulumi config set .+", warning)
            run(tree, *commands(warning))
    assert warned(tree) == []


def test_many_plans_get_a_warning_because_aws_changes_one_in_twenty_seconds() -> None:
    def warnings(count: int) -> list[str]:
        return parsed({**GOOD, "usagePlans": {f"p{i}": PLAN for i in range(count)}}).warnings()

    many = [warning for warning in warnings(21) if warning not in warnings(20)]
    [words] = [warning for warning in many if "takes at least 7 minutes" in warning]
    assert words.endswith("pulumi config rm --path fixture-api:usagePlans.p20 --stack dev")
    assert not any("minutes" in warning for warning in warnings(20))
