"""`python -m tools roles`: the IAM policies of the roles that CI assumes, in docs/iam/.

One role may preview a pull request, the other may deploy. Their policies hold what the types of
resources that the program registers need, and what it looks up, and nothing else.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import click
import yaml

from routes import METHODS
from settings import StackConfig, UserError, project_root, read_stack, stack_names
from tools.cli import Exit
from tools.recorder.program import run_program

Document = dict[str, Any]

ACTIONS: Final[Document] = yaml.safe_load(
    Path(__file__).with_name("role_actions.yaml").read_text("utf-8")
)
"""The statements of a role's policy, and the actions by type of resource and by lookup."""
_FOLDER: Final = "docs/iam"
_NOT_ITSELF: Final[Document] = {
    "Sid": "NotItself",
    "Effect": "Deny",
    "Action": ["iam:*"],
    "Resource": ["arn:aws:iam::*:role/ci-{project}-*"],
}
"""Keeps the roles of CI from changing themselves and each other."""
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
    lookups = list(ACTIONS["lookups"].values())
    types = registered_types(stacks)
    if unknown := [token for token in types if token not in ACTIONS["types"]]:
        raise UserError(
            f"The program registers {', '.join(unknown)}, and the deploying role's actions for it "
            "are not known.\n  Add it to tools/policy/role_actions.yaml, with the actions to "
            "create, read, change and delete it: https://docs.aws.amazon.com/service-authorization/"
            "latest/reference/, then run: python -m tools roles"
        )
    changes = [ACTIONS["types"][token] for token in types]
    policies = {
        "preview.json": _statements(lookups),
        "deploy.json": [*_statements([*lookups, *changes]), _NOT_ITSELF],
    }
    text = json.dumps(
        {name: {"Version": "2012-10-17", "Statement": one} for name, one in policies.items()}
    )
    text = text.replace('"{regions}"', json.dumps(regions)).replace("{project}", project)
    made: dict[str, Document] = json.loads(text)
    return made


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


def action_names(actions: str) -> set[str]:
    """Return actions with their services: the one before if an action has none of its own."""
    words = re.findall(r"(?:(\w+):)?(\w+)", actions)
    in_full = accumulate(words, lambda old, new: (new[0] or old[0], new[1]))
    return {":".join(word) for word in in_full}


def _statements(granted: Collection[Document]) -> list[Document]:
    """Return the statements of these grants."""
    statements: list[Document] = []
    for name, statement in ACTIONS["statements"].items():
        grants = [one for one in granted if name in one]
        if not grants:
            continue
        resources: set[str] = set()
        for one in grants:
            arns = statement.get("Resource") or one["Resource"]
            resources |= {arns} if isinstance(arns, str) else {*arns}
        statements.append(
            {
                "Sid": name,
                "Effect": "Allow",
                "Action": sorted(set().union(*(action_names(one[name]) for one in grants))),
                # An ARN with a wildcard may include others.
                "Resource": sorted(
                    arn
                    for arn in resources
                    if not any(
                        other != arn and other[-1] == "*" and arn.startswith(other[:-1])
                        for other in resources
                    )
                ),
                **({"Condition": statement["Condition"]} if "Condition" in statement else {}),
            }
        )
    return statements
