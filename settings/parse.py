"""A stack's config checked and typed: all that is wrong in one error, or the settings."""

import json
import re
from dataclasses import replace
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from settings.advice import field_problems
from settings.contradictions import contradictions
from settings.errors import Problem, SettingsError, UserError, shown
from settings.files import StackConfig
from settings.paths import printable
from settings.schema import Config, Provider, Settings
from settings.words import json_schema

# A role's name has up to 64 characters: this, `-gateway-logs-role-` and 7 that Pulumi adds.
_PROJECT: Final = "[A-Za-z0-9_-]{1,38}"
_HIDDEN: Final = "is stored as a secret, which a preview cannot show."
_Model = TypeVar("_Model", bound=BaseModel)


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
        found = field_problems(error, json_schema(model), given)
        problems += [replace(problem, namespace=namespace) for problem in found]
        return None


def value_of(text: str) -> Any:  # noqa: ANN401  JSON
    """Return a top-level value: the engine passes mappings and lists as JSON, the rest as text.

    A text that is not valid JSON, has a key twice or is nested too deeply is only a text.
    """
    try:
        from_json(text)  # refuses deep nesting, and half of a surrogate pair
        value = json.loads(text, object_pairs_hook=_unique)
    except (TypeError, ValueError):
        return text
    return value if isinstance(value, dict | list) else text


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        raise ValueError
    return mapping
