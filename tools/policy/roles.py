"""`python -m tools.policy.roles`: writes the policies of the roles that CI takes, into docs/iam/.

One may preview a pull request, the other deploy. They hold what the types of resources that the
program registers need, and what it looks up needs, and nothing else.
"""

import json
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from settings.files import StackFileError, project_name, read_stack, stack_names
from tools.policy.role_actions import ACTIONS, LOOKUPS, Grant, Limit
from tools.recorder.program import ROOT, run_program

FOLDER: Final = ROOT / "docs" / "iam"
_MANAGED_POLICY: Final = "arn:aws:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"
_TAKE_ROLES: Final = (
    "apigateway.amazonaws.com",
    "lambda.amazonaws.com",
    "vpc-flow-logs.amazonaws.com",
)
_EVERYTHING_ON: Final[Mapping[str, Mapping[str, Any]]] = {
    "function": {"snapStart": True},
    "monitoring": {"alarmEmails": ["you@example.com"]},
    "throttle": {"methods": {"POST /data": {"rateLimit": 1, "burstLimit": 1}}},
}
"""Settings without which some types of resources are not there."""

Document = dict[str, Any]


def main() -> int:
    """Write both policies."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, document in documents().items():
        (FOLDER / name).write_text(json.dumps(document, indent=2) + "\n", "utf-8")
        print(f"docs/iam/{name}")
    return 0


def documents() -> dict[str, Document]:
    """The policies by the names of their files."""
    project = project_name(ROOT)
    types, regions = registered(project)
    lookups = [grant for grants in LOOKUPS.values() for grant in grants]
    changes = [grant for token in types for grant in ACTIONS[token]]
    return {
        "preview.json": policy(lookups, regions, project),
        "deploy.json": policy([*lookups, *changes], regions, project),
    }


def registered(project: str) -> tuple[list[str], list[str]]:
    """Types of the resources that the stacks register, whatever their settings, and Regions."""
    types: set[str] = set()
    regions: set[str] = set()
    for stack in stack_names(ROOT):
        config = read_stack(ROOT, stack)
        if "aws:region" not in config:
            raise StackFileError(f"Pulumi.{stack}.yaml has no aws:region, which bounds the roles.")
        regions.add(config["aws:region"])
        for each in (config, _everything_on(config, project)):
            program = run_program(each, project=project, stack=stack, preview=True)
            types |= {resource.type for resource in program.resources.items if resource.custom}
    return sorted(token for token in types if not token.startswith("pulumi:")), sorted(regions)


def _everything_on(config: Mapping[str, str], project: str) -> dict[str, str]:
    changed = dict(config)
    for section, values in _EVERYTHING_ON.items():
        key = f"{project}:{section}"
        changed[key] = json.dumps({**json.loads(config.get(key, "{}")), **values})
    return changed


def policy(grants: Sequence[Grant], regions: Sequence[str], project: str) -> Document:
    """A policy that holds these grants, as few statements as their limits leave."""
    statements = []
    for limit in Limit:
        together = [grant for grant in grants if grant.limit is limit]
        if together:
            resources = {name.replace("{project}", project) for g in together for name in g.on}
            statements.append(
                {
                    "Sid": limit.name.capitalize(),
                    "Effect": "Allow",
                    "Action": sorted({a for grant in together for a in grant.actions.split()}),
                    "Resource": _narrowed(resources),
                    **_condition(limit, regions, project),
                }
            )
    return {"Version": "2012-10-17", "Statement": statements}


def _narrowed(resources: Collection[str]) -> list[str]:
    """Resources without those that others include."""
    return sorted(
        name
        for name in resources
        if not any(
            other != name and other.endswith("*") and name.startswith(other[:-1])
            for other in resources
        )
    )


def _condition(limit: Limit, regions: Sequence[str], project: str) -> Document:
    in_region = {"aws:RequestedRegion": list(regions)}
    match limit:
        case Limit.NAMED | Limit.ANY:
            condition: Document = {"StringEquals": in_region}
        case Limit.TAGGED:
            condition = {"StringEquals": {**in_region, "aws:ResourceTag/project": project}}
        case Limit.PASSED:
            condition = {"StringEquals": {"iam:PassedToService": list(_TAKE_ROLES)}}
        case Limit.MANAGED:
            condition = {"ArnEquals": {"iam:PolicyARN": _MANAGED_POLICY}}
        case Limit.ROLES:
            return {}
    return {"Condition": condition}


if __name__ == "__main__":
    sys.exit(main())
