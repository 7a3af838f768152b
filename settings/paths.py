"""Places in a config, as `pulumi config set --path` reads and sets them."""

import json
import re
from typing import Any, Final

from pydantic_core import from_json

Path = tuple[str | int, ...]
"""Where a value is in the config: `("usagePlans", "basic", "rateLimit")`."""
PROVIDER: Final = "aws:"
"""The first step to a setting of the provider: `("aws:", "region")`."""

_MAX_INDEX: Final = 10_000
_STEP: Final = re.compile(r'\.*([^.\[]+)|\[([0-9]+)\]|\["((?:\\"|(?!\\")[^"])*)"\]')


def config_key(project: str, path: Path) -> str:
    """Return a path as one types it: `throttled-api:usagePlans.basic.clients[0]`."""
    provider = path[0] == PROVIDER
    key = ""
    for step in path[provider:]:
        if isinstance(step, int):
            key += f"[{step}]"
        elif re.fullmatch(r"[A-Za-z0-9_-]+", step):
            key += f".{step}"
        else:
            escaped = step.replace('"', r"\"")
            key += f'["{escaped}"]'
    return printable((PROVIDER if provider else f"{project}:") + key.removeprefix("."))


def parse_path(key: str) -> Path:
    """Return the steps of a key without its namespace; none when it is not a path.

    https://github.com/pulumi/pulumi/blob/master/sdk/go/common/resource/properties_path.go
    """
    steps: list[str | int] = []
    end = 0
    while match := _STEP.match(key, end):
        name, index, quoted = match.groups()
        steps.append(int(index) if index else name or quoted.replace(r"\"", '"'))
        end = match.end()
    whole = bool(steps) and end == len(key) and not key.startswith(".")
    return tuple(steps) if whole and isinstance(steps[0], str) else ()


def printable(text: str) -> str:
    """Return a text on one line, its control characters escaped so that no terminal obeys them."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def value_of(text: str) -> Any:  # noqa: ANN401  JSON
    """Return a top-level value: the engine passes mappings and lists as JSON, the rest as text.

    A text that is not valid JSON or is nested too deeply is only a text.
    """
    try:
        value = from_json(text)
    except ValueError:
        return text
    return value if isinstance(value, dict | list) else text


def set_path(there: str | None, steps: Path, value: str) -> str:
    """Return a top-level value after `pulumi config set --path`.

    `there` is the value before, as the engine passes it, and `value` the new one, as one types it.
    https://github.com/pulumi/pulumi/blob/master/sdk/go/common/resource/config/object.go

    Raises:
        LookupError: when Pulumi refuses the path.
    """
    if not steps:
        return value
    tree = value_of(there or "")
    return json.dumps(_put(None if isinstance(tree, str) else tree, steps, _typed(value)))


def _put(tree: Any, steps: Path, value: object) -> Any:  # noqa: ANN401  JSON
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
