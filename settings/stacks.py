"""A stack's settings as its files have them, with changes to try."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from settings import paths
from settings.errors import UserError
from settings.files import StackConfig, read_stack
from settings.parse import parse_settings, value_of
from settings.schema import Settings

_MAX_STEPS: Final = 10
"""Steps of a path; no setting has more than six."""
_MAX_INDEX: Final = 10_000


def load_stack(stack: str, changes: Sequence[str] = (), root: Path | None = None) -> Settings:
    """Return the settings of a stack.

    Args:
        stack: name of the stack.
        changes: settings to try, such as `usagePlans.basic.rateLimit=150`.
        root: the project's folder; None for the one that holds the current folder.

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
    steps = paths.parse_path(name)
    option = f"--set {paths.printable(change[:100])}"
    if not equals or not 0 < len(steps) <= _MAX_STEPS:
        example = "usagePlans.basic.rateLimit=150"
        raise UserError(f"{option}: write a setting and its value, such as {example}.")
    top = f"{namespace or config.project}:{steps[0]}"
    there = config.values.get(top)
    try:
        return replace(config, values={**config.values, top: set_path(there, steps[1:], value)})
    except LookupError:
        raise UserError(f"{option}: there is no such place; {top} is {there}.") from None


def set_path(there: str | None, steps: paths.Path, value: str) -> str:
    """Return a top-level value after `pulumi config set --path`.

    https://github.com/pulumi/pulumi/blob/master/sdk/go/common/resource/config/object.go

    Args:
        there: the value as the engine passes it; None when there is none.
        steps: where to set `value` within it.
        value: as one types it.

    Raises:
        LookupError: when Pulumi refuses the path.
    """
    if not steps:
        return value
    tree = value_of(there or "")
    return json.dumps(_put(None if isinstance(tree, str) else tree, steps, _typed(value)))


def _put(tree: Any, steps: paths.Path, value: object) -> Any:  # noqa: ANN401  JSON
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    if tree is None:
        tree = {} if isinstance(step, str) else [None] * min(step + 1, _MAX_INDEX)
    if isinstance(tree, dict) and isinstance(step, str):
        tree[step] = _put(tree.get(step), rest, value)
    elif isinstance(tree, list) and isinstance(step, int) and step <= len(tree):
        tree[step : step + 1] = [_put(next(iter(tree[step:]), None), rest, value)]
    else:
        raise LookupError
    return tree


def _typed(value: str) -> object:
    """Return a value as Pulumi stores it below the top level."""
    if value in ("true", "false"):
        return value == "true"
    return int(value) if re.fullmatch("(?!0.)[+-]?[0-9]{1,18}", value) else value
