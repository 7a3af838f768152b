"""How AWS throttles a REST API: the limiters, their order, and what a set of limits means.

Pure and deterministic: no AWS, no Pulumi, no I/O, and the clock is handed in as POSIX seconds.
Start with `gate.py`, which is the order of the layers; `limiters.py` has one class a layer;
`choices.py` names every place where AWS's documentation leaves the behaviour open.
"""

from throttling.gate import Client, Gate, Layer, Refusal
from throttling.limits import Limits, Period, Quota, Throttle, UsagePlan, WafRateLimit

__all__ = [
    "Client",
    "Gate",
    "Layer",
    "Limits",
    "Period",
    "Quota",
    "Refusal",
    "Throttle",
    "UsagePlan",
    "WafRateLimit",
]
