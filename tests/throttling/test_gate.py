"""The order of the layers, and what a refusal leaves untouched."""

from dataclasses import replace

import pytest

from tests.throttling.examples import BASIC, METHOD, one_client
from throttling import Client, Gate, Layer, Limits, Period, Quota, Refusal, Throttle, WafRateLimit

ADDRESS = "192.0.2.1"
ONE = Throttle(rate=0.001, burst=1)
"""A bucket for one request."""
PLENTY = Throttle(rate=1000, burst=1000)
ONE_A_DAY = Quota(limit=1, period=Period.DAY)
HUNDRED_A_DAY = Quota(limit=100, period=Period.DAY)
OTHER = Client("basic", "other")


def ask(gate: Gate, now: float = 0.0, client: Client | None = BASIC) -> Refusal | None:
    return gate.decide(now, address=ADDRESS, client=client, method=METHOD)


def for_one_request(*, absent: int = 0) -> Limits:
    """Return limits whose layers each let one request pass, without the first layers."""
    return one_client(
        waf=WafRateLimit(limit=1, window_seconds=60) if absent < 1 else None,
        quota=ONE_A_DAY if absent < 2 else None,
        methods={METHOD: ONE} if absent < 3 else None,
        throttle=ONE if absent < 4 else None,
        stage_method=ONE if absent < 5 else None,
        # The method's throttle overrides the stage's.
        stage=ONE if absent == 5 else None,
        concurrency=1 if absent < 7 else None,
    )


@pytest.mark.parametrize(
    ("absent", "refusal"),
    [
        (0, Refusal(Layer.WAF)),
        (1, Refusal(Layer.QUOTA, "basic")),
        (2, Refusal(Layer.USAGE_PLAN_METHOD, "basic")),
        (3, Refusal(Layer.USAGE_PLAN, "basic")),
        (4, Refusal(Layer.METHOD, METHOD)),
        (5, Refusal(Layer.STAGE)),
        (6, Refusal(Layer.CONCURRENCY)),
        (7, None),
    ],
)
def test_of_the_layers_that_are_used_up_the_first_refuses(
    absent: int, refusal: Refusal | None
) -> None:
    gate = Gate(for_one_request(absent=absent))
    assert ask(gate) is None
    assert ask(gate) == refusal


def test_the_api_key_is_asked_after_the_waf_and_before_the_quota() -> None:
    for unknown in (None, OTHER):
        gate = Gate(for_one_request())
        assert ask(gate, client=unknown) == Refusal(Layer.API_KEY)
        assert ask(gate, client=unknown) == Refusal(Layer.WAF)
        assert gate.quota_left(0, BASIC) == 1


def test_a_method_that_needs_no_key_uses_no_plan_but_the_stage() -> None:
    limits = one_client(throttle=ONE, quota=ONE_A_DAY, stage=ONE)
    gate = Gate(replace(limits, keyless=(METHOD,)))
    assert gate.admit(0, BASIC, METHOD) is None
    assert gate.admit(0, None, METHOD) == Refusal(Layer.STAGE)
    assert gate.quota_left(0, BASIC) == 1


@pytest.mark.parametrize(
    ("limits", "left"),
    [
        (one_client(waf=WafRateLimit(limit=1, window_seconds=60), quota=HUNDRED_A_DAY), 99),
        (one_client(throttle=ONE, stage=PLENTY, quota=HUNDRED_A_DAY), 99),
        (one_client(throttle=PLENTY, stage=ONE, quota=HUNDRED_A_DAY), 99),
        (one_client(throttle=PLENTY, concurrency=1, quota=HUNDRED_A_DAY), 80),
    ],
)
def test_of_the_refused_requests_only_those_that_reach_the_function_use_quota(
    limits: Limits, left: int
) -> None:
    gate = Gate(limits)
    assert [ask(gate) is None for _ in range(20)].count(True) == 1
    assert gate.quota_left(0, BASIC) == left


def test_a_function_takes_ten_requests_a_second_for_each_unit_of_its_concurrency() -> None:
    gate = Gate(one_client(concurrency=3))

    def admitted(now: float) -> int:
        verdicts = []
        for _ in range(100):
            verdicts.append(ask(gate, now))
            if verdicts[-1] is None:
                gate.release()
        assert set(verdicts) == {None, Refusal(Layer.CONCURRENCY)}
        return verdicts.count(None)

    assert [admitted(now) for now in (0, 1, 1.5)] == [30, 30, 15]


def test_a_methods_throttle_overrides_the_stages_also_when_it_is_higher() -> None:
    gate = Gate(one_client(stage=ONE, stage_method=Throttle(rate=0.001, burst=3)))
    assert [ask(gate) for _ in range(4)] == [None, None, None, Refusal(Layer.METHOD, METHOD)]
    assert gate.decide(0, address=ADDRESS, client=BASIC, method="GET /items") is None


def test_a_request_that_the_quota_refuses_takes_no_token() -> None:
    gate = Gate(one_client(throttle=Throttle(rate=0.001, burst=2), quota=ONE_A_DAY))
    assert [ask(gate) for _ in range(3)] == [None, *[Refusal(Layer.QUOTA, "basic")] * 2]
    assert ask(gate, now=86_400) is None


def test_a_refused_request_takes_nothing_from_the_layers_behind() -> None:
    stage = Throttle(rate=0.001, burst=2)
    gate = Gate(one_client(clients=("default", "other"), throttle=ONE, stage=stage))
    assert [ask(gate) is None for _ in range(10)].count(True) == 1
    assert ask(gate, client=OTHER) is None, "the refused requests have used the stage's token"


def test_a_request_that_the_stage_refuses_has_used_its_plans_token() -> None:
    gate = Gate(one_client(throttle=Throttle(rate=0.001, burst=3), stage=ONE))
    layers = [refusal and refusal.layer for refusal in (ask(gate) for _ in range(4))]
    assert layers == [None, Layer.STAGE, Layer.STAGE, Layer.USAGE_PLAN]


def test_every_client_of_a_plan_has_its_own_buckets_and_quota() -> None:
    gate = Gate(one_client(clients=("default", "other"), throttle=ONE, quota=ONE_A_DAY))
    assert ask(gate) is None
    assert ask(gate, client=OTHER) is None
