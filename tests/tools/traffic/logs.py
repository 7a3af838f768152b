"""Access logs as API Gateway writes them, of traffic with known rates."""

import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.throttling.examples import METHOD
from throttling import Client, Layer, Limits
from throttling.simulation.arrivals import blocks
from throttling.simulation.engine import OUTCOMES, Engine
from throttling.simulation.traffic import Traffic

KEYS = {Client("basic", "default"): "k-basic", Client("premium", "default"): "k-premium"}
_IDS = itertools.count()
_TYPES = {
    Layer.WAF: "WAF_FILTERED",
    Layer.API_KEY: "INVALID_API_KEY",
    Layer.QUOTA: "QUOTA_EXCEEDED",
    Layer.CONCURRENCY: "INTEGRATION_FAILURE",
}


def line(**fields: object) -> dict[str, Any]:
    """Return a line with all fields that the program registers."""
    usual = {
        "requestId": "1",
        "extendedRequestId": f"{next(_IDS)}=",
        "requestTime": "05/Jan/2026:00:00:00 +0000",
        "requestTimeEpoch": "1767571200000",
        "sourceIp": "192.0.2.1",
        "apiKeyId": "k-basic",
        "method": "POST",
        "path": "/data",
        "status": "200",
        "responseType": "-",
        "wafStatus": "-",
        "wafResponseCode": "WAF_ALLOW",
        "integrationStatus": "200",
        "integrationLatencyMs": "100",
        "responseLatencyMs": "105",
        "xrayTraceId": "-",
    }
    return {**usual, **fields}


def lines_of(traffic: Traffic, limits: Limits, *, latency_ms: int = 100) -> list[dict[str, Any]]:
    """Return what a stage with `limits` logs of `traffic`."""
    sources = [(source.client, source.method) for source in traffic.sources]
    engine = Engine(limits, sources, epoch=traffic.start.timestamp())
    found = []
    for block in blocks(traffic):
        codes = engine.decide(block.times, block.sources, block.addresses, latency_ms / 1000)
        columns = (block.times, block.sources, block.addresses, codes)
        for at, source, address, code in zip(*(one.tolist() for one in columns), strict=True):
            layer, client = OUTCOMES[code], sources[source][0]
            blocked, busy = layer is Layer.WAF, layer is Layer.CONCURRENCY
            verb, path = METHOD.split()
            found.append(
                line(
                    requestTimeEpoch=str(int((traffic.start.timestamp() + at) * 1000)),
                    sourceIp=f"192.0.2.{address}",
                    apiKeyId="-" if blocked or client is None else KEYS[client],
                    method=verb,
                    path="-" if blocked else path,
                    responseType=_TYPES.get(layer, "THROTTLED") if layer else "-",
                    wafResponseCode="WAF_BLOCK" if blocked else "WAF_ALLOW",
                    integrationStatus="429" if busy else "-" if layer else "200",
                    integrationLatencyMs="-" if layer else str(latency_ms),
                )
            )
    return found


def write(file: Path, lines: Iterable[dict[str, Any]]) -> Path:
    """Write lines as JSON lines."""
    file.write_text("".join(json.dumps(one) + "\n" for one in lines), "utf-8")
    return file


def write_keys(folder: Path) -> Path:
    """Write which client has which key ID."""
    file = folder / "keys.json"
    file.write_text(json.dumps({key: str(client) for client, key in KEYS.items()}), "utf-8")
    return file
