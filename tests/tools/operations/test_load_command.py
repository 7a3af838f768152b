"""`python -m operations load` before anything is sent: what it loads, and whether it may."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from operations.cli import main
from operations.errors import OperationsError
from tools.traffic.load.command import cost, guard, intent
from tools.traffic.load.generator import News
from tools.traffic.load.record import record, save
from tools.traffic.load.report import report, text_chart
from tools.traffic.load.scenarios import SCENARIOS, plan_schedule
from tools.traffic.load.target import Target, find_target, is_loopback
from tools.traffic.load.verdicts import find
from operations.stacks import stack_settings
from tests.tools.operations.conftest import target_of
from tests.tools.operations.modelled import answers
from throttling import Client

KEY = "abcdefghij0123456789abcdefghij0123456789"
OUTPUTS = {
    "dataUrl": "https://abc.execute-api.eu-central-1.amazonaws.com/prod/data",
    "apiKeys": {"basic": {"default": KEY}, "premium": {"default": KEY[::-1]}},
}


@pytest.fixture
def pulumi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Pulumi CLI that says what is in the file `said`, and keeps how it was called."""
    script = tmp_path / "pulumi"
    script.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/called\ncat {tmp_path}/said\n')
    script.chmod(0o755)
    (tmp_path / "said").write_text(json.dumps(OUTPUTS))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def test_a_deployed_stack_is_found_with_its_keys_and_its_configured_limits(
    pulumi: Path, tmp_path: Path
) -> None:
    settings = stack_settings("prod")

    target = find_target(settings, asked_for=True, root=tmp_path)

    assert target.url == OUTPUTS["dataUrl"]
    assert target.keys == {
        Client("basic", "default"): KEY,
        Client("premium", "default"): KEY[::-1],
    }
    assert target.limits == settings.limits()
    assert target.retry_after_seconds == 1
    assert not target.sandbox
    assert not target.loopback
    called = (pulumi / "called").read_text()
    assert called.startswith("stack output --json --show-secrets --stack prod")


def test_another_url_may_be_loaded_with_the_keys_of_the_stack(pulumi: Path, tmp_path: Path) -> None:
    url = "https://api.example.com/data"

    target = find_target(stack_settings("prod"), url=url, deployed=True, root=tmp_path)

    assert (target.url, target.sandbox, len(target.keys)) == (url, False, 2)


def test_without_the_pulumi_cli_one_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(OperationsError, match=r"takes the Pulumi CLI.* run make up STACK=prod"):
        find_target(stack_settings("prod"), asked_for=True, root=tmp_path)


def test_without_a_sandbox_the_default_does_not_go_looking_in_the_cloud(
    pulumi: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        OperationsError, match=r"No sandbox of stack dev is running\. Start it with"
    ):
        find_target(stack_settings("dev"), root=tmp_path)

    assert not (pulumi / "called").exists()


def test_why_pulumi_failed_is_told_without_any_key(pulumi: Path, tmp_path: Path) -> None:
    script = pulumi / "pulumi"
    script.write_text(f"#!/bin/sh\necho {KEY}\necho error: no stack named >&2\nexit 255\n")
    with pytest.raises(OperationsError) as raised:
        find_target(stack_settings("prod"), asked_for=True, root=tmp_path)

    assert "error: no stack named" in str(raised.value)
    assert KEY not in str(raised.value)
    script.write_text(f"#!/bin/sh\necho not JSON, {KEY}\n")
    with pytest.raises(OperationsError) as raised:
        find_target(stack_settings("prod"), asked_for=True, root=tmp_path)
    assert KEY not in str(raised.value)


def test_a_stack_without_outputs_is_not_deployed(pulumi: Path, tmp_path: Path) -> None:
    (pulumi / "said").write_text("{}")

    with pytest.raises(OperationsError, match=r"no outputs dataUrl and apiKeys\. Deploy it"):
        find_target(stack_settings("prod"), asked_for=True, root=tmp_path)


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:8080/dev/data", True),
        ("http://127.8.0.1/", True),
        ("http://[::1]:8080/", True),
        ("http://localhost:8080/", True),
        ("https://localhost.example.com/", False),
        ("https://127.0.0.1.nip.io/", False),
        ("http://10.0.0.1/", False),
        ("https://abc.execute-api.eu-central-1.amazonaws.com/prod", False),
        ("nonsense", False),
    ],
)
def test_loopback_is_what_cannot_mean_another_machine(url: str, loopback: bool) -> None:
    assert is_loopback(url) is loopback


def test_what_is_not_on_this_machine_is_not_loaded_without_a_terminal(
    pulumi: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["load", "--stack", "prod", "--deployed", "--scenario", "smoke"])

    told = capsys.readouterr()
    assert status == 2
    assert "up to 1 of basic/default's quota of 10,000" in told.out
    assert told.err.startswith(f"error: {OUTPUTS['dataUrl']} is not on this machine, and there is")
    assert "--yes" in told.err
    assert KEY not in told.out + told.err


@pytest.mark.parametrize(("answer", "goes_on"), [("y", True), ("yes", True), ("", False)])
def test_on_a_terminal_the_guard_asks(
    answer: str, goes_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = target_of("prod", sandbox=False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _: answer)
    schedule = plan_schedule(target, ["smoke"])

    if goes_on:
        guard(target, schedule, yes=False)
    else:
        with pytest.raises(OperationsError, match="Nothing was sent"):
            guard(target, schedule, yes=False)


def test_the_guard_lets_loopback_and_yes_pass(dev: Target) -> None:
    guard(dev, plan_schedule(dev, SCENARIOS), yes=False)
    far = target_of("prod", sandbox=False)
    guard(far, plan_schedule(far, SCENARIOS), yes=True)


def test_what_a_run_costs_is_said_before_it(dev: Target) -> None:
    schedule = plan_schedule(dev, ["plan"])

    said = cost(dev, schedule)

    # Of basic: 25 and 25 pass, 10 + 16 s x 5/s of the overload, one more, and the burst.
    assert "up to 151 of basic/default's quota of 20,000" in said
    assert "load-test-0000" in said
    assert intent(schedule) == "938 requests in 67 s, at most 250/s"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--tolerance", "5%"], "5% is no share, such as 0.05"),
        (["--tolerance", "1.5"], "1.5 is no share"),
        (["--scenario", "flood"], "invalid choice: 'flood'"),
        (["--chart", "chart.pdf"], "allowed are .png, .svg"),
        (["--chart", "nowhere/chart.png"], "there is no folder nowhere"),
        (["--workers", "0"], "0 is no number from 1 to 1000"),
        (["--bind", "0.0.0.0:x"], "0.0.0.0:x is no address"),
    ],
)
def test_bad_arguments_are_told_with_exit_status_2(
    words: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["load", *words])

    assert raised.value.code == 2
    assert error in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--stack", "nowhere"], "There is no Pulumi.nowhere.yaml"),
        (["--url", "ftp://example.com"], "--url ftp://example.com: is no http or https address."),
    ],
)
def test_a_run_that_cannot_begin_is_one_line_and_exit_status_2(
    words: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["load", *words]) == 2

    said = capsys.readouterr().err
    assert error in said
    assert len(said.splitlines()) == 1


def test_a_run_that_nobody_answers_ends(
    dev: Target, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    schedule = plan_schedule(dev, SCENARIOS)
    lost = [
        replace(one, status=0, message="ConnectionRefusedError")
        for one in answers(dev, schedule, dev.limits)
    ]

    def generate(*_: object, **__: object) -> Iterator[News]:
        for number, sample in enumerate(lost):
            assert number < 100, "it goes on sending"
            yield News([sample], 0.1)

    monkeypatch.setattr("tools.traffic.load.command.generate", generate)
    monkeypatch.setattr("tools.traffic.load.command.find_target", lambda *_, **__: dev)

    assert main(["load"]) == 2

    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"error: Nobody answers at {dev.url}: ConnectionRefusedError."


def test_a_record_has_all_that_was_found_and_no_key(dev: Target, tmp_path: Path) -> None:
    target = replace(dev, keys=dict.fromkeys(dev.keys, KEY))
    schedule = plan_schedule(target, SCENARIOS)
    samples = answers(target, schedule, target.limits)
    findings = [find(target, schedule, name, samples) for name in schedule.scenarios()]
    started = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)

    document = record(target, findings, tolerance=0.05, started=started, interrupted=False)
    path = save(document, tmp_path)

    assert path.name == "dev-sandbox-2026-03-02T083000Z.json"
    text = path.read_text()
    assert KEY not in text
    kept = json.loads(text)
    assert kept["agrees"] is True
    assert [one["scenario"] for one in kept["scenarios"]] == list(SCENARIOS)
    assert kept["limits"]["usage_plans"]["basic"]["throttle"] == {"rate": 5.0, "burst": 10}
    plan = kept["scenarios"][1]
    rate = next(one for one in plan["compared"] if one["limit"] == "basic/default rate")
    assert (rate["configured"], rate["verdict"]) == ("5/s", "agrees")
    assert rate["measured"]["low"] <= 5 <= rate["measured"]["high"]
    overload = next(t for t in plan["traffic"] if t["requests"] == "plan basic/default 150%")
    assert overload["planned"] == overload["sent"] == 120
    assert overload["admitted"] + overload["refused"]["429 usage-plan:basic"] == 120
    assert overload["admittedLatencyMs"] == {"p50": 10.0, "p95": 10.0, "p99": 10.0}


def test_the_report_shows_limits_refusals_latencies_and_a_chart(dev: Target) -> None:
    schedule = plan_schedule(dev, ["plan"])
    samples = answers(dev, schedule, dev.limits)
    console = Console(width=200, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123

    console.print(
        report(
            find(dev, schedule, "plan", samples),
            text_chart(schedule, "plan", samples, unicode=True),
        )
    )
    console.file.close()

    lines = console.export_text().splitlines()
    (rate,) = [line for line in lines if line.startswith("basic/default rate")]
    assert rate.split()[2:] == ["5/s", "5/s", "agrees"]
    (overload,) = [line for line in lines if line.startswith("basic/default 150%")]
    assert "120 at 7.5/s" in overload
    assert "31 x 429 usage-plan:basic" in overload
    assert "31 of 31" in overload
    assert overload.count("10 ms") == 3
    assert any("passed" in line and "█" in line for line in lines)


def test_a_chart_is_drawn_of_either_kind(dev: Target, tmp_path: Path) -> None:
    from tools.traffic.load.chart import draw

    schedule = plan_schedule(dev, SCENARIOS)
    samples = answers(dev, schedule, dev.limits)
    findings = [find(dev, schedule, name, samples) for name in schedule.scenarios()]
    for name in ("a.svg", "b.svg", "c.png"):
        draw(dev, schedule, samples, findings, tmp_path / name)

    svg = (tmp_path / "a.svg").read_text()
    assert svg == (tmp_path / "b.svg").read_text(), "equal runs make equal files"
    for words in ("All ", "plan basic/default", "150%", "plan premium: 20/s,", "refused: throttle"):
        assert words in svg
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
