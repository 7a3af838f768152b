"""What `pulumi up` would do to a deployed stack, told from a run of the program before and after.

Stands in for the engine and for the AWS provider's schema, as far as that is about what a stack
cannot have back. A resource goes by its URN; whether an input that changes makes another one of it
is in the provider's schema (`ForceNew`), of which `FORCE_NEW` has what these types have:
https://github.com/hashicorp/terraform-provider-aws/tree/main/internal/service
A resource that is replaced has another ID, and so changes the inputs of those that quote it.
Pulumi's names for a resource of before, its aliases, are not looked at: the program has none.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

from tools.recorder.program import Program
from tools.recorder.resources import Resource

FORCE_NEW: Final = {
    # apigateway/rest_api.go: none
    "apigateway/restApi:RestApi": (),
    # apigateway/deployment.go
    "apigateway/deployment:Deployment": ("restApi", "triggers", "variables"),
    # apigateway/stage.go
    "apigateway/stage:Stage": ("restApi", "stageName"),
    # apigateway/usage_plan.go: none, not even its name
    "apigateway/usagePlan:UsagePlan": (),
    # apigateway/api_key.go
    "apigateway/apiKey:ApiKey": ("name", "value"),
    # apigateway/usage_plan_key.go
    "apigateway/usagePlanKey:UsagePlanKey": ("keyId", "keyType", "usagePlanId"),
    # dynamodb/table.go
    "dynamodb/table:Table": ("name", "hashKey", "rangeKey", "localSecondaryIndexes"),
    # ec2/vpc_.go
    "ec2/vpc:Vpc": ("cidrBlock", "ipv4IpamPoolId", "ipv4NetmaskLength"),
    # ec2/vpc_subnet.go
    "ec2/subnet:Subnet": ("vpcId", "cidrBlock", "availabilityZone", "availabilityZoneId"),
    # logs/group.go
    "cloudwatch/logGroup:LogGroup": ("name", "namePrefix", "logGroupClass"),
}
"""Inputs of the types that hold what cannot be had back: records, keys, URLs, addresses, logs."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an update would do, by the names of the resources without the project's."""

    created: set[str]
    deleted: set[str]
    """Deleted in AWS: what the stack only forgets is not among them."""
    replaced: set[str]
    updated: set[str]
    refused: list[str]
    """The engine's errors; with any, a preview fails, and an update before it deletes anything."""


def plan(before: Program, after: Program) -> Plan:
    """What an update from one run of the program to another does."""
    old = {resource.urn: resource for resource in before.resources.items if resource.custom}
    new = {resource.urn: resource for resource in after.resources.items if resource.custom}
    replaced = _replaced(old, new, moved=_region(before) != _region(after))
    ids = [old[urn].id for urn in replaced]
    updated = {
        urn
        for urn in old.keys() & new.keys() - replaced
        if _differs(old[urn].inputs, new[urn].inputs, ids)
    }
    gone = old.keys() - new.keys()
    return Plan(
        created=_names(new, new.keys() - old.keys()),
        deleted=_names(old, {urn for urn in gone if not old[urn].retain_on_delete}),
        replaced=_names(old, replaced),
        updated=_names(new, updated),
        refused=[
            # To unprotect and to replace is possible in one update.
            # https://github.com/pulumi/pulumi/blob/master/pkg/resource/deploy/step_generator.go
            *(
                f"unable to replace resource {urn}\nas it is currently marked for protection."
                for urn in sorted(replaced)
                if old[urn].protect and new[urn].protect
            ),
            # https://github.com/pulumi/pulumi/blob/master/pkg/resource/deploy/step.go
            *(
                f"unable to delete resource {urn}\nas it is currently marked for protection."
                for urn in sorted(gone)
                if old[urn].protect
            ),
        ],
    )


def _replaced(old: dict[str, Resource], new: dict[str, Resource], *, moved: bool) -> set[str]:
    """The URNs of what is replaced: for its own inputs, or for one that is replaced already."""
    # internal/provider/sdkv2/region.go: another Region forces a new resource of any type.
    replaced = {urn for urn in old.keys() & new.keys() if moved and _kind(old[urn]) in FORCE_NEW}
    while True:
        ids = [old[urn].id for urn in replaced]
        more = {
            urn
            for urn in old.keys() & new.keys() - replaced
            for name in FORCE_NEW.get(_kind(old[urn]), ())
            if _differs(old[urn].inputs.get(name), new[urn].inputs.get(name), ids)
        }
        if not more:
            return replaced
        replaced |= more


def _differs(before: Any, after: Any, replaced_ids: list[str]) -> bool:  # noqa: ANN401  JSON
    return before != after or any(identifier in json.dumps(after) for identifier in replaced_ids)


def _kind(resource: Resource) -> str:
    return resource.type.removeprefix("aws:")


def _region(program: Program) -> object:
    [provider] = program.resources.of_type("pulumi:providers:aws")
    return provider.inputs.get("region")


def _names(resources: dict[str, Resource], urns: set[str]) -> set[str]:
    return {resources[urn].name.removeprefix("throttled-api-") for urn in urns}
