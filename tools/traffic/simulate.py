"""`python -m throttling simulate`: traffic through one stack's limits, now and after a change."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import Progress

from tools.review import findings_json
from settings.stacks import ROOT, Stack, load_stack
from throttling.gate import Client
from throttling.review import review
from tools.traffic.compare import comparison, comparison_json
from tools.traffic.report import report, report_json
from throttling.simulation.simulator import Result, simulate
from tools.traffic.spec import (
    Profile,
    TrafficError,
    check_traffic,
    parse_arrivals,
    parse_client,
    parse_duration,
    parse_profile,
    parse_seed,
    parse_start,
)
from throttling.simulation.traffic import Traffic

_CHARTS: Final = (".png", ".svg", ".html")
_PIPED_WIDTH: Final = 120


def run(args: argparse.Namespace) -> int:
    """Simulate and report."""
    if args.chart and args.chart.suffix not in _CHARTS:
        raise TrafficError(f"--chart {args.chart}: allowed are {', '.join(_CHARTS)}.")
    if args.compare and not args.set:
        raise TrafficError("--compare has nothing to compare; give a change with --set.")
    changed = load_stack(args.stack, args.set)
    stacks = [load_stack(args.stack), changed] if args.compare else [changed]
    traffic = _traffic(args)
    for stack in stacks:
        check_traffic(traffic, _clients(stack), stack.name)
    try:
        lag = parse_duration(args.waf_lag)
    except TrafficError as error:
        raise TrafficError(f"--waf-lag: {error}") from None
    results = [_simulated(stack, traffic, lag, args.aggregated) for stack in stacks]
    if args.chart:
        _draw(results[-1], args.chart, _titled(args))
    if args.format == "json":
        json.dump(_as_json(stacks, results), sys.stdout, indent=2)
        print()
    else:
        console = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED_WIDTH)
        reviews = [review(stack.limits, stack.expectations) for stack in stacks]
        if args.compare:
            console.print(comparison(results, reviews, args.set))
        else:
            console.print(report(results[0], _titled(args)))
    return 0


def _titled(args: argparse.Namespace) -> str:
    return " with ".join([args.stack, ", ".join(args.set)] if args.set else [args.stack])


def _clients(stack: Stack) -> list[Client]:
    return [
        Client(plan, client)
        for plan, limits in stack.limits.usage_plans.items()
        for client in limits.clients
    ]


def _traffic(args: argparse.Namespace) -> Traffic:
    """The profile's traffic and the command line's, which overrules it."""
    profile = _profile(args.profile) if args.profile else Profile()
    try:
        clients = tuple(parse_client(text) for text in args.client)
    except TrafficError as error:
        raise TrafficError(f"--client: {error}") from None
    return Traffic(
        sources=profile.sources + clients,
        arrivals=parse_arrivals(args.arrivals) if args.arrivals else profile.arrivals,
        seed=parse_seed(args.seed) if args.seed else profile.seed,
        start=parse_start(args.start) if args.start else profile.start,
    )


def _profile(path: Path) -> Profile:
    try:
        return parse_profile(path.read_text("utf-8"))
    except OSError as error:
        ready = ", ".join(str(p.relative_to(ROOT)) for p in sorted(ROOT.glob("docs/traffic/*")))
        raise TrafficError(
            f"--profile {path}: {error.strerror or error}; there are {ready}."
        ) from None
    except (TrafficError, UnicodeDecodeError) as error:
        raise TrafficError(f"--profile {path}: {error}") from None


def _simulated(stack: Stack, traffic: Traffic, waf_lag_seconds: float, aggregated: bool) -> Result:
    with _progress(traffic.seconds) as progress:
        return simulate(
            stack.limits,
            traffic,
            duration_seconds=stack.expectations.duration_seconds,
            waf_lag_seconds=waf_lag_seconds,
            aggregated=aggregated,
            progress=progress,
        )


@contextmanager
def _progress(seconds: float) -> Iterator[Callable[[float], None]]:
    """Shows on a terminal how far a run is."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Simulating", total=seconds)
        yield lambda reached: progress.update(task, completed=min(reached, seconds))


def _draw(result: Result, path: Path, title: str) -> None:
    # Half a second that only charts need.
    from tools.traffic.chart import draw

    try:
        draw(result, path, title)
    except OSError as error:
        raise TrafficError(f"--chart {path}: {error.strerror or error}.") from None


def _as_json(stacks: list[Stack], results: list[Result]) -> object:
    reports = [
        report_json(result, stack.name) for stack, result in zip(stacks, results, strict=True)
    ]
    if len(reports) == 1:
        return reports[0]
    before, after = (
        {
            "simulation": one,
            "review": findings_json(stack, review(stack.limits, stack.expectations))["findings"],
        }
        for one, stack in zip(reports, stacks, strict=True)
    )
    return {"before": before, "after": after, "change": comparison_json(results)}
