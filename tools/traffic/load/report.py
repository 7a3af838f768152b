"""What came back from a load test, for people and as JSON."""

from collections.abc import Sequence
from typing import Any, Final

from rich.console import RenderableType
from rich.text import Text

from tools.traffic.load.judge import Findings, Verdict
from tools.traffic.outcomes import LAYER_NAMES, outcome_name
from tools.traffic.report import headline, report, result_json

_LATE_SECONDS: Final = 0.25
_MAX_ANSWERS: Final = 8
_STYLES: Final = {Verdict.AGREES: "green", Verdict.UNCLEAR: "yellow", Verdict.OFF: "bold red"}


def title(findings: Findings) -> str:
    """Return the profile, its verdict and its headline."""
    return f"{findings.profile}: {findings.verdict}. {headline(findings.result)}"


def held_up(findings: Findings) -> str:
    """Return why requests left late; empty when they did not."""
    if findings.late_seconds <= _LATE_SECONDS:
        return ""
    return (
        f"requests left up to {findings.late_seconds:.1f} s late: the generator, not the target, "
        "was the bottleneck. Several machines can send together (--workers)."
    )


def findings_report(findings: Findings) -> RenderableType:
    """Return what came back for one profile, to print with rich."""
    cells = {
        key: (
            f"{row.low:,}" if row.low == row.high else f"{row.low:,} to {row.high:,}",
            Text(row.verdict, _STYLES[row.verdict]) if row.verdict else "",
        )
        for key, row in findings.rows.items()
    }
    answers = (f"{number:,} x {one}" for one, number in findings.answers.most_common(_MAX_ANSWERS))
    notes = [f"Answers: {', '.join(answers)}."]
    if findings.latency_ms:
        p50, p95, p99 = findings.latency_ms
        notes.append(f"Admitted after p50 {p50:,.0f} ms, p95 {p95:,.0f} ms, p99 {p99:,.0f} ms.")
    if findings.failed:
        notes.append(f"{findings.failed:,} requests passed the limits and failed.")
    if why := held_up(findings):
        notes.append(f"Held up: {why}")
    return report(findings.result, [title(findings)], notes, ("by the limits", ""), cells)


def findings_json(findings: Findings) -> dict[str, Any]:
    """Return the same as plain values."""
    return {
        "profile": findings.profile,
        "verdict": findings.verdict,
        **result_json(findings.result),
        "byTheLimits": [
            {"client": name, "outcome": layer or "admitted", **row._asdict()}
            for (name, layer), row in findings.rows.items()
        ],
        "answers": findings.answers,
        "failed": findings.failed,
        "heldUp": held_up(findings),
        "latencyMs": findings.latency_ms,
    }


def summary(findings: Sequence[Findings]) -> list[str]:
    """Return what a run found, in a few lines."""
    judged: dict[Verdict, list[str]] = {verdict: [] for verdict in Verdict}
    for one in findings:
        for (name, layer), row in one.rows.items():
            if row.verdict:
                judged[row.verdict].append(f"{one.profile}: {name} {outcome_name(layer)}")
    off, unclear = judged[Verdict.OFF], judged[Verdict.UNCLEAR]
    agrees = f"{len(judged[Verdict.AGREES])} counts agree with the configured limits."
    lines = [f"Off: {'; '.join(off)}." if off else agrees]
    if any("quota" in one for one in off):
        lines.append("Requests before this run may have used some of the quota.")
    if unclear:
        lines.append(f"Unclear, because answers took long or failed: {'; '.join(unclear)}.")
    reached = {layer for one in findings for layer in one.result.total.refused}
    names = [name for layer, name in LAYER_NAMES.items() if layer in reached]
    return [*lines, f"Limits that refused requests: {', '.join(names) or 'none'}."]
