"""One line of the doctor's report."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    WARNING = "warning"
    """The update goes through, and something is not as one might think."""
    PROBLEM = "problem"
    """The update fails, or what it makes does not work."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What a check found."""

    check: str
    """What was looked at, such as "function concurrency"."""
    level: Level
    meaning: str
    action: str = ""
    """What to do about it: words or commands."""


def ok(check: str, meaning: str) -> Finding:
    """Nothing to do."""
    return Finding(check=check, level=Level.OK, meaning=meaning)


def warning(check: str, meaning: str, action: str) -> Finding:
    """Something to know."""
    return Finding(check=check, level=Level.WARNING, meaning=meaning, action=action)


def problem(check: str, meaning: str, action: str) -> Finding:
    """Something to mend before the update."""
    return Finding(check=check, level=Level.PROBLEM, meaning=meaning, action=action)
