"""Traffic as people write it, and what they are told when it cannot be read."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.throttling.examples import BASIC, PREMIUM, steady
from throttling import Client
from tools.traffic.spec import (
    TrafficError,
    check_traffic,
    parse_client,
    parse_duration,
    parse_profile,
    parse_rate,
    parse_start,
)
from throttling.simulation.traffic import Arrivals, Phase, Source, Traffic

PROFILES = sorted((Path(__file__).parents[2] / "docs" / "traffic").glob("*.yaml"))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("250ms", 0.25), ("1.5h", 5400), ("10m", 600), ("2d", 172_800)],
)
def test_durations_have_units(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(("text", "rps"), [("600rps", 600), ("0.5rps", 0.5), ("30rpm", 0.5)])
def test_rates_have_units(text: str, rps: float) -> None:
    assert parse_rate(text) == pytest.approx(rps)


def test_a_start_is_a_time_or_a_moment_of_utc() -> None:
    assert parse_start("08:30") == datetime(2026, 1, 5, 8, 30, tzinfo=UTC)
    assert parse_start("2026-03-02T08:00") == datetime(2026, 3, 2, 8, tzinfo=UTC)
    assert parse_start("2026-03-02T08:00+01:00") == datetime(2026, 3, 2, 7, tzinfo=UTC)


def test_a_client_is_a_rate_with_options() -> None:
    assert parse_client("premium/default=600rps,ips=3,for=10m,at=5m") == Source(
        client=PREMIUM,
        addresses=3,
        phases=(Phase(start_seconds=300, seconds=600, from_rps=600, to_rps=600),),
    )
    assert parse_client("no-key=30rpm") == steady(None, 0.5, 60)


def test_a_profile_is_phases_that_follow_each_other() -> None:
    profile = parse_profile(
        """
        description: two
          lines
        arrivals: even
        seed: 7
        start: 10:00
        clients:
          basic/default:
            ips: 2
            phases:
              - {rate: 0rps, to: 10rps, for: 1m}
              - {rate: 10rps, for: 30s}
        """
    )
    assert profile.description == "two lines"
    assert (profile.arrivals, profile.seed) == (Arrivals.EVEN, 7)
    assert profile.start == datetime(2026, 1, 5, 10, tzinfo=UTC)
    assert profile.sources == (
        Source(
            client=BASIC,
            addresses=2,
            phases=(
                Phase(start_seconds=0, seconds=60, from_rps=0, to_rps=10),
                Phase(start_seconds=60, seconds=30, from_rps=10, to_rps=10),
            ),
        ),
    )


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_the_profiles_that_come_with_the_project_can_be_sent(path: Path) -> None:
    profile = parse_profile(path.read_text("utf-8"))
    assert profile.description
    check_traffic(Traffic(sources=profile.sources), [BASIC, PREMIUM], "prod")


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("premium/default", "write premium/default=600rps"),
        ("premium/default=600", "one of rps, rpm"),
        ("premium/default=600rpx", "one of rps, rpm"),
        ("premium/default=-5rps", "one of rps, rpm"),
        ("premium=5rps", "PLAN/CLIENT"),
        ("premium/default=5rps,for=3", "one of ms, s, m, h, d"),
        ("premium/default=5rps,for=3w", "one of ms, s, m, h, d"),
        ("premium/default=5rps,ips=0", "1 to 100,000"),
        ("premium/default=5rps,ips=many", "1 to 100,000"),
        ("premium/default=5rps,during=3m", "ips=, for=, at="),
    ],
)
def test_a_client_that_cannot_be_read_is_told_what_is_allowed(text: str, allowed: str) -> None:
    with pytest.raises(TrafficError) as error:
        parse_client(text)
    assert allowed in str(error.value)
    assert "\n" not in str(error.value)


CLIENT = "clients: {basic/default: {phases: [{rate: 5rps, for: 1m}]}}"


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("", "arrivals, clients, description, seed, start"),
        ("- 1", "arrivals, clients, description, seed, start"),
        ("clients: {", "not valid YAML"),
        ("seed: 1", "no 'clients'"),
        ("clients: []", "mapping of clients"),
        ("clients: {basic/default: {ips: 3}}", "no 'phases'; allowed: ips, phases"),
        ("clients: {basic/default: {phases: 3}}", "list of phases"),
        ("clients: {basic/default: {phases: [{rate: 5rps}]}}", "'for'; allowed: for, rate, to"),
        ("clients: {a/b: {phases: [{rate: 5rps, for: 1m, til: 2}]}}", "'til', which is not known"),
        ("clients: {a/b: {phases: [{rate: 5, for: 1m}]}}", "phase 1 of client a/b: '5' is no rate"),
        (f"{CLIENT}\narrivals: uneven", "allowed: poisson, even"),
        (f"{CLIENT}\nseed: abc", "a whole number"),
        (f"{CLIENT}\nstart: noon", "a time such as 08:00"),
    ],
)
def test_a_profile_that_cannot_be_read_is_told_what_is_allowed(text: str, allowed: str) -> None:
    with pytest.raises(TrafficError) as error:
        parse_profile(text)
    assert allowed in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("sources", "allowed"),
    [
        ((), "give --client"),
        ((steady(BASIC, 0, 60),), "above 0"),
        ((steady(BASIC, 5, 0),), "above 0"),
        ((steady(Client("gold", "x"), 5, 60),), "basic/default, premium/default, and no-key"),
    ],
)
def test_traffic_that_nobody_can_send_is_refused(sources: tuple[Source, ...], allowed: str) -> None:
    with pytest.raises(TrafficError, match=allowed):
        check_traffic(Traffic(sources=sources), [BASIC, PREMIUM], "prod")
