"""The answer of a check."""

from typing import Literal, NamedTuple


class Answer(NamedTuple):
    """What a check found, and what to do about it."""

    severity: Literal["ok", "warning", "problem"]
    """A problem makes the update fail, or what it creates not work."""
    meaning: str
    action: str = ""
    """Words or commands."""
