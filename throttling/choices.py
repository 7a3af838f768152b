"""Decisions where AWS's documentation leaves the behaviour open, each made once and named.

AWS applies throttles and quotas "on a best-effort basis and should be thought of as targets rather
than guaranteed request ceilings"
(https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-request-throttling.html).
The model is exact instead. Otherwise it follows the documentation, except for the choices below.
"""

from typing import Final

INITIAL_FILL: Final = 1.0
"""Share of its burst that a token bucket holds before its first request.

AWS documents a bucket's capacity and rate, but not its first fill. After burst / rate seconds
without a request a bucket is full in any case.
"""

FUNCTION_RATE_BURST_SECONDS: Final = 1.0
"""Seconds of Lambda's request rate that may arrive at once.

A function takes ten requests per second for each unit of its concurrency
(https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html). AWS does not document how it
measures that rate. The model uses a token bucket.
"""

QUOTA_BEFORE_THROTTLES: Final = True
"""Whether the quota comes before the usage plan's throttles. If not, it comes right after them.

AWS documents the order of the throttles and leaves quotas out. A request that the quota refuses
therefore takes no token here; if the quota came later, it would take one of the plan's.
"""

THROTTLED_REQUESTS_USE_QUOTA: Final = False
"""Whether a request that passes the quota and is refused by a later throttle still uses quota.

Undocumented; the one public observation says that a 429 does not count.
"""

FUNCTION_REFUSALS_USE_QUOTA: Final = True
"""Whether a request that the function's concurrency refuses still uses quota.

API Gateway has accepted and bills such a request, as it does one that fails in the function.
"""

THROTTLED_REQUESTS_TAKE_TOKENS: Final = True
"""Whether a request that a throttle refuses still takes tokens from the buckets before that one.

An example is a request that its usage plan admits and the stage refuses. Undocumented. The buckets
are asked one after the other, and AWS mentions no token that is given back.
"""

QUOTA_DAY_STARTS_AT_UTC_HOUR: Final = 0
"""Hour (UTC) at which a DAY quota is renewed, and also a WEEK or MONTH quota.

AWS documents that a MONTH quota is renewed at the beginning of the month
(https://docs.aws.amazon.com/cli/latest/reference/apigateway/create-usage-plan.html). Most observers
report this hour; two saw a rolling 24 hours instead.
"""

QUOTA_WEEK_STARTS_ON: Final = 6
"""Weekday on which a WEEK quota is renewed: Sunday, where Monday is 0.

Undocumented today; CloudFormation's earlier reference of QuotaSettings named Sunday.
"""

METHOD_THROTTLE_OVERRIDES_STAGE: Final = True
"""Whether requests of a method with its own throttle skip the stage's bucket.

A stage's throttle is a default that the settings of single methods override
(https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-request-throttling.html).
All other methods share one bucket here. Stage limits "are applied at the API method level", which
could also mean one bucket per method. One bucket is stricter: what passes here passes either way.
"""

WAF_COUNTS_BLOCKED_REQUESTS: Final = True
"""Whether requests that the rate rule blocks still count in its window.

The guide says only that the action applies "to additional requests" above the limit
(https://docs.aws.amazon.com/waf/latest/developerguide/waf-rule-statement-type-rate-based-high-level-settings.html).
Earlier editions said "until the request rate falls below the limit": an address that keeps sending
above the limit stays blocked.
"""

WAF_BLOCKS_INVALID_ADDRESSES: Final = True
"""Whether the fallback MATCH blocks each request whose forwarded address is invalid.

AWS's pages differ. One says that the rule's action applies to the request
(https://docs.aws.amazon.com/waf/latest/APIReference/API_ForwardedIPConfig.html), the other that the
rule counts all such requests together, as those of one address
(https://docs.aws.amazon.com/waf/latest/developerguide/waf-rule-statement-type-rate-based-aggregation-options.html).
"""

WAF_LAG_SECONDS: Final = 0.0
"""Seconds after which the rate rule sees a request.

WAF estimates rates about every ten seconds and usually blocks within thirty. The default is what
the setting promises; the simulator and the gate take another lag as an argument.
"""

FUNCTION_FAILURE_RESPONSE: Final = "INTEGRATION_FAILURE"
"""Type of API Gateway's response when the function does not answer.

That is when Lambda throttles the function, when the function crashes or reaches its own timeout,
and when its answer is too large. AWS documents none of it. Access logs that others published have
this type for all of them (https://github.com/DataBiosphere/azul/pull/6624,
https://repost.aws/questions/QUL-z6rJbmR4meafB7MzYXxw); older reports have API_CONFIGURATION_ERROR
for the first. The API answers both the same way. The type for an answer of a wrong form is unknown.
"""

MAX_ADDRESSES: Final = 50_000
"""How many source addresses the gate counts at the same time. This bounds its memory.

WAF blocks at most 10,000 addresses at a time
(https://docs.aws.amazon.com/waf/latest/developerguide/listing-managed-ips.html)
but does not say how many it counts. The simulator counts all.
"""

# The tolerances correct rounding: floating-point seconds are off by a tiny amount, early or late.

TOKEN_TOLERANCE: Final = 1e-6
"""Part of a token that may be missing.

Requests at exactly the bucket's rate arrive at the very moment when their token is complete.
"""

WINDOW_TOLERANCE_SECONDS: Final = 1e-6
"""Seconds by which a request leaves the rate rule's window early.

When an address sends at exactly the limit, each request leaves the window at the very moment when
the next one arrives.
"""

DURATION_TOLERANCE_SECONDS: Final = 1e-6
"""Seconds by which a simulated request ends early.

With 1,000 requests per second of 100 ms at equal distances, each request ends at the very moment
when another arrives: 100 are in flight at a time.
"""
