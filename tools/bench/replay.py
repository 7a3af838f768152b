"""How fast an access log is read, decided and reported, and how fast limits are fitted to it.

The log is of the shipped stack prod: two clients on 1,000 addresses, with lines as the stage writes
them. Each command runs in a process of its own, on one core: times are its processor times.
"""

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np

from components.edge_protection.access_log import access_log_format
from tools.bench.figures import Figure, peak_mb

_START_MS: Final = 1_767_571_200_000
_RATES: Final = {"basic": 80.0, "premium": 420.0}
_FIELDS: Final = {
    "requestTimeEpoch": "%d",
    "sourceIp": "198.51.100.%d",
    "apiKeyId": "%s",
    "integrationLatencyMs": "%d",
    "method": "POST",
    "path": "/data",
    "requestTime": "05/Jan/2026:00:00:00 +0000",
    "requestId": "6f1c1f3e-4e4b-4c5d-9d0f-2a5f0c1b7e11",
    "extendedRequestId": "Ae2MKEZ%08d=",
    "wafResponseCode": "WAF_ALLOW",
    "xrayTraceId": "1-5f84c7a1-0123456789abcdef01234567",
}
_LINE: Final = json.dumps(
    {
        name: _FIELDS.get(name, "200" if "tatus" in name else "-")
        for name in json.loads(access_log_format())
    }
)


def _write(file: Path, requests: int) -> None:
    chance, keys, number, at_ms = np.random.default_rng(1), [*_RATES], 0, _START_MS * 1.0
    mean_ms, premium = 1000 / sum(_RATES.values()), _RATES["premium"] / sum(_RATES.values())
    with file.open("w") as lines:
        while number < requests:
            times = at_ms + chance.exponential(mean_ms, 100_000).cumsum()
            clients = chance.random(100_000) < premium
            addresses = chance.integers(500, size=100_000) + 500 * clients
            columns = (one.tolist() for one in (times, addresses, clients))
            for at_ms, address, client in zip(*columns, strict=True):
                number += 1
                values = number, at_ms, address, keys[client], 40 + number % 97
                lines.write(_LINE % values + "\n")


def _seconds_for(folder: Path, command: str, log: Path) -> float:
    words = [sys.executable, "-m", "tools", command, str(log), "--stack", "prod"]
    began = _processor_seconds()
    subprocess.run(  # noqa: S603  our own command
        [*words, "--keys", str(folder / "keys.json")], check=True, stdout=subprocess.DEVNULL
    )
    return _processor_seconds() - began


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def figures() -> Iterator[Figure]:
    """Measure replay and fit."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        keys = {plan: f"{plan}/default" for plan in _RATES}
        (folder / "keys.json").write_text(json.dumps(keys))
        log = folder / "access.jsonl"
        _write(log, 1_000_000)
        yield Figure(
            what="fit on a million lines",
            unit="s",
            samples=[_seconds_for(folder, "fit", log) for _ in range(3)],
            at_most=30,
        )
        _write(log, 10_000_000)
        yield Figure(
            what="replay of 10 million lines",
            unit="s",
            samples=[_seconds_for(folder, "replay", log)],
            at_most=60,
        )
        megabytes = peak_mb(resource.RUSAGE_CHILDREN)
        yield Figure(what="peak memory of these", unit="MB", samples=[megabytes], at_most=1000)
