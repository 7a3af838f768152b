"""One run: traffic through the layers of one stack, and what became of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np

from throttling import choices
from throttling.gate import Client, Layer
from throttling.limits import Limits
from throttling.simulation.aggregated import AggregatedEngine
from throttling.simulation.arrivals import Ints, blocks
from throttling.simulation.exact import OUTCOMES, ExactEngine
from throttling.simulation.tally import Tally
from throttling.simulation.traffic import METHOD, Traffic

_AGGREGATED_INTERVAL_SECONDS: Final = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ClientResult:
    """What became of one client's requests."""

    client: Client | None
    """None for requests without a valid API key."""
    sent: int
    admitted: int
    refused: Mapping[Layer, int]
    """By each layer that refused any, in the order of the layers."""
    first_refused: Mapping[Layer, float]
    """Seconds after the start at which each of them first did."""
    quota_left: int | None
    """Requests left when the run ends; None without a quota."""
    quota_renewed: datetime | None = None
    """When the quota then begins anew (UTC)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What became of all requests of one run."""

    limits: Limits
    traffic: Traffic
    duration_seconds: float
    """How long the function worked on each admitted request."""
    waf_lag_seconds: float
    clients: tuple[ClientResult, ...]
    """In the order of the traffic."""
    interval_seconds: float
    timeline: Ints
    """Requests by interval, client, and outcome in the order of `OUTCOMES`."""
    peak_concurrency: int
    share_by_request: float | None
    """Share of the seconds that the aggregated mode decided request by request; None if exact."""

    @property
    def total(self) -> ClientResult:
        """All clients together."""
        refused = {
            layer: sum(client.refused.get(layer, 0) for client in self.clients)
            for layer in Layer
            if any(layer in client.refused for client in self.clients)
        }
        first = {
            layer: min(c.first_refused[layer] for c in self.clients if layer in c.first_refused)
            for layer in refused
        }
        return ClientResult(
            client=None,
            sent=sum(client.sent for client in self.clients),
            admitted=sum(client.admitted for client in self.clients),
            refused=refused,
            first_refused=first,
            quota_left=None,
        )


def simulate(
    limits: Limits,
    traffic: Traffic,
    *,
    duration_seconds: float,
    waf_lag_seconds: float = choices.WAF_LAG_SECONDS,
    aggregated: bool = False,
    progress: Callable[[float], None] = lambda _: None,
) -> Result:
    """Send `traffic` through the layers of `limits`.

    Args:
        limits: of the stack.
        traffic: all requests.
        duration_seconds: how long the function works on each admitted request. With independent
            arrivals, only the average duration matters for who finds the function busy (Erlang's
            loss formula), so that a fixed one stands for any.
        waf_lag_seconds: how far the WAF's view is behind the requests.
        aggregated: second by second where possible, for long horizons; see `aggregated.py`.
        progress: told the second that was reached, now and then.
    """
    engine = ExactEngine(
        limits,
        [(client, METHOD) for client in traffic.clients],
        duration_seconds=duration_seconds,
        waf_lag_seconds=waf_lag_seconds,
        epoch=traffic.start.timestamp(),
    )
    share_by_request = None
    if aggregated:
        tally = Tally(traffic, shortest_interval_seconds=_AGGREGATED_INTERVAL_SECONDS)
        run = AggregatedEngine(limits, traffic, engine, tally, waf_lag_seconds)
        run.run(progress)
        share_by_request = run.seconds_by_request / max(run.seconds, 1)
    else:
        tally = Tally(traffic)
        for end, block in blocks(traffic):
            tally.add_requests(block, engine.decide(block.times, block.clients, block.addresses))
            progress(end)
    engine.renew_quotas(np.nextafter(traffic.seconds, 0.0))
    totals = tally.counts.sum(axis=0)
    return Result(
        limits=limits,
        traffic=traffic,
        duration_seconds=duration_seconds,
        waf_lag_seconds=waf_lag_seconds,
        clients=tuple(
            _client_result(client, totals[index], tally.first[index].tolist(), engine)
            for index, client in enumerate(traffic.clients)
        ),
        interval_seconds=tally.interval_seconds,
        timeline=tally.counts,
        peak_concurrency=engine.peak_in_flight,
        share_by_request=share_by_request,
    )


def _client_result(
    client: Client | None, counts: Ints, first: list[float], engine: ExactEngine
) -> ClientResult:
    refused = {
        layer: int(number)
        for layer, number in zip(OUTCOMES, counts, strict=True)
        if layer and number
    }
    return ClientResult(
        client=client,
        sent=int(counts.sum()),
        admitted=int(counts[0]),
        refused=refused,
        first_refused={layer: first[OUTCOMES.index(layer)] for layer in refused},
        quota_left=engine.quota_left(client) if client else None,
        quota_renewed=engine.quota_renewed(client) if client else None,
    )
