"""The answers of a load test, compared with what the engine says of the same requests.

The target decides a request at some moment between its sending and its answer. So the engine
decides all requests twice: once at their sending times, once at their answering times. If the
limits are as configured, a count of answers lies between the engine's two counts, within the
tolerance. A count outside is off. A count inside agrees. But when the two counts lie so far apart
that a wrong limit could hide between them, it is unclear.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

import numpy as np

from handler.record import MAX_BODY_BYTES
from routes import METHODS, ROUTES
from throttling import Layer, Limits
from throttling.simulation.engine import CODES, OUTCOMES
from throttling.simulation.loops import Codes
from throttling.simulation.simulator import Result, run
from throttling.simulation.traffic import Block, Floats
from tools.traffic.load.requests import takes_record
from tools.traffic.profiles import Profile
from tools.traffic.report import ALL_CLIENTS, Key, clients_of

_SHARED: Final = (Layer.METHOD, Layer.STAGE, Layer.CONCURRENCY)
"""Layers that all clients share. Microseconds decide which client they refuse."""
_SAME_ANSWER: Final = (Layer.USAGE_PLAN, Layer.USAGE_PLAN_METHOD, Layer.METHOD, Layer.STAGE)
"""Layers whose refusals have the same words on AWS. The first stands for all of them."""
_TOO_FAR_APART: Final = 2.0
"""How far apart the engine's two counts may be, as a multiple of the margin."""
_MAX_LOST: Final = 0.01
"""Share of requests without an answer above which no count is certain."""
_FAILED: Final = -1


class Sample(NamedTuple):
    """One request, by number, and its answer. Times are seconds after the start of the run."""

    number: int
    sent: float
    latency: float
    status: int
    """0 without an answer."""
    layer: str | None = None
    """The layer that refused it, such as `usage-plan:basic`. Only the sandbox names it."""
    message: str = ""
    """The answer's message or, without an answer, what went wrong."""
    reason: str = ""
    retry_after: str | None = None

    def __str__(self) -> str:
        """Return the answer as a caller sees it, without what a terminal could interpret."""
        wait = f", Retry-After {self.retry_after} s" if self.retry_after else ""
        text = f"{self.status or 'no answer:'} {self.message[:100]}{wait}"
        return "".join(character if character.isprintable() else "?" for character in text)


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
    """None where clients compete for a shared layer: only the row of all clients has a verdict."""


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
    late_seconds: float
    """How late requests left (p95)."""
    latency_ms: Sequence[float]
    """p50, p95 and p99 of the admitted requests; empty without any."""

    @property
    def verdict(self) -> Verdict:
        """The worst of all verdicts. Failed requests are off."""
        found = {row.verdict for row in self.rows.values()}
        if self.failed or Verdict.OFF in found:
            return Verdict.OFF
        return Verdict.UNCLEAR if Verdict.UNCLEAR in found else Verdict.AGREES


def judge(
    limits: Limits,
    profile: Profile,
    requests: Block,
    samples: Sequence[Sample],
    start: datetime,
    *,
    tolerance: float,
    machines: int = 0,
    waf_lag_seconds: float = 0.0,
) -> Findings:
    """Compare what came back with what the limits say.

    Args:
        limits: what the target should have, with full buckets and whole quotas at the start.
        profile: the profile that was sent.
        requests: the requests of the profile.
        samples: what came back.
        start: when the run began.
        tolerance: how far off a limit may be, as a share of it. One request off always agrees.
        machines: number of machines that send in turn to AWS, each from one address. 0 for the
            sandbox: there each request carries its address, and answers name the layer.
        waf_lag_seconds: how far the WAF's view may be behind the requests.
    """
    sources = [(source.client, source.method) for source in profile.traffic.sources]
    known = sorted((one for one in samples if one.status), key=lambda one: one.sent)
    number = np.array([one.number for one in known], np.int64)
    sent, latency = np.array([(one.sent, one.latency) for one in known]).reshape(-1, 2).T
    source = requests.sources[number]
    addresses = number % machines if machines else requests.addresses[number]
    codes = np.array(
        [
            _code(one, sources[index][1], profile.body_bytes[one.number % len(profile.body_bytes)])
            for one, index in zip(known, source, strict=True)
        ],
        np.int64,
    )
    came = np.maximum(codes, 0).astype(np.uint8)

    def decided(
        times: Floats, durations: Floats, lag: float = 0.0, came: Codes | None = None
    ) -> Result:
        order = np.argsort(times, kind="stable")
        block = Block(
            times=times[order],
            sources=source[order],
            addresses=addresses[order],
            durations=durations[order],
            outcomes=came,
        )
        return run(
            limits,
            sources,
            [block],
            start=start,
            seconds=float(times.max(initial=profile.traffic.seconds)) + 1e-6,
            duration_seconds=0.0,
            waf_lag_seconds=lag,
        )

    # A refused request would have taken as long as those that were admitted around it.
    works = came == 0
    durations = np.interp(sent, sent[works], latency[works]) if works.any() else latency
    answered, at_once = sent + latency, np.zeros(len(known))
    results = [
        decided(sent, latency, came=came),
        decided(sent, durations),
        decided(answered, at_once),
        decided(answered, at_once, waf_lag_seconds),
    ]
    rows = _rows(results, tolerance, deployed=machines > 0)
    lost = len(samples) - len(known)
    if lost > max(1, _MAX_LOST * len(samples)):
        rows = {
            key: row._replace(verdict=row.verdict and Verdict.UNCLEAR) for key, row in rows.items()
        }
    late = sent - requests.times[number]
    admitted = 1000 * latency[codes == 0]
    return Findings(
        profile=profile.name,
        result=results[0],
        rows=rows,
        answers=Counter(map(str, samples)),
        failed=int((codes == _FAILED).sum()),
        late_seconds=float(np.percentile(late, 95)) if len(late) else 0.0,
        latency_ms=np.percentile(admitted, (50, 95, 99)).tolist() if len(admitted) else [],
    )


def _code(sample: Sample, method: str, body_bytes: int) -> int:
    """Return the code of what happened to an answered request, or that it failed."""
    layer = (sample.layer or "").partition(":")[0]
    if layer in set(Layer):
        return CODES[Layer(layer)]
    match sample.status:
        case 200 | 413 as status if takes_record(method):
            return CODES[None] if (status == 413) == (body_bytes > MAX_BODY_BYTES) else _FAILED
        case 403:
            return CODES[Layer.API_KEY]
        case 429 if "address" in sample.reason:
            return CODES[Layer.WAF]
        case 429:
            return CODES[Layer.QUOTA if sample.message == "Limit Exceeded" else _SAME_ANSWER[0]]
        case 503:
            # A table that throttles leads to the same answer.
            return CODES[Layer.CONCURRENCY]
    # Other routes may answer with any status that they document.
    other = not takes_record(method) and sample.status in ROUTES[METHODS.index(method)].answers
    return CODES[None] if other else _FAILED


def _rows(results: Sequence[Result], tolerance: float, *, deployed: bool) -> dict[Key, Row]:
    """Compare the first result, which came back, with those of the engine, by client and outcome.

    A wrong limit changes what all layers behind it see. So all counts of a client have one margin.
    It is a share of what passes the first layer that refuses any of the client's requests.
    """
    counts = np.stack([one.timeline.sum(axis=0) for one in results])
    counts = np.concatenate([counts, counts.sum(axis=1, keepdims=True)], axis=1)
    # The web ACL sees one address per machine, whose requests have all kinds of keys.
    shared = (*_SHARED, Layer.WAF) if deployed else _SHARED
    refusing = {layer for one in results[1:] for layer in one.total.refused if layer in shared}
    if deployed:
        first, *others = (CODES[layer] for layer in _SAME_ANSWER)
        counts[..., first] += counts[..., others].sum(axis=2)
        counts[..., others] = 0
        refusing = {_SAME_ANSWER[0] if one in _SAME_ANSWER else one for one in refusing}
    # From the first shared layer that refuses on, which client is refused is not certain.
    contended = min((CODES[layer] for layer in refusing), default=len(OUTCOMES))
    rows = {}
    for index, (name, _) in enumerate(clients_of(results[0])):
        came, at_sending, at_answering, _ = counts[:, index]
        low, high = counts[1:, index].min(axis=0), counts[1:, index].max(axis=0)
        codes = [code for code in range(1, len(OUTCOMES)) if came[code] or high[code]]
        passed = at_sending.sum() - at_sending[codes[:1]].sum()
        margin = max(1.0, tolerance * passed)
        competes = refusing and name != ALL_CLIENTS and len(results[0].clients) > 1
        for code in (0, *codes):
            verdict: Verdict | None = Verdict.AGREES
            if competes and not 0 < code < contended:
                verdict = None
            elif not low[code] - margin <= came[code] <= high[code] + margin:
                verdict = Verdict.OFF
            elif abs(int(at_sending[code] - at_answering[code])) > _TOO_FAR_APART * margin:
                verdict = Verdict.UNCLEAR
            rows[name, OUTCOMES[code]] = Row(int(low[code]), int(high[code]), verdict)
    return rows
