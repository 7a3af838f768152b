"""What all commands share: their common options, their output, and how they end."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from settings.paths import printable

_Command = TypeVar("_Command", bound=Callable[..., object])
_PIPED_WIDTH: Final = 400
"""Columns of a table that goes to a pipe: wide enough that no row wraps."""


class Exit(IntEnum):
    """The exit statuses of every command."""

    OK = 0
    FINDINGS = 1
    """The command did its work and found something: a violation, a limit that is off."""
    BAD_INPUT = 2
    """The command could not do its work; the error says why."""
    INTERRUPTED = 130
    """Ctrl-C ended the command."""


BEST_EFFORT: Final = (
    "AWS applies throttles and quotas on a best-effort basis: they are targets, not ceilings."
)


def output_option(people: str) -> Callable[[_Command], _Command]:
    """Return the option --format: in a form for people, or JSON."""
    return click.option(
        "--format",
        "output_format",
        type=click.Choice([people, "json"]),
        default=people,
        show_default=True,
        help="How to print the result.",
    )


format_option = output_option("table")
set_option = click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="SETTING=VALUE",
    help="Try a change, such as usagePlans.basic.rateLimit=150. May be repeated.",
)


class _Console(Console):
    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """Escape what a name from the config, AWS or a caller may do to a terminal."""
        for segment in super().render(renderable, options):
            text = "\n".join(map(printable, segment.text.split("\n")))
            yield segment if segment.control else segment._replace(text=text)

    def on_broken_pipe(self) -> None:
        """Let the door end the command; rich would end it with status 1."""
        raise BrokenPipeError


def console(*, stderr: bool = False) -> Console:
    """Return a console: colour and layout on a terminal, plain lines in a pipe.

    It escapes control characters and marks of direction. Rich's markup is up to its caller.
    """
    made = _Console(stderr=stderr, highlight=False, soft_wrap=True)
    if not made.is_terminal:
        made.width = _PIPED_WIDTH
    return made


def print_json(value: Any) -> None:  # noqa: ANN401  JSON
    """Print a value as JSON."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def is_url(text: str) -> bool:
    """Return whether text is the http or https address of a host."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def code(text: str) -> str:
    """Return text as Markdown code on one line, which renders no markup, link or mention."""
    text = printable(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence} {text} {fence}" if "`" in text else f"{fence}{text}{fence}"
