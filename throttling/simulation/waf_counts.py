"""The WAF's rate rule over numbers of requests per second, for all addresses at once."""

import numpy as np

from throttling.limits import WafRateLimit
from throttling.simulation.arrivals import Floats, Ints


class WafCounts:
    """The rate windows of all addresses, as if each second's requests were spread evenly over it.

    Blocked requests count, as `choices.WAF_COUNTS_BLOCKED_REQUESTS` has it.
    """

    def __init__(self, rule: WafRateLimit, lag_seconds: float, addresses: int) -> None:
        self._window = rule.window_seconds
        # A request is not in the window before it; what the rule sees later, it sees in whole
        # requests, which are half a request more than an even spread on average.
        self._limit = rule.limit - 0.5 if lag_seconds else rule.limit
        self._lag = lag_seconds
        # The window's far edge, and one second more for the lag's fraction.
        self._kept = int(np.ceil(rule.window_seconds + lag_seconds)) + 1
        self._history: Ints = np.zeros((self._kept, addresses), np.int64)

    def shares(self, sent: Ints) -> tuple[Floats, Floats]:
        """How much of each second passes, by second and address, and after how long none does.

        Args:
            sent: requests by second and address, of the seconds that follow those of the last
                call.
        """
        known = np.concatenate([self._history, sent])
        self._history = known[len(sent) :]
        total = np.concatenate([np.zeros((1, sent.shape[1]), np.int64), np.cumsum(known, axis=0)])
        view = np.arange(self._kept, len(total), dtype=np.float64) - self._lag
        # What the rule sees in its window, at the start of each second and at the last one's end.
        seen = _between(total, view) - _between(total, view - self._window)
        limit, before, after = self._limit, seen[:-1], seen[1:]
        gap = after - before
        crossing = np.divide(limit - before, gap, out=np.zeros_like(gap), where=gap != 0)
        rising = (before <= limit) & (after > limit)
        falling = (before > limit) & (after <= limit)
        share = np.where(before <= limit, 1.0, 0.0)
        share = np.where(rising, crossing, np.where(falling, 1 - crossing, share))
        return share, np.where(rising, crossing, 0.0)


def _between(total: Ints, rows: Floats) -> Floats:
    """`total` at each of `rows`, on the straight line between two whole ones."""
    whole = np.floor(rows).astype(np.int64)
    part = (rows - whole)[:, np.newaxis]
    if not part.any():
        return total[whole].astype(float)
    return total[whole] * (1 - part) + total[whole + 1] * part
