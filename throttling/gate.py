"""The order in which AWS asks: who may not pass, and which layer says so.

    WAF rate rule        requests per window, for each source address
    API key              no key, or one that no plan of this stage knows
    quota                requests per day, week or month, for each key
    usage plan           token bucket for each key, of the method if the plan has one, then its own
    stage                token bucket of the method if the stage has one, then of the whole stage
    concurrency          requests that the function works on at the same time

A refused request takes nothing from the layers behind the one that refused it, and no quota. The
limits of the account, which all APIs of a Region share, come after the stage's; the model leaves
them out, and `review` compares the stage with them.
https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-request-throttling.html
"""

from dataclasses import dataclass
from enum import StrEnum
from threading import Lock

from throttling import choices
from throttling.limiters import ConcurrencyLimit, QuotaCounter, TokenBucket, WafRateRule
from throttling.limits import Limits, Throttle, UsagePlan


class Layer(StrEnum):
    """The layers that may refuse a request, in the order in which they are asked."""

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
    """Who holds an API key: one client of one usage plan."""

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


class _ClientState:
    """The buckets and the quota of one API key."""

    __slots__ = ("bucket", "methods", "quota")

    def __init__(self, plan: UsagePlan) -> None:
        self.bucket = _bucket(plan.throttle)
        self.methods = {method: TokenBucket(t) for method, t in plan.methods.items()}
        self.quota = plan.quota and QuotaCounter(plan.quota.limit, plan.quota.period)

    def refusal(self, now: float, plan: str, method: str) -> Refusal | None:
        """Pass one request through the key's buckets."""
        bucket = self.methods.get(method)
        if bucket and not bucket.take(now):
            return Refusal(Layer.USAGE_PLAN_METHOD, plan)
        if self.bucket and not self.bucket.take(now):
            return Refusal(Layer.USAGE_PLAN, plan)
        return None


class Gate:
    """All layers of one stack, with their counts. Safe to share between threads.

    A request goes through `screen`, then `admit`; `decide` is both. Whoever was admitted holds a
    unit of the function's concurrency until `release`.
    """

    def __init__(self, limits: Limits, *, waf_lag_seconds: float = choices.WAF_LAG_SECONDS) -> None:
        self._lock = Lock()
        waf = limits.waf
        self._waf = waf and WafRateRule(waf.limit, waf.window_seconds, waf_lag_seconds)
        self._clients = {
            Client(plan_name, client): _ClientState(plan)
            for plan_name, plan in limits.usage_plans.items()
            for client in plan.clients
        }
        self._methods = {method: TokenBucket(t) for method, t in limits.methods.items()}
        self._stage = _bucket(limits.stage)
        self._concurrency = ConcurrencyLimit(limits.concurrency)

    @property
    def in_flight(self) -> int:
        """Admitted requests that were not yet released."""
        return self._concurrency.in_flight

    def quota_left(self, now: float, client: Client) -> int | None:
        """Requests that `client` may still make in this period; None without a quota."""
        with self._lock:
            quota = self._clients[client].quota
            return quota.left(now) if quota else None

    def decide(
        self, now: float, *, address: str, client: Client | None, method: str
    ) -> Refusal | None:
        """Pass one request through every layer; None when it is admitted."""
        return self.screen(now, address) or self.admit(now, client, method)

    def screen(self, now: float, address: str) -> Refusal | None:
        """The layer at the edge, which sees every request, whatever its route or key."""
        with self._lock:
            if self._waf and not self._waf.take(now, address):
                return Refusal(Layer.WAF)
        return None

    def admit(
        self, now: float, client: Client | None, method: str, *, key_required: bool = True
    ) -> Refusal | None:
        """The layers behind the edge; None when the request is admitted.

        Args:
            now: POSIX seconds.
            client: whose key the request carries; None for no key or an unknown one.
            method: such as "POST /data".
            key_required: a method that needs no key does not count toward a plan's limits.
        """
        with self._lock:
            if not key_required:
                return self._behind_key(now, method)
            state = self._clients.get(client) if client else None
            if client is None or state is None:
                return Refusal(Layer.API_KEY)
            quota = state.quota
            if quota and quota.left(now) <= 0:
                return Refusal(Layer.QUOTA, client.plan)
            refusal = state.refusal(now, client.plan, method) or self._behind_key(now, method)
            if quota and (refusal is None or choices.REFUSED_REQUESTS_USE_QUOTA):
                quota.use()
            return refusal

    def _behind_key(self, now: float, method: str) -> Refusal | None:
        """The layers that all clients share."""
        bucket = self._methods.get(method)
        if bucket and not bucket.take(now):
            return Refusal(Layer.METHOD, method)
        asked = bucket is None or choices.STAGE_THROTTLE_IS_SHARED
        if asked and self._stage and not self._stage.take(now):
            return Refusal(Layer.STAGE)
        if not self._concurrency.take():
            return Refusal(Layer.CONCURRENCY)
        return None

    def release(self) -> None:
        """End one admitted request."""
        with self._lock:
            self._concurrency.release()


def _bucket(throttle: Throttle | None) -> TokenBucket | None:
    return TokenBucket(throttle) if throttle else None
