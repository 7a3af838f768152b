"""What came back from a load test, beside what the engine says of the same requests.

A request is decided at some moment between its sending and its answer. So the engine decides all
requests twice: as if each had been decided when it was sent, and as if when it was answered. If the
limits are as configured, a count that came back lies between the two, give or take the tolerance:
it agrees. When the two are so far apart that a wrong limit would lie between them as well, it is
unclear. Otherwise it is off.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from handler.record import MAX_BODY_BYTES
from routes import METHODS
from throttling import Client, Layer, Limits
from throttling.simulation.engine import CODES, OUTCOMES, Engine
from throttling.simulation.simulator import ClientResult, Result
from throttling.simulation.traffic import Floats, Ints
from tools.traffic.load.requests import Part, Requests
from tools.traffic.report import ALL_CLIENTS, Key, client_name

_SHARED: Final = (Layer.METHOD, Layer.STAGE, Layer.CONCURRENCY)
"""Layers that all clients share. Microseconds decide which client they refuse."""
_SAME_ANSWER: Final = (Layer.USAGE_PLAN, Layer.USAGE_PLAN_METHOD, Layer.METHOD, Layer.STAGE)
"""Layers that AWS refuses for in the same words. The first stands for all of them."""
_TOO_FAR_APART: Final = 2.0
"""Times the tolerance by which the engine's two counts may differ."""
_MAX_LOST: Final = 0.01
"""Share of requests without an answer above which no count is certain."""
_LATE_SECONDS: Final = 0.25
_MANY_WAITING: Final = 1_000
_INTERVALS_SECONDS: Final = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600)
_MAX_INTERVALS: Final = 120
_FAILED, _LOST = -1, -2


class Sample(NamedTuple):
    """One request and its answer. Times are in seconds after the start of the run."""

    number: int
    """Of the request."""
    sent: float
    latency: float
    """Seconds until its answer."""
    status: int
    """0 without an answer."""
    layer: str | None = None
    """The layer that refused it, such as `usage-plan:basic`. Only the sandbox names it."""
    message: str = ""
    """The answer's message or, without an answer, what went wrong."""
    reason: str = ""
    retry_after: str | None = None

    def __str__(self) -> str:
        """Return the answer as a caller sees it."""
        if not self.status:
            return f"no answer ({self.message})"
        wait = f", Retry-After {self.retry_after} s" if self.retry_after else ""
        return f"{self.status} {self.message}{wait}"


class Verdict(StrEnum):
    """What a comparison says about a limit."""

    AGREES = "agrees"
    UNCLEAR = "unclear"
    OFF = "off"


class Row(NamedTuple):
    """One outcome of one client: the lowest and highest count of the engine, and the verdict."""

    low: int
    high: int
    verdict: Verdict | None
    """None where the row of all clients has it, because clients compete for a shared layer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """What came back for one profile."""

    profile: str
    result: Result
    """Failed requests count as admitted in it; requests without an answer do not count."""
    rows: Mapping[Key, Row]
    answers: Counter[str]
    failed: int
    """Requests that passed the limits and got an answer that no caller should get."""
    held_up: str
    """Why requests left late or waited; empty when they did not."""
    latency_ms: Sequence[float]
    """p50, p95 and p99 of the admitted requests; empty without any."""

    @property
    def verdict(self) -> Verdict:
        """The worst of all verdicts. Failed requests are off."""
        found = {row.verdict for row in self.rows.values()}
        if self.failed or Verdict.OFF in found:
            return Verdict.OFF
        return Verdict.UNCLEAR if Verdict.UNCLEAR in found else Verdict.AGREES


class _Sent(NamedTuple):
    """Requests that were answered, as arrays of equal length."""

    number: Ints
    client: Ints
    sent: Floats
    latency: Floats
    came: Ints
    """Codes of what came back."""
    model: Ints
    """Codes of what the engine says, a row for each moment at which it may have decided."""
    contended: NDArray[np.bool_]
    """Which of these are refusals by a layer that clients share."""

    def of(self, numbers: range) -> "_Sent":
        """Return the requests with these numbers."""
        chosen = (self.number >= numbers.start) & (self.number < numbers.stop)
        return _Sent(*(column[..., chosen] for column in self))


def judge(
    limits: Limits,
    requests: Requests,
    samples: Sequence[Sample],
    start: float,
    *,
    tolerance: float,
    machines: int = 0,
    waf_lag_seconds: float = 0.0,
) -> tuple[list[Findings], Result]:
    """Compare what came back with what the limits say.

    Args:
        limits: that the target should have.
        requests: of the run.
        samples: what came back.
        start: of the run, in POSIX seconds.
        tolerance: how far off a limit may be, as a share of it. One request is never off.
        machines: number of machines that send in turn to AWS, each from one address. 0 for the
            sandbox, to which each request brings its address, and which names the layers.
        waf_lag_seconds: how far the WAF's view may be behind the requests.

    Returns:
        The findings on each profile of which anything came back, and all that came back.
    """
    sizes = requests.table["body_bytes"]
    code_of = {
        one.number: _code(one, too_large=sizes[one.number] > MAX_BODY_BYTES) for one in samples
    }
    known = [one for one in samples if code_of[one.number] != _LOST]
    number = np.array([one.number for one in known], np.int64)
    sent = np.array([one.sent for one in known], float)
    latency = np.array([one.latency for one in known], float)
    client: Ints = requests.table["client"][number]
    address = number % machines if machines else requests.table["address"][number]
    model = np.empty((3, len(known)), np.int64)
    at_once = np.zeros(len(known))
    moments = (
        (sent, latency, 0.0),
        (sent + latency, at_once, 0.0),
        (sent + latency, at_once, waf_lag_seconds),
    )
    for codes, (times, durations, lag) in zip(model, moments, strict=True):
        sources = [(one, METHODS[0]) for one in requests.clients]
        engine = Engine(limits, sources, waf_lag_seconds=lag, epoch=start)
        order = np.argsort(times, kind="stable")
        codes[order] = engine.decide(times[order], client[order], address[order], durations[order])
    shared = [CODES[layer] for layer in (*_SHARED, *([Layer.WAF] if machines else []))]
    contended = np.isin(model, shared)
    came = np.array([max(code_of[one.number], 0) for one in known], np.int64)
    if machines:
        same = [CODES[layer] for layer in _SAME_ANSWER]
        model[np.isin(model, same)] = same[0]
    everything = _Sent(number, client, sent, latency, came, model, contended)
    findings = []
    for part in requests.parts:
        mine = [one for one in samples if one.number in part.numbers]
        if mine:
            answered = everything.of(part.numbers)
            codes = [code_of[one.number] for one in mine]
            lost = codes.count(_LOST) > max(1, _MAX_LOST * len(mine))
            admitted = answered.latency[answered.came == 0]
            late = answered.sent - requests.table["due"][answered.number]
            findings.append(
                Findings(
                    profile=part.name,
                    result=_result(limits, requests.clients, part, everything, start),
                    rows=_rows(requests.clients, part, answered, tolerance, uncertain=lost),
                    answers=Counter(str(one) for one in mine),
                    failed=codes.count(_FAILED),
                    held_up=_held_up(answered.sent, late, answered.sent + answered.latency),
                    latency_ms=np.percentile(1000 * admitted, (50, 95, 99)).tolist()
                    if len(admitted)
                    else [],
                )
            )
    whole = Part(
        name="all",
        start=0.0,
        seconds=requests.seconds,
        clients=requests.clients,
        numbers=range(len(requests.table)),
    )
    return findings, _result(limits, requests.clients, whole, everything, start)


def _code(sample: Sample, *, too_large: bool) -> int:
    """Return the code of what happened to a request, or that it failed or is lost."""
    if sample.layer:
        return CODES[Layer(sample.layer.partition(":")[0])]
    match sample.status:
        case 0:
            return _LOST
        case 200 if not too_large:
            return 0
        case 413 if too_large:
            return 0
        case 403:
            return CODES[Layer.API_KEY]
        case 429 if "address" in sample.reason:
            return CODES[Layer.WAF]
        case 429 if sample.message == "Limit Exceeded":
            return CODES[Layer.QUOTA]
        case 429:
            return CODES[_SAME_ANSWER[0]]
        case 503:
            # A table that throttles answers alike.
            return CODES[Layer.CONCURRENCY]
    return _FAILED


def _rows(
    clients: Sequence[Client | None], part: Part, sent: _Sent, tolerance: float, *, uncertain: bool
) -> dict[Key, Row]:
    counts = np.zeros((1 + len(sent.model), len(clients) + 1, len(OUTCOMES)), np.int64)
    for table, codes in zip(counts, (sent.came, *sent.model), strict=True):
        np.add.at(table, (sent.client, codes), 1)
    counts[:, -1] = counts.sum(axis=1)
    # From the first shared layer that refuses on, which client is refused is not certain.
    contended = sent.model[sent.contended].min(initial=len(OUTCOMES))
    places = {client_name(client): clients.index(client) for client in part.clients}
    if len(places) > 1:
        places[ALL_CLIENTS] = len(clients)
    rows: dict[Key, Row] = {}
    for name, place in places.items():
        certain = name == ALL_CLIENTS or len(places) == 1 or contended == len(OUTCOMES)
        compared = _compare(counts[0, place], counts[1:, place], tolerance)
        for code, row in compared.items():
            if not certain and not 0 < code < contended:
                row = row._replace(verdict=None)
            elif uncertain:
                row = row._replace(verdict=Verdict.UNCLEAR)
            rows[name, OUTCOMES[code]] = row
    return rows


def _compare(came: Ints, model: Ints, tolerance: float) -> dict[int, Row]:
    """Compare what came back from one client with what the engine says, by code of outcome.

    A limit that is off by the tolerance lets that share of its requests more, or fewer, through,
    which the layers behind it then decide. So each count may be off by the tolerance of the largest
    number that a layer up to its own lets through.

    Args:
        came: requests by outcome.
        model: the same for each moment at which the engine may have decided.
        tolerance: share by which a limit may be off.
    """
    low, high = model.min(axis=0), model.max(axis=0)
    refuses = (came + high > 0) & (np.arange(len(came)) > 0)
    passed = model[0].sum() - np.cumsum(np.where(refuses, model[0], 0))
    margins = tolerance * np.maximum.accumulate(np.where(refuses, passed, 0))
    margins[0] = max(tolerance * model[0][0], margins[-1])
    margins = np.maximum(margins, 1.0)
    rows = {}
    for code in [0, *np.flatnonzero(refuses).tolist()]:
        verdict = Verdict.AGREES
        if not low[code] - margins[code] <= came[code] <= high[code] + margins[code]:
            verdict = Verdict.OFF
        elif abs(model[0][code] - model[1][code]) > _TOO_FAR_APART * margins[code]:
            verdict = Verdict.UNCLEAR
        rows[code] = Row(int(low[code]), int(high[code]), verdict)
    return rows


def _result(
    limits: Limits, clients: Sequence[Client | None], part: Part, everything: _Sent, start: float
) -> Result:
    """Count what came back of a part by client, outcome and interval."""
    sent = everything.of(part.numbers)
    until_now = everything.of(range(part.numbers.stop))
    times = np.maximum(sent.sent - part.start, 0.0)
    seconds = float(times.max(initial=part.seconds)) + 1e-6
    interval = next((i for i in _INTERVALS_SECONDS if seconds <= i * _MAX_INTERVALS), 1800)
    timeline = np.zeros((int(seconds / interval) + 1, len(clients), len(OUTCOMES)), np.int64)
    np.add.at(timeline, ((times / interval).astype(int), sent.client, sent.came), 1)
    first = np.full(timeline.shape[1:], np.inf)
    np.minimum.at(first, (sent.client, sent.came), times)
    used = [clients.index(client) for client in part.clients]
    results = []
    for client, place in zip(part.clients, used, strict=True):
        counts = timeline[:, place].sum(axis=0).tolist()
        refused = [layer for layer in Layer if counts[CODES[layer]]]
        plan = limits.usage_plans.get(client.plan) if client else None
        used_up = int(((until_now.client == place) & (until_now.came == 0)).sum())
        results.append(
            ClientResult(
                client=client,
                sent=sum(counts),
                admitted=counts[0],
                refused={layer: counts[CODES[layer]] for layer in refused},
                first_refused={layer: float(first[place, CODES[layer]]) for layer in refused},
                quota_left=plan.quota.limit - used_up if plan and plan.quota else None,
            )
        )
    return Result(
        limits=limits,
        start=datetime.fromtimestamp(start + part.start, UTC),
        seconds=seconds,
        duration_seconds=0.0,
        waf_lag_seconds=0.0,
        clients=tuple(results),
        interval_seconds=interval,
        timeline=timeline[:, used],
        peak_concurrency=0,
    )


def _held_up(sent: Floats, late: Floats, answered: Floats) -> str:
    """Return why requests left late or waited; empty when they did not."""
    waiting = np.arange(1, len(sent) + 1) - np.searchsorted(np.sort(answered), np.sort(sent))
    if waiting.max(initial=0) >= _MANY_WAITING:
        return f"the target let {waiting.max():,} requests wait at a time."
    latest = float(np.percentile(late, 95)) if len(late) else 0.0
    if latest > _LATE_SECONDS:
        return (
            f"the generator sent requests up to {latest:.1f} s late: the generator, not the "
            f"target, was the bottleneck. Several machines can send together (--workers)."
        )
    return ""
