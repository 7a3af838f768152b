"""Edits of the config and of the code, and what of a deployed stack they touch.

Each edit comes with all that it makes, deletes and replaces; what it updates in place is named
where that is the point. Records, keys and URLs cannot be had back: what replaces or deletes them
by surprise is refused in stacks with deletion protection.
"""

import json
import re
from collections.abc import Callable
from typing import Any

import pulumi_aws as aws
import pytest

from components import compute, edge_protection
from components.edge_protection.openapi import openapi
from tests.program.changes import FORCE_NEW, Plan, plan
from tests.program.conftest import STACKS, Deploy

PLAN: dict[str, Any] = {
    "rateLimit": 100,
    "burstLimit": 200,
    "quota": {"limit": 10_000, "period": "DAY"},
}
ACME: dict[str, Any] = {
    "usagePlans": {
        "basic": {**PLAN, "clients": ["acme", "default"]},
        "premium": {**PLAN, "clients": ["acme"], "keys": {"acme": [1, 2]}},
    }
}
"""Two plans that have a client of the same name, one of whose keys is being rotated."""


def clients(basic: dict[str, Any], premium: dict[str, Any] | None = None) -> dict[str, Any]:
    """ACME with other clients or keys."""
    plans = ACME["usagePlans"]
    return {
        "usagePlans": {
            "basic": {**plans["basic"], **basic},
            "premium": {**plans["premium"], **(premium or {})},
        }
    }


def key(holder: str) -> set[str]:
    """The resources of one API key."""
    return {f"key-{holder}", f"plan-key-{holder}"}


def changed(planned: Plan) -> dict[str, set[str]]:
    """What comes, goes and is replaced; what does none of it is left out."""
    effects = {
        "created": planned.created,
        "deleted": planned.deleted,
        "replaced": planned.replaced,
    }
    return {effect: names for effect, names in effects.items() if names}


# Clients and plans


CLIENT_EDITS = [
    pytest.param(
        clients({"clients": ["umbrella", "default"]}),
        {"created": key("basic.umbrella"), "deleted": key("basic.acme")},
        id="a client is renamed",
    ),
    pytest.param(
        clients({"clients": ["acme", "default", "umbrella"]}),
        {"created": key("basic.umbrella")},
        id="a client comes last",
    ),
    pytest.param(
        clients({"clients": ["Acme", "acme", "default"]}),
        {"created": key("basic.Acme")},
        id="a client comes first whose name differs only in case",
    ),
    pytest.param(
        clients({"clients": ["default"]}),
        {"deleted": key("basic.acme")},
        id="a client goes",
    ),
    pytest.param(clients({"clients": ["default", "acme"]}), {}, id="clients change places"),
    pytest.param(
        clients({}, {"keys": {"acme": [2]}}),
        {"deleted": key("premium.acme")},
        id="a rotation ends",
    ),
    pytest.param(
        clients({"keys": {"default": [1, 2]}}),
        {"created": key("basic.default.2")},
        id="a rotation begins",
    ),
    pytest.param(
        {"usagePlans": dict(reversed(ACME["usagePlans"].items()))}, {}, id="plans change places"
    ),
    pytest.param(
        {"usagePlans": {"gold": {**PLAN, "clients": ["acme"]}, **ACME["usagePlans"]}},
        {"created": {"plan-gold", *key("gold.acme")}},
        id="a plan comes first",
    ),
    pytest.param(
        {"usagePlans": {"premium": ACME["usagePlans"]["premium"]}},
        {"deleted": {"plan-basic", *key("basic.acme"), *key("basic.default")}},
        id="a plan goes",
    ),
    pytest.param(
        {
            "usagePlans": {
                "standard": ACME["usagePlans"]["basic"],
                "premium": ACME["usagePlans"]["premium"],
            }
        },
        {
            "created": {"plan-standard", *key("standard.acme"), *key("standard.default")},
            "deleted": {"plan-basic", *key("basic.acme"), *key("basic.default")},
        },
        id="a plan is renamed",
    ),
    pytest.param(
        clients({"clients": ["default"]}, {"clients": ["acme", "second"]}),
        {"created": key("premium.second"), "deleted": key("basic.acme")},
        id="one client goes and another comes",
    ),
]


def whole_plans(changes: dict[str, Any]) -> dict[str, Any]:
    """Changes in which the plans are all that there are, not merged into the stack's."""
    return {name: json.dumps(value) for name, value in changes.items()}


@pytest.mark.parametrize(("edit", "effects"), CLIENT_EDITS)
def test_an_edit_of_clients_and_plans_touches_only_their_keys(
    deploy: Deploy, edit: dict[str, Any], effects: dict[str, set[str]]
) -> None:
    planned = plan(
        deploy("prod", **whole_plans(ACME)),
        deploy("prod", **whole_plans(edit)),
    )
    assert changed(planned) == effects
    assert planned.updated <= {"dashboard"}, "other clients' keys and plans are as they were"
    assert planned.refused == []


# Everything else in the config


SETTING_EDITS = [
    pytest.param(
        {"throttle": {"rateLimit": 2000, "burstLimit": 4000}}, {}, {"throttle"}, id="stage"
    ),
    pytest.param(
        {"throttle": {"methods": {"POST /data": {"rateLimit": 5, "burstLimit": 5}}}},
        {"created": {"throttle-data-post"}},
        set(),
        id="a method's throttle",
    ),
    pytest.param(
        {
            "usagePlans": {
                "basic": {
                    **{"rateLimit": 1, "burstLimit": 1, "clients": ["default"]},
                    "quota": {"limit": 1, "period": "MONTH"},
                }
            }
        },
        {},
        {"plan-basic"},
        id="all limits of a plan",
    ),
    pytest.param(
        {
            "usagePlans": {
                "basic": {
                    **{"rateLimit": "0.5", "burstLimit": 1, "clients": ["default"]},
                    "quota": {"limit": 1, "period": "DAY"},
                }
            }
        },
        # The time to wait is in the API's document.
        {"replaced": {"deployment"}},
        {"plan-basic", "api", "stage"},
        id="a plan slower than one request per second",
    ),
    pytest.param(
        {"waf": {"rateLimit": 99, "windowSeconds": 60, "aggregateBy": "FORWARDED_IP"}},
        {},
        {"web-acl"},
        id="web ACL's limit",
    ),
    pytest.param(
        {"waf": {"managedRuleGroups": ["AWSManagedRulesCommonRuleSet"]}},
        {},
        {"web-acl"},
        id="managed rules",
    ),
    pytest.param(
        {"waf": {"enabled": False}},
        {
            "deleted": {
                *("web-acl", "web-acl-association", "waf-logging", "waf-logs"),
                "waf-blocked-requests",
            }
        },
        {"dashboard"},
        id="web ACL off",
    ),
    pytest.param(
        {"waf": {"logging": False}},
        {"deleted": {"waf-logging", "waf-logs"}},
        set(),
        id="WAF logs off",
    ),
    pytest.param(
        {"network": {"flowLogs": False}},
        {"deleted": {"flow-log", "flow-logs", "flow-logs-policy", "flow-logs-role"}},
        set(),
        id="flow logs off",
    ),
    pytest.param(
        {"network": {"availabilityZones": 3}},
        {"created": {"subnet-2", "subnet-2-routes"}},
        {"function"},
        id="another zone",
    ),
    pytest.param(
        {"function": {"runtime": "python3.14", "architecture": "x86_64", "memoryMb": 256}},
        {},
        {"function"},
        id="runtime, architecture and memory",
    ),
    pytest.param(
        {"function": {"timeoutSeconds": 29, "reservedConcurrency": "none"}},
        {"deleted": {"function-concurrency"}},
        {"function", "dashboard", "function-duration"},
        id="timeout and concurrency",
    ),
    pytest.param(
        {"function": {"snapStart": True}},
        {"created": {"function-live"}, "replaced": {"deployment"}},
        {"function", "api", "stage", "may-invoke-post-data"},
        id="SnapStart on",
    ),
    pytest.param(
        {"table": {"maxWriteRequestUnits": 10, "pointInTimeRecovery": False}},
        {},
        {"table", "dashboard"},
        id="table's cap and recovery",
    ),
    pytest.param(
        {"monitoring": {"logRetentionDays": 7}},
        {},
        {"flow-logs", "function-logs", "access-logs", "execution-logs", "waf-logs"},
        id="retention of logs",
    ),
    pytest.param(
        {
            "monitoring": {
                "alarmEmails": ["b@example.com", "a@example.com"],
                "thresholds": {"serverErrors": 7},
            }
        },
        {"created": {"alarms-to-a@example.com", "alarms-to-b@example.com"}},
        {"server-errors"},
        id="alarms",
    ),
    pytest.param(
        {"monitoring": {"dashboard": False}}, {"deleted": {"dashboard"}}, set(), id="dashboard off"
    ),
    # Kept in AWS, because it is the whole account's.
    pytest.param({"manageApiGatewayLogging": False}, {}, set(), id="account's logging left alone"),
    pytest.param({"aws": {"profile": "ops"}}, {}, {"aws"}, id="another profile"),
]

OPPOSITE = {"created": "deleted", "deleted": "created", "replaced": "replaced"}


@pytest.mark.parametrize(("edit", "effects", "updated"), SETTING_EDITS)
def test_a_setting_touches_what_it_is_about_and_so_does_taking_it_back(
    deploy: Deploy, edit: dict[str, Any], effects: dict[str, set[str]], updated: set[str]
) -> None:
    before, after = deploy("prod"), deploy("prod", **edit)
    there, back = plan(before, after), plan(after, before)
    assert changed(there) == effects
    assert there.updated >= updated
    assert not {"table", "vpc", "api", "stage"} & (there.replaced | there.deleted)
    if "manageApiGatewayLogging" not in edit:
        assert changed(back) == {OPPOSITE[effect]: names for effect, names in effects.items()}
    assert there.refused == back.refused == []


# Code


def test_another_document_is_another_deployment_of_the_same_stage(
    deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def described(**given: Any) -> dict[str, Any]:  # noqa: ANN401
        document = openapi(**given)
        return {**document, "info": {**document["info"], "description": "Stores records"}}

    before = deploy("prod")
    monkeypatch.setattr(edge_protection, "openapi", described)
    planned = plan(before, deploy("prod", anew=True))
    assert changed(planned) == {"replaced": {"deployment"}}
    assert planned.updated == {"api", "stage"}
    assert planned.refused == []


def test_another_endpoint_type_is_not_refused(
    deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = deploy("prod")
    monkeypatch.setattr(edge_protection, "_ENDPOINT_TYPE", "EDGE")
    planned = plan(before, deploy("prod", anew=True))
    assert changed(planned) == {"replaced": {"deployment"}}
    assert planned.refused == []


def test_other_code_of_the_function_is_the_functions_alone(
    deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = deploy("prod")
    monkeypatch.setattr(compute, "FILES", (*compute.FILES, "handler/more.py"))
    planned = plan(before, deploy("prod", anew=True))
    assert changed(planned) == {}
    assert planned.updated == {"function"}


# What cannot be had back


def with_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    table = aws.dynamodb.Table

    def another(name: str, **given: Any) -> aws.dynamodb.Table:  # noqa: ANN401
        attributes = [{"name": "pk", "type": "S"}]
        return table(name, **{**given, "hash_key": "pk", "attributes": attributes})

    monkeypatch.setattr(aws.dynamodb, "Table", another)


def with_another_name_of(module: Any, kind: str) -> Callable[[pytest.MonkeyPatch], None]:  # noqa: ANN401
    def rename(monkeypatch: pytest.MonkeyPatch) -> None:
        make = getattr(module, kind)
        monkeypatch.setattr(module, kind, lambda name, /, **given: make(f"{name}-2", **given))

    return rename


def unpatched(monkeypatch: pytest.MonkeyPatch) -> None:
    """An edit of the config alone."""


DANGEROUS = [
    pytest.param({"stageName": "live"}, unpatched, {"stage"}, id="stage's name"),
    pytest.param({"network": {"cidr": "10.9.0.0/16"}}, unpatched, {"vpc"}, id="VPC's CIDR"),
    pytest.param({}, with_another_key, {"table"}, id="table's key"),
    pytest.param(
        {"aws": {"region": "eu-west-1"}}, unpatched, {"stage", "table", "vpc"}, id="Region"
    ),
    pytest.param({}, with_another_name_of(aws.apigateway, "RestApi"), {"stage"}, id="API"),
    pytest.param({}, with_another_name_of(aws.ec2, "Vpc"), {"vpc"}, id="VPC's own name"),
]


@pytest.mark.parametrize(("edit", "patch", "lost"), DANGEROUS)
@pytest.mark.parametrize("stack", STACKS)
def test_what_cannot_be_had_back_is_not_lost_where_it_is_protected(
    deploy: Deploy,
    monkeypatch: pytest.MonkeyPatch,
    stack: str,
    edit: dict[str, Any],
    patch: Callable[[pytest.MonkeyPatch], None],
    lost: set[str],
) -> None:
    before = deploy(stack)
    patch(monkeypatch)
    planned = plan(before, deploy(stack, anew=True, **edit))
    assert lost <= planned.replaced | planned.deleted, "or there is nothing to protect"
    refused = {
        error.partition("\n")[0].rpartition("::throttled-api-")[2] for error in planned.refused
    }
    assert refused == (lost if stack == "prod" else set())


def test_the_engine_says_what_it_refuses(deploy: Deploy) -> None:
    [error] = plan(deploy("prod"), deploy("prod", stageName="live")).refused
    assert error == (
        "unable to replace resource urn:pulumi:prod::throttled-api::throttled-api:index:"
        "EdgeProtection$aws:apigateway/stage:Stage::throttled-api-stage\n"
        "as it is currently marked for protection."
    )


def test_one_update_takes_the_protection_from_all(deploy: Deploy) -> None:
    """Of which the README says that a destroy works after it."""
    protected = deploy("prod")
    open_to_all = deploy("prod", table={"deletionProtection": False})
    planned = plan(protected, open_to_all)
    assert changed(planned) == {}
    assert planned.updated == {"table"}, "in AWS, only the table knows of it"
    assert planned.refused == []
    assert {r.name for r in protected.resources.items if r.protect} == {
        *("throttled-api-table", "throttled-api-vpc", "throttled-api-stage"),
    }
    assert not any(resource.protect for resource in open_to_all.resources.items)


@pytest.mark.parametrize("token", FORCE_NEW)
def test_the_inputs_that_force_a_replacement_are_inputs(token: str) -> None:
    module, _, kind = re.split("[/:]", token)
    resource = getattr(getattr(aws, module), kind)
    for name in FORCE_NEW[token]:
        assert hasattr(resource, re.sub("[A-Z]", r"_\g<0>", name).lower()), name
