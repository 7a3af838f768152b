"""The settings of a stack, checked and typed, or all that is wrong with them in one error."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from settings.contradictions import contradictions
from settings.errors import Problem, SettingsError, UserError, shown, wrong_values
from settings.files import StackConfig, read_stack
from settings.json_schema import json_schema
from settings.paths import PROVIDER, parse_path, printable, set_path, value_of
from settings.schema import Settings, StackSettings

# A role's name has up to 64 characters: this, `-gateway-logs-role-` and 7 that Pulumi adds.
_PROJECT: Final = "[A-Za-z0-9_-]{1,38}"
_MAX_STEPS: Final = 10
"""Steps of a path; no setting has more than six."""


def load_stack(stack: str, changes: Sequence[str] = (), root: Path | None = None) -> Settings:
    """Return the settings of a stack with changes to try: `usagePlans.basic.rateLimit=150`.

    `root` is the project's folder, by default the one that holds the current folder.

    Raises:
        UserError: when there is no such stack, or its settings or a change are wrong.
    """
    return parse_settings(changed(read_stack(stack, root), changes))


def changed(config: StackConfig, changes: Sequence[str]) -> StackConfig:
    """Return a stack's config after changes such as `usagePlans.basic.rateLimit=150`.

    Raises:
        UserError: when a change has another form, or no such place exists.
    """
    for change in changes:
        key, equals, value = change.partition("=")
        namespace, _, name = key.rpartition(":")
        steps = parse_path(name)
        option = f"--set {printable(change[:100])}"
        if not equals or not 0 < len(steps) <= _MAX_STEPS:
            example = "usagePlans.basic.rateLimit=150"
            raise UserError(f"{option}: write a setting and its value, such as {example}.")
        top = f"{namespace or config.project}:{steps[0]}"
        there = config.values.get(top)
        try:
            values = {**config.values, top: set_path(there, steps[1:], value)}
        except LookupError:
            raise UserError(f"{option}: there is no such place; {top} is {there}.") from None
        config = replace(config, values=values)
    return config


def parse_settings(given: StackConfig) -> Settings:
    """Return a stack's config, checked and typed.

    Raises:
        UserError: the project's name does not fit into AWS's names, or settings have another one.
        SettingsError: listing every problem, each with the commands that fix it.
    """
    if not re.fullmatch(_PROJECT, given.project):
        raise UserError(
            f"Pulumi.yaml: the project's name {shown(given.project)} is not allowed: the names of "
            "its roles and functions in AWS begin with it. Allowed: 1 to 38 letters, digits, - and "
            "_."
        )
    own: dict[str, Any] = {}
    trees = {given.project: own, "aws": {}}
    schema = json_schema(StackSettings)
    problems: list[Problem] = []
    astray: list[str] = []
    for key, text in given.values.items():
        namespace, _, name = key.partition(":")
        if namespace not in trees:
            # The config of other providers and of Pulumi has other names.
            astray += [printable(key)] if name in schema["properties"] else []
        elif key not in given.secret_keys:
            trees[namespace][printable(name)] = value_of(text)
        else:
            path = (name,) if namespace == given.project else (PROVIDER, name)
            problems.append(Problem(path, "is stored as a secret, which a preview cannot show."))
    if astray:
        raise UserError(
            f"Stack {given.stack} has settings under another name than its project's, "
            f"{given.project}: {', '.join(astray)}. In the stack's file, write `{given.project}:` "
            "before each, or change the name in Pulumi.yaml back."
        )
    tree = own | {PROVIDER: trees["aws"]}
    try:
        config = StackSettings.model_validate({"stageName": given.stack} | tree)
        problems = problems or [*contradictions(config)]
    except ValidationError as error:
        problems += wrong_values(error, schema, tree)
    if problems:
        raise SettingsError(problems, project=given.project, stack=given.stack)
    values = dict(config) | {
        "project": given.project,
        "stack": given.stack,
        "region": config.provider.region or None,
        "profile": config.provider.profile or None,
    }
    if (old := config.table.old_deletion_protection) is not None:
        values["deletion_protection"] = old
    return Settings.model_construct(**values)
