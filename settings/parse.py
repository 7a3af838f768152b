"""The settings of a stack, checked and typed, or all that is wrong with them in one error."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from settings.contradictions import contradictions
from settings.errors import Problem, SettingsError, UserError, shown, wrong_values
from settings.files import StackConfig, read_stack
from settings.json_schema import json_schema
from settings.paths import parse_path, printable, set_path, value_of
from settings.schema import Config, Provider, Settings

# A role's name has up to 64 characters: this, `-gateway-logs-role-` and 7 that Pulumi adds.
_PROJECT: Final = "[A-Za-z0-9_-]{1,38}"
_HIDDEN: Final = "is stored as a secret, which a preview cannot show."
_MAX_STEPS: Final = 10
"""Steps of a path; no setting has more than six."""
_Model = TypeVar("_Model", bound=BaseModel)


def load_stack(stack: str, changes: Sequence[str] = (), root: Path | None = None) -> Settings:
    """Return the settings of a stack with changes to try: `usagePlans.basic.rateLimit=150`.

    `root` is the project's folder, by default the one that holds the current folder.

    Raises:
        UserError: when there is no such stack, or its settings or a change are wrong.
    """
    config = read_stack(stack, root)
    for change in changes:
        config = _changed(config, change)
    return parse_settings(config)


def _changed(config: StackConfig, change: str) -> StackConfig:
    """Return the config after `pulumi config set --path KEY VALUE`, for a change `KEY=VALUE`."""
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
        return replace(config, values={**config.values, top: set_path(there, steps[1:], value)})
    except LookupError:
        raise UserError(f"{option}: there is no such place; {top} is {there}.") from None


def parse_settings(given: StackConfig) -> Settings:
    """Return a stack's config, checked and typed.

    Raises:
        UserError: the project has a name that does not fit into AWS's.
        SettingsError: listing every problem, each with the commands that fix it.
    """
    if not re.fullmatch(_PROJECT, given.project):
        raise UserError(
            f"Pulumi.yaml: the project's name {shown(given.project)} is not allowed: the names of "
            "its roles and functions in AWS begin with it. Allowed: 1 to 38 letters, digits, - and "
            "_."
        )
    trees: dict[str, dict[str, Any]] = {given.project: {}, "aws": {}}
    problems: list[Problem] = []
    for key, text in given.values.items():
        namespace, _, name = key.partition(":")
        if namespace not in trees:
            continue
        if key not in given.secret_keys:
            trees[namespace][printable(name)] = value_of(text)
        else:
            problems.append(Problem((name,), _HIDDEN, namespace=namespace))
    config = _checked(Config, trees[given.project], problems, stageName=given.stack)
    provider = _checked(Provider, trees["aws"], problems, namespace="aws")
    if provider and provider.allowed_account_ids and provider.forbidden_account_ids:
        both = "cannot be used together with allowedAccountIds."
        problems.append(Problem(("forbiddenAccountIds",), both, namespace="aws"))
    if config and not problems:
        problems += contradictions(config)
    if problems or not config or not provider:
        raise SettingsError(problems, project=given.project, stack=given.stack)
    values = dict(config) | {
        "region": provider.region or None,
        "profile": provider.profile or None,
        "provider": provider,
    }
    if (old := config.table.old_deletion_protection) is not None:
        values["deletion_protection"] = old
    return Settings.model_construct(project=given.project, stack=given.stack, **values)


def _checked(
    model: type[_Model],
    given: dict[str, Any],
    problems: list[Problem],
    *,
    namespace: str | None = None,
    **defaults: str,
) -> _Model | None:
    """Return a config as a model, or add what is wrong with it to `problems`."""
    try:
        return model.model_validate(defaults | given)
    except ValidationError as error:
        found = wrong_values(error, json_schema(model), given)
        problems += [replace(problem, namespace=namespace) for problem in found]
        return None
