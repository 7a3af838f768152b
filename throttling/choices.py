"""What AWS leaves undocumented, decided once, by name.

AWS says that throttles and quotas are applied "on a best-effort basis and should be thought of as
targets rather than guaranteed request ceilings"
(https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-request-throttling.html).
The model is exact where AWS is not, so these choices are the whole of its distance from the
documented behaviour.
"""

from typing import Final

INITIAL_FILL: Final = 1.0
"""Share of its burst a token bucket holds before its first request.

The documentation gives the bucket's capacity and its rate, not its first fill. A bucket idle for
burst / rate seconds is full whatever it started with.
"""

TOKEN_TOLERANCE: Final = 1e-6
"""Tokens that may be missing from a whole one.

Rounding, not policy: requests that arrive at exactly the rate are due at the very instant their
token is whole, and floating-point seconds put them a hair before it as often as after it.
"""

REFUSED_REQUESTS_USE_QUOTA: Final = False
"""Whether a request that any layer refuses counts against its key's quota.

Undocumented; the one public observation says that a 429 does not.
"""

QUOTA_DAY_STARTS_AT_UTC_HOUR: Final = 0
"""Hour (UTC) at which a DAY quota, and so a WEEK or a MONTH, begins anew.

The first day of a MONTH is documented; the hour is what most observers report (two saw a rolling
24 hours instead).
"""

QUOTA_WEEK_STARTS_ON: Final = 6
"""Weekday on which a WEEK quota begins anew, Monday being 0: Sunday.

Undocumented today; earlier API references said that a WEEK begins on Sunday.
"""

STAGE_THROTTLE_IS_SHARED: Final = True
"""Whether the stage's throttle is one bucket for all its methods, behind each method's own.

The developer guide says that stage limits "are applied at the API method level", which reads as
one bucket a method. With one method the two are the same; with several, one shared bucket is the
stricter reading, so a limit that holds here holds there too.
"""

WAF_COUNTS_BLOCKED_REQUESTS: Final = True
"""Whether requests that the rate rule blocks still count toward its window.

WAF limits the rate of requests that it sees, and blocking lasts "until the rate falls below the
limit": an address that keeps sending above the limit stays blocked
(https://docs.aws.amazon.com/waf/latest/developerguide/waf-rule-statement-type-rate-based-high-level-settings.html).
"""

WINDOW_TOLERANCE_SECONDS: Final = 1e-6
"""Seconds by which a request leaves the rate rule's window before its time.

Rounding again: an address that sends at exactly the limit has each request leave the window at the
very instant the next one arrives.
"""

DURATION_TOLERANCE_SECONDS: Final = 1e-6
"""Seconds by which a simulated request ends before its time is up.

Rounding again: 1,000 even requests per second of 100 ms are 100 at a time, although floating-point
seconds put half of the ends a hair after the arrivals that they make room for.
"""

WAF_LAG_SECONDS: Final = 0.0
"""Seconds by which the rate rule's view of an address is behind the requests.

WAF re-estimates rates about every ten seconds and blocks usually within thirty. The default is the
promise of the setting, not the lag; whoever simulates can set the lag.
"""

MAX_ADDRESSES: Final = 50_000
"""Source addresses whose requests the rate rule counts at the same time.

WAF limits at most 10,000 addresses at a time
(https://docs.aws.amazon.com/waf/latest/developerguide/listing-managed-ips.html);
how many it counts is its own affair. Here they are memory.
"""
