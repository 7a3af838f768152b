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
`tests/throttling/test_engine.py` holds the two equal, verdict for verdict.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock
from typing import Final

from throttling import choices
from throttling.account import REQUESTS_PER_SECOND_PER_CONCURRENCY
from throttling.limiters import QuotaCounter, TokenBucket, WafRateRule
from throttling.limits import Limits, Throttle, UsagePlan


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


_PLAN_BUCKETS: Final = (Layer.USAGE_PLAN_METHOD, Layer.USAGE_PLAN)


def order() -> tuple[Layer, ...]:
    """Return the layers in the order in which they are asked."""
    plan = [*_PLAN_BUCKETS]
    plan.insert(0 if choices.QUOTA_BEFORE_THROTTLES else len(plan), Layer.QUOTA)
    return Layer.WAF, Layer.API_KEY, *plan, Layer.METHOD, Layer.STAGE, Layer.CONCURRENCY


def function_rate(concurrency: int | None) -> Throttle | None:
    """Return how many requests a function takes over time, however short they are."""
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


class _Buckets:
    """Token buckets of single methods, and one of all methods."""

    def __init__(self, methods: Mapping[str, Throttle], throttle: Throttle | None) -> None:
        self.methods = {method: TokenBucket(t) for method, t in methods.items()}
        self.all = _bucket(throttle)


class _Key:
    """The quota and the buckets of one API key."""

    def __init__(self, name: str, plan: UsagePlan) -> None:
        self.plan = name
        self.quota = plan.quota and QuotaCounter(plan.quota.limit, plan.quota.period)
        self.buckets = _Buckets(plan.methods, plan.throttle)


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
        self._stage = _Buckets(limits.methods, limits.stage)
        self._keyless = limits.keyless
        self._order = order()
        self._concurrency = limits.concurrency
        self._function = _bucket(function_rate(limits.concurrency))
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
            key_required = method not in self._keyless
            key = self._keys.get(client) if client and key_required else None
            if key_required and key is None:
                return Refusal(Layer.API_KEY)
            taken: list[tuple[Layer, QuotaCounter | TokenBucket]] = []
            for layer, limiter in self._limiters(key, method):
                if not limiter.take(now):
                    self._give_back(taken)
                    return Refusal(layer, _subject(layer, key, method))
                taken.append((layer, limiter))
            busy = self._concurrency is not None and self.in_flight >= self._concurrency
            if busy or (self._function and not self._function.take(now)):
                if key and key.quota and not choices.FUNCTION_REFUSALS_USE_QUOTA:
                    key.quota.give_back()
                return Refusal(Layer.CONCURRENCY)
            self.in_flight += 1
            return None

    def release(self) -> None:
        """End one admitted request."""
        with self._lock:
            self.in_flight -= 1

    def _limiters(
        self, key: _Key | None, method: str
    ) -> Iterator[tuple[Layer, QuotaCounter | TokenBucket]]:
        """Yield the quota and the buckets that a request meets, in order."""
        of_method = self._stage.methods.get(method)
        overridden = of_method and choices.METHOD_THROTTLE_OVERRIDES_STAGE
        met = {
            Layer.QUOTA: key and key.quota,
            Layer.USAGE_PLAN_METHOD: key and key.buckets.methods.get(method),
            Layer.USAGE_PLAN: key and key.buckets.all,
            Layer.METHOD: of_method,
            Layer.STAGE: None if overridden else self._stage.all,
        }
        for layer in self._order:
            if limiter := met.get(layer):
                yield layer, limiter

    @staticmethod
    def _give_back(taken: list[tuple[Layer, QuotaCounter | TokenBucket]]) -> None:
        """Give back what a request does not use because a throttle refuses it."""
        for layer, limiter in taken:
            if layer is Layer.QUOTA:
                used = choices.THROTTLED_REQUESTS_USE_QUOTA
            else:
                used = choices.THROTTLED_REQUESTS_TAKE_TOKENS
            if not used:
                limiter.give_back()


def _subject(layer: Layer, key: _Key | None, method: str) -> str:
    """Return the plan or the method whose limit a layer has."""
    if key and layer in (Layer.QUOTA, *_PLAN_BUCKETS):
        return key.plan
    return method if layer is Layer.METHOD else ""


def _bucket(throttle: Throttle | None) -> TokenBucket | None:
    return TokenBucket(throttle) if throttle else None
