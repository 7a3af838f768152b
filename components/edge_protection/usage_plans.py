"""The usage plans, and the API keys of their clients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

from components.component import Component
from settings.schema import UsagePlanSettings, api_key_holder


@dataclass(frozen=True, kw_only=True)
class UsagePlans:
    """The outputs of the plans and keys, by plan and client."""

    ids: dict[str, pulumi.Output[str]] = field(default_factory=dict)
    key_ids: dict[str, dict[str, pulumi.Output[str]]] = field(default_factory=dict)
    """IDs of all keys. A client's second key has the name `client.2` here, as in logs and limits."""
    keys: dict[str, dict[str, pulumi.Output[str]]] = field(default_factory=dict)
    """Values of the keys: secrets."""


def create_usage_plans(
    component: Component,
    name: str,
    settings: Mapping[str, UsagePlanSettings],
    stage: aws.apigateway.Stage,
    limits: Sequence[pulumi.Resource],
) -> UsagePlans:
    """Create each plan, and an API key for each of its clients.

    The throttle and the quota of a plan apply to each of its keys. Keys work only when there are
    `limits`: the stage's throttles and web ACL.
    """
    created = UsagePlans()
    for plan_name, plan in settings.items():
        usage_plan = aws.apigateway.UsagePlan(
            f"{name}-plan-{plan_name}",
            description=f"{plan_name}: {plan.rate_text} requests per second for each client",
            api_stages=[{"api_id": stage.rest_api, "stage": stage.stage_name}],
            throttle_settings={"rate_limit": plan.rate_limit, "burst_limit": plan.burst_limit},
            quota_settings={"limit": plan.quota.limit, "period": plan.quota.period.value},
            opts=component.child(),
        )
        created.ids[plan_name] = usage_plan.id
        created.key_ids[plan_name], created.keys[plan_name] = {}, {}
        for client, number in plan.api_keys():
            key_name = api_key_holder(client, number)
            holder = f"{plan_name}.{key_name}"
            key = aws.apigateway.ApiKey(
                f"{name}-key-{holder}",
                description=f"Client {client} of plan {plan_name}, key {number}",
                tags={"plan": plan_name, "client": client, "key": str(number)},
                opts=component.child(),
            )
            aws.apigateway.UsagePlanKey(
                f"{name}-plan-key-{holder}",
                key_id=key.id,
                key_type="API_KEY",
                usage_plan_id=usage_plan.id,
                # AWS returns the key's value here too. The provider would keep it in plain text.
                opts=component.child(additional_secret_outputs=["value"], depends_on=limits),
            )
            created.key_ids[plan_name][key_name] = key.id
            # The newest key of a client comes last, and stays in the outputs: clients get this one.
            created.keys[plan_name][client] = key.value
    return created
