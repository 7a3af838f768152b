"""Options that `simulate` and `load` share."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from throttling import choices
from throttling.simulation.traffic import Arrivals
from tools.traffic.derived import PROFILES
from tools.traffic.profiles import parse_client, parse_duration

_CHARTS: Final = (".png", ".svg", ".html")
_Command = TypeVar("_Command", bound=Callable[..., object])


class Parsed(click.ParamType[Any]):
    """A value that a function parses, which raises a ValueError for what is not allowed."""

    def __init__(self, parse: Callable[[str], object], name: str) -> None:
        self._parse = parse
        self.name = name

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> object:
        """Parse what was typed. A default is a value already."""
        try:
            return self._parse(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


def _chart_path(text: str) -> Path:
    """Return a path that can be written, so that a run is not lost at its end."""
    path = Path(text)
    if path.suffix not in _CHARTS:
        raise ValueError(f"{text!r} is not a chart; allowed are {', '.join(_CHARTS)}")
    if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise ValueError(f"{text!r} cannot be written")
    return path


_OPTIONS: Final = (
    click.option(
        "--client",
        "clients",
        multiple=True,
        type=Parsed(parse_client, "plan/client=600rps,ips=3,for=10m,at=0s"),
        help="Requests of one client: rate, number of addresses, duration and start. no-key "
        "stands for requests without a valid API key. May be repeated; adds to a profile.",
    ),
    click.option(
        "--arrivals",
        type=click.Choice(Arrivals, case_sensitive=False),
        help="How the requests of a rate are spread; poisson unless the profile says otherwise.",
    ),
    click.option("--seed", type=click.IntRange(min=0), help="Of poisson arrivals."),
    click.option(
        "--waf-lag",
        "waf_lag_seconds",
        default=f"{choices.WAF_LAG_SECONDS:g}s",
        show_default=True,
        type=Parsed(parse_duration, "time"),
        help="How far the web ACL's view is behind the requests.",
    ),
    click.option("--chart", type=Parsed(_chart_path, "file"), help="Draw it (.png, .svg, .html)."),
)


def traffic_options(*, several: bool) -> Callable[[_Command], _Command]:
    """Add the options of the traffic to a command.

    Args:
        several: whether the command takes several profiles.
    """

    def add(command: _Command) -> _Command:
        for option in reversed(_OPTIONS):
            command = option(command)
        return click.option(
            "--profile",
            "profiles" if several else "profile",
            multiple=several,
            metavar="NAME|FILE",
            help=f"Traffic that is derived from the limits ({', '.join(PROFILES)}), or that a "
            f"YAML file describes.{' May be repeated.' if several else ''}",
        )(command)

    return add
