"""The usage plans, and the API keys of their clients."""

from collections.abc import Sequence

import pulumi
import pulumi_aws as aws

from components.component import Component
from settings.schema import api_key_holder

ByClient = dict[str, dict[str, pulumi.Output[str]]]
"""By plan, then by client."""


def create_usage_plans(
    parent: Component, stage: aws.apigateway.Stage, limits: Sequence[pulumi.Resource]
) -> tuple[dict[str, pulumi.Output[str]], ByClient, ByClient]:
    """Create each plan, and API keys for its clients. Return ids of plans and keys, and the keys.

    The throttle and the quota of a plan apply to each of its keys. A key works only after `limits`
    exist: the stage's throttles and web ACL.
    """
    name = parent.name
    plan_ids: dict[str, pulumi.Output[str]] = {}
    key_ids: ByClient = {}
    keys: ByClient = {}
    for plan_name, plan in parent.settings.usage_plans.items():
        usage_plan = aws.apigateway.UsagePlan(
            f"{name}-plan-{plan_name}",
            description=f"{plan_name}: {plan.rate_text} requests per second for each client",
            api_stages=[{"api_id": stage.rest_api, "stage": stage.stage_name}],
            throttle_settings={"rate_limit": plan.rate_limit, "burst_limit": plan.burst_limit},
            quota_settings={"limit": plan.quota.limit, "period": plan.quota.period.value},
            opts=parent.child(),
        )
        plan_ids[plan_name] = usage_plan.id
        key_ids[plan_name], keys[plan_name] = {}, {}
        for client, number in plan.api_keys():
            key_name = api_key_holder(client, number)
            holder = f"{plan_name}.{key_name}"
            key = aws.apigateway.ApiKey(
                f"{name}-key-{holder}",
                description=f"Client {client} of plan {plan_name}, key {number}",
                tags={"plan": plan_name, "client": client, "key": str(number)},
                opts=parent.child(),
            )
            aws.apigateway.UsagePlanKey(
                f"{name}-plan-key-{holder}",
                key_id=key.id,
                key_type="API_KEY",
                usage_plan_id=usage_plan.id,
                # AWS returns the key's value here too. The provider would keep it in plain text.
                opts=parent.child(additional_secret_outputs=["value"], depends_on=limits),
            )
            # A client's second key has the name `client.2` here, as in logs and limits.
            key_ids[plan_name][key_name] = key.id
            # The newest key of a client comes last and replaces the others: clients get this one.
            keys[plan_name][client] = key.value
    return plan_ids, key_ids, keys
