"""How AWS throttles a REST API: the limits, their order, and what a set of limits means.

Nothing here calls AWS or Pulumi or reads a clock: times are arguments, in POSIX seconds. Read
`gate.py` first: it has the order of the layers. `limiters.py` has the limit of each layer.
`choices.py` lists every place where AWS's documentation leaves the behaviour open. `simulation`
applies the same rules to millions of requests a second.
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
