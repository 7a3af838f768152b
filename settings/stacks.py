"""A stack's settings as its config file has them, with changes that are tried."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from settings.errors import UserError
from settings.files import read_stack
from settings.schema import Settings, parse_settings

_STEP: Final = re.compile(r"""\.?([A-Za-z0-9_-]+)|\[([0-9]+)\]|\["([^"]*)"\]""")


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
        config = replace(config, values=_changed(config.values, change, config.project))
    return parse_settings(config)


def _changed(config: Mapping[str, str], change: str, project: str) -> dict[str, str]:
    """The config after `pulumi config set --path KEY VALUE`, for a change `KEY=VALUE`."""
    match = re.fullmatch(r"(?:([a-z0-9-]+):)?([^=]+)=(.*)", change)
    steps = _steps(match[2]) if match else []
    if not match or not steps:
        raise UserError(
            f"--set {change}: is no change; write a setting and its value, such as "
            f"usagePlans.basic.rateLimit=150."
        )
    key, value = f"{match[1] or project}:{steps[0]}", match[3]
    if len(steps) == 1:
        return {**config, key: value}
    try:
        tree = json.loads(config.get(key, "{}"))
        _put(tree, steps[1:], _typed(value))
    except (ValueError, LookupError, TypeError):
        raise UserError(
            f"--set {change}: there is no such place in the config of this stack; "
            f"{key} is {config.get(key)}."
        ) from None
    return {**config, key: json.dumps(tree)}


def _steps(path: str) -> list[str | int]:
    """`a.b[0]["c d"]` step by step; empty when it is no path."""
    steps: list[str | int] = []
    end = 0
    for match in _STEP.finditer(path):
        if match.start() != end:
            return []
        name, index, quoted = match.groups()
        steps.append(int(index) if index is not None else name if name is not None else quoted)
        end = match.end()
    return steps if end == len(path) else []


def _put(tree: Any, steps: Sequence[str | int], value: object) -> None:  # noqa: ANN401  JSON
    step, *rest = steps
    if isinstance(tree, dict) and isinstance(step, str):
        if rest:
            _put(tree.setdefault(step, {}), rest, value)
        else:
            tree[step] = value
    elif isinstance(tree, list) and isinstance(step, int):
        if rest:
            _put(tree[step], rest, value)
        elif step == len(tree):
            tree.append(value)
        else:
            tree[step] = value
    else:
        raise TypeError


def _typed(value: str) -> object:
    """A value below the top of the config, as Pulumi stores it."""
    if value in ("true", "false"):
        return value == "true"
    return int(value) if re.fullmatch(r"-?(0|[1-9][0-9]*)", value) else value
