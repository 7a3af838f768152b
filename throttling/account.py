"""Quotas of an AWS account that the limits of a stack must respect."""

from typing import Final

from throttling.limits import Throttle

# https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
ACCOUNT_THROTTLE: Final = Throttle(rate=10_000, burst=5_000)
"""Default for all REST, HTTP and WebSocket APIs of one account in one Region together."""
SMALL_REGION_THROTTLE: Final = Throttle(rate=2_500, burst=1_250)
"""The same in `SMALL_REGIONS`."""
SMALL_REGIONS: Final = frozenset(
    {
        "af-south-1",  # Cape Town
        "ap-south-2",  # Hyderabad
        "ap-southeast-3",  # Jakarta
        "ap-southeast-4",  # Melbourne
        "ap-southeast-5",  # Malaysia
        "ap-southeast-7",  # Thailand
        "ca-west-1",  # Calgary
        "eu-central-2",  # Zurich
        "eu-south-1",  # Milan
        "eu-south-2",  # Spain
        "il-central-1",  # Tel Aviv
        "me-central-1",  # UAE
        "mx-central-1",  # Mexico Central
    }
)


def default_throttle(region: str | None) -> Throttle:
    """Return the default throttle of an account in a Region; of a large one if it is not known."""
    return SMALL_REGION_THROTTLE if region in SMALL_REGIONS else ACCOUNT_THROTTLE


MAX_USAGE_PLANS: Final = 300
"""Per account and Region. AWS raises it on request."""
MAX_API_KEYS: Final = 10_000
"""Per account and Region. AWS does not raise it."""
MAX_QUOTA: Final = 2**31 - 1
"""Requests per period: API Gateway stores a quota as a 32-bit integer.

https://docs.aws.amazon.com/apigateway/latest/api/API_QuotaSettings.html
"""
MAX_INTEGRATION_SECONDS: Final = 29
"""How long API Gateway waits for a function."""

REQUESTS_PER_SECOND_PER_CONCURRENCY: Final = 10
"""A function answers at most ten times its concurrency in requests per second.

https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html
"""

# https://docs.aws.amazon.com/waf/latest/developerguide/aws-waf-capacity-units.html
WCU_BEFORE_EXTRA_COST: Final = 1_500
MAX_WCU: Final = 5_000
"""Capacity units that one web ACL may use."""
