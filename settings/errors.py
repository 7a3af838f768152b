"""What is wrong with a config: each problem in words, with the commands that fix it.

`wrong_values` explains single values, from what pydantic found and the settings' JSON Schema.
contradictions.py explains values that do not fit each other.
"""

import math
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import IPv4Network
from typing import Any, Final

from pydantic import ValidationError

from settings.json_schema import Node, allowed, at, section
from settings.paths import PROVIDER, Path, config_key, parse_path

Command = tuple[Path, str | None]
"""A `pulumi config` command: a path, and the value to set there or None to remove it."""

_LONGEST_VALUE_SHOWN: Final = 60
_SWITCHES: Final = {
    **dict.fromkeys(("true", "yes", "on", "y", "1", "enabled"), "true"),
    **dict.fromkeys(("false", "no", "off", "n", "0", "disabled"), "false"),
}
_NOTHING: Final = ("", "none", "null", "unlimited", "unreserved", "off", "no", "false", "-1")
"""Texts that mean no limit. AWS writes -1 for it."""


class UserError(Exception):
    """The user gave something that cannot be used; the text says what, where and how to fix it."""


@dataclass
class Problem:
    """One thing that is wrong with a config, or that its owner should know."""

    path: Path
    message: str
    commands: Sequence[Command] = ()
    """By default, the one that removes what is at `path`."""

    def __post_init__(self) -> None:
        self.commands = self.commands or [(self.path, None)]

    def text(self, project: str, stack: str) -> str:
        """Return one line for the problem and one for each command."""
        commands = (fix_command(project, stack, path, value) for path, value in self.commands)
        return "\n      ".join([f"{config_key(project, self.path)}: {self.message}", *commands])


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


def wrong_values(error: ValidationError, schema: Node, given: Any) -> list[Problem]:  # noqa: ANN401  JSON
    """Return what pydantic found wrong in a config, which is `given`, as problems."""
    errors = {details["loc"]: details for details in error.errors()}
    # Pydantic adds a step to the place of a name that is not allowed.
    names = {
        path: path[:-1]
        for path in errors
        if path[-1] == "[key]" and "propertyNames" in at(schema, path[:-2])
    }
    keys = {
        path: _wrong_key(names.get(path, path), schema, given)
        for path, details in errors.items()
        if path in names or details["type"] == "extra_forbidden"
    }
    wrong = {problem.path for problem in keys.values()}
    moved = [path for problem in keys.values() for path, value in problem.commands if value]
    problems = []
    for path, details in errors.items():
        place = names.get(path, path)
        if any(place[:end] in wrong for end in range(len(place))):
            continue  # the commands for that key move or remove this too
        if path in keys:
            problems.append(keys[path])
        elif details["type"] != "missing":
            problems.append(_wrong_value(path, details["input"], schema))
        elif not any(target[: len(path)] == path for target in moved):
            node = at(schema, path)
            message = f"is missing. Allowed: {allowed(node)}."
            problems.append(Problem(path, message, _samples(path, node)))
    return problems


def _wrong_key(path: Path, schema: Node, given: Any) -> Problem:  # noqa: ANN401  JSON
    """Explain a key that is not a setting, or a name that is not allowed."""
    above, key = path[:-1], str(path[-1])
    for step in above:
        given = given[step]
    target: Path = ()
    if names := at(schema, above).get("propertyNames"):
        meant = _closest(key, names)
        target = (*above, meant) if meant else ()
        message = f"the name {shown(key)} is not allowed. Allowed: {allowed(names)}."
    else:
        target, steps = above, parse_path(key) or (key,)
        for step in steps:
            known = _names(target, schema)
            target += tuple(get_close_matches(str(step), known, n=1)) if known else (step,)
        if len(target) != len(above) + len(steps) or not at(schema, target):
            target = ()
        guess = config_key("", target[len(above) :])[1:] if target else ""
        hint = f" (did you mean {guess}?)" if guess else ""
        message = f"is not a setting{hint}. Allowed: {', '.join(_names(above, schema))}."
    commands = _set(target, given[path[-1]], at(schema, target)) if target else []
    if len(target) == len(path):  # else it was typed without --path, and wins over what is there
        commands = [(to, value) for to, value in commands if not _holds(given, to[len(above) :])]
    return Problem(path, message, [(path, None), *commands])


def _holds(tree: Any, path: Path) -> bool:  # noqa: ANN401  JSON
    for step in path:
        if not isinstance(tree, dict) or step not in tree:
            return False
        tree = tree[step]
    return True


def _names(path: Path, schema: Node) -> list[str]:
    """Return the names of the settings in a section; none for a value of another kind."""
    return [name for name in section(at(schema, path)).get("properties", ()) if name != PROVIDER]


def _wrong_value(path: Path, value: object, schema: Node) -> Problem:
    node = at(schema, path)
    if "scalar" in _kinds(node):
        close = _closest(value, node)
        commands = [(path, close)] if close else _samples(path, node)
    else:
        commands = [(path, None), *_set(path, value, node)]
        if path[-1] in at(schema, path[:-1]).get("required", []):
            commands += _samples(path, node)
    return Problem(path, f"{shown(value)} is not allowed. Allowed: {allowed(node)}.", commands)


def _kinds(node: Node) -> set[str]:
    """Return which kinds of value a node allows: "object", "array" or "scalar"."""
    types = {str(one.get("type")) for one in node.get("anyOf", [node])} - {"null"}
    return {kind if kind in ("object", "array") else "scalar" for kind in types}


def _set(path: Path, value: object, node: Node) -> list[Command]:
    """Return the commands that set a value of any kind; none when no command can."""
    kind = "object" if isinstance(value, dict) else "array" if isinstance(value, list) else "scalar"
    if kind == "scalar" and _kinds(node) == {"array"} and written(value) not in _NOTHING:
        return _set((*path, 0), value, node["items"])
    commands = _leaves(path, value) if kind in _kinds(node) and value not in ({}, []) else []
    # The shell or Pulumi would read other texts as something else.
    usable = all(text and text.isprintable() and text[0] != "-" for _, text in commands)
    return commands if usable else []


def _leaves(path: Path, value: object) -> list[Command]:
    if isinstance(value, dict):
        value = {step: item for step, item in value.items() if item not in ({}, [])}
    if isinstance(value, dict | list) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [leaf for step, item in items for leaf in _leaves((*path, step), item)]
    return [(path, written(value))]


def _samples(path: Path, node: Node) -> list[Command]:
    """Return the commands that set a value, or what a section needs, as one types it.

    A value is its default, an example, or the least that is allowed.
    """
    if "properties" in node:
        needed = [((*path, name), node["properties"][name]) for name in node.get("required", [])]
        return [command for place, setting in needed for command in _samples(place, setting)]
    first = node.get("anyOf", [node])[0]
    samples = [node.get("default"), *first.get("examples", []), first.get("minimum")]
    return [(path, next((written(one) for one in samples if one not in (None, "")), None))]


def _closest(value: object, node: Node) -> str | None:
    """Return the allowed value that was meant, as one types it; None when that is unclear."""
    text = "" if isinstance(value, dict | list) else written(value).strip()
    word, number = text.lower(), _number(text)
    match node:
        case {"anyOf": [_, {"type": "null"}]} if word in _NOTHING:
            return "none"
        case {"anyOf": [first, *_]}:
            return _closest(value, first)
        case {"enum": choices} if number is not None and node.get("type") == "integer":
            return str(min(choices, key=lambda choice: abs(choice - number)))
        case {"enum": choices}:
            known = {str(choice).lower(): str(choice) for choice in choices}
            alike = [x for x in known if word and (x.startswith(word) or word.startswith(x))]
            close = [word] if word in known else alike or get_close_matches(word, known, 1, 0.85)
            return known[close[0]] if close else None
        case {"type": "boolean"}:
            return _SWITCHES.get(word)
        case {"minimum": low, "maximum": high} if number is not None:
            number = min(max(number, low), high)
            return written(round(number) if node["type"] == "integer" else number)
        case {"format": "ipv4network"}:
            address, _, prefix = text.partition("/")
            length = min(max(int(prefix), 16), 25) if prefix.isdecimal() else 16
            try:
                return str(IPv4Network(f"{address}/{length}", strict=False))
            except ValueError:
                return None
        case {"patternErrorMessage": _, "pattern": pattern}:
            tries = (text, word, re.sub("[^A-Za-z0-9_-]+", "-", text).strip("-"))
            # Pulumi stores true and false as other values than text.
            return next((x for x in tries if re.search(pattern, x) and x not in _SWITCHES), None)
    return None


def _number(text: str) -> float | None:
    try:
        number = float(re.sub(",(?=[0-9]{3}(?![0-9]))", "", text).replace(",", "."))
    except ValueError:
        return None
    return None if math.isnan(number) else number
