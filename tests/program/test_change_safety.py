"""Edits of the config and of the code, and their effects on a deployed stack.

Each edit comes with everything that it creates, deletes, replaces and updates. Records, the URL and
the VPC cannot be recovered: stacks with deletion protection refuse an edit that would lose them.

`effects` stands in for Pulumi's engine, which `tests/engine` runs. A resource is known by its URN.
"""

import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pulumi_aws as aws
import pytest

from components import compute
from components.edge_protection import rest_api
from components.edge_protection.openapi import openapi
from tests.engine.provider import replaced_by
from tests.stacks import STACKS, deploy, run
from tests.stacks.resources import only, short
from tools.recorder.program import Program
from tools.recorder.resources import Resource

Effects = dict[str, set[str]]
"""Short names of the resources by what happens to them."""


def effects(before: Program, after: Program) -> Effects:
    """Return what an update from one run of the program to another does.

    "deleted" means deleted in AWS. With any "refused", a preview fails, and an update fails before
    it deletes anything.
    """
    old = {resource.urn: resource for resource in before.resources.items if resource.custom}
    new = {resource.urn: resource for resource in after.resources.items if resource.custom}
    both, gone = old.keys() & new.keys(), old.keys() - new.keys()
    replaced = _replaced(old, new)
    ids = [old[urn].id for urn in replaced]
    updated = {urn for urn in both - replaced if _differs(old[urn].inputs, new[urn].inputs, ids)}
    found = {
        "created": [new[urn] for urn in new.keys() - old.keys()],
        "deleted": [old[urn] for urn in gone if not old[urn].retain_on_delete],
        "replaced": [old[urn] for urn in replaced],
        "updated": [new[urn] for urn in updated],
        # One update may remove the protection and replace, but it may not delete.
        # https://github.com/pulumi/pulumi/tree/master/pkg/resource/deploy
        "refused": [
            *(old[urn] for urn in replaced if old[urn].protect and new[urn].protect),
            *(old[urn] for urn in gone if old[urn].protect),
        ],
    }
    return {effect: {short(resource) for resource in of} for effect, of in found.items() if of}


def _replaced(old: dict[str, Resource], new: dict[str, Resource]) -> set[str]:
    """Return the URNs of what is replaced, for its own inputs or because it quotes a new ID."""
    [moved] = {
        resource.inputs["region"] != new[urn].inputs["region"]
        for urn, resource in old.items()
        if resource.type == "pulumi:providers:aws"
    }
    forced = {urn: replaced_by(old[urn].type) for urn in old.keys() & new.keys()}
    # A new Region replaces a resource of any type.
    replaced = set(forced) if moved else set[str]()
    while True:
        ids = [old[urn].id for urn in replaced]
        more = {
            urn
            for urn in forced.keys() - replaced
            for name in forced[urn]
            if _differs(old[urn].inputs.get(name), new[urn].inputs.get(name), ids)
        }
        if not more:
            return replaced
        replaced |= more


def _differs(before: Any, after: Any, replaced_ids: list[str]) -> bool:  # noqa: ANN401  JSON
    return before != after or any(identifier in json.dumps(after) for identifier in replaced_ids)


# Clients and plans

PLAN: dict[str, Any] = {"rateLimit": 100, "burstLimit": 200, "quota": {"limit": 10_000}}
BASIC: dict[str, Any] = {**PLAN, "clients": ["acme", "default"]}
PREMIUM: dict[str, Any] = {**PLAN, "clients": ["acme"], "keys": {"acme": [1, 2]}}
"""Has a client of the same name, whose keys are being rotated."""


def key(*holders: str) -> set[str]:
    """Return the resources of API keys."""
    return {f"{kind}-{holder}" for kind in ("key", "plan-key") for holder in holders}


def basic(*clients: str, **changes: Any) -> dict[str, Any]:  # noqa: ANN401  JSON
    """Return both plans, the first with other clients."""
    return {"basic": {**BASIC, "clients": clients, **changes}, "premium": PREMIUM}


CLIENT_EDITS: dict[str, tuple[dict[str, Any], Effects]] = {
    "a client is renamed": (
        basic("umbrella", "default"),
        {"created": key("basic.umbrella"), "deleted": key("basic.acme")},
    ),
    "a client is added first whose name differs only in case": (
        basic("Acme", "acme", "default"),
        {"created": key("basic.Acme")},
    ),
    "a client is removed": (basic("default"), {"deleted": key("basic.acme")}),
    "clients change places": (basic("default", "acme"), {}),
    "a rotation ends": (
        {"basic": BASIC, "premium": {**PREMIUM, "keys": {"acme": [2]}}},
        {"deleted": key("premium.acme")},
    ),
    "a rotation begins": (
        basic("acme", "default", keys={"default": [1, 2]}),
        {"created": key("basic.default.2")},
    ),
    "plans change places": ({"premium": PREMIUM, "basic": BASIC}, {}),
    "a plan is added first": (
        {"gold": {**PLAN, "clients": ["acme"]}, "basic": BASIC, "premium": PREMIUM},
        {"created": {"plan-gold", *key("gold.acme")}},
    ),
    "a plan is renamed": (
        {"standard": BASIC, "premium": PREMIUM},
        {
            "created": {"plan-standard", *key("standard.acme", "standard.default")},
            "deleted": {"plan-basic", *key("basic.acme", "basic.default")},
        },
    ),
}


@pytest.mark.parametrize(("plans", "expected"), CLIENT_EDITS.values(), ids=CLIENT_EDITS)
def test_an_edit_of_clients_and_plans_touches_only_their_keys(
    plans: dict[str, Any], expected: Effects
) -> None:
    before = deploy("prod", usagePlans=json.dumps({"basic": BASIC, "premium": PREMIUM}))
    found = effects(before, deploy("prod", usagePlans=json.dumps(plans)))
    # The dashboard lists the plans.
    assert found.pop("updated", set()) <= {"dashboard"}
    assert found == expected


# Everything else in the config

SETTING_EDITS: dict[str, tuple[dict[str, Any], Effects]] = {
    "stage": (
        {"throttle": {"rateLimit": 2000, "burstLimit": 4000}},
        {"updated": {"throttle", "dashboard"}},
    ),
    "throttle of a method": (
        {"throttle": {"methods": {"POST /data": {"rateLimit": 5, "burstLimit": 5}}}},
        {"created": {"throttle-data-post"}},
    ),
    "all limits of a plan": (
        {
            "usagePlans": {
                "basic": {"rateLimit": 1, "burstLimit": 1, "quota": {"limit": 1, "period": "MONTH"}}
            }
        },
        {"updated": {"plan-basic", "dashboard"}},
    ),
    "a plan slower than one request per second": (
        {"usagePlans": {"basic": {"rateLimit": 0.5, "burstLimit": 1}}},
        # The API's document has the time to wait.
        {"replaced": {"deployment"}, "updated": {"plan-basic", "api", "stage", "dashboard"}},
    ),
    "limit of the web ACL": (
        {"waf": {"rateLimit": 99, "windowSeconds": 60, "aggregateBy": "FORWARDED_IP"}},
        {"updated": {"web-acl", "dashboard"}},
    ),
    "web ACL off": (
        {"waf": {"enabled": False}},
        {
            "deleted": {
                *("web-acl", "web-acl-association", "waf-logging", "waf-logs"),
                "waf-blocked-requests",
            },
            "updated": {"dashboard"},
        },
    ),
    "another zone": (
        {"network": {"availabilityZones": 3}},
        {"created": {"subnet-2", "subnet-2-routes"}, "updated": {"function"}},
    ),
    "timeout": (
        {"function": {"timeoutSeconds": 29}},
        {"updated": {"function", "dashboard", "function-duration"}},
    ),
    "concurrency": (
        {"function": {"reservedConcurrency": "none"}},
        {"deleted": {"function-concurrency"}, "updated": {"function", "dashboard"}},
    ),
    "SnapStart on": (
        {"function": {"snapStart": True}},
        {
            "created": {"function-live"},
            "replaced": {"deployment", "may-invoke-post-data"},
            "updated": {"function", "api", "stage"},
        },
    ),
    "cap of the table": (
        {"table": {"maxWriteRequestUnits": 10}},
        {"updated": {"table", "dashboard"}},
    ),
    "retention of logs": (
        {"monitoring": {"logRetentionDays": 7}},
        {"updated": {"flow-logs", "function-logs", "access-logs", "execution-logs", "waf-logs"}},
    ),
    "alarms": (
        {
            "monitoring": {
                "alarmEmails": ["b@example.com", "a@example.com"],
                "thresholds": {"serverErrors": 7},
            }
        },
        {
            "created": {"alarms-to-a@example.com", "alarms-to-b@example.com"},
            "updated": {"server-errors"},
        },
    ),
}
OPPOSITE = {"created": "deleted", "deleted": "created"}


@pytest.mark.parametrize(("edit", "expected"), SETTING_EDITS.values(), ids=SETTING_EDITS)
def test_a_setting_touches_only_its_own_resources_and_so_does_taking_it_back(
    edit: dict[str, Any], expected: Effects
) -> None:
    before, after = deploy("prod"), deploy("prod", **edit)
    assert effects(before, after) == expected
    assert effects(after, before) == {
        OPPOSITE.get(effect, effect): names for effect, names in expected.items()
    }


# Code


def described(**given: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return another document of the API."""
    return {**openapi(**given), "info": {"title": "Records", "version": "2"}}


REDEPLOYED: Effects = {"replaced": {"deployment"}, "updated": {"api", "stage"}}


@pytest.mark.parametrize(
    ("module", "name", "value", "expected"),
    [
        (rest_api, "openapi", described, REDEPLOYED),
        (rest_api, "_ENDPOINT_TYPE", "EDGE", REDEPLOYED),
        (compute, "FILES", (*compute.FILES, "handler/more.py"), {"updated": {"function"}}),
    ],
)
def test_other_code_touches_what_it_makes(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, value: object, expected: Effects
) -> None:
    before = deploy("prod")
    monkeypatch.setattr(module, name, value)
    assert effects(before, run("prod")) == expected


# What cannot be recovered


def with_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    table = aws.dynamodb.Table

    def another(name: str, **given: Any) -> aws.dynamodb.Table:  # noqa: ANN401
        attributes = [{"name": "pk", "type": "S"}]
        return table(name, **{**given, "hash_key": "pk", "attributes": attributes})

    monkeypatch.setattr(aws.dynamodb, "Table", another)


def renamed(module: Any, kind: str) -> Callable[[pytest.MonkeyPatch], None]:  # noqa: ANN401
    def rename(monkeypatch: pytest.MonkeyPatch) -> None:
        make = getattr(module, kind)
        monkeypatch.setattr(module, kind, lambda name, /, **given: make(f"{name}-2", **given))

    return rename


def unpatched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patch nothing: an edit of the config alone."""


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize(
    ("edit", "patch", "lost"),
    [
        pytest.param({"stageName": "live"}, unpatched, {"stage"}, id="name of the stage"),
        pytest.param({"network": {"cidr": "10.9.0.0/16"}}, unpatched, {"vpc"}, id="CIDR"),
        pytest.param(
            {"aws": {"region": "eu-west-1"}}, unpatched, {"stage", "table", "vpc"}, id="Region"
        ),
        pytest.param({}, with_another_key, {"table"}, id="key of the table"),
        pytest.param({}, renamed(aws.apigateway, "RestApi"), {"stage"}, id="another API"),
        pytest.param({}, renamed(aws.ec2, "Vpc"), {"vpc"}, id="logical name of the VPC"),
    ],
)
def test_what_cannot_be_recovered_is_not_lost_where_it_is_protected(
    monkeypatch: pytest.MonkeyPatch,
    stack: str,
    edit: dict[str, Any],
    patch: Callable[[pytest.MonkeyPatch], None],
    lost: set[str],
) -> None:
    before = deploy(stack)
    patch(monkeypatch)
    found = effects(before, run(stack, **edit))
    assert lost <= found["replaced"] | found.get("deleted", set()), "or nothing needs protection"
    assert found.get("refused", set()) == (lost if stack == "prod" else set())


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("protection", [True, False])
def test_only_a_stack_with_deletion_protection_is_protected(stack: str, protection: bool) -> None:
    program = deploy(stack, deletionProtection=protection)
    protected = {short(resource) for resource in program.resources.items if resource.protect}
    assert protected == ({"table", "vpc", "stage"} if protection else set())
    table = only(program, "dynamodb/table:Table")
    assert table.inputs["deletionProtectionEnabled"] == protection


def test_one_update_removes_the_protection_from_everything() -> None:
    """After it, a destroy works."""
    unprotected = deploy("prod", deletionProtection=False)
    # AWS knows only about the protection of the table.
    assert effects(deploy("prod"), unprotected) == {"updated": {"table"}}
