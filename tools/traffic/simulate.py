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
from tools.cli import console, format_option, print_json
from tools.review import findings_json
from tools.traffic.options import (
    check_compare,
    compare_option,
    parsed,
    set_option,
    traffic_options,
)
from tools.traffic.profiles import parse_start, read_profile
from tools.traffic.report import (
    BEST_EFFORT,
    beside,
    client_name,
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
@format_option
def simulate(
    stack: str,
    profile: str | None,
    changes: Sequence[str],
    compare: bool,
    waf_lag_seconds: float | None,
    chart: Path | None,
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
    about = [headline(result), _traffic_words(stack_title(stack, changes), traffic, result)]
    notes = _notes(result)
    reviews = [review(one.limits(), one.expectations()) for one in stacks]
    if compare:
        about += [f"Before: {headline(before)}", gains(before, result)]
        notes = [*_review_words(*reviews), *notes]
        headings = ("before", "change", "first before")
        text = report(result, about, notes, headings, beside(before, result))
    else:
        text = report(result, about, notes)
    if chart:
        # Half a second that only charts need.
        from tools.traffic.chart import draw

        addresses = {client: traffic.addresses(client) for client in traffic.clients}
        draw(result, chart, about, addresses)
    if output_format == "json":
        print_json(_as_json(stacks, traffic, results, reviews))
    else:
        console().print(text)


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


def _traffic_words(title: str, traffic: Traffic, result: Result) -> str:
    addresses = sum(traffic.addresses(client) for client in traffic.clients)
    return (
        f"Stack {title}: {result.total.sent:,} requests in {moment(traffic.seconds)} from "
        f"{addresses:,} address{'es' if addresses > 1 else ''}, {traffic.arrivals} arrivals, seed "
        f"{traffic.seed}, from {traffic.start:%A %Y-%m-%d %H:%M} UTC."
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


def _as_json(
    stacks: Sequence[Settings],
    traffic: Traffic,
    results: Sequence[Result],
    reviews: Sequence[list[LimitFinding]],
) -> dict[str, Any]:
    runs = [
        {
            "stack": stacks[0].stack,
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
        {"simulation": run, "review": findings_json(settings, findings)}
        for run, settings, findings in zip(runs, stacks, reviews, strict=True)
    )
    change = [
        {"client": client_name(old.client), "admitted": new.admitted - old.admitted}
        for old, new in zip(results[0].clients, results[1].clients, strict=True)
    ]
    return {"before": before, "after": after, "change": change}
