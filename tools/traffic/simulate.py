"""`python -m tools simulate`: traffic through one stack's limits, now and after a change."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.progress import Progress

from settings import Settings, load_stack
from settings.paths import config_key
from throttling import choices
from throttling.review import LimitFinding, not_among, review
from throttling.simulation.simulator import Result
from throttling.simulation.simulator import simulate as run_traffic
from throttling.simulation.traffic import Traffic
from tools.cli import console, format_option, print_json, set_option
from tools.page.report import write_report
from tools.review import findings_json
from tools.traffic.options import (
    check_compare,
    compare_option,
    page_option,
    parsed,
    traffic_options,
)
from tools.traffic.outcomes import client_name
from tools.traffic.profiles import parse_start, read_profile
from tools.traffic.report import (
    BEST_EFFORT,
    beside,
    gains,
    headline,
    moment,
    peak_words,
    report,
    result_json,
    stack_title,
    timeline_json,
)


@click.command(
    epilog="Example: python -m tools simulate --stack prod "
    "--client premium/default=500rps,ips=100,for=10m --set waf.rateLimit=4000 --compare"
)
@click.option("--stack", default="dev", show_default=True, help="The stack whose limits to use.")
@traffic_options(several=False)
@click.option(
    "--start",
    callback=parsed(parse_start),
    metavar="WHEN",
    help="When the traffic starts: 08:00, or 2026-03-02T08:00 (UTC). Quotas follow the calendar.",
)
@set_option
@compare_option
@page_option
@format_option
def simulate(
    stack: str,
    profile: str | None,
    changes: Sequence[str],
    compare: bool,
    waf_lag_seconds: float | None,
    chart: Path | None,
    page: Path | None,
    output_format: str,
    **traffic_options: Any,  # noqa: ANN401  checked by click
) -> None:
    """Send traffic through a stack's limits on a virtual clock: who is refused, where and when.

    docs/simulate.md describes the form of a profile, and what the result is worth.
    """
    check_compare(compare, changes)
    stacks = [load_stack(stack)] if compare else []
    stacks.append(load_stack(stack, changes))
    lag = choices.WAF_LAG_SECONDS if waf_lag_seconds is None else waf_lag_seconds
    traffic = read_profile(profile, stacks[0], waf_lag_seconds=lag, **traffic_options).traffic
    results = [_simulated(one, traffic, lag) for one in stacks]
    before, result = results[0], results[-1]
    reviews = [review(one.limits(), one.expectations()) for one in stacks]
    addresses = {client: traffic.addresses(client) for client in traffic.clients}
    number = sum(addresses.values())
    about = [
        headline(result),
        f"Stack {stack_title(stack, changes)}: {result.total.sent:,} requests in "
        f"{moment(traffic.seconds)} from {number:,} address{'es' if number > 1 else ''}, "
        f"{traffic.arrivals} arrivals, seed {traffic.seed}, from "
        f"{traffic.start:%A %Y-%m-%d %H:%M} UTC.",
    ]
    notes = _notes(result)
    if compare:
        about += [f"Before: {headline(before)}", gains(before, result)]
        notes = [*_review_words(*reviews), *notes]
    if chart:
        # Half a second that only charts need.
        from tools.traffic.chart import draw

        draw(result, chart, about, addresses)
    if page:
        shown = {"before": before, "after": result} if compare else {"simulated": result}
        write_report(page, f"Simulation of stack {stack}", about, notes, stacks[-1], shown)
    if output_format == "json":
        runs = [_as_json(stack, traffic, one) for one in results]
        document: dict[str, Any] = runs[0]
        if compare:
            old, new = (
                {"simulation": run, "review": findings_json(settings, findings)}
                for run, settings, findings in zip(runs, stacks, reviews, strict=True)
            )
            change = [
                {"client": client_name(new.client), "admitted": new.admitted - old.admitted}
                for old, new in zip(before.clients, result.clients, strict=True)
            ]
            document = {"before": old, "after": new, "change": change}
        print_json(document)
    elif compare:
        headings = ("before", "change", "first before")
        console().print(report(result, about, notes, headings, beside(before, result)))
    else:
        console().print(report(result, about, notes))


def _simulated(settings: Settings, traffic: Traffic, waf_lag_seconds: float) -> Result:
    """Run the traffic, and show on a terminal how far it is."""
    out = console(stderr=True)
    with Progress(console=out, transient=True, disable=not out.is_terminal) as progress:
        task = progress.add_task("Simulating", total=traffic.seconds)
        return run_traffic(
            settings.limits(),
            traffic,
            duration_seconds=settings.expectations().duration_seconds,
            waf_lag_seconds=waf_lag_seconds,
            progress=lambda reached: progress.update(task, completed=reached),
        )


def _notes(result: Result) -> list[str]:
    return [
        f"{peak_words(result)}, at {result.duration_seconds * 1000:,.10g} ms a request.",
        BEST_EFFORT,
        "The WAF estimates rates about every 10 s and usually blocks within 30 s, sometimes "
        f"minutes. In this run its view is {result.waf_lag_seconds:,.10g} s behind (--waf-lag).",
    ]


def _review_words(before: list[LimitFinding], after: list[LimitFinding]) -> list[str]:
    new, gone = not_among(after, before), not_among(before, after)
    return [
        f"{what}: {one.level}: {config_key('', one.path)[1:]}: {one.message}"
        for what, findings in (("New finding of the review", new), ("Finding that is gone", gone))
        for one in findings
    ] or ["The review's findings do not change."]


def _as_json(stack: str, traffic: Traffic, result: Result) -> dict[str, Any]:
    return {
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
