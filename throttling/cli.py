"""The command line of `python -m throttling`: what may be typed, and where it goes."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from throttling import cli_diff, cli_review, cli_simulate
from throttling.cli_stack import StackError
from throttling.command_line import run_command
from throttling.simulation.spec import TrafficError
from throttling.simulation.traffic import Arrivals


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status: 2 when it could not be understood."""
    return run_command(_parser(), arguments, StackError, TrafficError)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m throttling",
        description="If I set these limits, who is refused, by which layer, and when?",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_review(
        commands.add_parser(
            "review",
            help="find limits that contradict each other",
            description="Find limits of a stack that contradict each other, and what fixes them.",
        )
    )
    _add_simulate(
        commands.add_parser(
            "simulate",
            help="send traffic through the limits",
            description="Send traffic through the limits of a stack, on a virtual clock.",
            epilog="docs/simulate.md has examples, and the form of a profile.",
        )
    )
    cli_diff.add_arguments(
        commands.add_parser(
            "diff",
            help="tell what a change does to the limits",
            description="Tell, as Markdown, what changes in the limits between two revisions.",
        )
    )
    return parser


def _add_review(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=cli_review.run)
    parser.add_argument("--stack", help="the stack to review (default: all)")
    _add_format(parser)
    parser.add_argument("--strict", action="store_true", help="exit with 1 when there are warnings")


def _add_simulate(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=cli_simulate.run)
    parser.add_argument("--stack", default="dev", help="whose limits (default: %(default)s)")
    parser.add_argument(
        "--client",
        action="append",
        default=[],
        metavar="PLAN/CLIENT=600rps,ips=3,for=10m,at=0s",
        help="requests of one client: rate, number of addresses, how long, and from when on; "
        "no-key stands for requests without a valid API key; may be repeated",
    )
    parser.add_argument("--profile", type=Path, metavar="FILE", help="traffic of a YAML profile")
    parser.add_argument(
        "--arrivals", choices=list(Arrivals), help="how requests are spread (default: poisson)"
    )
    parser.add_argument("--seed", help="of poisson arrivals (default: 0)")
    parser.add_argument(
        "--start",
        metavar="WHEN",
        help="when the traffic starts, as 08:00 or 2026-03-02T08:00 UTC (default: midnight of "
        "Monday 2026-01-05); quotas go by the calendar",
    )
    parser.add_argument(
        "--waf-lag", default="0s", metavar="TIME", help="how far the WAF's view is behind"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SETTING=VALUE",
        help="try a change, such as usagePlans.basic.rateLimit=150; may be repeated",
    )
    parser.add_argument(
        "--compare", action="store_true", help="show before and after --set side by side"
    )
    parser.add_argument(
        "--aggregated",
        action="store_true",
        help="faster, for long times: second by second where the order of requests cannot matter",
    )
    _add_format(parser)
    parser.add_argument(
        "--chart", type=Path, metavar="FILE", help="draw the requests over time (.png .svg .html)"
    )


def _add_format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format", choices=["table", "json"], default="table", help="(default: %(default)s)"
    )
