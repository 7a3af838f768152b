"""Problems with single values of a config, each with commands that keep what was meant."""

import math
import re
from difflib import get_close_matches
from ipaddress import IPv4Network
from typing import Any, Final

from pydantic import ValidationError

from settings.errors import Command, Problem, shown, written
from settings.paths import Path, config_key, parse_path
from settings.words import Node, allowed, at, kinds, section

_SWITCHES: Final = {
    **dict.fromkeys(("true", "yes", "on", "y", "1"), "true"),
    **dict.fromkeys(("false", "no", "off", "n", "0"), "false"),
}
_NOTHING: Final = ("", "none", "null", "unlimited")


def field_problems(error: ValidationError, schema: Node, given: Any) -> list[Problem]:  # noqa: ANN401  JSON
    """Return what pydantic found wrong in a config, which is `given`, as problems."""
    errors = {details["loc"]: details for details in error.errors()}
    unknown = {
        path: _unknown_key(path, details["input"], schema, given)
        for path, details in errors.items()
        if details["type"] == "extra_forbidden"
    }
    names = {
        path[:-1]
        for path in errors.keys() - unknown.keys()
        if path[-1] == "[key]" and "propertyNames" in at(schema, path[:-2])
    }
    moved = [path for problem in unknown.values() for path, value in problem.commands if value]
    problems = []
    for path, details in errors.items():
        if path[:-1] in names and path[-1] == "[key]":
            problems.append(_wrong_name(path[:-1], schema, given))
        elif any(path[:end] in names for end in range(len(path))):
            continue  # the commands for the name move or remove this too
        elif path in unknown:
            problems.append(unknown[path])
        elif details["type"] != "missing":
            problems.append(_wrong_value(path, details["input"], schema))
        elif not any(target[: len(path)] == path for target in moved):
            node = at(schema, path)
            message = f"is missing. Allowed: {allowed(node)}."
            problems.append(Problem(path, message, _samples(path, node)))
    return problems


def _unknown_key(path: Path, value: object, schema: Node, given: Any) -> Problem:  # noqa: ANN401
    above, guess = path[:-1], ""
    commands: list[Command] = [(path, None)]
    if meant := _meant(path, schema):
        guess = f" (did you mean {config_key('', meant[len(above) :])[1:]}?)"
        # A key with dots was typed without --path: this value wins over one that is there.
        if len(meant) > len(path) or meant[-1] not in _inside(given, above):
            commands += _set(meant, value, at(schema, meant))
    known = ", ".join(section(at(schema, above))["properties"])
    return Problem(path, f"is not a setting{guess}. Allowed: {known}.", commands)


def _meant(path: Path, schema: Node) -> Path:
    """Return the setting that an unknown key stands for; an empty path when that is unclear."""
    above, key = path[:-1], str(path[-1])
    for steps in filter(None, (parse_path(key), (key,))):
        target = above
        for step in steps:
            names = section(at(schema, target)).get("properties")
            target += tuple(get_close_matches(str(step), names, n=1)) if names else (step,)
        if len(target) == len(above) + len(steps) and at(schema, target):
            return target
    return ()


def _wrong_name(path: Path, schema: Node, given: Any) -> Problem:  # noqa: ANN401  JSON
    above, name = path[:-1], path[-1]
    names, siblings = at(schema, above)["propertyNames"], _inside(given, above)
    commands: list[Command] = [(path, None)]
    if (meant := _closest(name, names)) and meant not in siblings:
        commands += _set((*above, meant), siblings[name], at(schema, path))
    message = f"the name {shown(name)} is not allowed. Allowed: {allowed(names)}."
    return Problem(path, message, commands)


def _wrong_value(path: Path, value: object, schema: Node) -> Problem:
    node = at(schema, path)
    if "scalar" in kinds(node):
        commands: list[Command] = [(path, _closest(value, node) or _sample(node))]
    else:
        commands = [(path, None), *_set(path, value, node)]
        if path[-1] in at(schema, path[:-1]).get("required", []):
            commands += _samples(path, node)
    return Problem(path, f"{shown(value)} is not allowed. Allowed: {allowed(node)}.", commands)


def _inside(given: Any, path: Path) -> Any:  # noqa: ANN401  JSON
    for step in path:
        given = given[step]
    return given


def _set(path: Path, value: object, node: Node) -> list[Command]:
    """Return the commands that set a value of any kind; none when no command can."""
    kind = "object" if isinstance(value, dict) else "array" if isinstance(value, list) else "scalar"
    if kind == "scalar" and kinds(node) == {"array"} and written(value) not in _NOTHING:
        return _set((*path, 0), value, node["items"])
    commands = _leaves(path, value) if kind in kinds(node) and value not in ({}, []) else []
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
    """Return the commands that give a missing setting a value."""
    if "properties" not in node:
        return [(path, _sample(node))]
    inner = [((*path, name), node["properties"][name]) for name in node.get("required", [])]
    return [command for place, setting in inner for command in _samples(place, setting)]


def _sample(node: Node) -> str | None:
    """Return the default or an example of a value, as one types it; None when it has none."""
    samples = [node.get("default"), *node.get("anyOf", [node])[0].get("examples", [])]
    return next((written(sample) for sample in samples if sample not in (None, "")), None)


def _closest(value: object, node: Node) -> str | None:
    """Return the allowed value that was meant, as one types it; None when that is unclear."""
    text = "" if isinstance(value, dict | list) else written(value).strip()
    match node:
        case {"anyOf": [first, *others]}:
            none = {"type": "null"} in others and text.lower() in _NOTHING
            return "none" if none else _closest(value, first)
        case {"enum": choices}:
            return _closest_choice(text, [*dict.fromkeys(map(str, choices))])
        case {"type": "boolean"}:
            return _SWITCHES.get(text.lower())
        case {"minimum": low, "maximum": high} if (number := _number(text)) is not None:
            number = min(max(number, low), high)
            return written(round(number) if node["type"] == "integer" else number)
        case {"format": "ipv4network"}:
            return _closest_network(text)
        case {"patternErrorMessage": _, "pattern": pattern}:
            tries = (text, text.lower(), re.sub("[^A-Za-z0-9_-]+", "-", text).strip("-"))
            # Pulumi stores true and false as other values than text.
            fitting = (word for word in tries if re.search(pattern, word) and word not in _SWITCHES)
            return next(fitting, None)
    return None


def _number(text: str) -> float | None:
    try:
        number = float(text.replace(",", ""))
    except ValueError:
        return None
    return None if math.isnan(number) else number


def _closest_choice(text: str, choices: list[str]) -> str | None:
    number = _number(text)
    if number is not None and all(choice.isdigit() for choice in choices):
        return min(choices, key=lambda choice: abs(int(choice) - number))
    word, known = text.lower(), {choice.lower(): choice for choice in choices}
    alike = [name for name in known if word and (name.startswith(word) or word.startswith(name))]
    close = [word] if word in known else alike or get_close_matches(word, known, 1, cutoff=0.85)
    return known[close[0]] if close else None


def _closest_network(text: str) -> str | None:
    address, _, prefix = text.partition("/")
    length = min(max(int(prefix), 16), 25) if prefix.isdigit() else 16
    try:
        return str(IPv4Network(f"{address}/{length}", strict=False))
    except ValueError:
        return None
