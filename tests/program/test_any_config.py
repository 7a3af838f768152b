"""Any config: a program with its limits and with names of its own, or one error.

Names are the awkward ones that are allowed: equal but for case, but for a hyphen, numbers, words of
YAML, as long as may be.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from settings import SettingsError, parse_settings
from tests.fuzzing import examples
from tests.settings.configs import Tree, stack_config
from tests.settings.test_fixes import broken_configs
from tests.stacks.resources import find
from tools.recorder.program import Program, ProgramError, run_program
from tools.sandbox.deployment import read_deployment

LONG = "x" * 64
names = st.sampled_from(
    [
        *("default", "Default", "a", "A", "a-b", "a_b", "a-2", "a_2", "2", "02", "1e3", "no"),
        *("null", "key", "plan", "plan-key", "key-a", "acme-2", LONG, LONG.upper()),
    ]
) | st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", fullmatch=True)
buckets = {
    "rateLimit": st.floats(0.001, 1e6) | st.integers(1, 10**6) | st.just("0.5"),
    "burstLimit": st.integers(1, 10**6),
}


@st.composite
def plans(draw: st.DrawFn) -> dict[str, Any]:
    """A plan some of whose clients have several keys."""
    clients = draw(st.lists(names, unique=True, max_size=4))
    rotating = draw(st.sets(st.sampled_from(clients))) if clients else set()
    number = st.integers(1, 9999) | st.integers(1, 2)
    numbers = st.lists(number, min_size=1, max_size=3, unique=True)
    return {
        **draw(st.fixed_dictionaries(buckets)),
        "quota": {
            "limit": draw(st.integers(1, 2**31 - 1)),
            "period": draw(st.sampled_from(["DAY", "WEEK", "MONTH"])),
        },
        "clients": clients,
        "keys": {client: draw(numbers) for client in rotating},
    }


PLAN: dict[str, Any] = {"rateLimit": 1, "burstLimit": 1, "quota": {"limit": 1000}}
# Names that become equal without case, hyphens, or the separator between plan and client.
ALIKE = {
    "a": {**PLAN, "clients": ["b-c", "b", "B", "b-2", "b_2", "2"], "keys": {"b": [1, 2]}},
    "A": {**PLAN, "clients": ["b"]},
    "a-b": {**PLAN, "clients": ["c", "2"]},
    "key-a": {**PLAN, "clients": ["b"]},
}
RULE_GROUPS = [
    *("AWSManagedRulesCommonRuleSet", "AWSManagedRulesAmazonIpReputationList"),
    *(
        {"name": name, "vendorName": vendor, "wcu": 1}
        for name in ("rate", "rate-per-address", "Rate", "ALL", "x" * 128, "x" * 127)
        for vendor in ("AWS", "F5")
    ),
]
method = st.fixed_dictionaries({"POST /data": st.fixed_dictionaries(buckets)})
emails = st.sampled_from(["a@b.cd", "A@b.cd", "a+1@b.cd", "a::b@c.de"])
good_configs = st.fixed_dictionaries(
    {
        "throttle": st.fixed_dictionaries(
            {"rateLimit": st.just(10**6), "burstLimit": st.just(10**6)},
            optional={"methods": method},
        ),
        "usagePlans": st.dictionaries(names, plans(), min_size=1, max_size=3),
    },
    optional={
        "stageName": st.sampled_from(["-", "_", "2024", "Prod", "s" * 128]),
        "waf": st.fixed_dictionaries(
            {"sourceRateLimit": st.just(2_000_000_000)},
            optional={
                "managedRuleGroups": st.lists(st.sampled_from(RULE_GROUPS), max_size=3),
                "enabled": st.booleans(),
                "rateLimit": st.integers(10, 2_000_000_000),
                "windowSeconds": st.sampled_from([60, 120, 300, 600]),
                "shadow": st.just({"rateLimit": 10}),
                "aggregateBy": st.sampled_from(["IP", "FORWARDED_IP"]),
            },
        ),
        "monitoring": st.fixed_dictionaries({"alarmEmails": st.lists(emails, unique=True)}),
        "function": st.fixed_dictionaries(
            {
                "snapStart": st.booleans(),
                "reservedConcurrency": st.just("none") | st.integers(1, 10**5),
            }
        ),
    },
)
stacks = st.sampled_from(["dev", "jane.doe", "Dev_2", "s" * 100])


def twice(things: Iterable[Any]) -> list[Any]:
    """Return what is there more than once."""
    return [thing for thing, count in Counter(things).items() if count > 1]


def assert_that_names_are_unique(program: Program) -> None:
    resources = program.resources.items
    assert not twice(resource.urn for resource in resources)
    # Where the program gives no physical name, Pulumi makes one from the logical name.
    assert not twice((resource.type, resource.name) for resource in resources)
    for name in ("name", "namePrefix", "dashboardName", "endpoint"):
        named = [resource for resource in resources if name in resource.inputs]
        assert not twice((resource.type, resource.inputs[name]) for resource in named)
    filters = find(program, "cloudwatch/logMetricFilter:LogMetricFilter")
    metrics = [resource.inputs["metricTransformation"] for resource in filters]
    assert not twice((metric["namespace"], metric["name"]) for metric in metrics)
    for acl in find(program, "wafv2/webAcl:WebAcl"):
        rules = acl.inputs["rules"]
        assert not twice(rule["name"] for rule in rules)
        assert not twice(rule["priority"] for rule in rules)
        shown = [rule["visibilityConfig"]["metricName"] for rule in [acl.inputs, *rules]]
        assert not twice(shown)
        # https://docs.aws.amazon.com/waf/latest/APIReference/API_VisibilityConfig.html
        assert all(re.fullmatch("[A-Za-z0-9_-]{1,128}", name) for name in shown)
    for board in find(program, "cloudwatch/dashboard:Dashboard"):
        assert re.fullmatch("[A-Za-z0-9_-]{1,255}", board.inputs["dashboardName"])
        body = board.inputs.get("dashboardBody")
        for widget in json.loads(body)["widgets"] if isinstance(body, str) else ():  # a preview
            assert not twice(map(json.dumps, widget["properties"].get("metrics", [])))


def groups(*given: dict[str, Any]) -> Tree:
    return {"waf": {"managedRuleGroups": [*given]}}


@examples(14)
@given(tree=good_configs | broken_configs(), stack=stacks, preview=st.booleans())
@example(tree={"usagePlans": ALIKE}, stack="dev", preview=False)
@example(tree=groups({"name": "rate", "vendorName": "F5", "wcu": 1}), stack="dev", preview=False)
@example(tree=groups(*({"name": "x" * n, "wcu": 1} for n in (128, 127))), stack="a", preview=False)
def test_any_config_makes_a_program_with_its_limits_or_one_error(
    tree: Tree, stack: str, preview: bool
) -> None:
    config = stack_config(tree, stack)
    try:
        limits = parse_settings(config).limits()
    except SettingsError as refused:
        with pytest.raises(ProgramError, match=re.escape(str(refused))):
            run_program(config, preview=preview)
        return
    program = run_program(config, preview=preview)
    assert_that_names_are_unique(program)
    holders = [(plan, c) for plan, held in limits.usage_plans.items() for c in held.clients]
    assert len(set(holders)) == len(find(program, "apigateway/apiKey:ApiKey"))
    assert preview or read_deployment(program.resources).limits == limits
