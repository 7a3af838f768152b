"""A run as a JSON document, to be kept under `docs/tested-limits/`.

AWS asks to test limits and to document them, and never to run above a tested one
(https://docs.aws.amazon.com/wellarchitected/latest/framework/rel_mitigate_interaction_failure_throttle_requests.html).
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from operations.errors import OperationsError
from tools.traffic.load.target import Target
from tools.traffic.load.verdicts import Comparison, Findings, Traffic, exit_status
from settings.stacks import ROOT

FOLDER: Final = ROOT / "docs" / "tested-limits"


def record(
    target: Target,
    findings: Sequence[Findings],
    *,
    tolerance: float,
    started: datetime,
    interrupted: bool,
) -> dict[str, Any]:
    """All that was found, without any API key."""
    return {
        "stack": target.stack,
        "target": "sandbox" if target.sandbox else "deployed",
        "url": target.url,
        "started": started.astimezone(UTC).isoformat(timespec="seconds"),
        "interrupted": interrupted,
        "tolerance": tolerance,
        "agrees": exit_status(findings) == 0 and not interrupted,
        "limits": asdict(target.limits),
        "scenarios": [
            {
                "scenario": finding.scenario,
                "compared": [_compared(one) for one in finding.comparisons],
                "traffic": [_traffic(one) for one in finding.traffic],
                "leftOut": list(finding.left_out),
                "heldUp": list(finding.held_up),
            }
            for finding in findings
        ],
    }


def _compared(one: Comparison) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "limit": one.limit,
        "configured": one.configured,
        "observed": one.observed,
        "verdict": str(one.verdict),
        "note": one.note,
    }
    if one.measured:
        plain["measured"] = {k: round(v, 4) for k, v in asdict(one.measured).items()}
    return plain


def _traffic(one: Traffic) -> dict[str, Any]:
    told, refusals = one.retry_after
    p50, p95, p99 = (None if v is None else round(v * 1000, 1) for v in one.latency)
    return {
        "requests": one.phase.title,
        "planned": one.phase.count,
        "plannedPerSecond": round(one.phase.rate, 3),
        "sent": one.sent,
        "sentPerSecond": None if one.offered.rate is None else round(one.offered.rate, 3),
        "lateMsP95": round(one.offered.late_seconds * 1000, 1),
        "admitted": one.admitted,
        "refused": dict(one.refused),
        "retryAfter": {"told": told, "refusals": refusals},
        "admittedLatencyMs": {"p50": p50, "p95": p95, "p99": p99},
    }


def save(document: dict[str, Any], folder: Path = FOLDER) -> Path:
    """Keep a record; where it is.

    Raises:
        OperationsError: when it cannot be written.
    """
    moment = document["started"].replace("+00:00", "Z").replace(":", "")
    path = folder / f"{document['stack']}-{document['target']}-{moment}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    except OSError as error:
        raise OperationsError(f"{path} cannot be written: {error.strerror}.") from None
    return path
