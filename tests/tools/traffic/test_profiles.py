"""Traffic as people write it, what is derived from limits, and errors that say what is allowed."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from handler.record import MAX_BODY_BYTES, Refused, to_item
from tests.stacks import settings
from throttling import Client, Layer, Throttle
from throttling.simulation.simulator import simulate
from throttling.simulation.traffic import Arrivals, Phase, Source
from tools.traffic.derived import EVERY_LIMIT, PROFILES, derive, pause_seconds
from tools.traffic.load.requests import body
from tools.traffic.profiles import (
    parse_client,
    parse_duration,
    parse_profile,
    parse_rate,
    parse_start,
    read_profile,
)

BASIC, PREMIUM = Client("basic", "default"), Client("premium", "default")
SHIPPED = sorted((Path(__file__).parents[3] / "docs" / "traffic").glob("*.yaml"))
DEV = settings("dev").limits()


def phase(start: float, seconds: float, rps: float, to: float | None = None) -> Phase:
    to_rps = rps if to is None else to
    return Phase(start_seconds=start, seconds=seconds, from_rps=rps, to_rps=to_rps)


def test_durations_and_rates_have_units() -> None:
    durations = ("30s", "250ms", "1.5h", "10m", "366d")
    assert [parse_duration(text) for text in durations] == [30, 0.25, 5400, 600, 366 * 86_400]
    assert [parse_rate(text) for text in ("600rps", "0.5rps", "30rpm")] == [600, 0.5, 0.5]


def test_a_start_is_a_time_or_a_moment_of_utc() -> None:
    assert parse_start("08:30") == datetime(2026, 1, 5, 8, 30, tzinfo=UTC)
    assert parse_start("2026-03-02T08:00") == datetime(2026, 3, 2, 8, tzinfo=UTC)
    assert parse_start("2026-03-02T08:00+01:00") == datetime(2026, 3, 2, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["noon", "25:00", "9999-12-31T12:00", "0001-01-01", "2026-02-30T08:00", "8"]
)
def test_any_other_start_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a start; allowed is a time such as 08:00"):
        parse_start(text)


def test_a_client_is_a_rate_with_options() -> None:
    assert parse_client("premium/default=600rps,ips=3,for=10m,at=5m") == Source(
        client=PREMIUM, method="POST /data", addresses=3, phases=(phase(300, 600, 600),)
    )
    assert parse_client("no-key=30rpm") == Source(
        client=None, method="POST /data", addresses=1, phases=(phase(0, 60, 0.5),)
    )


def test_a_profile_is_phases_that_follow_each_other() -> None:
    profile = parse_profile(
        """
        description: two
          lines
        arrivals: even
        seed: 7
        start: 10:00
        bytes: [100, 2000]
        clients:
          basic/default:
            ips: 2
            at: 10s
            phases:
              - {rate: 0rps, to: 10rps, for: 1m}
              - {rate: 10rps, for: 30s}
          no-key: {phases: [{rate: 1rps, for: 1s}]}
        """,
        "name",
    )
    traffic = profile.traffic
    assert (traffic.arrivals, traffic.seed) == (Arrivals.EVEN, 7)
    assert traffic.start == datetime(2026, 1, 5, 10, tzinfo=UTC)
    assert list(profile.body_bytes) == [100, 2000]
    first, second = traffic.sources
    assert (first.client, first.addresses) == (BASIC, 2)
    assert first.phases == (phase(10, 60, 0, 10), phase(70, 30, 10))
    assert second.client is None


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_shipped_profiles_can_be_sent(path: Path) -> None:
    profile = read_profile(str(path), settings("prod"), waf_lag_seconds=0)
    assert profile.traffic.expected_requests > 100


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("premium/default", "write premium/default=600rps"),
        ("premium/default=600", "one of rps, rpm"),
        ("premium/default=-5rps", "one of rps, rpm"),
        ("premium/default=100000000rps", "a rate up to 1000000rps"),
        ("premium/default=1" + "0" * 400 + "rps", "a rate up to 1000000rps"),
        ("premium=5rps", "PLAN/CLIENT"),
        ("premium/default=5rps,for=3", "one of ms, s, m, h, d"),
        ("premium/default=5rps,for=9999999d", "a duration up to 366d"),
        ("premium/default=5rps,ips=0", "ips: Input should be greater than or equal to 1"),
        ("premium/default=5rps,ips=1_0", "ips: '1_0' is not a whole number"),
        ("premium/default=\u0663rps", "is not a rate"),
        ("premium/default=nanrps", "is not a rate"),
        ("premium/default=5rps,to=9rps", "'to=9rps' in 'premium/default=5rps,to=9rps' is unknown"),
        ("premium/default=5rps,ips=many", "ips: 'many' is not a whole number"),
        ("premium/default=5rps,for=1s,for=2s", "'for=2s' in 'premium/default=5rps,for=1s,for=2s'"),
    ],
)
def test_a_client_that_cannot_be_read_is_one_line_with_what_is_allowed(
    text: str, allowed: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(allowed)) as error:
        parse_client(text)
    assert "\n" not in str(error.value)


CLIENT = "clients: {basic/default: {phases: [{rate: 5rps, for: 1m}]}}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "a mapping is expected"),
        ("clients: {", "not valid YAML"),
        ("[" * 1000, "nested too deeply"),
        ("x" * 1_000_001, "larger than 1,000,000 characters"),
        (f"{CLIENT}\nseed: 1\nseed: 2", "'seed' comes twice"),
        ("clients: {a/b: {phases: &p []}, c/d: {phases: *p}}", "aliases are not allowed"),
        ("seed: 1", "clients: Field required"),
        ("clients: {}", "clients: Dictionary should have at least 1 item"),
        ("clients: {gold: {phases: [{rate: 5rps, for: 1m}]}}", "allowed is PLAN/CLIENT"),
        ("clients: {a/b: {phases: [{rate: 5rps}]}}", "phases.0.for: Field required"),
        ("clients: {a/b: {phases: [{rate: 5rps, for: 1m, til: 2}]}}", "0.til: Extra inputs"),
        ("clients: {a/b: {phases: [{rate: 5, for: 1m}]}}", "0.rate: '5' is not a rate"),
        ("clients: {a/b: {phases: [{rate: [5], for: 1m}]}}", "0.rate: \"['5']\" is not a rate"),
        (f"{CLIENT}\narrivals: uneven", "arrivals: Input should be 'poisson' or 'even'"),
        (f"{CLIENT}\nseed: -1", "seed: '-1' is not a whole number"),
        (f"{CLIENT}\nstart: noon", "start: 'noon' is not a start"),
        (f"{CLIENT}\nbytes: [0]", "bytes.0: Input should be greater than or equal to 1"),
    ],
)
def test_a_profile_that_cannot_be_read_is_one_line_with_the_place(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)) as error:
        parse_profile(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("stack", ["dev", "prod"])
@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("plan", {Layer.USAGE_PLAN}),
        ("burst", {Layer.USAGE_PLAN}),
        ("stage", set()),
        ("sizes", {Layer.USAGE_PLAN}),
        ("waf", {Layer.WAF, Layer.API_KEY}),
    ],
)
def test_a_derived_profile_reaches_the_limit_that_it_tests_and_no_other(
    name: str, layers: set[Layer], stack: str
) -> None:
    limits = settings(stack).limits()
    result = simulate(limits, derive(name, limits, 0.0), duration_seconds=0.01)

    assert set(result.total.refused) == layers


def test_every_route_with_a_bucket_of_its_own_is_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    post, get, health, other = "POST /data", "GET /data/{id}", "GET /health", "GET /other"
    monkeypatch.setattr("tools.traffic.derived.METHODS", (post, get, health, other))
    slow = Throttle(rate=2, burst=3)
    basic = replace(DEV.usage_plans["basic"], methods={get: Throttle(rate=1, burst=4)})
    limits = replace(
        DEV,
        waf=None,
        usage_plans={**DEV.usage_plans, "basic": basic},
        methods={health: slow, get: Throttle(rate=9, burst=9)},
        keyless=(health,),
    )
    tested = {}
    for name in ("plan", "burst", "stage"):
        traffic = derive(name, limits, 0.0)
        result = simulate(limits, traffic, duration_seconds=0.0)
        tested[name] = (
            [(one.client, one.method) for one in traffic.sources],
            set(result.total.refused),
        )

    of_plans = [(BASIC, post), (BASIC, get), (PREMIUM, post)]
    refused = {Layer.USAGE_PLAN, Layer.USAGE_PLAN_METHOD}
    assert tested["plan"] == tested["burst"] == (of_plans, refused)
    # One route stands for those that share the stage's bucket.
    of_stage = [(BASIC, post), (PREMIUM, post), (BASIC, get), (PREMIUM, get), (None, health)]
    assert tested["stage"] == (of_stage, {Layer.METHOD})
    assert result.clients[-1].refused, "also of the route without a key"
    assert pause_seconds(limits) == 4.5
    assert {
        one.method for name in ("sizes", "seed") for one in derive(name, limits, 0.0).sources
    } == {post}


def test_each_plan_is_tested_below_at_and_beyond_its_rate_with_full_buckets() -> None:
    for source in derive("plan", DEV, 0.0).sources:
        assert source.client
        throttle = DEV.usage_plans[source.client.plan].throttle
        assert throttle
        below, at, beyond = source.phases
        assert [one.from_rps / throttle.rate for one in source.phases] == [0.8, 1.0, 1.5]
        emptied = throttle.burst / (beyond.from_rps - throttle.rate)
        assert beyond.seconds >= emptied + 12
        assert min(below.seconds, at.seconds) >= 5.0
        assert below.end_seconds == at.start_seconds
        assert at.end_seconds == beyond.start_seconds
    first, second = derive("burst", DEV, 0.0).sources
    assert second.phases[0].start_seconds - first.phases[-1].end_seconds == pause_seconds(DEV)


def test_a_stage_that_its_clients_can_reach_is_reached() -> None:
    throttle = {"rateLimit": 20, "burstLimit": 40}
    limits = settings("dev", throttle=throttle).limits()
    result = simulate(limits, derive("stage", limits, 0.0), duration_seconds=0.01)

    assert set(result.total.refused) == {Layer.STAGE}
    firsts = [source.phases[0].start_seconds for source in derive("stage", limits, 0.0).sources]
    assert firsts == [0.0, 0.0], "all clients send at the same time"


def test_the_web_acl_is_sent_more_than_its_limit_within_a_window_and_past_its_lag() -> None:
    waf = DEV.waf
    assert waf
    for lag in (0.0, 30.0):
        (source,) = derive("waf", DEV, lag).sources
        (one,) = source.phases
        assert (source.client, source.addresses) == (None, 1)
        assert one.from_rps * (one.seconds - 2 * lag) > 1.1 * waf.limit
        assert one.seconds - 2 * lag < waf.window_seconds


def test_the_seed_is_1500_requests_of_one_key_and_address() -> None:
    traffic = derive("seed", DEV, 0.0)
    (source,) = traffic.sources
    assert (traffic.expected_requests, source.client, source.addresses) == (1500, BASIC, 1)


def test_every_limit_of_dev_is_tested_in_less_than_three_minutes() -> None:
    seconds = [derive(name, DEV, 0.0).seconds for name in EVERY_LIMIT]
    starts = len(seconds) * (pause_seconds(DEV) + 3)
    assert sum(seconds) + starts < 150
    assert set(EVERY_LIMIT) == set(PROFILES) - {"seed"}


def test_bodies_have_the_size_that_is_asked_for_under_few_ids() -> None:
    for size in (100, 1_000, 6_000, 20_000, MAX_BODY_BYTES):
        text = body(size, 7)
        assert size <= len(text.encode()) <= size + 4
        assert to_item(text)["id"] == {"S": "load-test-0007"}
    assert body(100, 7) == body(100, 1007)
    with pytest.raises(Refused):
        to_item(body(33_000, 7))
    profile = read_profile("sizes", settings("dev"), waf_lag_seconds=0)
    assert profile.body_bytes == (100, 1_000, 6_000, 33_000)
