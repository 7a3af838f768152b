"""The usage plans, and a key for each client of each plan."""

import json
from typing import Any

from tests.stacks import deploy
from tests.stacks.resources import API, find, inputs, only, short

KEY = "apigateway/apiKey:ApiKey"
PLAN = "apigateway/usagePlan:UsagePlan"


def test_a_usage_plan_has_a_throttle_and_a_quota_on_the_stage() -> None:
    program = deploy("prod", usagePlans={"premium": {"quota": {"period": "MONTH"}}})
    stages = [{"apiId": only(program, API).id, "stage": "prod"}]
    assert inputs(program, PLAN) == {
        "plan-basic": {
            "description": "basic: 100 requests per second for each client",
            "apiStages": stages,
            "throttleSettings": {"rateLimit": 100, "burstLimit": 200},
            "quotaSettings": {"limit": 10_000, "period": "DAY"},
        },
        "plan-premium": {
            "description": "premium: 500 requests per second for each client",
            "apiStages": stages,
            "throttleSettings": {"rateLimit": 500, "burstLimit": 1000},
            "quotaSettings": {"limit": 100_000, "period": "MONTH"},
        },
    }


def test_keys_work_only_behind_the_throttles_and_the_web_acl() -> None:
    """AWS sets both only on a stage that already serves; without a key, it answers 403."""
    program = deploy(throttle={"methods": {"POST /data": {"rateLimit": 1, "burstLimit": 1}}})
    throttles = find(program, "apigateway/methodSettings:MethodSettings")
    limits = [*throttles, only(program, "wafv2/webAclAssociation:WebAclAssociation")]
    assert len(limits) == 3
    for link in find(program, "apigateway/usagePlanKey:UsagePlanKey"):
        assert {limit.urn for limit in limits} <= {*link.depends_on}


def test_each_client_of_each_plan_has_its_own_key() -> None:
    plan: dict[str, Any] = {"rateLimit": 1, "burstLimit": 2, "quota": {"limit": 3}}
    plans = {
        "basic": {**plan, "clients": ["acme", "default"]},
        "premium": {**plan, "clients": []},
        "trial": {**plan, "clients": ["acme"]},
    }
    program = deploy(usagePlans=json.dumps(plans))
    assert inputs(program, KEY)["key-basic.acme"] == {
        "description": "Client acme of plan basic, key 1",
        "tags": {"plan": "basic", "client": "acme", "key": "1"},
    }
    names = {resource.id: short(resource) for resource in program.resources.items}
    links = [link.inputs for link in find(program, "apigateway/usagePlanKey:UsagePlanKey")]
    assert [(names[link["usagePlanId"]], names[link["keyId"]]) for link in links] == [
        ("plan-basic", "key-basic.acme"),
        ("plan-basic", "key-basic.default"),
        ("plan-trial", "key-trial.acme"),
    ]
    assert {link["keyType"] for link in links} == {"API_KEY"}
