"""`python -m tools simulate`, as people and machines use it."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.stacks import ROOT as STACKS
from tools.__main__ import main

CODE = Path(__file__).parents[3]
ONE_ADDRESS = ["--stack", "prod", "--client", "premium/default=500rps,for=1m"]
CLIENTS = ["--client", "premium/default=500rps,ips=100,for=5m", "--client", "no-key=20rps,for=5m"]
PROFILE = """
description: three seconds of one client
arrivals: even
clients: {basic/default: {phases: [{rate: 100rps, for: 3s}]}}
"""

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(STACKS)


def json_of(arguments: list[str], capsys: Capture) -> Any:  # noqa: ANN401  JSON
    assert main(["simulate", *arguments, "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def text_of(arguments: list[str], capsys: Capture) -> str:
    assert main(["simulate", *arguments]) == 0
    return re.sub(" +", " ", capsys.readouterr().out)


def test_one_address_on_production_is_refused_first_by_the_waf(capsys: Capture) -> None:
    result = json_of([*ONE_ADDRESS, "--arrivals", "even"], capsys)
    assert result["headline"].startswith("premium/default is refused first, by the WAF at 4.0 s")
    assert result["clients"] == [
        {
            "client": "premium/default",
            "sent": 30_000,
            "admitted": 2_000,
            "refused": {"waf": {"requests": 28_000, "firstAtSeconds": 4.0}},
            "quotaLeft": 98_000,
            "quotaRenewed": "2026-01-06T00:00:00+00:00",
        }
    ]
    assert result["peakConcurrency"] == 50
    timeline = result["timeline"]["clients"]["premium/default"]
    assert (sum(timeline["admitted"]), sum(timeline["waf"])) == (2_000, 28_000)
    lagging = json_of([*ONE_ADDRESS, "--waf-lag", "30s"], capsys)
    assert lagging["clients"][0]["refused"]["waf"]["firstAtSeconds"] == pytest.approx(34, abs=0.7)


def test_the_table_has_every_number_and_says_what_aws_does_not_promise(capsys: Capture) -> None:
    text = text_of(["--stack", "prod", *CLIENTS, "--arrivals", "even"], capsys)
    assert "\x1b" not in text, "colours belong on a terminal"
    for words in (
        "premium/default sent 150,000",
        "admitted 100,000 66.7 %",
        "refused: quota 50,000 33.3 % 3 m 20 s",
        "quota left: 0 of 100,000 a day, until 2026-01-06 00:00 UTC",
        "refused: API key 2,000",
        "all clients sent 156,000",
        "Peak concurrency 50 of 100 reserved",
        "best-effort",
        "--waf-lag",
    ):
        assert words in text


def test_a_change_is_tried_with_the_settings_own_rules(capsys: Capture) -> None:
    change = ["--set", "usagePlans.premium.quota.limit=50000", "--set", "waf.enabled=false"]
    (client,) = json_of([*ONE_ADDRESS, "--arrivals", "even", *change], capsys)["clients"]
    assert (client["admitted"], client["quotaLeft"]) == (30_000, 20_000)


def test_a_comparison_says_who_gains_who_loses_and_what_the_review_says(capsys: Capture) -> None:
    arguments = [
        *("--stack", "prod", "--arrivals", "even", "--compare"),
        *("--client", "premium/default=500rps,for=1m"),
        *("--client", "basic/default=50rps,ips=50,for=1m"),
        *("--set", "waf.rateLimit=150000", "--set", "usagePlans.basic.rateLimit=10"),
        *("--set", "usagePlans.basic.burstLimit=100", "--set", "throttle.burstLimit=6000"),
    ]
    text = text_of(arguments, capsys)
    for words in (
        "premium/default gains 28,000 requests; basic/default loses 2,301 requests.",
        "admitted 30,000 100.0 % 2,000 +28,000",
        "refused: WAF 0 0.0 % 28,000 -28,000 4.0 s",
        "refused: usage plan throttle 2,301 76.7 % 2.5 s 0 +2,301",
        "New finding of the review: warning: throttle.burstLimit: 6,000 is above",
        "Finding that is gone: warning: waf.rateLimit: 2,000 requests per 300 s",
    ):
        assert words in text
    result = json_of(arguments, capsys)
    assert result["change"] == [
        {"client": "premium/default", "admitted": 28_000},
        {"client": "basic/default", "admitted": -2_301},
    ]
    assert len(result["before"]["review"]) > len(result["after"]["review"])
    assert result["after"]["review"][0]["command"].startswith("pulumi config set --path")
    same = text_of([*ONE_ADDRESS, "--set", "table.pointInTimeRecovery=true", "--compare"], capsys)
    assert "premium/default neither gains nor loses." in same
    assert "The review's findings do not change." in same


def test_a_comparison_sends_both_the_same_derived_traffic(capsys: Capture) -> None:
    change = ["--set", "usagePlans.basic.rateLimit=10", "--compare"]
    result = json_of(["--profile", "plan", *change], capsys)
    before, after = (result[key]["simulation"]["clients"][0] for key in ("before", "after"))
    assert before["sent"] == after["sent"]
    assert before["refused"]
    assert not after["refused"]


def test_a_client_that_a_change_takes_away_has_no_valid_key_after_it(capsys: Capture) -> None:
    change = ["--set", "usagePlans.premium.clients[0]=other", "--compare"]
    result = json_of(
        ["--client", "premium/default=1rps,for=9s", "--arrivals", "even", *change], capsys
    )
    before, after = (result[key]["simulation"]["clients"][0] for key in ("before", "after"))
    assert (before["admitted"], after["admitted"]) == (9, 0)
    assert list(after["refused"]) == ["api-key"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--client", "gold/x=5rps"], "allowed: basic/default, premium/default, and no-key"),
        (["--client", "basic/default=100000000rps"], "allowed is a rate up to"),
        (["--client", "basic/default=1000000rps,for=366d"], "are too much"),
        (["--client", "basic/default=1rps,for=366d,at=1s"], "in 366 days"),
        (["--client", "basic/default=0rps"], "There is no traffic"),
        ([], "There is no traffic"),
        (["--profile", "waf", "--set", "waf.enabled=false"], "There is no traffic"),
        (["--profile", "absent.yaml"], "give a YAML file, or one of plan, burst, stage"),
        (["--profile", "Pulumi.dev.yaml"], "--profile Pulumi.dev.yaml: clients: Field required"),
        ([*ONE_ADDRESS, "--stack", "absent"], "stacks with a config here: dev, prod"),
        ([*ONE_ADDRESS, "--compare"], "give a change with --set"),
        ([*ONE_ADDRESS, "--waf-lag", "long"], "'--waf-lag': 'long' is not a duration"),
        ([*ONE_ADDRESS, "--seed", "x"], "'x' is not a valid integer"),
        ([*ONE_ADDRESS, "--start", "9999-12-31T12:00"], "in the years 2000 to 2100"),
        ([*ONE_ADDRESS, "--chart", "run.gif"], "allowed are .png, .svg"),
        ([*ONE_ADDRESS, "--chart", "/nonexistent/run.svg"], "cannot be written: No such file"),
        ([*ONE_ADDRESS, "--chart", f"/tmp/{'x' * 300}.svg"], "cannot be written: File name too"),  # noqa: S108
        ([*ONE_ADDRESS, "--aggregated"], "No such option"),
    ],
)
def test_what_cannot_be_run_is_one_clear_error_before_anything_runs(
    arguments: list[str], words: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.traffic.simulate.run_traffic", None)
    assert main(["simulate", *arguments]) == 2
    out, error = capsys.readouterr()
    assert words in " ".join(error.split())
    assert "Traceback" not in error
    assert not out


def test_the_command_line_overrules_a_profile(tmp_path: Path, capsys: Capture) -> None:
    profile = tmp_path / "p.yaml"
    profile.write_text(PROFILE)
    result = json_of(["--profile", str(profile)], capsys)
    assert (result["arrivals"], result["total"]["sent"]) == ("even", 300)
    assert list(result["total"]["refused"]) == ["usage-plan"]

    changes = ["--arrivals", "poisson", "--seed", "4", "--start", "08:00"]
    more = ["--client", "premium/default=1rps,for=10s"]
    result = json_of(["--profile", str(profile), *changes, *more], capsys)
    assert (result["arrivals"], result["seed"]) == ("poisson", 4)
    assert result["start"] == "2026-01-05T08:00:00+00:00"
    assert [one["client"] for one in result["clients"]] == ["basic/default", "premium/default"]


def test_charts_open_and_say_what_was_found(tmp_path: Path) -> None:
    for suffix in ("png", "svg"):
        path = tmp_path / f"run.{suffix}"
        assert main(["simulate", "--stack", "prod", *CLIENTS, "--chart", str(path)]) == 0
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")
    svg = ElementTree.parse(tmp_path / "run.svg").getroot()  # noqa: S314  our own
    assert svg.tag.endswith("svg")
    first = (tmp_path / "run.svg").read_bytes()
    for words in (
        b"no-key is refused first, by the WAF at",
        b"plan: 500/s, burst 1,000",
        b"WAF: 6.667/s from 1 address",
        b"stage: 1,000/s, burst 2,000, not reached",
        b"refused: quota, from 3 m",
        b"refused: API key",
    ):
        assert words in first
    main(["simulate", "--stack", "prod", *CLIENTS, "--chart", str(tmp_path / "run.svg")])
    assert (tmp_path / "run.svg").read_bytes() == first, "equal runs make equal files"


def test_a_short_simulation_imports_only_what_it_needs() -> None:
    code = (
        "import sys; from tools.__main__ import main; "
        "main(['simulate', '--profile', 'burst']); "
        "print({'matplotlib', 'boto3', 'locust', 'gevent', 'pulumi'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=STACKS,
        env={"PYTHONPATH": str(CODE)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "set()"
