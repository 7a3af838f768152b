"""Configured against observed: is each limit that a run tested what it should be?"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from tools.traffic.load import bodies
from tools.traffic.load.measure import (
    Measured,
    Offered,
    burst_size,
    in_order,
    modelled_passes,
    offered,
    percentile,
    sustained_rate,
)
from tools.traffic.load.samples import Outcome, Sample
from tools.traffic.load.scenarios import Kind, Phase, Schedule, plan_throttle, stage_throttle
from tools.traffic.load.target import Target
from throttling import Throttle

DEFAULT_TOLERANCE: Final = 0.05
_STORED: Final = "Successfully inserted data!"
_PERCENTILES: Final = (50, 95, 99)
_REFUSED: Final = (Outcome.THROTTLED, Outcome.WAF, Outcome.QUOTA, Outcome.UNAVAILABLE)
_IN_THE_WAY: Final = {
    Outcome.WAF: "the web ACL blocked some",
    Outcome.QUOTA: "a quota was used up",
    Outcome.NO_KEY: "an API key was refused",
    Outcome.LOST: "some were not answered",
}
"""What keeps requests from the bucket that a phase is to test."""
_NEGLIGIBLE: Final = 0.01
_LATE_SECONDS: Final = 0.5
"""The shortest pause that is planned before a bucket must be full."""
_MOST_IN_FLIGHT: Final = 1_000


class Verdict(StrEnum):
    """What a comparison says."""

    AGREES = "agrees"
    NOT_REACHED = "not reached"
    """No caller of the target can get so far; as far as they get, it agrees."""
    UNCLEAR = "unclear"
    """The measurement cannot tell."""
    OFF = "off"


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """One limit: what it should be, and what it was."""

    limit: str
    configured: str
    observed: str
    verdict: Verdict
    note: str = ""
    measured: Measured | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Traffic:
    """One phase: what was sent, and what came back."""

    phase: Phase
    sent: int
    offered: Offered
    admitted: int
    refused: Mapping[str, int]
    """Everything else, by status and reason."""
    retry_after: tuple[int, int]
    """Refusals that told a Retry-After, of how many that should."""
    latency: tuple[float | None, ...]
    """Seconds of the admitted requests: p50, p95, p99."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """All about one scenario."""

    scenario: str
    comparisons: Sequence[Comparison]
    traffic: Sequence[Traffic]
    left_out: Sequence[str]
    held_up: Sequence[str]
    """Where the requests did not go out as planned, and who was to blame."""


def judge(
    measured: Measured, configured: float, *, tolerance: float, one_request: float
) -> Verdict:
    """Whether a measured figure is what is configured.

    Off only if no figure within the measurement's bounds is near enough; unclear if these are so
    wide that a wrong one would be near enough, too.

    Args:
        measured: the figure with its bounds.
        configured: what it should be.
        tolerance: how far off it may be, as a share of it.
        one_request: what one request more or less makes of it: no measurement is finer.
    """
    margin = max(tolerance * configured, one_request)
    if measured.high < configured - margin or measured.low > configured + margin:
        return Verdict.OFF
    return Verdict.UNCLEAR if measured.high - measured.low > 3 * margin else Verdict.AGREES


def exit_status(findings: Iterable[Findings]) -> int:
    """0 when everything agrees, 1 when a limit is off, 3 when one could not be told."""
    verdicts = {one.verdict for finding in findings for one in finding.comparisons}
    if Verdict.OFF in verdicts:
        return 1
    return 3 if Verdict.UNCLEAR in verdicts else 0


@dataclass(frozen=True, slots=True)
class _Run:
    """What one scenario is judged by."""

    target: Target
    phases: Sequence[tuple[Phase, Sequence[Sample]]]
    tolerance: float

    def unless_held_up(
        self, comparison: Comparison, samples: Sequence[Sample], throttle: Throttle
    ) -> Comparison:
        """The same, but unclear instead of off if requests came so late that it may be for that.

        A pause that was not planned fills a bucket, and one that was cut short leaves it empty.
        """
        last = max((one.sent for one in samples), default=0.0)
        late = max(
            (one.sent - one.due for _, mine in self.phases for one in mine if one.sent <= last),
            default=0.0,
        )
        allowed = min(_LATE_SECONDS, max(_LATE_SECONDS / 5, throttle.burst / throttle.rate / 2))
        if comparison.verdict is not Verdict.OFF or late <= allowed:
            return comparison
        note = f"requests were up to {late:.1f} s late"
        return replace(comparison, verdict=Verdict.UNCLEAR, note=note)

    def of(self, *kinds: Kind) -> list[tuple[Phase, Sequence[Sample]]]:
        return [(phase, samples) for phase, samples in self.phases if phase.kind in kinds]


def find(
    target: Target,
    schedule: Schedule,
    scenario: str,
    samples: Sequence[Sample],
    *,
    tolerance: float = DEFAULT_TOLERANCE,
    busy: float = 0.0,
) -> Findings:
    """Judge one scenario.

    Args:
        target: where it was sent, with the limits that are promised there.
        schedule: what was to be sent.
        scenario: which of it.
        samples: all that came back, of any scenario.
        tolerance: how far off a limit may be, as a share of it.
        busy: the share of a CPU core that the generator needed at its busiest.
    """
    by_phase: dict[int, list[Sample]] = {}
    for sample in samples:
        by_phase.setdefault(sample.phase, []).append(sample)
    phases = [
        (phase, by_phase.get(index, []))
        for index, phase in enumerate(schedule.phases)
        if phase.scenario == scenario
    ]
    return Findings(
        scenario=scenario,
        comparisons=_JUDGES[scenario](_Run(target, phases, tolerance)) if phases else (),
        traffic=[_traffic(phase, answers) for phase, answers in phases],
        left_out=schedule.left_out.get(scenario, ()),
        held_up=[words for phase, answers in phases if (words := _held_up(phase, answers, busy))],
    )


def _traffic(phase: Phase, samples: Sequence[Sample]) -> Traffic:
    admitted = [one.latency for one in samples if one.outcome is Outcome.ADMITTED]
    waits = [one for one in samples if one.outcome in _REFUSED and one.outcome is not Outcome.QUOTA]
    return Traffic(
        phase=phase,
        sent=len(samples),
        offered=offered(samples, phase.rate),
        admitted=len(admitted),
        refused=dict(
            Counter(one.why for one in samples if one.outcome is not Outcome.ADMITTED).most_common()
        ),
        retry_after=(sum(one.retry_after is not None for one in waits), len(waits)),
        latency=tuple(percentile(admitted, percent) for percent in _PERCENTILES),
    )


def _held_up(phase: Phase, samples: Sequence[Sample], busy: float) -> str:
    """Who was to blame that a phase was not sent as planned; empty when it was."""
    how = offered(samples, phase.rate)
    if not how.held_up:
        return ""
    sent = "" if how.rate is None else f"sent {how.rate:,.1f}/s of {phase.rate:,.1f}/s, "
    late = f"{sent}up to {how.late_seconds * 1000:,.0f} ms late"
    if how.in_flight >= _MOST_IN_FLIGHT:
        return (
            f"{phase.title}: {late}: the target was the bottleneck, with {how.in_flight:,} "
            f"requests waiting for answers."
        )
    return (
        f"{phase.title}: {late}: the generator was the bottleneck, not the target; it used up to "
        f"{busy:.0%} of a CPU core. More of them can send together (docs/operate.md)."
    )


def _smoke(run: _Run) -> list[Comparison]:
    found = []
    for phase, samples in run.phases:
        expected = f"200 {_STORED}" if phase.kind is Kind.SMOKE else "403 Forbidden"
        seen = [f"{one.status} {one.message}" for one in samples]
        verdict = Verdict.OFF if seen and seen[0] != expected else Verdict.AGREES
        found.append(
            Comparison(
                limit=f"{phase.subject} {phase.name}".strip(),
                configured=expected,
                observed=samples[0].why if verdict is Verdict.OFF else expected,
                verdict=verdict,
            )
            if seen
            else _not_measured(f"{phase.subject} {phase.name}".strip(), expected)
        )
    return found


def _plan(run: _Run) -> list[Comparison]:
    found: list[Comparison] = []
    for subject in dict.fromkeys(phase.subject for phase, _ in run.phases):
        mine = _Run(run.target, [p for p in run.phases if p[0].subject == subject], run.tolerance)
        client = mine.phases[0][0].client
        throttle = plan_throttle(run.target, client.plan) if client else None
        if throttle is None:
            continue
        found += [_steady(mine, throttle, *one) for one in mine.of(Kind.STEADY)]
        rate = _rate(mine, f"{subject} rate", throttle, *mine.of(Kind.OVERLOAD)[0])
        found.append(rate)
        ((_, at_once),) = mine.of(Kind.BURST)
        refill = rate.measured.value if rate.measured else throttle.rate
        found.append(_burst(mine, f"{subject} burst", throttle, at_once, refill))
        found.append(_retry_after(mine, subject, run.target.retry_after_seconds))
    return found


def _stage(run: _Run) -> list[Comparison]:
    stage = stage_throttle(run.target)
    if stage is None:
        return []
    found = []
    for label, kind in (("stage rate", Kind.STEADY), ("stage burst", Kind.BURST)):
        phases = run.of(kind)
        samples = [one for _, answers in phases for one in answers]
        limit = f"{stage.rate:g}/s" if kind is Kind.STEADY else f"{stage.burst:,}"
        expected = modelled_passes(samples, stage)
        if not samples:
            found.append(_not_measured(label, limit))
        elif expected < len(samples) and kind is Kind.STEADY:
            found.append(_rate(run, label, stage, phases[0][0], samples))
        elif expected < len(samples):
            found.append(_burst(run, label, stage, samples, stage.rate))
        else:
            below = _below_stage(run, label, limit, phases, samples)
            found.append(run.unless_held_up(below, samples, stage))
    return found


def _below_stage(
    run: _Run,
    label: str,
    limit: str,
    phases: Sequence[tuple[Phase, Sequence[Sample]]],
    samples: Sequence[Sample],
) -> Comparison:
    """A limit that all clients together stay below: it must refuse none of them."""
    passed = sum(one.passed for one in samples)
    margin = max(run.tolerance * len(samples), 1)
    together = sum(phase.rate for phase, _ in phases)
    reached = f"{together:g}/s" if phases[0][0].kind is Kind.STEADY else f"{len(samples):,}"
    if obstacle := _obstacle(samples):
        return _unclear(label, limit, f"{passed:,} of {len(samples):,} pass", obstacle)
    if passed < len(samples) - margin:
        seen = f"{passed:,} of {len(samples):,} pass at {reached}"
        return Comparison(limit=label, configured=limit, observed=seen, verdict=Verdict.OFF)
    return Comparison(
        limit=label,
        configured=limit,
        observed=f"at least {reached}",
        verdict=Verdict.NOT_REACHED,
        note="all that its clients may send",
    )


def _mixed(run: _Run) -> list[Comparison]:
    client = run.phases[0][0].client
    throttle = plan_throttle(run.target, client.plan) if client else None
    if throttle is None:
        return []
    found = [_steady(run, throttle, *one) for one in run.of(Kind.STEADY)]
    overload, samples = run.of(Kind.OVERLOAD)[0]
    found.append(_rate(run, f"{overload.subject} rate", throttle, overload, samples))
    for size in bodies.MIXED:
        wanted = Outcome.INVALID if size == bodies.TOO_LARGE else Outcome.ADMITTED
        mine = [
            one
            for phase, answers in run.phases
            for one in answers
            if phase.sizes[one.number % len(phase.sizes)] == size
            # A function that is too busy says nothing about sizes.
            and one.passed
            and one.outcome is not Outcome.UNAVAILABLE
        ]
        expected = "413" if wanted is Outcome.INVALID else "stored"
        length = len(bodies.body(size, 0).encode())
        label = f"{size} body ({length:,} bytes)"
        if not mine:
            found.append(_not_measured(label, expected))
            continue
        right = sum(one.outcome is wanted for one in mine)
        found.append(
            Comparison(
                limit=label,
                configured=expected,
                observed=f"{expected} {right:,} of {len(mine):,} times",
                verdict=Verdict.AGREES if right == len(mine) else Verdict.OFF,
            )
        )
    return found


def _waf(run: _Run) -> list[Comparison]:
    waf = run.target.limits.waf
    if waf is None:
        return []
    found = []
    for phase, samples in run.of(Kind.BLOCK):
        limit = waf.limit * run.target.generators
        label = f"requests in {waf.window_seconds} s from one address"
        found.append(_blocked(run, label, limit, phase, samples))
        found.append(_retry_after(run, "blocked address", waf.window_seconds))
    for phase, samples in run.of(Kind.SPREAD):
        blocked = sum(one.outcome is Outcome.WAF for one in samples)
        label, configured = f"{phase.count:,} requests from {phase.name}", "0 blocked"
        found.append(
            Comparison(
                limit=label,
                configured=configured,
                observed=f"{blocked:,} blocked",
                verdict=Verdict.OFF if blocked else Verdict.AGREES,
            )
            if samples
            else _not_measured(label, configured)
        )
    return found


def _blocked(
    run: _Run, label: str, limit: int, phase: Phase, samples: Sequence[Sample]
) -> Comparison:
    """How many requests of one address pass before the first is blocked."""
    configured = f"{limit:,}"
    decided = in_order(samples)
    first = next((i for i, one in enumerate(decided) if one.outcome is Outcome.WAF), None)
    margin = max(run.tolerance * limit, 1)
    if first is None:
        seen = f"none of {len(decided):,} blocked"
        # Sent over more than a window, they need not have been blocked.
        window = run.target.limits.waf.window_seconds if run.target.limits.waf else 0
        fast = decided and decided[-1].sent - decided[0].sent < window
        if len(decided) > limit + margin and (fast or not run.target.sandbox):
            return Comparison(
                limit=label, configured=configured, observed=seen, verdict=Verdict.OFF
            )
        return _unclear(label, configured, seen, f"{phase.count:,} were to be sent at once")
    passed = Measured(first, first, first)
    if not run.target.sandbox and first > limit:
        return Comparison(
            limit=label,
            configured=configured,
            observed=f"{first:,}",
            verdict=Verdict.AGREES,
            note="AWS counts about every 10 s, and blocks with a lag",
            measured=passed,
        )
    return Comparison(
        limit=label,
        configured=configured,
        observed=f"{first:,}",
        verdict=judge(passed, limit, tolerance=run.tolerance, one_request=1),
        measured=passed,
    )


_JUDGES: Final[Mapping[str, Callable[[_Run], list[Comparison]]]] = {
    "smoke": _smoke,
    "plan": _plan,
    "stage": _stage,
    "mixed": _mixed,
    "waf": _waf,
}


def _steady(run: _Run, throttle: Throttle, phase: Phase, samples: Sequence[Sample]) -> Comparison:
    """A rate that the bucket must pass whole."""
    label = f"{phase.subject} at {phase.rate:g}/s ({phase.name})"
    return _passes(run, label, throttle, samples)


def _passes(run: _Run, label: str, throttle: Throttle, samples: Sequence[Sample]) -> Comparison:
    """As many requests pass as a full bucket passes of these."""
    if not samples:
        return _not_measured(label, "all pass")
    expected = modelled_passes(samples, throttle)
    passed = sum(one.passed for one in samples)
    configured = "all pass" if expected == len(samples) else f"{expected:,} pass"
    observed = f"{passed:,} of {len(samples):,} pass"
    if obstacle := _obstacle(samples):
        return _unclear(label, configured, observed, obstacle)
    value = Measured(passed, passed, passed)
    return run.unless_held_up(
        Comparison(
            limit=label,
            configured=configured,
            observed=observed,
            verdict=judge(value, expected, tolerance=run.tolerance, one_request=1),
        ),
        samples,
        throttle,
    )


def _rate(
    run: _Run, label: str, throttle: Throttle, phase: Phase, samples: Sequence[Sample]
) -> Comparison:
    """A rate that the bucket must cut more requests to."""
    configured = f"{throttle.rate:g}/s"
    if not samples:
        return _not_measured(label, configured)
    if obstacle := _obstacle(samples):
        return _unclear(label, configured, "?", obstacle)
    if throttle.burst == 1:
        # No rate can be told from what passes such a bucket, but what should have.
        return _passes(run, label, throttle, samples)
    measured = sustained_rate(samples)
    if measured is None:
        passed, expected = sum(one.passed for one in samples), modelled_passes(samples, throttle)
        seen = f"{len(samples) - passed:,} of {len(samples):,} refused"
        # By how much the bucket passed more than it may.
        if passed - expected > max(run.tolerance * expected, 3):
            return Comparison(
                limit=label,
                configured=configured,
                observed=f"above {throttle.rate:g}/s",
                verdict=Verdict.OFF,
                note=f"{seen} at {phase.rate:g}/s",
            )
        return _unclear(label, configured, seen, "too few refusals to measure by")
    seconds = max(one.sent for one in samples) - min(one.sent for one in samples)
    return run.unless_held_up(
        Comparison(
            limit=label,
            configured=configured,
            observed=f"{measured.value:.4g}/s",
            verdict=judge(
                measured, throttle.rate, tolerance=run.tolerance, one_request=1 / max(seconds, 1e-9)
            ),
            measured=measured,
        ),
        samples,
        throttle,
    )


def _burst(
    run: _Run, label: str, throttle: Throttle, samples: Sequence[Sample], refill: float
) -> Comparison:
    """What a full bucket passes at once."""
    configured = f"{throttle.burst:,}"
    if not samples:
        return _not_measured(label, configured)
    if obstacle := _obstacle(samples):
        return _unclear(label, configured, "?", obstacle)
    if throttle.burst == 1:
        return _passes(run, label, throttle, samples)
    measured = burst_size(samples, refill)
    if measured is None:
        expected = modelled_passes(samples, throttle)
        seen = f"none of {len(samples):,} refused"
        if len(samples) - expected > max(run.tolerance * throttle.burst, 1):
            return Comparison(
                limit=label, configured=configured, observed=seen, verdict=Verdict.OFF
            )
        return _unclear(label, configured, seen, "too slow to empty the bucket")
    return run.unless_held_up(
        Comparison(
            limit=label,
            configured=configured,
            observed=f"{measured.value:,.0f}",
            verdict=judge(measured, throttle.burst, tolerance=run.tolerance, one_request=1),
            measured=measured,
        ),
        samples,
        throttle,
    )


def _retry_after(run: _Run, subject: str, seconds: int) -> Comparison:
    """Whether refusals say how long to wait, and whether waiting so long helps."""
    label, configured = f"{subject} Retry-After", f"{seconds} s"
    refused = [
        one
        for _, samples in run.phases
        for one in samples
        if one.outcome in (Outcome.THROTTLED, Outcome.WAF)
    ]
    if not refused:
        return _not_measured(label, configured)
    told = Counter(
        "nothing" if one.retry_after is None else f"{one.retry_after} s" for one in refused
    )
    observed = ", ".join(f"{value} on {count:,}" for value, count in told.most_common())
    right = set(told) == {configured}
    if right:
        observed = f"{configured} on all {len(refused):,} refusals"
    again = [one for _, samples in run.of(Kind.RETRY) for one in samples]
    if not again:
        note = "not waited for"
    elif again[0].outcome in (Outcome.THROTTLED, Outcome.WAF):
        right, note = False, f"refused again after {configured}"
    else:
        note = f"let in after {configured}"
    verdict = Verdict.AGREES if right else Verdict.OFF
    return Comparison(
        limit=label, configured=configured, observed=observed, verdict=verdict, note=note
    )


def _obstacle(samples: Sequence[Sample]) -> str:
    """What kept requests from the limit that they were to test; empty when nothing did."""
    seen = Counter(one.outcome for one in samples)
    return "; ".join(
        f"{words} ({seen[outcome]:,})"
        for outcome, words in _IN_THE_WAY.items()
        if seen[outcome] > len(samples) * _NEGLIGIBLE
    )


def _not_measured(limit: str, configured: str) -> Comparison:
    return _unclear(limit, configured, "not measured", "")


def _unclear(limit: str, configured: str, observed: str, note: str) -> Comparison:
    return Comparison(
        limit=limit,
        configured=configured,
        observed=observed,
        verdict=Verdict.UNCLEAR,
        note=note,
    )
