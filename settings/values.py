"""The types of single values, each in both forms that a stack's file may hold.

`pulumi config set --path` stores whole numbers, true and false typed below the top level, and every
other value as text. A file edited by hand may hold either form. Nothing looser is accepted: not
"1_000", " 12", 12.0 or 1 for true.
"""

import re
from collections.abc import Callable
from ipaddress import IPv4Network
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, Strict

DIGITS: Final = "-?[0-9]{1,18}"
DECIMAL: Final = r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?"
_NAME: Final = "1 to 64 letters, digits, - and _, the first a letter or a digit"
_NETWORK: Final = r"[0-9]{1,3}(\.[0-9]{1,3}){3}/(1[6-9]|2[0-5])"


def _text_form(pattern: str, read: Callable[[str], object]) -> BeforeValidator:
    def convert(value: object) -> object:
        return read(value) if isinstance(value, str) and re.fullmatch(pattern, value) else value

    return BeforeValidator(convert)


def _whole(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError  # Python takes True for 1
    return int(value) if isinstance(value, str) and re.fullmatch(DIGITS, value) else value


def _text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _network(value: object) -> IPv4Network:
    if not isinstance(value, str) or not re.fullmatch(_NETWORK, value):
        raise ValueError
    return IPv4Network(value)


def form(pattern: str, words: str, example: str) -> Any:  # noqa: ANN401  as pydantic's Field
    """Return the constraint of a text: its pattern, the same in words, and an example."""
    extra: Any = {"patternErrorMessage": words}
    return Field(strict=True, pattern=f"^{pattern}$", examples=[example], json_schema_extra=extra)


WHOLE: Final = BeforeValidator(_whole)
NO_LIMIT: Final = _text_form("none", lambda _: None)
"""Stands for no limit, where a setting allows None."""
NUMBER_TOO: Final = BeforeValidator(_text)
"""Accepts a name such as 2024, which `pulumi config set` stores as a number."""

Whole = Annotated[int, Strict(), WHOLE]
Burst = Annotated[int, Field(strict=True, ge=1, le=1_000_000), WHOLE]
Count = Annotated[int, Field(strict=True, ge=0, le=1_000_000_000), WHOLE]
Percent = Annotated[int, Field(strict=True, ge=1, le=100), WHOLE]
Switch = Annotated[bool, Strict(), _text_form("true|false", "true".__eq__)]
Rate = Annotated[
    float,
    # Far outside of any sensible limit. 0 is refused because it closes an API instead of limiting
    # it, and what follows from a rate, such as the time to wait, stays a number of sensible size.
    Field(strict=True, ge=0.001, le=1_000_000, allow_inf_nan=False),
    _text_form(DECIMAL, float),
]
"""Requests per second."""
Name = Annotated[str, form("[A-Za-z0-9][A-Za-z0-9_-]{0,63}", _NAME, "default"), NUMBER_TOO]
Network = Annotated[
    IPv4Network,
    BeforeValidator(_network),
    # Each availability zone gets an eighth of it, and AWS's smallest subnet is a /28.
    Field(
        json_schema_extra={
            "pattern": f"^{_NETWORK}$",
            "patternErrorMessage": "an IPv4 network from /16 to /25, no bits set behind its prefix",
        }
    ),
]
