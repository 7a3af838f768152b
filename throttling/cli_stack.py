"""The limits of a stack, as its config file or a change that is tried has them."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from throttling.limits import Limits
from throttling.review import Expectations

if TYPE_CHECKING:
    from components.settings import Settings

ROOT: Final = Path(__file__).resolve().parents[1]
"""Where `Pulumi.yaml` is."""

_STEP: Final = re.compile(r"""\.?([A-Za-z0-9_-]+)|\[([0-9]+)\]|\["([^"]*)"\]""")


class StackError(Exception):
    """The limits of a stack cannot be had; says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stack:
    """One stack, as far as its limits go."""

    project: str
    name: str
    settings: "Settings"

    @property
    def limits(self) -> Limits:
        """What a caller meets."""
        return self.settings.limits()

    @property
    def expectations(self) -> Expectations:
        """What a review needs besides."""
        return self.settings.expectations()


def all_stacks(root: Path = ROOT) -> list[str]:
    """The names of all stacks that have a config file."""
    from components.stack_files import stack_names

    return stack_names(root)


def load_stack(name: str, changes: Sequence[str] = (), root: Path = ROOT) -> Stack:
    """The limits of a stack.

    Args:
        name: of the stack.
        changes: settings to try, such as `usagePlans.basic.rateLimit=150`.
        root: the project's folder.

    Raises:
        StackError: when there is no such stack, or its settings are wrong.
    """
    from components.config_errors import SettingsError
    from components.settings import parse_settings
    from components.stack_files import StackFileError, project_name, read_stack, secret_keys

    try:
        project = project_name(root)
        config = read_stack(root, name)
        for change in changes:
            config = _changed(config, change, project)
        settings = parse_settings(
            config, project=project, stack=name, secret_keys=secret_keys(root, name)
        )
    except (StackFileError, SettingsError) as error:
        raise StackError(str(error)) from None
    return Stack(project=project, name=name, settings=settings)


def _changed(config: Mapping[str, str], change: str, project: str) -> dict[str, str]:
    """The config after `pulumi config set --path KEY VALUE`, for a change `KEY=VALUE`."""
    match = re.fullmatch(r"(?:([a-z0-9-]+):)?([^=]+)=(.*)", change)
    steps = _steps(match[2]) if match else []
    if not match or not steps:
        raise StackError(
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
        raise StackError(
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
