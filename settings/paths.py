"""Places in a config, written as `pulumi config set --path` reads them."""

import re
from typing import Final

Path = tuple[str | int, ...]
"""Where a value is in the config: `("usagePlans", "basic", "rateLimit")`."""

_STEP: Final = re.compile(r'\.*([^.\[]+)|\[([0-9]+)\]|\["((?:\\"|(?!\\")[^"])*)"\]')


def config_key(project: str, path: Path) -> str:
    """Return a path as one types it: `throttled-api:usagePlans.basic.clients[0]`."""
    key = ""
    for step in path:
        if isinstance(step, int):
            key += f"[{step}]"
        elif re.fullmatch(r"[A-Za-z0-9_-]+", step):
            key += f".{step}"
        else:
            escaped = step.replace('"', r"\"")
            key += f'["{escaped}"]'
    return printable(f"{project}:{key.removeprefix('.')}")


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
