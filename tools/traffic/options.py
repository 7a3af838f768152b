"""Options that commands share."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from routes import METHODS
from settings import UserError
from throttling.simulation.traffic import Arrivals
from tools.traffic.derived import PROFILES
from tools.traffic.profiles import parse_client, parse_duration

_Command = TypeVar("_Command", bound=Callable[..., object])


def parsed(parse: Callable[[str], Any]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Return a callback that parses an option with a function that may raise a ValueError."""

    def callback(_: click.Context, __: click.Parameter, value: Any) -> Any:  # noqa: ANN401
        try:
            if isinstance(value, tuple):
                return tuple(parse(one) for one in value)
            return None if value is None else parse(value)
        except ValueError as error:
            raise click.BadParameter(f"{error}.") from None

    return callback


def _file(kind: str, *suffixes: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Return a callback for the path of a file that a command writes at its end."""

    def parse(text: str) -> Path:
        path = Path(text)
        if path.suffix not in suffixes:
            raise ValueError(f"{text!r} is not a {kind}; allowed are {', '.join(suffixes)}")
        check_writable(path)
        return path

    return parsed(parse)


def check_writable(path: Path) -> None:
    """Raise a UserError if a file cannot be written, so that a run is not lost at its end."""
    try:
        existed = path.exists()
        path.open("ab").close()
        if not existed:
            path.unlink()
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from None


compare_option = click.option(
    "--compare", is_flag=True, help="Show the run without --set beside it."
)


def check_compare(compare: bool, changes: Sequence[str]) -> None:
    """Raise a UserError if --compare comes without --set."""
    if compare and not changes:
        raise UserError("--compare has nothing to compare; give a change with --set.")


waf_lag_option = click.option(
    "--waf-lag",
    "waf_lag_seconds",
    callback=parsed(parse_duration),
    metavar="TIME",
    help="How far the web ACL lags behind the requests; 0s, or 30s for a deployed stack.",
)
chart_option = click.option(
    "--chart",
    callback=_file("chart", ".png", ".svg"),
    metavar="FILE",
    help="Draw the requests over time (.png, .svg).",
)

page_option = click.option(
    "--page",
    callback=_file("page", ".html", ".htm"),
    metavar="FILE",
    help="Write the result as one page that needs no server or network (.html).",
)


def traffic_options(*, several: bool) -> Callable[[_Command], _Command]:
    """Add the options of the traffic to a command, which takes one profile or several."""
    profile_option = click.option(
        "--profile",
        "profiles" if several else "profile",
        multiple=several,
        metavar="NAME|FILE",
        help=f"Traffic that is derived from the limits ({', '.join(PROFILES)}), or that a YAML "
        f"file describes.{' May be repeated.' if several else ''}",
    )
    client_option = click.option(
        "--client",
        "clients",
        multiple=True,
        callback=parsed(parse_client),
        metavar="PLAN/CLIENT=600rps,ips=3,for=10m,at=0s,method=ROUTE",
        help="Requests of one client: rate, number of addresses, duration, start, and route "
        f"({METHODS[0]} by default). no-key stands for requests without a valid API key. May "
        "be repeated; adds to a profile.",
    )
    arrivals_option = click.option(
        "--arrivals",
        type=click.Choice(Arrivals, case_sensitive=False),
        help="How the requests of a rate are spread; poisson unless a profile says otherwise.",
    )
    seed_option = click.option("--seed", type=click.IntRange(0), help="Of poisson arrivals.")

    def add(command: _Command) -> _Command:
        command = seed_option(waf_lag_option(chart_option(command)))
        return profile_option(client_option(arrivals_option(command)))

    return add
