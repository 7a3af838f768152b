"""What came back from a load test, beside what the engine says of the same requests.

A request is decided at some moment between its sending and its answer. So the engine decides all
requests twice: as if each had been decided when it was sent, and as if when it was answered. If the
limits are as configured, a count that came back lies between the two, give or take the tolerance:
it agrees. When the two are so far apart that a wrong limit would lie between them as well, it is
unclear. Otherwise it is off.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, NamedTuple

import numpy as np

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
_MANY_IN_FLIGHT: Final = 1_000
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


class Judge:
    """Judges the parts of a run, one after the other."""

    def __init__(
        self,
        limits: Limits,
        requests: Requests,
        start: float,
        *,
        tolerance: float,
        machines: int = 0,
        waf_lag_seconds: float = 0.0,
    ) -> None:
        """Make a judge of one run.

        Args:
            limits: that the target should have.
            requests: of the run.
            start: POSIX seconds.
            tolerance: how far off a limit may be, as a share of it. One request is never off.
            machines: number of machines that send in turn to AWS, each from one address. 0 for the
                sandbox, to which each request brings its address, and which names the layers.
            waf_lag_seconds: how far the WAF's view may be behind the requests.
        """
        self._limits = limits
        self._requests = requests
        self._start = start
        self._tolerance = tolerance
        self._fold: Ints = np.arange(len(OUTCOMES))
        self._shared = [CODES[layer] for layer in _SHARED]
        self._address = requests.table["address"]
        if machines:
            self._fold[[CODES[layer] for layer in _SAME_ANSWER]] = CODES[_SAME_ANSWER[0]]
            self._shared.append(CODES[Layer.WAF])
            self._address = np.arange(len(requests.table)) % machines
        sources = [(client, METHODS[0]) for client in requests.clients]
        # Requests are decided when sent, when answered, and when answered as a late WAF sees them.
        self._engines = [
            Engine(limits, sources, waf_lag_seconds=lag, epoch=start)
            for lag in (0.0, 0.0, waf_lag_seconds)
        ]
        self._reached = [0.0] * len(self._engines)

    def judge(self, part: Part, samples: Sequence[Sample]) -> Findings:
        """Judge what came back of a part. The parts before it have been judged."""
        codes = self._codes(samples)
        number, sent, latency, came = _known(samples, codes)
        model = np.stack(
            [
                self._decide(0, number, sent, latency),
                self._decide(1, number, sent + latency, np.zeros_like(sent)),
                self._decide(2, number, sent + latency, np.zeros_like(sent)),
            ]
        )
        lost = codes.count(_LOST) > max(1, _MAX_LOST * len(samples))
        admitted = latency[came == 0]
        late = sent - self._requests.table["due"][number]
        return Findings(
            profile=part.name,
            result=self._result(part, number, sent, came),
            rows=self._rows(part, number, came, model, uncertain=lost),
            answers=Counter(str(one) for one in samples),
            failed=codes.count(_FAILED),
            held_up=_held_up(sent, late, sent + latency),
            latency_ms=(1000 * np.percentile(admitted, (50, 95, 99))).tolist()
            if len(admitted)
            else [],
        )

    def overall(self, samples: Sequence[Sample]) -> Result:
        """Return what came back in the whole run."""
        requests = self._requests
        whole = replace(requests.parts[0], seconds=requests.seconds, clients=requests.clients)
        number, sent, _, came = _known(samples, self._codes(samples))
        return self._result(whole, number, sent, came)

    def _codes(self, samples: Sequence[Sample]) -> list[int]:
        sizes = self._requests.table["body_bytes"]
        return [_code(one, too_large=sizes[one.number] > MAX_BODY_BYTES) for one in samples]

    def _decide(self, index: int, number: Ints, times: Floats, durations: Floats) -> Ints:
        """Let an engine decide requests at `times`, and return the codes of their outcomes."""
        order = np.argsort(times, kind="stable")
        # The last answers of a part may come when the next part has begun.
        decided = np.maximum(times[order], self._reached[index])
        self._reached[index] = decided.max(initial=self._reached[index])
        client = self._requests.table["client"][number]
        codes = np.empty(len(times), np.int64)
        codes[order] = self._engines[index].decide(
            decided, client[order], self._address[number[order]], durations[order]
        )
        return codes

    def _rows(
        self, part: Part, number: Ints, came: Ints, model: Ints, *, uncertain: bool
    ) -> dict[Key, Row]:
        clients = self._requests.clients
        counts = np.zeros((1 + len(model), len(clients) + 1, len(OUTCOMES)), np.int64)
        for table, codes in zip(counts, (came, *model), strict=True):
            np.add.at(table, (self._requests.table["client"][number], self._fold[codes]), 1)
        counts[:, -1] = counts.sum(axis=1)
        # From the first shared layer that refuses on, who is refused is not certain.
        contended = self._fold[np.intersect1d(model, self._shared)].min(initial=len(OUTCOMES))
        names = {client_name(client): clients.index(client) for client in part.clients}
        if len(names) > 1:
            names[ALL_CLIENTS] = len(clients)
        rows: dict[Key, Row] = {}
        for name, index in names.items():
            certain = name == ALL_CLIENTS or len(names) == 1 or contended == len(OUTCOMES)
            compared = _compare(counts[0, index], counts[1:, index], self._tolerance)
            for code, row in compared.items():
                if not certain and not 0 < code < contended:
                    row = row._replace(verdict=None)
                elif uncertain:
                    row = row._replace(verdict=Verdict.UNCLEAR)
                rows[name, OUTCOMES[code]] = row
        return rows

    def _result(self, part: Part, number: Ints, sent: Floats, came: Ints) -> Result:
        """Count what came back by client, outcome and interval."""
        times = np.maximum(sent - part.start, 0.0)
        seconds = times.max(initial=part.seconds) + 1e-6
        interval = next((i for i in _INTERVALS_SECONDS if seconds <= i * _MAX_INTERVALS), 1800)
        timeline = np.zeros((int(seconds / interval) + 1, len(part.clients), len(OUTCOMES)), int)
        places = [part.clients.index(c) if c in part.clients else 0 for c in self._requests.clients]
        client = np.array(places)[self._requests.table["client"][number]]
        outcome = self._fold[came]
        np.add.at(timeline, ((times / interval).astype(int), client, outcome), 1)
        first = np.full(timeline.shape[1:], np.inf)
        np.minimum.at(first, (client, outcome), times)
        return Result(
            limits=self._limits,
            start=datetime.fromtimestamp(self._start + part.start, UTC),
            seconds=float(seconds),
            duration_seconds=0.0,
            waf_lag_seconds=0.0,
            clients=tuple(
                self._client_result(one, counts.tolist(), firsts.tolist())
                for one, counts, firsts in zip(
                    part.clients, timeline.sum(axis=0), first, strict=True
                )
            ),
            interval_seconds=interval,
            timeline=timeline,
            peak_concurrency=self._engines[0].peak_in_flight,
        )

    def _client_result(
        self, client: Client | None, counts: list[int], firsts: list[float]
    ) -> ClientResult:
        engine, now = self._engines[0], self._reached[0]
        refused = [layer for layer in Layer if counts[CODES[layer]]]
        return ClientResult(
            client=client,
            sent=sum(counts),
            admitted=counts[0],
            refused={layer: counts[CODES[layer]] for layer in refused},
            first_refused={layer: firsts[CODES[layer]] for layer in refused},
            quota_left=engine.quota_left(now, client) if client else None,
            quota_renewed=engine.quota_renewed(now, client) if client else None,
        )


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


def _known(samples: Sequence[Sample], codes: Sequence[int]) -> tuple[Ints, Floats, Floats, Ints]:
    """Return number, time, latency and code of the requests that were answered."""
    pairs = zip(samples, codes, strict=True)
    rows = [
        (one.number, one.sent, one.latency, max(code, 0)) for one, code in pairs if code != _LOST
    ]
    number, sent, latency, code = np.array(rows).reshape(-1, 4).T
    return number.astype(np.int64), sent, latency, code.astype(np.int64)


def _compare(came: Ints, model: Ints, tolerance: float) -> dict[int, Row]:
    """Compare what came back from one client with what the engine says, by code of outcome.

    A limit that is off by the tolerance lets that share of its requests more, or fewer, through,
    which the layers behind it then decide. So each count may be off by the tolerance of the largest
    number that a layer up to its own lets through.

    Args:
        came: requests by outcome.
        model: the same of each of the engine's decisions.
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


def _held_up(sent: Floats, late: Floats, answered: Floats) -> str:
    """Return why requests left late or waited; empty when they did not."""
    waiting = np.arange(1, len(sent) + 1) - np.searchsorted(np.sort(answered), np.sort(sent))
    if waiting.max(initial=0) >= _MANY_IN_FLIGHT:
        return f"the target let {waiting.max():,} requests wait at a time."
    latest = float(np.percentile(late, 95)) if len(late) else 0.0
    if latest > _LATE_SECONDS:
        return (
            f"the generator sent requests up to {latest:.1f} s late, and not the target but the "
            f"generator was the bottleneck. Several machines can send together (--workers)."
        )
    return ""
