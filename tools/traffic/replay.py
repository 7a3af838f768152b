"""`python -m tools replay`: requests that really happened, through limits to try."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import click
import numpy as np

from settings import load_stack
from throttling import Layer, choices
from throttling.simulation.engine import CODES
from throttling.simulation.loops import Codes
from throttling.simulation.traffic import Ints
from tools.cli import console, print_json, set_option
from tools.page.report import write_report
from tools.traffic.logged import limits_of, log_options, read_logged
from tools.traffic.options import (
    chart_option,
    check_compare,
    compare_option,
    page_option,
    waf_lag_option,
)
from tools.traffic.outcomes import client_name
from tools.traffic.report import (
    BEST_EFFORT,
    Key,
    beside,
    clients_of,
    gains,
    headline,
    moment,
    peak_words,
    report,
    result_json,
    stack_title,
    timeline_json,
)

HIDDEN: Final = (
    "A log cannot say what refused clients would have sent, and API Gateway may write no lines in "
    "a flood.",
    "Buckets and quotas are full when the log begins. What took no latency in the log takes the "
    "mean of the others.",
)
_THROTTLES: Final = [
    CODES[layer] for layer in (Layer.USAGE_PLAN, Layer.USAGE_PLAN_METHOD, Layer.METHOD, Layer.STAGE)
]


@click.command(
    epilog="Example: python -m tools replay access.jsonl --stack prod "
    "--set usagePlans.basic.rateLimit=5 --compare"
)
@log_options
@set_option
@compare_option
@waf_lag_option
@chart_option
@page_option
def replay(
    stack: str,
    changes: Sequence[str],
    compare: bool,
    waf_lag_seconds: float | None,
    chart: Path | None,
    page: Path | None,
    output_format: str,
    **log_options: Any,  # noqa: ANN401  checked by click
) -> None:
    """Send the requests of an access log through a stack's limits, on the log's own clock.

    Each takes as long as it took in the log. docs/replay.md describes the logs and the result.
    """
    check_compare(compare, changes)
    settings = load_stack(stack)
    changed = load_stack(stack, changes)
    limits, candidate = limits_of(settings), limits_of(changed)
    lag = choices.WAF_LAG_SECONDS if waf_lag_seconds is None else waf_lag_seconds
    logged = read_logged(settings, **log_options)
    came = _throttles_named(logged.log.logged, logged.decide(limits, lag), logged.source)
    before, in_force = logged.run(limits, lag, came), logged.run(limits, lag)
    result = logged.run(candidate, lag) if changes else in_force
    counts = (one.timeline.sum(axis=0) for one in (before, in_force))
    different = int(np.abs(np.subtract(*counts)).sum()) // 2
    agreement = 1 - different / result.total.sent
    addresses = len(logged.log.addresses)
    about = [
        headline(result),
        f"Stack {stack_title(stack, changes)}: {result.total.sent:,} requests in "
        f"{moment(result.seconds)} from {addresses:,} address{'es' if addresses > 1 else ''}, from "
        f"{result.start:%A %Y-%m-%d %H:%M:%S} UTC.",
        f"Counted by client and layer, the limits in force decide {100 * agreement:.4g} % as the "
        "log says. The rest differs when limits have changed, or AWS did not apply them exactly.",
        *([f"In force: {headline(in_force)}"] if compare else []),
        f"Against {'the limits in force' if compare else 'the log'}: "
        f"{gains(in_force if compare else before, result)}",
        *logged.notes,
    ]
    notes = [
        "A log does not say which throttle refused a request. It counts for the one that refuses "
        "it under the limits in force, or else for the one that refuses most of that client.",
        *HIDDEN,
        f"{peak_words(result)}, at the logged latency (mean "
        f"{logged.duration_seconds * 1000:,.3g} ms).",
        BEST_EFFORT,
    ]
    if chart:
        # Half a second that only charts need.
        from tools.traffic.chart import draw

        draw(result, chart, about)
    if page:
        runs = {"logged": before, "in force": in_force, "replayed": result}
        write_report(
            page, f"Replay of stack {stack}", about, [*logged.notes, *notes], changed, runs
        )
    if output_format == "json":
        change = zip(before.clients, in_force.clients, result.clients, strict=True)
        document = {
            "stack": stack,
            "changes": list(changes),
            "agreement": agreement,
            "logged": result_json(before),
            **({"inForce": result_json(in_force)} if changes else {}),
            "replayed": {**result_json(result), "timeline": timeline_json(result)},
            "change": [
                {
                    "client": client_name(new.client),
                    "againstLog": new.admitted - was.admitted,
                    "againstLimitsInForce": new.admitted - now.admitted,
                }
                for was, now, new in change
            ],
            "notes": [*logged.notes, *notes],
        }
        print_json(document)
        return
    headings = ["logged", "in force", "change", "first in force"]
    there, cells = beside(before, result), beside(in_force, result)
    if not compare:
        headings, cells = ["logged", "change", "first logged"], there
    firsts: dict[Key, str] = {
        (name, layer): f"{result.start + timedelta(seconds=first):%m-%d %H:%M:%S}"
        for name, client in clients_of(result)
        for layer, first in client.first_refused.items()
    }
    shown = {
        key: (
            firsts.get(key, ""),
            *([there.get(key, ("0",))[0]] if compare else []),
            *cells.get(key, ("0", "same", "")),
        )
        for key in [*there, *cells]
    }
    console().print(report(result, about, notes, ["first, UTC", *headings], shown))


def _throttles_named(logged: Codes, decided: Codes, source: Ints) -> Codes:
    """Return logged outcomes, with the throttle that refuses now in place of just any.

    Where none refuses now, it is the one that refuses most requests of that client and method.
    """
    refused = [
        np.bincount(source[decided == code], minlength=source.max() + 1) for code in _THROTTLES
    ]
    most = np.array(_THROTTLES, np.uint8)[np.argmax(refused, axis=0)]
    now = np.where(np.isin(decided, _THROTTLES), decided, most[source])
    return np.where(np.isin(logged, _THROTTLES), now, logged)
