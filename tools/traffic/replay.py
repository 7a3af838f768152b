"""`python -m tools replay`: requests that really happened, through limits to try."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import click
import numpy as np

from settings import load_stack
from throttling import Layer, choices
from throttling.simulation.engine import CODES, Engine
from throttling.simulation.loops import Codes
from throttling.simulation.simulator import Result
from throttling.simulation.traffic import Floats, Ints
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
from tools.traffic.report import (
    BEST_EFFORT,
    Key,
    beside,
    client_name,
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
    CODES[layer] for layer in (Layer.USAGE_PLAN_METHOD, Layer.USAGE_PLAN, Layer.METHOD, Layer.STAGE)
]


class _AsLogged(Engine):
    """An engine that gives the verdicts of the log."""

    came: Codes
    done = 0

    def decide(
        self, times: Floats, sources: Ints, addresses: Ints, durations: float | Floats
    ) -> Codes:
        """Return what was logged."""
        self.done += len(times)
        return self.came[self.done - len(times) : self.done]


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
    settings, changed = load_stack(stack), load_stack(stack, changes)
    lag = choices.WAF_LAG_SECONDS if waf_lag_seconds is None else waf_lag_seconds
    logged = read_logged(settings, **log_options)
    engine = logged.engine(limits_of(settings), lag)
    in_force = logged.run(limits_of(settings), lag, engine)
    came = _as_decided(logged.log.logged, np.concatenate(engine.verdicts))
    past = _AsLogged(limits_of(settings), logged.sources)
    past.came = came
    before = logged.run(limits_of(settings), lag, past)
    result = logged.run(limits_of(changed), lag) if changes else in_force
    different = int(np.abs(before.timeline - in_force.timeline).sum()) // 2
    agreement = 1 - different / result.total.sent
    about = [
        headline(result),
        f"Stack {stack_title(stack, changes)}: {result.total.sent:,} requests in "
        f"{moment(result.seconds)} from {len(logged.log.addresses):,} addresses, from "
        f"{result.start:%A %Y-%m-%d %H:%M:%S} UTC.",
        f"The limits in force decide {100 * agreement:.4g} % of them as the log says. The rest "
        "differs when limits have changed, or AWS did not apply them exactly.",
        *([f"In force: {headline(in_force)}"] if compare else []),
        f"Against {'the limits in force' if compare else 'the log'}: "
        f"{gains(in_force if compare else before, result)}",
        *logged.notes,
    ]
    notes = [
        "A log does not say which throttle refused a request. It counts for the one that refuses "
        "it under the limits in force, or else for the usage plan's.",
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
    cells: Mapping[Key, tuple[str, ...]] = beside(before, result)
    headings = ["logged", "change", "first logged"]
    if compare:
        headings = ["logged", "in force", "change", "first in force"]
        there = ("0", "0", "same", "")
        cells = {
            key: (cells.get(key, there)[0], *more)
            for key, more in {**dict.fromkeys(cells, there[1:]), **beside(in_force, result)}.items()
        }
    firsts = _firsts(result)
    cells = {key: (firsts.get(key, ""), *more) for key, more in cells.items()}
    console().print(report(result, about, notes, ["first, UTC", *headings], cells))


def _as_decided(logged: Codes, decided: Codes) -> Codes:
    """Return logged outcomes, with the throttle that refuses now in place of just any."""
    return np.where(np.isin(logged, _THROTTLES) & np.isin(decided, _THROTTLES), decided, logged)


def _firsts(result: Result) -> dict[Key, str]:
    """Return when each layer first refuses."""
    return {
        (name, layer): f"{result.start + timedelta(seconds=first):%m-%d %H:%M:%S}"
        for name, client in clients_of(result)
        for layer, first in client.first_refused.items()
    }
