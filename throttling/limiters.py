"""One class for each kind of limit.

Each gets the time as an argument (POSIX seconds) and never reads a clock. When a clock is set back,
a limiter acts as if time stood still until the clock has caught up. This
lets no additional request pass.
"""

from collections import OrderedDict, deque
from datetime import UTC, datetime, timedelta
from itertools import islice

from throttling import choices
from throttling.limits import Period, Throttle


class TokenBucket:
    """API Gateway's throttle. It admits at most burst + rate x t requests in any t seconds.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-request-throttling.html
    """

    __slots__ = ("_burst", "_rate", "_tokens", "_updated")

    def __init__(self, throttle: Throttle) -> None:
        self._rate = throttle.rate
        self._burst = float(throttle.burst)
        self._tokens = self._burst * choices.INITIAL_FILL
        self._updated: float | None = None

    def take(self, now: float) -> bool:
        """Take one token. Return False, and take nothing, if there is no whole one."""
        self._tokens = self.left(now)
        self._updated = now if self._updated is None else max(now, self._updated)
        if self._tokens < 1 - choices.TOKEN_TOLERANCE:
            return False
        self._tokens -= 1
        return True

    def left(self, now: float) -> float:
        """Return how many tokens there are."""
        if self._updated is None or now <= self._updated:
            return self._tokens
        return min(self._burst, self._tokens + (now - self._updated) * self._rate)

    def give_back(self) -> None:
        """Put the last token back."""
        self._tokens += 1


class RateWindow:
    """WAF's rate-based rule for one address: a window of time that ends at each request.

    A request passes if the rule has seen fewer than `limit` requests in the `window_seconds` before
    it. With a lag, the rule sees each request `lag_seconds` after it was sent, and its window ends
    that much earlier.
    https://docs.aws.amazon.com/waf/latest/developerguide/waf-rule-statement-type-rate-based.html
    """

    __slots__ = ("_lag_seconds", "_limit", "_seen", "_unseen", "_window_seconds", "latest")

    def __init__(self, limit: int, window_seconds: float, lag_seconds: float = 0.0) -> None:
        self._limit = limit
        self._window_seconds = window_seconds - choices.WINDOW_TOLERANCE_SECONDS
        self._lag_seconds = lag_seconds
        self._unseen: deque[float] = deque()
        # Whether the window holds `limit` requests depends on the newest `limit` only.
        self._seen: deque[float] = deque(maxlen=limit)
        self.latest = float("-inf")
        """When the latest request was sent."""

    def take(self, now: float) -> bool:
        """Count one request. Return whether it passes."""
        self.latest = now = max(now, self.latest)
        passes = self.count(now) < self._limit
        if passes or choices.WAF_COUNTS_BLOCKED_REQUESTS:
            self._unseen.append(now)
        return passes

    def count(self, now: float) -> int:
        """Return how many requests are in the window. It keeps, and counts, at most `limit`.

        `now` must not be before the last time.
        """
        window_end = now - self._lag_seconds
        while self._unseen and self._unseen[0] <= window_end:
            self._seen.append(self._unseen.popleft())
        while self._seen and self._seen[0] <= window_end - self._window_seconds:
            self._seen.popleft()
        return len(self._seen)


class WafRateRule:
    """The rate windows of all source addresses.

    It forgets an address when all its requests have left the window. When there are more than
    `choices.MAX_ADDRESSES`, it forgets the address that it has not seen for the longest time.
    """

    def __init__(self, limit: int, window_seconds: float, lag_seconds: float = 0.0) -> None:
        self._window = limit, window_seconds, lag_seconds
        self._kept_seconds = window_seconds + lag_seconds
        self._windows: OrderedDict[str, RateWindow] = OrderedDict()
        """By address, in the order of their latest requests."""

    @property
    def addresses(self) -> int:
        """Number of addresses that are counted."""
        return len(self._windows)

    def take(self, now: float, address: str) -> bool:
        """Count one request of `address`. Return whether it passes."""
        if address in self._windows:
            self._windows.move_to_end(address)
        else:
            self._forget(now)
            self._windows[address] = RateWindow(*self._window)
        return self._windows[address].take(now)

    def counts(self, now: float, most: int) -> dict[str, int]:
        """Return how many requests are in the windows of the newest addresses."""
        newest = islice(reversed(self._windows.items()), most)
        return {address: window.count(max(now, window.latest)) for address, window in newest}

    def _forget(self, now: float) -> None:
        """Make room for one address."""
        while self._windows:
            address, oldest = next(iter(self._windows.items()))
            expired = oldest.latest <= now - self._kept_seconds
            if not expired and len(self._windows) < choices.MAX_ADDRESSES:
                return
            del self._windows[address]


def period_start(period: Period, now: float) -> datetime:
    """Return when the quota period that contains `now` began (UTC)."""
    offset = timedelta(hours=choices.QUOTA_DAY_STARTS_AT_UTC_HOUR)
    moment = datetime.fromtimestamp(now, UTC) - offset
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    match period:
        case Period.DAY:
            start = day
        case Period.WEEK:
            start = day - timedelta(days=(day.weekday() - choices.QUOTA_WEEK_STARTS_ON) % 7)
        case Period.MONTH:
            start = day.replace(day=1)
    return start + offset


def period_end(period: Period, now: float) -> datetime:
    """Return when the quota period that contains `now` ends and the next one begins (UTC)."""
    # From the start of a period, each of these steps leads into the next period.
    step = {Period.DAY: 1, Period.WEEK: 7, Period.MONTH: 31}[period]
    return period_start(period, (period_start(period, now) + timedelta(days=step)).timestamp())


class QuotaCounter:
    """A usage plan's quota for one API key: exactly `limit` requests per calendar period.

    https://docs.aws.amazon.com/apigateway/latest/api/API_QuotaSettings.html
    """

    __slots__ = ("_ends", "_limit", "_period", "_used")

    def __init__(self, limit: int, period: Period) -> None:
        self._limit = limit
        self._period = period
        self._used = 0
        self._ends = float("-inf")

    def left(self, now: float) -> int:
        """Return how many requests are left in the period that contains `now`."""
        if now >= self._ends:
            self._used = 0
            self._ends = period_end(self._period, now).timestamp()
        return self._limit - self._used

    def keep_usage(self, before: "QuotaCounter") -> None:
        """Take over the count of an older counter, if its period is the same."""
        if before._period is self._period:
            self._used, self._ends = before._used, before._ends

    def take(self, now: float) -> bool:
        """Count one request. Return False, and count nothing, if none is left."""
        if self.left(now) <= 0:
            return False
        self._used += 1
        return True

    def give_back(self) -> None:
        """Take the last request out of the count."""
        self._used -= 1
