"""One value of a stack's config, out of the text in which Pulumi's engine hands it over."""

import json
from typing import Any, Final

_DEEPEST: Final = 20
"""Levels of mappings and lists; no setting is deeper than six."""


class TextError(Exception):
    """A text cannot be taken for a value; says why, as a problem of its setting."""


def value_of(text: str) -> Any:  # noqa: ANN401  JSON
    """A top-level value: the engine hands mappings and lists over as JSON, the rest as text.

    Raises:
        TextError: when a key comes twice in a mapping, when it is nested beyond all settings, or
            when it is no text of Unicode.
    """
    try:
        parsed = json.loads(text, object_pairs_hook=_mapping)
    except (ValueError, RecursionError):
        return text
    if not isinstance(parsed, dict | list):
        return text
    _measure(parsed)
    try:
        json.dumps(parsed, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise TextError("has half a character (a surrogate)") from None
    return parsed


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise TextError(f"has the key {key!r} twice")
            seen.add(key)
    return mapping


def _measure(parsed: Any) -> None:  # noqa: ANN401  JSON
    level = [parsed]
    for _ in range(_DEEPEST):
        level = [
            item
            for value in level
            if isinstance(value, dict | list)
            for item in (value.values() if isinstance(value, dict) else value)
        ]
    if level:
        raise TextError("is nested too deeply")
