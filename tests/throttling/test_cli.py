"""The command line, as people and machines use it."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from throttling.cli import main
from settings.stacks import StackError, load_stack

ROOT = Path(__file__).parents[2]
ONE_ADDRESS = ["--stack", "prod", "--client", "premium/default=500rps,for=1m"]
CLIENTS = ["--client", "premium/default=500rps,ips=100,for=5m", "--client", "no-key=20rps,for=5m"]

Capture = pytest.CaptureFixture[str]


def json_of(arguments: list[str], capsys: Capture) -> Any:  # noqa: ANN401  JSON
    assert main([*arguments, "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_review_finds_the_contradictions_of_production(capsys: Capture) -> None:
    ((stack, findings),) = [one.values() for one in json_of(["review", "--stack", "prod"], capsys)]
    assert stack == "prod"
    commands = [finding["command"] for finding in findings]
    for setting in (
        "throttled-api:waf.rateLimit 30000",
        "throttled-api:usagePlans.basic.quota.limit 8640000",
        "throttled-api:throttle.burstLimit 1250",
    ):
        assert f"pulumi config set --path {setting} --stack prod" in commands


def test_review_says_in_plain_words_what_follows_and_what_to_type(capsys: Capture) -> None:
    assert main(["review", "--stack", "prod"]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("warning: throttled-api:waf.rateLimit")
    assert "a client at full rate on one address is blocked after about 20 s." in lines[at + 1]
    assert lines[at + 2].split() == shlex.split(
        "pulumi config set --path throttled-api:waf.rateLimit 30000 --stack prod"
    )


def test_review_is_of_all_stacks_unless_one_is_named(capsys: Capture) -> None:
    assert [one["stack"] for one in json_of(["review"], capsys)] == ["dev", "prod"]


def test_a_secret_is_refused_here_as_in_the_program(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: throttled-api")
    secret = "config: {throttled-api:throttle: {rateLimit: {secure: AAAB}}}"
    (tmp_path / "Pulumi.dev.yaml").write_text(secret)
    with pytest.raises(StackError, match="throttled-api:throttle: is stored as a secret"):
        load_stack("dev", root=tmp_path)


def test_review_is_strict_on_request(capsys: Capture) -> None:
    assert main(["review", "--stack", "prod"]) == 0
    assert main(["review", "--stack", "prod", "--strict"]) == 1
    assert main(["review", "--stack", "dev", "--strict"]) == 0


def test_one_address_on_production_is_refused_first_by_the_waf(capsys: Capture) -> None:
    result = json_of(["simulate", *ONE_ADDRESS, "--arrivals", "even"], capsys)
    assert result["headline"].startswith("premium/default is refused first, by the WAF at 4.0 s")
    (client,) = result["clients"]
    assert client == {
        "client": "premium/default",
        "sent": 30_000,
        "admitted": 2_000,
        "refused": {"waf": {"requests": 28_000, "firstAtSeconds": 4.0}},
        "quotaLeft": 98_000,
        "quotaRenewed": "2026-01-06T00:00:00+00:00",
    }
    assert result["peakConcurrency"] == 50
    timeline = result["timeline"]["clients"]["premium/default"]
    assert (sum(timeline["admitted"]), sum(timeline["waf"])) == (2_000, 28_000)
    lagging = json_of(["simulate", *ONE_ADDRESS, "--waf-lag", "30s"], capsys)
    assert lagging["clients"][0]["refused"]["waf"]["firstAtSeconds"] == pytest.approx(34, abs=0.7)


def test_the_table_has_every_number_and_says_what_aws_does_not_promise(capsys: Capture) -> None:
    assert main(["simulate", "--stack", "prod", *CLIENTS, "--arrivals", "even"]) == 0
    text = capsys.readouterr().out
    assert "\x1b" not in text, "colours belong on a terminal"
    table = re.sub(" +", " ", text)
    assert "premium/default sent 150,000" in table
    assert "admitted 100,000 66.7 %" in table
    assert "refused: quota 50,000 33.3 % 3 m 20 s" in table
    assert "quota left of 100,000 a day, until 2026-01-06 00:00 UTC 0" in table
    assert "refused: API key 2,000" in table
    assert "all clients sent 156,000" in table
    assert "Peak concurrency 50 of 100 reserved" in table
    assert "Mode: exact, request by request" in table
    assert "best-effort" in table
    assert "--waf-lag" in table


def test_the_aggregated_mode_says_that_it_is(capsys: Capture) -> None:
    arguments = ["simulate", "--stack", "prod", *CLIENTS, "--aggregated"]
    assert main(arguments) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Mode: aggregated, second by second" in text
    assert "within 0.5 %" in text
    assert json_of(arguments, capsys)["mode"] == "aggregated"


def test_a_change_is_tried_with_the_settings_own_rules(capsys: Capture) -> None:
    change = ["--set", "usagePlans.premium.quota.limit=50000", "--set", "waf.enabled=false"]
    result = json_of(["simulate", *ONE_ADDRESS, "--arrivals", "even", *change], capsys)
    assert result["clients"][0]["admitted"] == 30_000
    assert result["clients"][0]["quotaLeft"] == 20_000


def test_a_comparison_says_who_gains_who_loses_and_what_the_review_says(capsys: Capture) -> None:
    arguments = [
        *("simulate", "--stack", "prod", "--arrivals", "even", "--compare"),
        *("--client", "premium/default=500rps,for=1m"),
        *("--client", "basic/default=50rps,ips=50,for=1m"),
        *("--set", "waf.rateLimit=150000", "--set", "usagePlans.basic.rateLimit=10"),
        *("--set", "usagePlans.basic.burstLimit=3000", "--set", "throttle.burstLimit=6000"),
    ]
    assert main(arguments) == 0
    text = re.sub(" +", " ", capsys.readouterr().out)
    assert "premium/default gains 28,000 requests." in text
    assert "admitted 2,000 30,000 +28,000" in text
    assert "refused: WAF 28,000 0 -28,000 4.0 s never" in text
    assert "basic/default neither gains nor loses." in text
    newly, gone = text.split("The review newly finds:")[1].split("The review no longer finds:")
    assert "throttle.burstLimit: 6,000 is above the account's default of 5,000" in newly
    assert "waf.rateLimit: 2,000 requests per 300 s" in gone
    result = json_of(arguments, capsys)
    assert result["change"] == [
        {"client": "premium/default", "admitted": 28_000},
        {"client": "basic/default", "admitted": 0},
    ]
    assert len(result["before"]["review"]) > len(result["after"]["review"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--client", "gold/x=5rps"], "allowed: basic/default, premium/default, and no-key"),
        (["--client", "basic/default=5xps"], "allowed is a number and one of rps, rpm"),
        ([], "there is no traffic"),
        (["--profile", "absent.yaml"], "docs/traffic/business-day.yaml"),
        ([*ONE_ADDRESS, "--stack", "absent"], "stacks with a config here: dev, prod"),
        ([*ONE_ADDRESS, "--set", "usagePlans.basic.rateLimit=fast"], "rateLimit: 'fast' is not"),
        ([*ONE_ADDRESS, "--set", "usagePlans.basic.speed=1"], "usagePlans.basic.speed: is not"),
        ([*ONE_ADDRESS, "--set", "usagePlans.basic.clients[7].x=1"], "no such place"),
        ([*ONE_ADDRESS, "--set", "usagePlans..basic=1"], "is no change"),
        ([*ONE_ADDRESS, "--set", "usagePlans"], "is no change"),
        ([*ONE_ADDRESS, "--compare"], "give a change with --set"),
        ([*ONE_ADDRESS, "--waf-lag", "long"], "--waf-lag: 'long' is no duration"),
        ([*ONE_ADDRESS, "--seed", "x"], "a whole number"),
        ([*ONE_ADDRESS, "--start", "noon"], "a time such as 08:00"),
        ([*ONE_ADDRESS, "--chart", "run.gif"], "allowed are .png, .svg, .html"),
        ([*ONE_ADDRESS, "--chart", "absent/run.svg"], "No such file or directory"),
    ],
)
def test_what_cannot_be_run_is_one_clear_error(
    arguments: list[str], words: str, capsys: Capture
) -> None:
    assert main(["simulate", *arguments]) == 2
    out, error = capsys.readouterr()
    assert error.startswith("error: ")
    assert words in error
    assert not out


def test_the_profile_of_the_readme_runs_on_dev(capsys: Capture) -> None:
    profile = str(ROOT / "docs" / "traffic" / "throttle-test.yaml")
    result = json_of(["simulate", "--stack", "dev", "--profile", profile], capsys)
    assert result["total"]["sent"] == 300
    assert list(result["total"]["refused"]) == ["usage-plan"]


def test_the_command_line_overrules_the_profile(capsys: Capture) -> None:
    profile = str(ROOT / "docs" / "traffic" / "throttle-test.yaml")
    arguments = ["--profile", profile, "--arrivals", "poisson", "--seed", "4", "--start", "08:00"]
    result = json_of(["simulate", *arguments, "--client", "premium/default=1rps,for=10s"], capsys)
    assert (result["arrivals"], result["seed"]) == ("poisson", 4)
    assert result["start"] == "2026-01-05T08:00:00+00:00"
    assert [client["client"] for client in result["clients"]] == [
        "basic/default",
        "premium/default",
    ]


def test_charts_open_and_say_what_was_found(tmp_path: Path, capsys: Capture) -> None:
    for suffix in ("png", "svg", "html"):
        path = tmp_path / f"run.{suffix}"
        assert main(["simulate", "--stack", "prod", *CLIENTS, "--chart", str(path)]) == 0
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")
    assert ElementTree.parse(tmp_path / "run.svg").getroot().tag.endswith("svg")  # noqa: S314  our own
    page = (tmp_path / "run.html").read_text("utf-8")
    assert "<title>no-key is refused first, by the WAF at" in page
    assert page.count("<svg") == 1
    assert "Peak concurrency" in page
    assert "src=" not in page, "the page is to be one file that needs no other"


def test_the_module_runs_as_a_command_and_survives_a_closed_pipe() -> None:
    command = [sys.executable, "-m", "throttling", "review", "--stack", "prod"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""
