"""What `pulumi config set --path` and `rm --path` do to a stack's config, refusals included.

After Pulumi's own code: a whole number and true or false are stored typed, anything else as a
string; mappings and lists are made where nothing is; below the first level, a value that is
neither is not overwritten by one; what is not there is removed without a word.
https://github.com/pulumi/pulumi/blob/master/sdk/go/common/resource/config/object.go
https://github.com/pulumi/pulumi/blob/master/sdk/go/common/resource/property_path.go
"""

import json
import re
import shlex
from typing import Any

PROJECT = "throttled-api"
STACK = "dev"

Tree = dict[str, Any]
"""A stack's config below the project's namespace, as its file holds it."""


class CommandError(Exception):
    """Pulumi would refuse the command."""


def handed_over(tree: Tree) -> dict[str, str]:
    """A config as Pulumi's engine hands it to the program."""
    return {
        f"{PROJECT}:{name}": json.dumps(value) if isinstance(value, dict | list) else text(value)
        for name, value in tree.items()
    }


def text(value: object) -> str:
    """A value at the top level, where all that is neither a mapping nor a list is text."""
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def commands(message: str) -> list[str]:
    """The commands that an error or a warning prints."""
    lines = (line.strip() for line in message.split("\n"))
    return [line for line in lines if line.startswith("pulumi ")]


def run(tree: Tree, command: str) -> None:
    """Do to `tree` what a `pulumi config` command does to the config of the stack."""
    match shlex.split(command):
        case ["pulumi", "config", "set", "--path", key, value, "--stack", stack] if stack == STACK:
            if value.startswith("-"):
                raise CommandError(f"{value} would be taken for an option: {command}")
            path = _path(key)
            if len(path) == 1:
                tree[path[0]] = value
            else:
                tree[path[0]] = _set(tree.get(path[0]), path[:1], path[1:], _typed(value))
        case ["pulumi", "config", "rm", "--path", key, "--stack", stack] if stack == STACK:
            _remove(tree, _path(key))
        case _:
            raise CommandError(f"not a command of this stack: {command}")


def _path(key: str) -> list[Any]:
    project, _, rest = key.partition(":")
    if project != PROJECT:
        raise CommandError(f"not a key of this project: {key}")
    steps: list[Any] = []
    while rest:
        if quoted := re.match(r'\["((?:\\"|[^"])*)"\]', rest):
            steps.append(quoted[1].replace(r"\"", '"'))
        elif index := re.match(r"\[([0-9]+)\]", rest):
            steps.append(int(index[1]))
        elif rest.startswith("["):
            raise CommandError(f"not a path: {key}")
        elif word := re.match(r"\.?([^.\[]+)", rest):
            steps.append(word[1])
        else:
            raise CommandError(f"not a path: {key}")
        rest = rest[(quoted or index or word).end() :]  # type: ignore[union-attr]
    if not steps or not isinstance(steps[0], str) or not steps[0]:
        raise CommandError(f"a key must begin with a name: {key}")
    return steps


def _typed(value: str) -> object:
    if value in ("true", "false"):
        return value == "true"
    if len(value) > 1 and value.startswith("0"):
        return value
    return int(value) if re.fullmatch(r"[+-]?[0-9]{1,18}", value) else value


def _set(there: Any, above: list[Any], path: list[Any], value: object) -> Any:  # noqa: ANN401
    """What is `there` once `value` is at `path` in it."""
    if not path:
        return value
    step, *rest = path
    if not isinstance(there, dict | list):
        if there is not None and len(above) > 1:
            raise CommandError(f"{above} holds {there!r}, which is no mapping or list")
        there = [None] * (step + 1) if isinstance(step, int) else {}
    if isinstance(there, list):
        if not isinstance(step, int) or step > len(there):
            raise CommandError(f"{above} is a list of {len(there)}, without {step!r}")
        if step == len(there):
            there.append(None)
        there[step] = _set(there[step], [*above, step], rest, value)
    else:
        if not isinstance(step, str):
            raise CommandError(f"{above} is a mapping, without [{step}]")
        there[step] = _set(there.get(step), [*above, step], rest, value)
    return there


def _remove(tree: Any, path: list[Any]) -> None:  # noqa: ANN401
    *parents, last = path
    for step in parents:
        inside = isinstance(tree, dict) and step in tree
        inside = inside or (isinstance(tree, list) and isinstance(step, int) and step < len(tree))
        if not inside:
            return
        tree = tree[step]
    if isinstance(tree, dict):
        tree.pop(last, None)
    elif isinstance(tree, list) and isinstance(last, int) and last < len(tree):
        del tree[last]
