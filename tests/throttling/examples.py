"""Limits and traffic that several tests use."""

from dataclasses import replace

from throttling import Client, Limits, Period, Quota, Throttle, UsagePlan, WafRateLimit
from throttling.simulation.traffic import Arrivals, Phase, Source, Traffic

METHOD = "POST /data"
BASIC = Client("basic", "default")
PREMIUM = Client("premium", "default")

PROD = Limits(
    waf=WafRateLimit(limit=2000, window_seconds=300),
    usage_plans={
        "basic": UsagePlan(
            clients=("default",),
            throttle=Throttle(rate=100, burst=200),
            quota=Quota(limit=10_000, period=Period.DAY),
        ),
        "premium": UsagePlan(
            clients=("default",),
            throttle=Throttle(rate=500, burst=1000),
            quota=Quota(limit=100_000, period=Period.DAY),
        ),
    },
    stage=Throttle(rate=1000, burst=2000),
    concurrency=100,
)
OPEN = replace(
    PROD,
    waf=None,
    concurrency=None,
    usage_plans={name: replace(plan, quota=None) for name, plan in PROD.usage_plans.items()},
)
"""Production's throttles alone."""


def one_client(
    *,
    clients: tuple[str, ...] = ("default",),
    waf: WafRateLimit | None = None,
    throttle: Throttle | None = None,
    quota: Quota | None = None,
    methods: dict[str, Throttle] | None = None,
    stage: Throttle | None = None,
    stage_method: Throttle | None = None,
    concurrency: int | None = None,
) -> Limits:
    """Return limits of a stack with one plan, basic, and only the layers that are given."""
    plan = UsagePlan(clients=clients, throttle=throttle, quota=quota, methods=methods or {})
    return Limits(
        waf=waf,
        usage_plans={"basic": plan},
        stage=stage,
        methods={METHOD: stage_method} if stage_method else {},
        concurrency=concurrency,
    )


def steady(
    client: Client | None,
    rps: float,
    seconds: float,
    *,
    addresses: int = 1,
    to: float | None = None,
) -> Source:
    """Return requests of one client at one rate, or from one rate to another."""
    phase = Phase(start_seconds=0, seconds=seconds, from_rps=rps, to_rps=rps if to is None else to)
    return Source(client=client, method=METHOD, addresses=addresses, phases=(phase,))


def even(*sources: Source) -> Traffic:
    """Return traffic with requests at equal distances."""
    return Traffic(sources=sources, arrivals=Arrivals.EVEN)


def poisson(*sources: Source, seed: int = 0) -> Traffic:
    """Return traffic with independent requests."""
    return Traffic(sources=sources, arrivals=Arrivals.POISSON, seed=seed)
