"""`python -m tools roles`: the IAM policies of the roles that CI assumes, in docs/iam/.

One role may preview a pull request, the other may deploy. Their policies hold what the types of
resources that the program registers need, and what it looks up, and nothing else.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

import click

from routes import METHODS
from settings import StackConfig, UserError, project_root, read_stack, stack_names
from tools.cli import Exit
from tools.policy.role_actions import ACTIONS, LOOKUPS, Grant, Limit
from tools.recorder.program import run_program

Document = dict[str, Any]

_FOLDER: Final = "docs/iam"
_CONDITIONS: Final[Mapping[Limit, Document]] = {
    Limit.PASSED: {
        "StringEquals": {
            "iam:PassedToService": [
                "apigateway.amazonaws.com",
                "lambda.amazonaws.com",
                "vpc-flow-logs.amazonaws.com",
            ]
        }
    },
    Limit.MANAGED: {
        "ArnEquals": {
            "iam:PolicyARN": "arn:aws:iam::aws:policy/service-role/"
            "AmazonAPIGatewayPushToCloudWatchLogs"
        }
    },
    Limit.LINKED: {"StringEquals": {"iam:AWSServiceName": "ops.apigateway.amazonaws.com"}},
}
_EVERYTHING_ON: Final[Mapping[str, Any]] = {
    "throttle": {"methods": {METHODS[0]: {"rateLimit": 1, "burstLimit": 1}}},
    "waf": {"enabled": True, "logging": True},
    "function": {"snapStart": True},
    "network": {"flowLogs": True},
    "monitoring": {"alarmEmails": ["you@example.com"], "dashboard": True},
    "manageApiGatewayLogging": True,
}
"""Settings without which some types of resources are not there."""


@click.command(epilog="Example: python -m tools roles --check")
@click.option("--check", is_flag=True, help="Compare the files with the program, write nothing.")
def roles(check: bool) -> Exit:
    """Write the IAM policies of the roles that CI assumes, into docs/iam/.

    Exit status with --check: 1 when a file is missing or out of date.
    """
    folder = project_root() / _FOLDER
    stale = False
    for name, document in documents([read_stack(stack) for stack in stack_names()]).items():
        file, text = folder / name, json.dumps(document, indent=2) + "\n"
        if not check:
            folder.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8")
            click.echo(f"{_FOLDER}/{name}")
        elif not file.is_file() or file.read_text("utf-8") != text:
            click.echo(f"{_FOLDER}/{name} is out of date. Write it: python -m tools roles")
            stale = True
    return Exit.FINDINGS if stale else Exit.OK


def documents(stacks: Collection[StackConfig]) -> dict[str, Document]:
    """Return the policies by file name.

    Raises:
        UserError: when no stack is given, a stack has no Region, or the program registers a type
            of resource whose actions are not known.
    """
    if not stacks:
        raise UserError("There is no stack to make roles for: no Pulumi.<stack>.yaml here.")
    regions = sorted({_region(config) for config in stacks})
    project = next(iter(stacks)).project
    lookups = [grant for grants in LOOKUPS.values() for grant in grants]
    changes = [grant for token in registered_types(stacks) for grant in _grants(token)]
    return {
        "preview.json": _policy(lookups, regions, project),
        "deploy.json": _policy([*lookups, *changes], regions, project, _not_itself(project)),
    }


def _not_itself(project: str) -> Document:
    """Return the statement that keeps the roles of CI from changing themselves and each other."""
    role = f"arn:aws:iam::*:role/ci-{project}-*"
    return {"Sid": "NotItself", "Effect": "Deny", "Action": ["iam:*"], "Resource": [role]}


def _region(config: StackConfig) -> str:
    if "aws:region" not in config.values:
        raise UserError(
            f"Pulumi.{config.stack}.yaml has no aws:region, which the roles are limited to.\n"
            f"  pulumi config set aws:region eu-central-1 --stack {config.stack}"
        )
    return config.values["aws:region"]


def registered_types(stacks: Iterable[StackConfig]) -> list[str]:
    """Return the types of AWS resources that the stacks register, whatever their settings."""
    types: set[str] = set()
    for config in stacks:
        for each in (config, _everything_on(config)):
            program = run_program(each, preview=True)
            types |= {resource.type for resource in program.resources.items if resource.custom}
    return sorted(token for token in types if not token.startswith("pulumi:"))


def _everything_on(config: StackConfig) -> StackConfig:
    values = dict(config.values)
    for name, change in _EVERYTHING_ON.items():
        key = f"{config.project}:{name}"
        old = json.loads(values.get(key, "{}")) if isinstance(change, dict) else None
        values[key] = json.dumps(change if old is None else old | change)
    return replace(config, values=values)


def _grants(token: str) -> tuple[Grant, ...]:
    try:
        return ACTIONS[token]
    except KeyError:
        raise UserError(
            f"The program registers {token}, and the deploying role's actions for it are not "
            f"known.\n  Add {token!r} to ACTIONS in tools/policy/role_actions.py, with the "
            f"actions to create, read, change and delete it: https://docs.aws.amazon.com/"
            f"service-authorization/latest/reference/, then run: python -m tools roles"
        ) from None


def _policy(
    grants: Collection[Grant], regions: list[str], project: str, *others: Document
) -> Document:
    """Return a policy with one statement for each limit of these grants, and other statements."""
    statements: list[Document] = []
    for limit in Limit:
        together = [grant for grant in grants if grant.limit is limit]
        if together:
            resources = {arn.replace("{project}", project) for one in together for arn in one.on}
            condition = _condition(limit, regions, project)
            statements.append(
                {
                    "Sid": limit.name.capitalize(),
                    "Effect": "Allow",
                    "Action": sorted({a for grant in together for a in grant.actions.split()}),
                    "Resource": _without_included(resources),
                    **({"Condition": condition} if condition else {}),
                }
            )
    return {"Version": "2012-10-17", "Statement": [*statements, *others]}


def _without_included(resources: Collection[str]) -> list[str]:
    """Return the ARNs that no other ARN includes."""
    prefixes = [arn[:-1] for arn in resources if arn.endswith("*")]
    return sorted(
        arn
        for arn in resources
        if not any(arn.startswith(prefix) and arn != f"{prefix}*" for prefix in prefixes)
    )


def _condition(limit: Limit, regions: list[str], project: str) -> Document:
    equal: Document = {"aws:RequestedRegion": regions}
    if limit is Limit.TAGGED:
        equal["aws:ResourceTag/project"] = project
    if limit in (Limit.NAMED, Limit.ANY, Limit.TAGGED):
        return {"StringEquals": equal}
    return _CONDITIONS.get(limit, {})
