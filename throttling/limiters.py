"""One class a kind of limit. Each is told the time (POSIX seconds) and never looks at a clock.

None of them trusts the clock to go forwards. After a step back time stands still for them until the
clock has caught up: nothing is refilled, nothing is forgotten, and no moment counts twice.
"""

from collections import deque
from datetime import UTC, datetime, timedelta

from throttling import choices
from throttling.limits import Period, Throttle


class TokenBucket:
    """API Gateway's throttle. In any interval of t seconds it admits at most burst + rate x t.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-request-throttling.html
    """

    __slots__ = ("_burst", "_rate", "_tokens", "_updated")

    def __init__(self, throttle: Throttle) -> None:
        self._rate = throttle.rate
        self._burst = float(throttle.burst)
        self._tokens = self._burst * choices.INITIAL_FILL
        self._updated: float | None = None

    def tokens(self, now: float) -> float:
        """How many tokens the bucket holds at `now`."""
        elapsed = 0.0 if self._updated is None else max(0.0, now - self._updated)
        return min(self._burst, self._tokens + elapsed * self._rate)

    def take(self, now: float) -> bool:
        """Take one token; False, and nothing taken, when there is no whole one."""
        self._tokens = self.tokens(now)
        if self._updated is None or now > self._updated:
            self._updated = now
        if self._tokens < 1 - choices.TOKEN_TOLERANCE:
            return False
        self._tokens = max(0.0, self._tokens - 1)
        return True


class RateWindow:
    """WAF's rate-based rule for one aggregation key, as a window that slides with each request.

    A request passes while fewer than `limit` requests were seen in the `window_seconds` before it.
    With a lag, the rule sees each request only `lag_seconds` later, and judges by what it sees.
    https://docs.aws.amazon.com/waf/latest/developerguide/waf-rule-statement-type-rate-based.html
    """

    __slots__ = ("_lag_seconds", "_seen", "_unseen", "_window_seconds", "last_counted")

    def __init__(self, limit: int, window_seconds: float, lag_seconds: float = 0.0) -> None:
        self._window_seconds = window_seconds - choices.WINDOW_TOLERANCE_SECONDS
        self._lag_seconds = lag_seconds
        self._unseen: deque[float] = deque()
        # Only the newest `limit` matter: the window is full exactly while the oldest is inside it.
        self._seen: deque[float] = deque(maxlen=limit)
        self.last_counted = float("-inf")

    def take(self, now: float) -> bool:
        """Count one request, and say whether it passes."""
        # Times in the window must not decrease, or a clock's step back would hide its requests.
        now = max(now, self.last_counted)
        view = now - self._lag_seconds
        seen, unseen = self._seen, self._unseen
        while unseen and unseen[0] <= view:
            seen.append(unseen.popleft())
        passes = len(seen) < (seen.maxlen or 0) or seen[0] <= view - self._window_seconds
        if passes or choices.WAF_COUNTS_BLOCKED_REQUESTS:
            unseen.append(now)
            self.last_counted = now
        return passes


class WafRateRule:
    """The rate windows of all source addresses, keeping only those that still matter.

    Of more than `choices.MAX_ADDRESSES`, the ones seen longest ago are forgotten.
    """

    def __init__(self, limit: int, window_seconds: float, lag_seconds: float = 0.0) -> None:
        self._limit = limit
        self._window_seconds = window_seconds
        self._lag_seconds = lag_seconds
        self._windows: dict[str, RateWindow] = {}
        self._next_sweep = float("-inf")

    @property
    def addresses(self) -> int:
        """How many addresses are being counted."""
        return len(self._windows)

    def take(self, now: float, address: str) -> bool:
        """Count one request of `address`, and say whether it passes."""
        window = self._windows.get(address)
        if window is None:
            if now >= self._next_sweep or len(self._windows) >= choices.MAX_ADDRESSES:
                self._sweep(now)
            window = RateWindow(self._limit, self._window_seconds, self._lag_seconds)
            self._windows[address] = window
        return window.take(now)

    def _sweep(self, now: float) -> None:
        """Forget addresses whose window has passed: a flood of addresses must not fill memory."""
        expired = now - self._lag_seconds - self._window_seconds
        kept = [(a, w) for a, w in self._windows.items() if w.last_counted > expired]
        if len(kept) >= choices.MAX_ADDRESSES:
            # Half of them at once, so that not each further address brings another sweep.
            kept.sort(key=lambda entry: entry[1].last_counted)
            kept = kept[len(kept) // 2 :]
        self._windows = dict(kept)
        self._next_sweep = now + self._window_seconds


def period_start(period: Period, now: float) -> datetime:
    """When the quota period that contains `now` began (UTC)."""
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
    """When the quota period that contains `now` ends, and the next begins (UTC)."""
    start = period_start(period, now)
    # 31 days and a bit after a month's start is always inside the next month.
    step = {Period.DAY: 1, Period.WEEK: 7, Period.MONTH: 31}[period]
    return period_start(period, (start + timedelta(days=step, hours=1)).timestamp())


class QuotaCounter:
    """A usage plan's quota for one API key: exactly `limit` requests a calendar period.

    https://docs.aws.amazon.com/apigateway/latest/api/API_QuotaSettings.html
    """

    __slots__ = ("_ends", "_limit", "_period", "_used")

    def __init__(self, limit: int, period: Period) -> None:
        self._limit = limit
        self._period = period
        self._used = 0
        self._ends = float("-inf")

    def left(self, now: float) -> int:
        """Requests left in the period that contains `now`."""
        if now >= self._ends:
            self._used = 0
            self._ends = period_end(self._period, now).timestamp()
        return self._limit - self._used

    def use(self) -> None:
        """Count one request against the period that `left` last looked at."""
        self._used += 1


class ConcurrencyLimit:
    """Lambda's reserved concurrency: requests in flight, whatever their rate.

    https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html
    """

    __slots__ = ("_limit", "in_flight")

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self.in_flight = 0

    def take(self) -> bool:
        """Begin one request; False when `limit` are in flight."""
        if self._limit is not None and self.in_flight >= self._limit:
            return False
        self.in_flight += 1
        return True

    def release(self) -> None:
        """End one request that `take` began."""
        self.in_flight -= 1
