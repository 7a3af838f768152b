"""What changes in one stack, as a comment on a pull request shows it."""

from collections.abc import Iterator
from typing import Any

import pytest

from routes import METHODS, ROUTES
from settings import Settings
from settings.json_schema import Node, at, json_schema, section
from settings.schema import Config, Provider
from tests.stacks import settings
from tools.diff.report import NOT_FOR_CALLERS, allowance, markdown, stack_diff

pytestmark = pytest.mark.usefixtures("shipped_route")
EVERYTHING: dict[str, Any] = {
    "throttle": {"methods": {"POST /data": {"rateLimit": 5, "burstLimit": 10}}},
    "usagePlans": {"basic": {"keys": {"default": [1, 2]}}},
    "waf": {
        "managedRuleGroups": ["AWSManagedRulesAnonymousIpList"],
        "shadow": {"rateLimit": 1000},
    },
    "aws": {"defaultTags": '{"tags": {"team": "web"}}'},
}
"""Settings without which some keys are not there."""
# For texts and lists; numbers, switches and choices have other values by themselves.
OTHER_VALUES: dict[str, object] = {
    "project": "other",
    "region": "eu-west-1",
    "profile": "other",
    "allowedAccountIds": ["111122223333"],
    "forbiddenAccountIds": ["111122223333"],
    "assumeRoles": [{"roleArn": "arn:aws:iam::111122223333:role/deploy"}],
    "endpoints": [{"sts": "http://127.0.0.1:4566"}],
    "team": "api",
    "stageName": "other",
    "clients": ["default", "second"],
    "default": [2],
    "forwardedHeader": "X-Real-IP",
    "managedRuleGroups": [],
    "maxWriteRequestUnits": 7,
    "cidr": "10.9.0.0/16",
    "alarmEmails": ["a@b.co"],
}


def text_of(stack: str, before: Settings | None, after: Settings | None) -> str:
    found = stack_diff(stack, before, after)
    assert found
    return markdown(found)


NAMED = ("usagePlans", "throttle.methods", "usagePlans.*.keys", "aws.defaultTags.tags")
"""Mappings whose keys are names."""


def changes(tree: Any, key: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401  JSON
    """Yield each setting of a tree by its key, with a tree in which only that setting differs."""
    for name, value in tree.items():
        step = "*" if key in NAMED else name
        path = f"{key}.{step}" if key else step
        if isinstance(value, dict):
            for changed, below in changes(value, path):
                yield changed, tree | {name: below}
        else:
            schema = at(json_schema(Config), tuple(path.split(".")))
            others = [one for one in schema.get("enum", []) if one != value]
            if isinstance(value, bool):
                others = [not value]
            elif not others and isinstance(value, int | float):
                others = [value + 1]
            others = [OTHER_VALUES[name]] if name in OTHER_VALUES else others
            assert others, f"OTHER_VALUES needs another value of {path}"
            yield path, tree | {name: others[0]}


def leaves(node: Node, key: str) -> Iterator[str]:
    """Yield the keys of all settings below a node of the JSON Schema."""
    inner = {**section(node).get("properties", {})}
    if of_each := section(node).get("additionalProperties"):
        inner["*"] = of_each
    for name, below in inner.items():
        yield from leaves(below, f"{key}.{name}")
    if not inner and not node.get("deprecated"):
        yield key


def test_every_setting_is_reported_when_it_changes_unless_no_caller_notices() -> None:
    before = settings("prod", **EVERYTHING)
    tree = before.model_dump(by_alias=True, mode="json")
    tree["aws"] = before.provider.model_dump(by_alias=True, mode="json")
    del tree["stack"], tree["region"], tree["profile"]  # a stack has no other name
    silent = set()
    changed = dict(changes(tree))
    for key, other in changed.items():
        aws = other.pop("aws")
        rest = {"stack": "prod", "region": aws["region"], "profile": aws["profile"]}
        after = Settings.model_validate(other | rest | {"aws:": aws})
        found = stack_diff("prod", before, after)
        if found is None or not (found["limits"] or found["lost"]):
            silent.add(key.replace("aws.", "aws:"))

    settings_of_all = {*leaves(json_schema(Config), ""), *leaves(json_schema(Provider), ".aws")}
    missing = settings_of_all - {f".{key}" for key in changed}
    assert not missing, f"{__file__}: in EVERYTHING, give a value to {missing}"
    named = {
        key.replace("aws.", "aws:")
        for key in changed
        for one in NOT_FOR_CALLERS
        if f"{key}.".startswith(f"{one}.".replace(":", "."))
    }
    assert silent == named, f"NOT_FOR_CALLERS of tools/diff/report.py: {silent ^ named}"


def lost(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return the lines about what cannot be undone in prod."""
    text = text_of("prod", settings("prod", **before), settings("prod", **after))
    return (
        text.partition("Callers lose this, or it cannot be undone:\n\n")[2]
        .partition("\n\n")[0]
        .splitlines()
    )


KEYS_GO = (
    "`usagePlans.basic`: the API keys of `default` are deleted: clients that still use "
    "them get 403."
)
REFUSED = "; refused while `deletionProtection` is true."


@pytest.mark.parametrize(
    ("after", "line"),
    [
        (
            {"stageName": "live"},
            f"`stageName`: `prod` → `live` replaces the stage: every caller's URL changes{REFUSED}",
        ),
        (
            {"network": {"cidr": "10.9.0.0/16"}},
            "`network.cidr`: `10.1.0.0/16` → `10.9.0.0/16` replaces the VPC, and moves the "
            f"function to it{REFUSED}",
        ),
        (
            {"aws": {"region": "eu-west-1"}},
            "`aws:region`: `eu-central-1` → `eu-west-1` replaces all resources: an empty table, "
            f"other API keys, another URL{REFUSED}",
        ),
        (
            {"deletionProtection": False},
            "`deletionProtection`: true → false: Pulumi may then delete or replace the table, the "
            "stage and the VPC.",
        ),
        (
            {"aws": {"region": "eu-central-1", "profile": "other"}},
            "`aws:profile`: none → `other` may lead to another account: an empty table, other API "
            "keys, another URL.",
        ),
        ({"usagePlans": {"basic": {"clients": ["acme"]}}}, KEYS_GO),
        ({"usagePlans": {"basic": {"keys": {"default": [2]}}}}, KEYS_GO),
    ],
)
def test_a_change_that_cannot_be_undone_is_reported(after: dict[str, Any], line: str) -> None:
    assert lost({}, after) == [f"- {line}"]


@pytest.mark.parametrize(("before", "after"), [(False, False), (False, True), (True, False)])
def test_without_protection_before_or_after_nothing_is_refused(before: bool, after: bool) -> None:
    old, new = ({"deletionProtection": value} for value in (before, after))

    *_, line = lost(old, new | {"stageName": "live"})

    assert line.endswith("replaces the stage: every caller's URL changes.")


def test_a_removed_plan_takes_its_keys_and_added_clients_and_keys_take_nothing() -> None:
    before = settings("prod")
    plans = dict(before.usage_plans)
    del plans["premium"]
    without = before.model_copy(update={"usage_plans": plans})

    text = text_of("prod", before, without)

    assert "- `usagePlans.premium`: the API keys of `default` are deleted" in text
    assert "| `usagePlans.premium.rateLimit` | 500 |  |" in text
    more = {"usagePlans": {"basic": {"clients": ["acme", "default"], "keys": {"default": [1, 2]}}}}
    assert lost({}, more) == []
    assert "| `usagePlans.basic.clients` | `default` | `acme`, `default` |" in text_of(
        "prod", before, settings("prod", **more)
    )


def test_a_route_without_a_key_is_bound_by_no_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    health = ROUTES[0]._replace(verb="GET", path="/health", needs_key=False)
    monkeypatch.setattr("settings.schema.ROUTES", (ROUTES[0], health))
    monkeypatch.setattr("tools.diff.report.METHODS", (ROUTES[0].method, "GET /health"))

    text = text_of("prod", settings("prod"), settings("prod", throttle={"rateLimit": 900}))

    assert "\n\nRequests to `GET /health` that" in text, (
        "Markdown makes it a row of the table before"
    )
    assert text.splitlines()[-1] == (
        "| no key | 1,000 (stage) → **900 (stage)** | 86,400,000 (stage) → "
        "**77,760,000 (stage)** | 6.667 (web ACL) |"
    )


MONTH = {"limit": 3_000_000, "period": "MONTH"}
RARE: dict[str, Any] = {"rateLimit": 1, "burstLimit": 1, "quota": MONTH}


def throttle(method: int, stage: int = 1000) -> dict[str, Any]:
    own = {"rateLimit": method, "burstLimit": 90}
    return {"rateLimit": stage, "methods": {METHODS[0]: own}}


@pytest.mark.parametrize(
    ("changes", "bounds"),
    [
        ({}, "100 plan, 10000 quota, 6.67 web ACL"),
        ({"throttle": throttle(60)}, "60 method, 10000 quota, 6.67 web ACL"),
        # A method may be faster than its stage, and so may a plan then.
        ({"throttle": throttle(600, stage=50)}, "100 plan, 10000 quota, 6.67 web ACL"),
        # 4 executions of 200 ms
        (
            {"function": {"reservedConcurrency": 4, "expectedDurationMs": 200}},
            "20 function, 10000 quota, 6.67 web ACL",
        ),
        # Lambda's own cap of ten requests per second and execution, however short they are
        (
            {"function": {"reservedConcurrency": 4, "expectedDurationMs": 1}},
            "40 function, 10000 quota, 6.67 web ACL",
        ),
        (
            {"table": {"maxWriteRequestUnits": 20}, "waf": {"enabled": False}},
            "20 table, 10000 quota, 20 table",
        ),
        (
            {"usagePlans": {"basic": {"quota": MONTH}}},
            "100 plan, 3000000 quota, all in one day, 6.67 web ACL",
        ),
        ({"usagePlans": {"basic": RARE}}, "1 plan, 86400 plan, 1 plan"),
    ],
)
def test_the_least_of_all_limits_bounds_a_client(changes: dict[str, Any], bounds: str) -> None:
    allowed = allowance(settings("prod", **changes), "basic", METHODS[0])

    assert (
        ", ".join(f"{round(value, 2):.7g} {layer}" for value, layer in allowed.values()) == bounds
    )


def test_limits_are_shown_as_they_were_configured() -> None:
    slow = {"usagePlans": {"basic": {"rateLimit": 0.1234567}}}

    text = text_of("prod", settings("prod"), settings("prod", **slow))

    assert "| `usagePlans.basic.rateLimit` | 100 | 0.1234567 |" in text


def test_findings_that_appear_come_with_a_command_and_a_new_number_is_not_a_new_finding() -> None:
    before, after = settings("dev"), settings("dev", waf={"rateLimit": 60})

    text = text_of("dev", before, after)

    assert "New findings of the review:\n\n- **warning** `waf.rateLimit`: 60 requests per" in text
    assert "\n  `pulumi config set --path fixture-api:waf.rateLimit 300 --stack dev`\n" in text
    assert "Findings of the review that go" not in text
    assert "| `basic` | 5 (plan) | 20,000 (quota) | 5 (plan) → **1 (web ACL)** |" in text
    quota = {"usagePlans": {"basic": {"quota": {"limit": 20_000}}}}
    text = text_of("prod", settings("prod"), settings("prod", **quota))
    assert "The findings of the review do not change.\n" in text


def test_what_a_month_can_bill_moves_with_settings_that_no_caller_notices() -> None:
    before, after = settings("prod"), settings("prod", function={"memoryMb": 2048})

    assert text_of("prod", before, after) == (
        "### Stack `prod`\n\nA month can bill at most $580.08 → **$1,034.75** (list prices of "
        "us-east-1). The largest change: GB-seconds of the function, arm64, $454.67 → $909.34. "
        "`python -m tools cost` says what no limit bounds."
    )
    assert "\nA month can bill at most **$580.08** (" in text_of("prod", None, before)
    assert "A month can bill" not in text_of("prod", before, None)


def test_names_and_values_of_the_stack_file_cannot_be_markup() -> None:
    group = {"name": "G", "vendorName": "@team <img> | `x`", "wcu": 5}
    after = settings("prod", waf={"managedRuleGroups": [group]})

    lines = text_of("p\n## x @team", settings("prod"), after).splitlines()

    assert lines[0] == r"### Stack `p\n## x @team`"
    assert "| `waf.managedRuleGroups` | none | `G` `` @team <img> \\| `x` `` 5 |" in lines
