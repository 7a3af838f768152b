"""`python -m tools simulate`: traffic through one stack's limits, now and after a change."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Group
from rich.progress import Progress
from rich.text import Text

from settings import Settings, UserError, load_stack
from throttling import choices
from throttling.review import Finding, not_among, review
from throttling.simulation.simulator import Result
from throttling.simulation.simulator import simulate as run_traffic
from throttling.simulation.traffic import Arrivals, Source, Traffic
from tools.cli import console, format_option, print_json
from tools.traffic.options import Parsed, traffic_options
from tools.traffic.profiles import check_traffic, load_profile, parse_start, with_changes
from tools.traffic.report import comparison, report, result_json, timeline_json
from tools.traffic.words import BEST_EFFORT, client_name, headline, span


@click.command(
    epilog="Example: python -m tools simulate --stack prod "
    "--client premium/default=500rps,ips=100,for=10m --set waf.rateLimit=4000 --compare"
)
@click.option("--stack", default="dev", show_default=True, help="The stack whose limits to use.")
@traffic_options
@click.option(
    "--start",
    type=Parsed(parse_start, "when"),
    help="When the traffic starts: 08:00, or 2026-03-02T08:00 (UTC). Quotas follow the calendar.",
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="SETTING=VALUE",
    help="Try a change, such as usagePlans.basic.rateLimit=150. May be repeated.",
)
@click.option("--compare", is_flag=True, help="Show before and after --set side by side.")
@format_option
def simulate(
    stack: str,
    profiles: tuple[str, ...],
    clients: tuple[Source, ...],
    arrivals: Arrivals | None,
    seed: int | None,
    start: datetime | None,
    waf_lag: float | None,
    changes: tuple[str, ...],
    compare: bool,
    chart: Path | None,
    output_format: str,
) -> None:
    """Send traffic through a stack's limits on a virtual clock: who is refused, where and when.

    docs/simulate.md describes the form of profiles and what the answer is worth.
    """
    if compare and not changes:
        raise UserError("--compare has nothing to compare; give a change with --set.")
    if len(profiles) > 1:
        raise UserError("Give one --profile; --client adds to it.")
    changed = load_stack(stack, changes)
    stacks = [load_stack(stack), changed] if compare else [changed]
    lag = choices.WAF_LAG_SECONDS if waf_lag is None else waf_lag
    first = stacks[0]
    duration = first.expectations().duration_seconds
    profile = load_profile(profiles[0], first.limits(), duration, lag) if profiles else None
    profile = with_changes(profile, clients, arrivals, seed, start)
    for one in stacks:
        check_traffic(profile, one.limits(), stack)
    results = [_simulated(one, profile.traffic, lag) for one in stacks]
    title = f"{stack} with {', '.join(changes)}" if changes else stack
    about = [f"{headline(results[-1])}.", _traffic_words(title, profile.traffic, results[-1])]
    reviews = [review(one.limits(), one.expectations()) for one in stacks]
    text = report(results[-1], about, _notes(results[-1]))
    if compare:
        text = _comparison([*about, f"Before: {headline(results[0])}."], results, reviews)
    if chart:
        # Half a second that only charts need.
        from tools.traffic.chart import draw

        traffic = profile.traffic
        addresses = {client: traffic.addresses(client) for client in traffic.clients}
        draw(results[-1], chart, about, text, addresses=addresses)
    if output_format == "json":
        print_json(_as_json(stack, profile.traffic, results, reviews))
    else:
        console().print(text)


def _simulated(settings: Settings, traffic: Traffic, waf_lag_seconds: float) -> Result:
    with _progress(traffic.seconds) as progress:
        return run_traffic(
            settings.limits(),
            traffic,
            duration_seconds=settings.expectations().duration_seconds,
            waf_lag_seconds=waf_lag_seconds,
            progress=progress,
        )


@contextmanager
def _progress(seconds: float) -> Iterator[Callable[[float], None]]:
    """Show on a terminal how far a run is."""
    out = console(stderr=True)
    with Progress(console=out, transient=True, disable=not out.is_terminal) as progress:
        task = progress.add_task("Simulating", total=seconds)
        yield lambda reached: progress.update(task, completed=reached)


def _traffic_words(title: str, traffic: Traffic, result: Result) -> str:
    addresses = sum(traffic.addresses(client) for client in traffic.clients)
    return (
        f"Stack {title}: {result.total.sent:,} requests in {span(traffic.seconds)} from "
        f"{addresses:,} address{'es' if addresses > 1 else ''}, {traffic.arrivals} arrivals, seed "
        f"{traffic.seed}, from {traffic.start:%A %Y-%m-%d %H:%M} UTC."
    )


def _concurrency_words(result: Result) -> str:
    reserved = result.limits.concurrency
    return (
        f"Peak concurrency {result.peak_concurrency:,} of "
        f"{'no limit' if reserved is None else f'{reserved:,} reserved'}, at "
        f"{result.duration_seconds * 1000:,g} ms a request."
    )


def _notes(result: Result) -> list[str]:
    return [
        _concurrency_words(result),
        BEST_EFFORT,
        "The WAF estimates rates about every 10 s and usually blocks within 30 s, sometimes "
        f"minutes. In this run its view is {result.waf_lag_seconds:g} s behind (--waf-lag).",
    ]


def _comparison(
    about: Sequence[str], results: Sequence[Result], reviews: Sequence[Sequence[Finding]]
) -> Group:
    before, after = reviews
    return Group(
        *(Text(line, style="" if index else "bold") for index, line in enumerate(about)),
        Text(),
        comparison(*results),
        Text(),
        *_findings("New findings of the review", not_among(after, before)),
        *_findings("Findings that are gone", not_among(before, after)),
        *(Text(note, style="dim") for note in _notes(results[-1])),
    )


def _findings(title: str, findings: Sequence[Finding]) -> Iterator[Text]:
    yield Text(f"{title}: {'' if findings else 'none.'}")
    for finding in findings:
        yield Text(f"  {finding.level}: {finding.key}: {finding.message}")


def _as_json(
    stack: str,
    traffic: Traffic,
    results: Sequence[Result],
    reviews: Sequence[Sequence[Finding]],
) -> dict[str, Any]:
    runs = [
        {
            "stack": stack,
            "arrivals": str(traffic.arrivals),
            "seed": traffic.seed,
            "durationMs": result.duration_seconds * 1000,
            "wafLagSeconds": result.waf_lag_seconds,
            **result_json(result),
            "peakConcurrency": result.peak_concurrency,
            "reservedConcurrency": result.limits.concurrency,
            "timeline": timeline_json(result),
            "notes": _notes(result),
        }
        for result in results
    ]
    if len(runs) == 1:
        return runs[0]
    before, after = (
        {
            "simulation": run,
            "review": [
                {"level": finding.level, "key": finding.key, "message": finding.message}
                for finding in findings
            ],
        }
        for run, findings in zip(runs, reviews, strict=True)
    )
    change = [
        {"client": client_name(old.client), "admitted": new.admitted - old.admitted}
        for old, new in zip(results[0].clients, results[1].clients, strict=True)
    ]
    return {"before": before, "after": after, "change": change}
