"""The order in which AWS asks the layers whether a request may pass.

    WAF rate rule        requests per window from each source address
    API key              the key must belong to a client of a usage plan
    quota                requests per day, week or month with each key
    usage plan           token buckets of each key: for the method, if any, then for all methods
    stage                token bucket of all callers: of the method, if any, else of the stage
    concurrency          requests that the function works on at the same time, and its rate

`order` returns this order. The gate, the simulation and the reports all take it from there.

The first layer that refuses ends the request: the layers after it do not count it. A throttled
request gets its quota back, but not the tokens that it took from earlier buckets. A request that
the function refuses uses quota: API Gateway has accepted it. `choices` gives the reasons.

After the stage, API Gateway also applies the throttle of the account, which all APIs of a Region
share. The model leaves it out; `review` compares the stage with it.
https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-request-throttling.html

`Gate` decides one request at a time; the sandbox asks it. The simulator must decide millions and
asks `simulation.engine.Engine`, which applies the same rules to arrays.
`tests/throttling/test_engine.py` checks that both give the same verdicts.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from throttling import choices
from throttling.account import REQUESTS_PER_SECOND_PER_CONCURRENCY
from throttling.limiters import QuotaCounter, TokenBucket, WafRateRule
from throttling.limits import Limits, Quota, Throttle


class Layer(StrEnum):
    """The layers that can refuse a request. `order` returns the order in which they are asked."""

    WAF = "waf"
    API_KEY = "api-key"
    QUOTA = "quota"
    USAGE_PLAN_METHOD = "usage-plan-method"
    USAGE_PLAN = "usage-plan"
    METHOD = "method"
    STAGE = "stage"
    CONCURRENCY = "concurrency"


def order() -> tuple[Layer, ...]:
    """Return the layers in the order in which they are asked."""
    plan = [Layer.USAGE_PLAN_METHOD, Layer.USAGE_PLAN]
    plan.insert(0 if choices.QUOTA_BEFORE_THROTTLES else len(plan), Layer.QUOTA)
    return Layer.WAF, Layer.API_KEY, *plan, Layer.METHOD, Layer.STAGE, Layer.CONCURRENCY


def function_rate(concurrency: int | None) -> Throttle | None:
    """Return the highest rate of requests, however short, that a function takes."""
    if concurrency is None:
        return None
    rate = concurrency * REQUESTS_PER_SECOND_PER_CONCURRENCY
    return Throttle(rate=rate, burst=int(rate * choices.FUNCTION_RATE_BURST_SECONDS))


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


class LimitMet(NamedTuple):
    """A limit that a request meets between its API key and the function."""

    layer: Layer
    limit: Quota | Throttle
    client: Client | None
    """The client that has this limit for itself; None for a limit of all callers."""
    method: str
    """The method that has this limit for itself; empty for a limit of all methods."""

    @property
    def subject(self) -> str:
        """The plan or the method whose limit it is; empty for the stage's."""
        return self.client.plan if self.client else self.method


def met(limits: Limits, client: Client | None, method: str) -> list[LimitMet] | None:
    """Return the limits that a request meets, in order; None if it needs a valid API key.

    Args:
        limits: the stack's limits.
        client: holder of the request's API key; None without a key or for an unknown one.
        method: the request's method and path, as `Limits` names it.
    """
    plan = None
    if method in limits.keyless:
        client = None
    else:
        plan = client and limits.usage_plans.get(client.plan)
        if not (client and plan and client.name in plan.clients):
            return None
    own = limits.methods.get(method)
    overridden = own and choices.METHOD_THROTTLE_OVERRIDES_STAGE
    found: list[tuple[Layer, Quota | Throttle | None, Client | None, str]] = [
        (Layer.METHOD, own, None, method),
        (Layer.STAGE, None if overridden else limits.stage, None, ""),
    ]
    if plan:
        found += [
            (Layer.QUOTA, plan.quota, client, ""),
            (Layer.USAGE_PLAN_METHOD, plan.methods.get(method), client, method),
            (Layer.USAGE_PLAN, plan.throttle, client, ""),
        ]
    given = [LimitMet(layer, limit, holder, of) for layer, limit, holder, of in found if limit]
    return sorted(given, key=lambda one: order().index(one.layer))


class Gate:
    """All layers of one stack, with their counts.

    A request goes through `screen`, then `admit`; `decide` calls both. An admitted request counts
    as in flight until `release`.
    """

    def __init__(self, limits: Limits, *, waf_lag_seconds: float = choices.WAF_LAG_SECONDS) -> None:
        self._limits = limits
        waf = limits.waf
        self._waf = waf and WafRateRule(waf.limit, waf.window_seconds, waf_lag_seconds)
        self._quotas: dict[Client | None, QuotaCounter] = {
            Client(name, client): QuotaCounter(plan.quota.limit, plan.quota.period)
            for name, plan in limits.usage_plans.items()
            for client in plan.clients
            if plan.quota
        }
        self._buckets: dict[LimitMet, TokenBucket] = {}
        self._paths: dict[tuple[Client | None, str], _Path | None] = {}
        rate = function_rate(limits.concurrency)
        self._function = rate and TokenBucket(rate)
        self.in_flight = 0
        """Number of admitted requests that were not released."""

    def keep_usage(self, before: "Gate") -> None:
        """Take over the quota counts of an older gate, for clients of both with the same period."""
        for client, quota in self._quotas.items():
            if old := before._quotas.get(client):
                quota.keep_usage(old)

    def quota_left(self, now: float, client: Client) -> int | None:
        """Return how many requests `client` has left in this period; None without a quota."""
        quota = self._quotas.get(client)
        return quota.left(now) if quota else None

    def left(self, now: float, client: Client | None, method: str) -> dict[LimitMet, float]:
        """Return what is left of each limit that a request meets: tokens, or requests."""
        left = {one: limiter.left(now) for one, limiter in self._path(client, method) or ()}
        if self._function and (rate := function_rate(self._limits.concurrency)):
            left[LimitMet(Layer.CONCURRENCY, rate, None, "")] = self._function.left(now)
        return left

    def decide(
        self, now: float, *, address: str, client: Client | None, method: str
    ) -> Refusal | None:
        """Return which layer refuses a request; None if it is admitted."""
        return self.screen(now, address) or self.admit(now, client, method)

    def screen(self, now: float, address: str) -> Refusal | None:
        """Ask the WAF, which sees every request, with any route or key."""
        if self._waf and not self._waf.take(now, address):
            return Refusal(Layer.WAF)
        return None

    def admit(self, now: float, client: Client | None, method: str) -> Refusal | None:
        """Ask the layers after the WAF; see `met`. Return the refusal; None if it is admitted."""
        path = self._path(client, method)
        if path is None:
            return Refusal(Layer.API_KEY)
        for step, (one, limiter) in enumerate(path):
            if not limiter.take(now):
                for passed, taken in path[:step]:
                    used = choices.THROTTLED_REQUESTS_TAKE_TOKENS
                    if passed.layer is Layer.QUOTA:
                        used = choices.THROTTLED_REQUESTS_USE_QUOTA
                    if not used:
                        taken.give_back()
                return Refusal(one.layer, one.subject)
        concurrency = self._limits.concurrency
        busy = concurrency is not None and self.in_flight >= concurrency
        if busy or (self._function and not self._function.take(now)):
            for one, limiter in path:
                if one.layer is Layer.QUOTA and not choices.FUNCTION_REFUSALS_USE_QUOTA:
                    limiter.give_back()
            return Refusal(Layer.CONCURRENCY)
        self.in_flight += 1
        return None

    def release(self) -> None:
        """End one admitted request."""
        self.in_flight -= 1

    def _path(self, client: Client | None, method: str) -> "_Path | None":
        """Return the limits that `met` returns, each with its limiter."""
        if (client, method) not in self._paths:
            path = met(self._limits, client, method)
            self._paths[client, method] = (
                None if path is None else [(one, self._limiter(one)) for one in path]
            )
        return self._paths[client, method]

    def _limiter(self, one: LimitMet) -> QuotaCounter | TokenBucket:
        if isinstance(one.limit, Quota):
            return self._quotas[one.client]
        return self._buckets.setdefault(one, TokenBucket(one.limit))


_Path = list[tuple[LimitMet, QuotaCounter | TokenBucket]]
