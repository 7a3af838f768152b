"""Results of runs as the page shows them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from settings import Settings
from throttling.review import review
from throttling.simulation.engine import OUTCOMES
from throttling.simulation.simulator import Result
from tools.page.content import limit_rows
from tools.page.files import write_page
from tools.review import findings_json
from tools.traffic.outcomes import outcome_name
from tools.traffic.report import clients_of, count, timeline_json


def comparison(results: Mapping[str, Result]) -> dict[str, Any]:
    """Return the counts of several runs of the same requests side by side."""
    rows = []
    for clients in zip(*map(clients_of, results.values()), strict=True):
        for outcome in OUTCOMES:
            counts = [count(client, outcome) for _, client in clients]
            if outcome is None or any(counts):
                row = {"client": clients[0][0], "outcome": str(outcome or "admitted")}
                rows.append(row | {"sent": clients[0][1].sent, "counts": counts})
    return {"columns": [*results], "rows": rows}


def write_report(
    path: Path,
    title: str,
    about: Sequence[str],
    notes: Sequence[str],
    settings: Settings,
    results: Mapping[str, Result],
) -> None:
    """Write a page that shows runs, and the limits of the last one.

    Args:
        path: of the file.
        title: of the page.
        about: lines on what was run, and what came out.
        notes: lines on how to read it.
        settings: with the limits.
        results: runs of the same requests by name.

    Raises:
        UserError: the file cannot be written.
    """
    first = next(iter(results.values()))
    content = {
        "title": title,
        "about": [*about],
        "notes": [*notes],
        "start": first.start.timestamp(),
        "seconds": first.seconds,
        "outcomes": {str(one or "admitted"): outcome_name(one) for one in _STACKED},
        "timelines": {name: timeline_json(result) for name, result in results.items()},
        "limits": limit_rows(settings),
        "findings": findings_json(settings, review(settings.limits(), settings.expectations())),
        **comparison(results),
    }
    write_page(path, content)


_STACKED: Final = (OUTCOMES[0], *reversed(OUTCOMES[1:]))
"""From the bottom of a chart: the requests that get furthest are lowest."""
