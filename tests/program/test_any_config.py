"""Any config: a program whose names are its own, or one error.

`test_aws_bounds` has the extremes of every setting.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given

from settings import SettingsError, parse_settings
from tests.fuzzing import examples
from tests.settings.configs import Tree, stack_config
from tests.settings.test_fixes import broken_configs
from tests.stacks.resources import find
from tools.recorder.program import Program, ProgramError, run_program

PLAN: dict[str, Any] = {"rateLimit": 1, "burstLimit": 1, "quota": {"limit": 1000}}
# Names that become equal without case, hyphens, or the separator between plan and client.
ALIKE = {
    "a": {**PLAN, "clients": ["b-c", "b", "B", "b-2", "b_2", "2"], "keys": {"b": [1, 2]}},
    "A": {**PLAN, "clients": ["b"]},
    "a-b": {**PLAN, "clients": ["c", "2"]},
    "key-a": {**PLAN, "clients": ["b"]},
}


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


def groups(*given: object) -> Tree:
    return {"waf": {"managedRuleGroups": [*given]}}


@pytest.mark.parametrize("preview", [False, True])
@pytest.mark.parametrize(
    "tree",
    [
        {"usagePlans": ALIKE, "monitoring": {"alarmEmails": ["a@b.cd", "A@b.cd", "a::b@c.de"]}},
        groups({"name": "Rate", "vendorName": "F5", "wcu": 1}),
        groups(*({"name": "x" * n, "wcu": 1} for n in (128, 127))),
    ],
)
def test_names_that_are_alike_make_resources_of_their_own(tree: Tree, preview: bool) -> None:
    assert_that_names_are_unique(run_program(stack_config(tree), preview=preview))


@examples(20)
@given(tree=broken_configs())
def test_any_wrong_config_is_one_error(tree: Tree) -> None:
    config = stack_config(tree)
    try:
        parse_settings(config)
    except SettingsError as refused:
        with pytest.raises(ProgramError, match=re.escape(str(refused))):
            run_program(config)
