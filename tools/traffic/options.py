"""Options that `simulate` and `load` share: the traffic, and where to draw it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from throttling.simulation.traffic import Arrivals
from tools.traffic.derived import PROFILES
from tools.traffic.profiles import parse_client, parse_duration

_CHARTS: Final = (".png", ".svg", ".html")
_Command = TypeVar("_Command", bound=Callable[..., object])


class Parsed(click.ParamType):
    """A value that a function parses, which raises a ValueError that says what is allowed."""

    def __init__(self, parse: Callable[[str], object], name: str) -> None:
        self._parse = parse
        self.name = name

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None  # noqa: ANN401
    ) -> Any:  # noqa: ANN401  click's types
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


def chart_path(text: str) -> Path:
    """Return the path of a chart, which must be writable before anything is run."""
    path = Path(text)
    if path.suffix not in _CHARTS:
        raise ValueError(f"{text!r} is not a chart; allowed are {', '.join(_CHARTS)}")
    if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise ValueError(f"{text!r} cannot be written")
    return path


def traffic_options(command: _Command) -> _Command:
    """Add the options of the traffic."""
    names = ", ".join(PROFILES)
    for option in (
        click.option(
            "--chart", type=Parsed(chart_path, "file"), help="Draw it (.png, .svg, .html)."
        ),
        click.option(
            "--waf-lag",
            type=Parsed(parse_duration, "time"),
            help="How far the web ACL's view is behind the requests, such as 30s.",
        ),
        click.option(
            "--seed", type=click.IntRange(min=0), help="Of poisson arrivals; 0 unless given."
        ),
        click.option(
            "--arrivals",
            type=click.Choice(Arrivals, case_sensitive=False),
            help="How requests are spread; poisson unless a profile says otherwise.",
        ),
        click.option(
            "--client",
            "clients",
            multiple=True,
            type=Parsed(parse_client, "plan/client=600rps,ips=3,for=10m,at=0s"),
            help="Requests of one client: rate, number of addresses, duration and start. no-key "
            "stands for requests without a valid API key. May be repeated.",
        ),
    ):
        command = option(command)
    return click.option(
        "--profile",
        "profiles",
        multiple=True,
        metavar="NAME|FILE",
        help=f"Traffic that is derived from the limits ({names}), or that a YAML file describes.",
    )(command)
