"""The order in which AWS asks the layers whether a request may pass.

    WAF rate rule        requests per window from each source address
    API key              the key must belong to a client of a usage plan
    quota                requests per day, week or month with each key
    usage plan           token buckets of each key: for the method, if any, then for all methods
    stage                token buckets of all callers: for the method, if any, then for all methods
    concurrency          requests that the function works on at the same time

The first layer that refuses ends the request: the layers after it do not count it. A refused
request uses no quota, but the tokens that it took from earlier buckets are gone.

After the stage, API Gateway also applies the throttle of the account, which all APIs of a Region
share. The model leaves it out; `review` compares the stage with it.
https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-request-throttling.html

`Gate` decides one request at a time; the sandbox asks it. The simulator must decide millions and
asks `simulation.engine.Engine`, which applies the same rules to arrays.
`tests/throttling/test_engine.py` holds the two equal, verdict for verdict.
"""

from dataclasses import dataclass
from enum import StrEnum
from threading import Lock

from throttling import choices
from throttling.limiters import QuotaCounter, TokenBucket, WafRateRule
from throttling.limits import Limits, Throttle, UsagePlan


class Layer(StrEnum):
    """The layers that can refuse a request, in the order in which they are asked."""

    WAF = "waf"
    API_KEY = "api-key"
    QUOTA = "quota"
    USAGE_PLAN_METHOD = "usage-plan-method"
    USAGE_PLAN = "usage-plan"
    METHOD = "method"
    STAGE = "stage"
    CONCURRENCY = "concurrency"


@dataclass(frozen=True, slots=True)
class Client:
    """The holder of an API key: one client of one usage plan."""

    plan: str
    name: str

    def __str__(self) -> str:
        return f"{self.plan}/{self.name}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request may not pass: the layer, and the plan or method whose limit it was, if any."""

    layer: Layer
    subject: str = ""

    def __str__(self) -> str:
        return f"{self.layer}:{self.subject}" if self.subject else str(self.layer)


class _Key:
    """The quota and the buckets of one API key."""

    def __init__(self, name: str, plan: UsagePlan) -> None:
        self.plan = name
        self.quota = plan.quota and QuotaCounter(plan.quota.limit, plan.quota.period)
        self.methods = {method: TokenBucket(t) for method, t in plan.methods.items()}
        self.bucket = _bucket(plan.throttle)


class Gate:
    """All layers of one stack, with their counts. Several threads may share one.

    A request goes through `screen`, then `admit`; `decide` calls both. An admitted request counts
    as in flight until `release`.
    """

    def __init__(self, limits: Limits, *, waf_lag_seconds: float = choices.WAF_LAG_SECONDS) -> None:
        self._lock = Lock()
        waf = limits.waf
        self._waf = waf and WafRateRule(waf.limit, waf.window_seconds, waf_lag_seconds)
        self._keys = {
            Client(plan_name, client): _Key(plan_name, plan)
            for plan_name, plan in limits.usage_plans.items()
            for client in plan.clients
        }
        self._methods = {method: TokenBucket(t) for method, t in limits.methods.items()}
        self._stage = _bucket(limits.stage)
        self._keyless = limits.keyless
        self._concurrency = limits.concurrency
        self.in_flight = 0
        """Number of admitted requests that were not released."""

    def keep_usage(self, before: "Gate") -> None:
        """Count quotas on from another gate, for each client of both whose period is the same."""
        for client, key in self._keys.items():
            old = before._keys.get(client)
            if key.quota and old and old.quota:
                key.quota.keep_usage(old.quota)

    def quota_left(self, now: float, client: Client) -> int | None:
        """Return how many requests `client` has left in this period; None without a quota."""
        with self._lock:
            quota = self._keys[client].quota
            return quota.left(now) if quota else None

    def decide(
        self, now: float, *, address: str, client: Client | None, method: str
    ) -> Refusal | None:
        """Return which layer refuses a request; None if it is admitted."""
        return self.screen(now, address) or self.admit(now, client, method)

    def screen(self, now: float, address: str) -> Refusal | None:
        """Ask the WAF, which sees every request, with any route or key."""
        with self._lock:
            if self._waf and not self._waf.take(now, address):
                return Refusal(Layer.WAF)
        return None

    def admit(self, now: float, client: Client | None, method: str) -> Refusal | None:
        """Ask the layers after the WAF.

        Args:
            now: POSIX seconds.
            client: holder of the request's API key; None without a key or for an unknown one.
            method: the request's method and path, as `Limits` names it.

        Returns:
            The refusal; None if the request is admitted.
        """
        with self._lock:
            if method in self._keyless:
                return self._take(now, None, method)
            key = self._keys.get(client) if client else None
            if key is None:
                return Refusal(Layer.API_KEY)
            if key.quota and key.quota.left(now) <= 0:
                return Refusal(Layer.QUOTA, key.plan)
            refusal = self._take(now, key, method)
            if key.quota and (refusal is None or choices.REFUSED_REQUESTS_USE_QUOTA):
                key.quota.use()
            return refusal

    def release(self) -> None:
        """End one admitted request."""
        with self._lock:
            self.in_flight -= 1

    def _take(self, now: float, key: _Key | None, method: str) -> Refusal | None:
        """Ask the token buckets and the function's concurrency."""
        plan = key.plan if key else ""
        of_method = self._methods.get(method)
        shared = of_method is None or choices.STAGE_THROTTLE_IS_SHARED
        for bucket, layer, subject in (
            (key and key.methods.get(method), Layer.USAGE_PLAN_METHOD, plan),
            (key and key.bucket, Layer.USAGE_PLAN, plan),
            (of_method, Layer.METHOD, method),
            (self._stage if shared else None, Layer.STAGE, ""),
        ):
            if bucket and not bucket.take(now):
                return Refusal(layer, subject)
        if self._concurrency is not None and self.in_flight >= self._concurrency:
            return Refusal(Layer.CONCURRENCY)
        self.in_flight += 1
        return None


def _bucket(throttle: Throttle | None) -> TokenBucket | None:
    return TokenBucket(throttle) if throttle else None
