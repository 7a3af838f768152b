"""Any config at all: a program in which no two things have one name, or one error and nothing else.

Names are the awkward ones that are allowed: equal but for case, but for a hyphen, numbers, words of
YAML, as long as may be.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any
from unittest import mock

from hypothesis import example, given
from hypothesis import strategies as st
from tests.components.test_settings_fixes import broken_configs
from tests.settings.pulumi_config import PROJECT, Tree, handed_over

from tests.fuzzing import examples
from tests.program.conftest import find
from tools.recorder.program import Program, ProgramError, run_program
from tools.sandbox import program as sandbox_program
from tools.sandbox.deployment import read_deployment

LONG = "x" * 64
names = st.sampled_from(
    [
        *(
            "default",
            "Default",
            "a",
            "A",
            "a-b",
            "a_b",
            "a-2",
            "a_2",
            "2",
            "02",
            "1e3",
            "no",
            "null",
        ),
        *("key", "plan", "plan-key", "key-a", "acme-2", LONG, LONG.upper()),
    ]
) | st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", fullmatch=True)
buckets = {"rateLimit": st.floats(0.001, 50), "burstLimit": st.integers(1, 100)}


@st.composite
def plans(draw: st.DrawFn) -> dict[str, Any]:
    """A plan some of whose clients have several keys."""
    clients = draw(st.lists(names, unique=True, max_size=4))
    rotating = draw(st.sets(st.sampled_from(clients))) if clients else set()
    numbers = st.lists(
        st.integers(1, 9999) | st.integers(1, 2), min_size=1, max_size=3, unique=True
    )
    return {
        **draw(st.fixed_dictionaries(buckets)),
        "quota": {"limit": draw(st.integers(1, 10))},
        "clients": clients,
        "keys": {client: draw(numbers) for client in rotating},
    }


PLAN: dict[str, Any] = {"rateLimit": 1, "burstLimit": 1, "quota": {"limit": 1000}}
# Names that are one once case, hyphens, or what stands between a plan and its client goes.
ALIKE = {
    "a": {**PLAN, "clients": ["b-c", "b", "B", "b-2", "b_2", "2"], "keys": {"b": [1, 2]}},
    "A": {**PLAN, "clients": ["b"]},
    "a-b": {**PLAN, "clients": ["c", "2"]},
    "key-a": {**PLAN, "clients": ["b"]},
}


rule_groups = st.lists(
    st.sampled_from(
        [
            "AWSManagedRulesCommonRuleSet",
            "AWSManagedRulesAmazonIpReputationList",
            *(
                {"name": name, "vendorName": vendor, "wcu": 1}
                for name in ("rate", "rate-per-address", "Rate", "ALL", "x" * 128, "x" * 127)
                for vendor in ("AWS", "F5")
            ),
        ]
    ),
    max_size=3,
)
good_configs = st.fixed_dictionaries(
    {
        "throttle": st.fixed_dictionaries(
            {"rateLimit": st.just(50), "burstLimit": st.just(100)},
            optional={
                "methods": st.fixed_dictionaries({"POST /data": st.fixed_dictionaries(buckets)})
            },
        ),
        "usagePlans": st.dictionaries(names, plans(), min_size=1, max_size=3),
    },
    optional={
        "stageName": st.sampled_from(["-", "_", "2024", "Prod", "s" * 128]),
        "waf": st.fixed_dictionaries(
            {}, optional={"managedRuleGroups": rule_groups, "enabled": st.booleans()}
        ),
        "monitoring": st.fixed_dictionaries(
            {
                "alarmEmails": st.lists(
                    st.sampled_from(["a@b.cd", "A@b.cd", "a+1@b.cd", "a::b@c.de"]),
                    unique=True,
                )
            }
        ),
        "function": st.fixed_dictionaries(
            {"snapStart": st.booleans(), "reservedConcurrency": st.just("none") | st.just(5)}
        ),
    },
)
stacks = st.sampled_from(["dev", "jane.doe", "Dev_2", "s" * 100])


def twice(things: Iterable[Any]) -> list[Any]:
    """What is there more than once."""
    return [thing for thing, count in Counter(things).items() if count > 1]


def assert_that_every_name_is_ones_own(program: Program) -> None:
    resources = program.resources.items
    assert twice(resource.urn for resource in resources) == []
    # Of which Pulumi makes the physical name, where the program gives none.
    assert twice((resource.type, resource.name) for resource in resources) == []
    assert (
        twice(
            (resource.type, resource.inputs[key])
            for resource in resources
            for key in ("name", "namePrefix", "dashboardName", "endpoint")
            if key in resource.inputs
        )
        == []
    )
    filters = find(program, "cloudwatch/logMetricFilter:LogMetricFilter")
    metrics = [resource.inputs["metricTransformation"] for resource in filters]
    assert twice((metric["namespace"], metric["name"]) for metric in metrics) == []
    for acl in find(program, "wafv2/webAcl:WebAcl"):
        rules = acl.inputs["rules"]
        assert twice(rule["name"] for rule in rules) == []
        assert twice(rule["priority"] for rule in rules) == []
        shown = [rule["visibilityConfig"]["metricName"] for rule in [acl.inputs, *rules]]
        assert twice(shown) == []
        # https://docs.aws.amazon.com/waf/latest/APIReference/API_VisibilityConfig.html
        assert all(re.fullmatch("[A-Za-z0-9_-]{1,128}", name) for name in shown)
    for board in find(program, "cloudwatch/dashboard:Dashboard"):
        assert re.fullmatch("[A-Za-z0-9_-]{1,255}", board.inputs["dashboardName"])
        body = board.inputs.get("dashboardBody")
        for widget in json.loads(body)["widgets"] if isinstance(body, str) else ():  # a preview
            drawn = map(json.dumps, widget["properties"].get("metrics", []))
            assert twice(drawn) == []
    for key in find(program, "apigateway/apiKey:ApiKey"):
        assert all(len(value) <= 256 for value in key.inputs["tags"].values())


def assert_a_program_or_one_error(config: dict[str, str], stack: str, *, preview: bool) -> None:
    made: list[str] = []
    make = sandbox_program._Aws.new_resource

    def new_resource(self: sandbox_program._Aws, args: Any) -> Any:  # noqa: ANN401
        made.append(args.name)
        return make(self, args)

    with mock.patch.object(sandbox_program._Aws, "new_resource", new_resource):
        try:
            program = run_program(config, project=PROJECT, stack=stack, preview=preview)
        except ProgramError as error:
            refused = str(error)
        else:
            assert_that_every_name_is_ones_own(program)
            assert sorted(made) == sorted(resource.name for resource in program.resources.items)
            if not preview:
                keys = find(program, "apigateway/apiKey:ApiKey")
                holders = read_deployment(program.resources).clients.values()
                assert len(set(holders)) == len(keys)
            return
    count, *lines = refused.split("\n")
    listed = [line for line in lines if not line.startswith("      ")]
    assert count == (
        f"{len(listed)} problem{'s' if len(listed) > 1 else ''} in the config of stack {stack}; "
        "nothing was changed."
    )
    assert listed
    assert all(line.startswith(("  throttled-api:", "  aws:")) for line in listed)
    assert refused.isprintable() or refused.replace("\n", "").isprintable()
    assert made == []


@examples(5)
@given(tree=good_configs, stack=stacks, preview=st.booleans())
@example(tree={"usagePlans": ALIKE}, stack="dev", preview=False)
@example(
    tree={"waf": {"managedRuleGroups": [{"name": "rate", "vendorName": "F5", "wcu": 1}]}},
    stack="dev",
    preview=False,
)
@example(
    tree={"waf": {"managedRuleGroups": [{"name": "x" * 128, "wcu": 1}]}}, stack="dev", preview=False
)
def test_awkward_names_make_a_program_or_one_error(
    environment: None, tree: Tree, stack: str, preview: bool
) -> None:
    assert_a_program_or_one_error(handed_over(tree), stack, preview=preview)


@examples(8)
@given(tree=broken_configs(), preview=st.booleans())
def test_a_broken_config_makes_a_program_or_one_error(
    environment: None, tree: Tree, preview: bool
) -> None:
    assert_a_program_or_one_error(handed_over(tree), "dev", preview=preview)


values = st.text() | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
).map(json.dumps)
keys = st.sampled_from(["stageName", "throttle", "usagePlans", "waf", "monitoring"]).map(
    lambda name: f"{PROJECT}:{name}"
) | st.text().map(lambda name: f"{PROJECT}:{name}")


@examples(5)
@given(
    config=st.dictionaries(keys | st.just("aws:region"), values, max_size=4), preview=st.booleans()
)
@example(config={f"{PROJECT}:waf": '{"\\ud800": 1}'}, preview=False)
@example(config={f"{PROJECT}:waf": '{"a":' * 400 + "1" + "}" * 400}, preview=False)
@example(config={f"{PROJECT}:a\nb\x1b": "1"}, preview=False)
@example(config={"aws:region": "no"}, preview=False)
def test_any_text_makes_a_program_or_one_error(
    environment: None, config: dict[str, str], preview: bool
) -> None:
    assert_a_program_or_one_error(config, "dev", preview=preview)
