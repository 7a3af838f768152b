"""How problems of a config are written: the key, the message, and the commands that fix it.

`advice.py` words the message and finds the commands for a single value, `contradictions.py` for
values that do not fit each other.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from settings.paths import Path, config_key

Command = tuple[Path, str | None]
"""A `pulumi config` command: a path, and the value to set there or None to remove it."""

_LONGEST_VALUE_SHOWN: Final = 60


class UserError(Exception):
    """The user gave something that cannot be used; the text says what, where and how to fix it."""


@dataclass
class Problem:
    """One thing that is wrong with a config, or that its owner should know."""

    path: Path
    message: str
    commands: Sequence[Command] = ()
    """By default, the one that removes what is at `path`."""
    namespace: str | None = None
    """Namespace of the setting, such as `aws`; None for the project's."""

    def __post_init__(self) -> None:
        self.commands = self.commands or [(self.path, None)]

    def text(self, project: str, stack: str) -> str:
        """Return one line for the problem and one for each command."""
        owner = self.namespace or project
        commands = (fix_command(owner, stack, path, value) for path, value in self.commands)
        return "\n      ".join([f"{config_key(owner, self.path)}: {self.message}", *commands])


class SettingsError(UserError):
    """The config cannot be used. The text lists every problem with the commands that fix it."""

    def __init__(self, problems: Sequence[Problem], *, project: str, stack: str) -> None:
        count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
        title = f"{count} in the config of stack {stack}; nothing was changed."
        texts = [problem.text(project, stack) for problem in sorted(problems, key=_order)]
        super().__init__("\n  ".join([title, *texts]))


def _order(problem: Problem) -> tuple[bool, int]:
    """Sort removals from lists to the end, the last item first: each renumbers later ones."""
    path, value = problem.commands[-1]
    if value is None and isinstance(path[-1], int):
        return True, -path[-1]
    return False, 0


def fix_command(project: str, stack: str, path: Path, value: str | None) -> str:
    """Return the command that sets `path` to `value`, or removes it when that is None."""
    key = shlex.quote(config_key(project, path))
    words = f"rm --path {key}" if value is None else f"set --path {key} {shlex.quote(value)}"
    return f"pulumi config {words} --stack {shlex.quote(stack)}"


def written(value: object) -> str:
    """Return a value as one types it in a command."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return "none" if value is None else str(value)


def shown(value: object) -> str:
    """Return a value as an error quotes it: on one line, and no longer than helps."""
    quoted = written(value) if isinstance(value, bool) else repr(value)
    if len(quoted) > _LONGEST_VALUE_SHOWN:
        return quoted[: _LONGEST_VALUE_SHOWN - 1] + "…"
    return quoted
