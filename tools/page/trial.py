"""A process that decides the newest requests of a sandbox again, under other limits.

It runs apart from the server, so that callers do not wait for it. It keeps running, so that only
the first answer waits for imports. Questions are pickled arguments of `decide`. Answers are
lines of JSON.
"""

import json
import math
import pickle
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import numpy as np

from settings import Settings, UserError, load_stack
from settings.errors import fix_command
from settings.paths import parse_path
from throttling import Layer, Limits
from throttling.review import not_among, review
from throttling.simulation.engine import CODES
from throttling.simulation.simulator import Result, run
from throttling.simulation.traffic import Block
from tools.cost.bill import most_dollars, read_prices
from tools.page.recent import ADMITTED, FAILED, OUTCOMES, ROUTE, Requests
from tools.page.report import comparison
from tools.review import findings_json

_PRICES: Final = read_prices()
_MEANT: Final = {ADMITTED: None, FAILED: None, ROUTE: Layer.API_KEY}
"""What stands for outcomes that the engine does not know. Without a route there is no key."""
_CODES: Final = np.array(
    [CODES[_MEANT[one] if one in _MEANT else Layer(one)] for one in OUTCOMES], np.uint8
)
"""The engine's code of each outcome."""

_NONE: Final = Requests(bytes(8), bytes(8), bytes(8), bytes(8), bytes(1), [(None, "")])


def decide(
    requests: Requests,
    limits: Limits,
    root: Path,
    stack: str,
    changes: Sequence[str],
    tried: Sequence[str],
) -> dict[str, Any]:
    """Return what would have happened to requests under limits to try, and what these limits mean.

    Args:
        requests: the ones that really happened.
        limits: the limits in force.
        root: the project's folder.
        stack: name of the stack.
        changes: the changes of its file that are in force.
        tried: the changes of its file to try.

    Raises:
        UserError: the tried settings are wrong.
    """
    began = perf_counter()
    settings, other = load_stack(stack, changes, root), load_stack(stack, tried, root)
    found, before = _review(other), _review(settings)
    new = not_among(found, before)
    answer = {
        "commands": [_command(other, change) for change in tried],
        "findings": findings_json(other, found),
        "new": [found.index(one) for one in new],
        "gone": findings_json(settings, not_among(before, found)),
        "cost": [sum(most_dollars(one, _PRICES).values()) for one in (settings, other)],
    }
    # Without requests, decide an invented one: this prepares the first real trial.
    decided = _decided(requests if requests.times else _NONE, limits, other)
    answer |= decided if requests.times else {}
    return answer | {"milliseconds": round((perf_counter() - began) * 1000)}


def _decided(requests: Requests, limits: Limits, other: Settings) -> dict[str, Any]:
    times = np.frombuffer(requests.times)
    in_order = np.argsort(times, kind="stable")
    times = times[in_order]
    took = np.frombuffer(requests.seconds)[in_order]
    given = ~np.isnan(took)
    mean = float(took[given].mean()) if given.any() else other.expectations().duration_seconds
    start = float(np.floor(times[0]))
    addresses = np.frombuffer(requests.addresses, np.int64)[in_order]
    block = Block(
        times=times - start,
        sources=np.frombuffer(requests.sources, np.int64)[in_order],
        addresses=np.unique(addresses, return_inverse=True)[1],
        durations=np.where(given, took, mean),
    )
    tried = other.limits()
    if other.waf.aggregate_by == "FORWARDED_IP":
        # The web ACL counts by a header, and the sandbox keeps no headers.
        limits, tried = replace(limits, waf=None), replace(tried, waf=None)
    happened = replace(block, outcomes=_CODES[np.frombuffer(requests.outcomes, np.uint8)[in_order]])

    def decided(limits: Limits, block: Block = block) -> Result:
        return run(
            limits,
            requests.named,
            [block],
            start=datetime.fromtimestamp(start, UTC),
            seconds=math.ceil(block.times[-1] + 0.001),
            duration_seconds=mean,
        )

    came, now = decided(limits, happened), decided(limits)
    results = {"happened": came, "in force": now, "tried": decided(tried)}
    different = int(np.abs(came.timeline - now.timeline).sum()) // 2
    return comparison(results) | {
        "requests": len(times),
        "from": times[0],
        "agreement": 1 - different / len(times),
    }


def _review(settings: Settings) -> list[Any]:
    return review(settings.limits(), settings.expectations())


def _command(settings: Settings, change: str) -> str:
    key, _, value = change.partition("=")
    return fix_command(settings.project, settings.stack, parse_path(key), value)


def main() -> None:
    """Answer questions until there are no more."""
    while head := sys.stdin.buffer.read(8):
        question = pickle.loads(sys.stdin.buffer.read(int.from_bytes(head, "big")))  # noqa: S301  from the server
        try:
            answer = decide(**question)
        except UserError as error:
            answer = {"problem": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
