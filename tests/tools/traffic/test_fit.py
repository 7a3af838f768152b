"""`python -m tools fit`: the smallest limits that a log passes, and the promise that they keep."""

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing import examples
from tests.stacks import ROOT, settings
from tests.throttling.examples import BASIC, PREMIUM, even, poisson, steady
from tests.tools.traffic.logs import line, lines_of, write, write_keys
from throttling.simulation.traffic import Arrivals, Phase, Source, Traffic
from tools.__main__ import main

PROD = settings("prod").limits()
OPEN = replace(
    PROD,
    waf=None,
    usage_plans={n: replace(p, throttle=None, quota=None) for n, p in PROD.usage_plans.items()},
    stage=None,
    concurrency=None,
)
KNOWN = ((BASIC, 20.0), (PREMIUM, 80.0))

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def log_of(traffic: Traffic, folder: Path, *, latency_ms: int = 100) -> list[str]:
    """Return the words that fit what is logged of traffic that nothing refuses."""
    file = write(folder / "access.jsonl", lines_of(traffic, OPEN, latency_ms=latency_ms))
    return [str(file), "--stack", "prod", "--keys", str(write_keys(folder))]


def json_of(words: list[str], capsys: Capture, command: str = "fit") -> Any:  # noqa: ANN401  JSON
    assert main([command, *words, "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def needed(result: Any) -> dict[str, float]:  # noqa: ANN401  JSON
    return {one["limit"]: one["needed"] for one in result["limits"]}


def changes_of(result: Any) -> list[str]:  # noqa: ANN401  JSON
    """Return what the printed commands set, as --set takes it."""
    changes = []
    for command in result["commands"]:
        *words, key, value, option, stack = shlex.split(command)
        assert (words, option, stack) == (["pulumi", "config", "set", "--path"], "--stack", "prod")
        changes += ["--set", f"{key}={value}"]
    return changes


@pytest.mark.parametrize(("arrivals", "slower"), [(even, 1), (poisson, 1), (poisson, 40)])
def test_known_rates_are_found(
    arrivals: Any,  # noqa: ANN401
    slower: int,
    tmp_path: Path,
    capsys: Capture,
) -> None:
    sources = [steady(client, rate / slower, 240 * slower, addresses=10) for client, rate in KNOWN]
    result = json_of(log_of(arrivals(*sources), tmp_path), capsys)
    found = needed(result)
    for client, rate in KNOWN:
        plan = f"usagePlans.{client.plan}"
        assert found[f"{plan}.rateLimit"] == pytest.approx(rate / slower, rel=0.05)
        assert found[f"{plan}.quota.limit"] == pytest.approx(240 * rate, rel=0.05)
    assert found["throttle.rateLimit"] == pytest.approx(100 / slower, rel=0.05)
    (unsure,) = (note for note in result["notes"] if "arrivals are random" in note)
    assert re.search(r"basic: .* 4,[78]\d\d requests .* within about 4 %.* 5,000 of one", unsure)
    if arrivals is even:
        assert found["usagePlans.premium.burstLimit"] <= 10
        assert found["waf.rateLimit in 60 s"] == pytest.approx(80 * 60 / 10, rel=0.01)
        assert found["waf.rateLimit in 120 s"] == pytest.approx(80 * 120 / 10, rel=0.01)
        # Little's law: 100 a second for 100 ms each.
        assert found["function.reservedConcurrency"] == pytest.approx(10, abs=1)


def test_a_short_peak_is_burst_and_a_long_one_is_rate(tmp_path: Path, capsys: Capture) -> None:
    def peak(seconds: float) -> Any:  # noqa: ANN401  JSON
        shape = [(300.0, 2.0), (seconds, 22.0), (600.0, 2.0)]
        starts = (0.0, 300.0, 300.0 + seconds)
        phases = tuple(
            Phase(start_seconds=start, seconds=length, from_rps=rps, to_rps=rps)
            for start, (length, rps) in zip(starts, shape, strict=True)
        )
        source = Source(client=BASIC, method="POST /data", addresses=4, phases=phases)
        traffic = Traffic(sources=(source,), arrivals=Arrivals.EVEN)
        return json_of([*log_of(traffic, tmp_path), "--refuse-at-most", "0%"], capsys)

    short, long = peak(20), peak(900)
    assert needed(short)["usagePlans.basic.rateLimit"] == pytest.approx(2, rel=0.02)
    assert needed(short)["usagePlans.basic.burstLimit"] == pytest.approx(20 * 20, rel=0.02)
    assert needed(long)["usagePlans.basic.rateLimit"] == pytest.approx(22, rel=0.02)
    assert needed(long)["usagePlans.basic.burstLimit"] <= 30
    why = {one["limit"]: one["decidedBy"] for one in long["limits"]}
    assert why["usagePlans.basic.rateLimit"].startswith("basic/default, 2026-01-05 00:0")
    frontier = short["frontiers"][0]
    points = {point["rate"]: point["burst"] for point in frontier["points"]}
    assert points[frontier["taken"]] == needed(short)["usagePlans.basic.burstLimit"]
    assert sorted(points.values(), reverse=True) == [points[rate] for rate in sorted(points)]


@given(
    seed=st.integers(0, 1000),
    rates=st.tuples(st.floats(0.5, 60), st.floats(0.5, 60)),
    share=st.sampled_from(["0%", "0.1%", "1%", "10%"]),
    headroom=st.sampled_from(["0%", "20%"]),
    latency_ms=st.sampled_from([1, 100, 3000]),
)
@examples(4)
def test_the_printed_lines_keep_the_promise(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    rates: tuple[float, float],
    share: str,
    headroom: str,
    latency_ms: int,
) -> None:
    folder = tmp_path_factory.mktemp("fit")
    basic, premium = (
        steady(client, rate, 40, addresses=3)
        for client, rate in zip((BASIC, PREMIUM), rates, strict=True)
    )
    log = log_of(poisson(basic, premium, seed=seed), folder, latency_ms=latency_ms)
    with pytest.MonkeyPatch.context() as patch:
        printed: list[Any] = []
        patch.setattr("tools.traffic.fit.print_json", printed.append)
        patch.setattr("tools.traffic.replay.print_json", printed.append)
        options = ["--refuse-at-most", share, "--headroom", headroom, "--format", "json"]
        assert main(["fit", *log, *options]) == 0
        assert main(["replay", *log, *changes_of(printed[0]), "--format", "json"]) == 0
    for client in printed[1]["replayed"]["clients"]:
        refused = 1 - client["admitted"] / client["sent"]
        assert refused <= float(share.rstrip("%")) / 100
        assert refused == pytest.approx(printed[0]["refused"][client["client"]])


def test_each_limit_has_its_number_its_evidence_and_its_line(
    tmp_path: Path, capsys: Capture
) -> None:
    log = log_of(even(*(steady(client, rate, 240) for client, rate in KNOWN)), tmp_path)
    assert main(["fit", *log]) == 0
    text = re.sub(" +", " ", capsys.readouterr().out)
    assert re.search(r"throttle.rateLimit 1,000 (99\.\d|100) 120 ", text)
    for words in (
        "Stack prod: limits for 24,000 requests with a valid key in 4 m 00 s",
        "No client is refused more than 0.1 %.",
        "usagePlans.basic.rateLimit 100 20 24 basic/default, 2026-01-05 00:00: 1,200 requests",
        "usagePlans.basic.quota.limit 10,000 4,800 10,000",
        "The log is short: not lowered",
        "waf.rateLimit in 300 s 2,000",
        "most refused from 192.0.2.",
        "Little's law: 100/s x 100 ms = 10 busy on average",
        "fixture-api:usagePlans.basic: burst needed at each rate: 5/s: 3,",
        "20/s: 1 (taken)",
        "lets a peak of about 1,200 requests through as burst, and a longer one by its rate.",
        "pulumi config set --path fixture-api:usagePlans.basic.rateLimit 24 --stack prod",
        "Checked by a replay: with these limits, ",
        "A log cannot say what refused clients would have sent",
        "waf.shadow",
    ):
        assert words in text, words


def test_a_stage_stays_as_fast_as_its_plans_and_an_idle_plan_keeps_its_limits(
    tmp_path: Path, capsys: Capture
) -> None:
    result = json_of(log_of(even(steady(BASIC, 20, 60)), tmp_path), capsys)
    (idle,) = (one for one in result["limits"] if one["limit"] == "usagePlans.premium.rateLimit")
    assert (idle["value"], idle["decidedBy"]) == (500, "no request in the log: it stays")
    (rate,) = (one for one in result["limits"] if one["limit"] == "throttle.rateLimit")
    assert (rate["needed"], rate["value"]) == (20, 500)
    assert rate["decidedBy"].endswith("Raised to that of the fastest plan")


def test_requests_without_a_key_count_only_at_the_web_acl(tmp_path: Path, capsys: Capture) -> None:
    traffic = even(steady(BASIC, 10, 60), steady(None, 50, 60))
    found = needed(json_of(log_of(traffic, tmp_path), capsys))
    assert found["throttle.rateLimit"] == pytest.approx(10, rel=0.02)
    # No client uses the address of the requests without a key.
    assert found["waf.rateLimit in 60 s"] == pytest.approx(600, rel=0.01)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("LOG --refuse-at-most 0.1", "'0.1' is not a share; allowed is 0% to less than 100%"),
        ("LOG --headroom lots%", "'lots%' is not a share"),
        ("LOG --refuse-at-most 100%", "is not a share"),
        ("STRANGERS", "No request of the log has a valid key. Unknown key IDs"),
    ],
)
def test_bad_input_is_one_error_and_status_2(
    words: str, error: str, tmp_path: Path, capsys: Capture
) -> None:
    files = {
        "LOG": write(tmp_path / "log", [line()]),
        "STRANGERS": write(tmp_path / "strangers", [line(apiKeyId="stranger")]),
    }
    for name, file in files.items():
        words = words.replace(name, str(file))
    keys = str(write_keys(tmp_path))
    assert main(["fit", *shlex.split(words), "--stack", "prod", "--keys", keys]) == 2
    assert error in capsys.readouterr().err
