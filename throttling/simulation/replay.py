"""Requests that were really sent, decided again by the model: what should have become of them."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from throttling import choices
from throttling.gate import Client, Layer
from throttling.limits import Limits
from throttling.simulation.exact import OUTCOMES, ExactEngine
from throttling.simulation.traffic import METHOD


class Request(NamedTuple):
    """One request as it was sent."""

    time: float
    """POSIX seconds."""
    address: str
    client: Client | None
    """None for a request without a valid API key."""


def replay(
    limits: Limits,
    requests: Iterable[Request],
    *,
    duration_seconds: float,
    waf_lag_seconds: float = choices.WAF_LAG_SECONDS,
) -> Counter[Layer | None]:
    """How many requests each layer refuses, and, under None, how many are admitted.

    Args:
        limits: of the stack.
        requests: in any order.
        duration_seconds: how long the function works on each admitted request.
        waf_lag_seconds: how far the WAF's view is behind the requests.
    """
    ordered = sorted(requests, key=lambda request: request.time)
    if not ordered:
        return Counter()
    clients = list(dict.fromkeys(request.client for request in ordered))
    addresses = list(dict.fromkeys(request.address for request in ordered))
    client_index = {client: index for index, client in enumerate(clients)}
    address_index = {address: index for index, address in enumerate(addresses)}
    # Small numbers keep the fractions of a second that POSIX seconds would round away.
    epoch = ordered[0].time
    engine = ExactEngine(
        limits,
        [(client, METHOD) for client in clients],
        duration_seconds=duration_seconds,
        waf_lag_seconds=waf_lag_seconds,
        epoch=epoch,
    )
    codes = engine.decide(
        np.array([request.time - epoch for request in ordered]),
        np.array([client_index[request.client] for request in ordered]),
        np.array([address_index[request.address] for request in ordered]),
    )
    return Counter(OUTCOMES[code] for code in codes.tolist())
