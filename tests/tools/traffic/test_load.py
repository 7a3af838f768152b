"""`python -m tools load`: where it goes, what it asks, what it sends, and how it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.stacks import ROOT as STACKS
from tests.stacks import settings
from tests.tools.sandbox.project import HOSTILE, free_port
from tests.tools.traffic.api import DEV, Api, Sent, answers, serving, with_plan
from throttling import Client, Limits
from tools.__main__ import main
from tools.cli import Exit
from tools.traffic.load.requests import make_requests
from tools.traffic.load.target import Target, find_target, is_loopback
from tools.traffic.profiles import read_profile

CODE = Path(__file__).parents[3]
KEY = "abcdefghij0123456789abcdefghij0123456789"
KEYS = {KEY: Client("basic", "default"), KEY[::-1]: Client("premium", "default")}
FAR = "https://abc.execute-api.eu-central-1.amazonaws.com/prod/data"

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of the fixture stacks, where no sandbox runs."""
    for file in STACKS.glob("Pulumi*.yaml"):
        (tmp_path / file.name).write_text(file.read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def pulumi(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Path]:
    """Put a Pulumi CLI on the path: it runs a script, and keeps how it was called."""
    folder = tmp_path_factory.mktemp("pulumi")
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def says(script: str) -> Path:
        (folder / "pulumi").write_text(f'#!/bin/sh\necho "$@" > {folder}/called\n{script}\n')
        (folder / "pulumi").chmod(0o755)
        return folder / "called"

    return says


def outputs(url: str) -> str:
    plans = {client.plan: {client.name: key} for key, client in KEYS.items()}
    return f"echo '{json.dumps({'dataUrl': url, 'apiKeys': plans})}'"


@pytest.fixture
def api(pulumi: Callable[[str], Path]) -> Iterator[Api]:
    """A stack that Pulumi deployed: here, with the limits of dev."""
    with serving(DEV, KEYS) as served:
        pulumi(outputs(served.url))
        yield served


def start(*words: str, **environment: str) -> subprocess.Popen[str]:
    """Start the command in a hostile environment."""
    return subprocess.Popen(
        [sys.executable, "-m", "tools", "load", *words],
        env=os.environ | HOSTILE | {"PYTHONPATH": str(CODE), "PYTHONSAFEPATH": ""} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A terminal sends Ctrl-C to a whole group of processes.
        process_group=0,
        # pytest-xdist's workers ignore Ctrl-C, and with them what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> None:
    due = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < due
        time.sleep(0.05)


def test_a_deployed_stack_is_found_with_its_keys(pulumi: Callable[[str], Path]) -> None:
    called = pulumi(outputs(FAR))
    target = find_target(settings("prod"), url=None, deployed=False, named=True)

    assert target == Target(url=FAR, keys={c: key for key, c in KEYS.items()}, sandbox=False)
    assert called.read_text().startswith("stack output --json --show-secrets --stack prod")
    assert KEY not in repr(target)
    other = find_target(settings("prod"), url="https://api.example/x", deployed=True, named=True)
    assert (other.url, len(other.keys)) == ("https://api.example/x", 2)


@pytest.mark.parametrize(
    ("script", "words", "error"),
    [
        (outputs(FAR), [], "No sandbox of stack dev is running. Start it with make up"),
        (
            "exit 9",
            ["--stack", "prod"],
            "pulumi stack output --stack prod failed: CalledProcessError",
        ),
        (f"echo {KEY}; echo no stack >&2; exit 1", ["--deployed"], "failed: no stack. Is the"),
        (f"echo not JSON, {KEY}", ["--deployed"], "failed: JSONDecodeError."),
        ("echo '{}'", ["--deployed"], "no outputs dataUrl and apiKeys. Deploy it"),
        (outputs(FAR), ["--url", "ftp://example.com"], "is not an http or https address"),
        (outputs(FAR), ["--url", "http://127.0.0.1:70000/"], "is not an http or https address"),
        (outputs(FAR), ["--deployed"], "There is no terminal to ask on. With --yes"),
        (outputs(FAR), ["--deployed", "--client", "gold/x=1rps"], "has no client gold/x"),
        ("", ["--tolerance", "5%"], "'5%' is not a share from 0 to below 1"),
        ("", ["--tolerance", "nan"], "'nan' is not a share from 0 to below 1"),
        ("", ["--workers", "0"], "0 is not in the range 1<=x<=1000"),
        ("", ["--bind", "0.0.0.0:x"], "'0.0.0.0:x' is not an address"),
        ("", ["--workers", "2"], "--client and --workers go with one --profile"),
        ("", ["--client", "no-key=1rps", "--profile", "waf", "--profile", "plan"], "go with one"),
        (
            outputs("http://127.0.0.1:1/"),
            ["--deployed", "--client", "no-key=1000000rps,for=1h"],
            "too many; allowed: 1,000,000",
        ),
    ],
)
def test_a_run_that_cannot_begin_is_one_clear_error_and_sends_nothing(
    script: str,
    words: list[str],
    error: str,
    pulumi: Callable[[str], Path],
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pulumi(script)
    monkeypatch.setattr("tools.traffic.load.command.send", None)

    assert main(["load", *words]) == Exit.BAD_INPUT

    out, said = capsys.readouterr()
    assert error in said
    assert "Traceback" not in said
    assert KEY not in out + said


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--record"], "cannot be written"),
        (["--chart", "c.svg"], "c-burst.svg cannot be written: Is a directory"),
        (["--chart", "d.svg", "--profile", "seed"], "--chart needs another name for each profile"),
    ],
)
def test_a_result_that_cannot_be_kept_is_an_error_before_anything_is_sent(
    words: list[str], error: str, api: Api, project: Path, capsys: Capture
) -> None:
    (project / "docs").write_text("a file where the folder should be")
    (project / "c-burst.svg").mkdir()
    profiles = ["--profile", "seed", "--profile", "burst"]
    assert main(["load", "--deployed", *profiles, *words]) == Exit.BAD_INPUT
    assert error in capsys.readouterr().err
    assert not api.received


def test_without_the_pulumi_cli_the_error_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("PATH", "")
    assert main(["load", "--stack", "prod"]) == Exit.BAD_INPUT
    said = capsys.readouterr().err
    assert "takes the Pulumi CLI" in said
    assert "make up STACK=prod" in said


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:8080/dev/data", True),
        ("http://127.8.0.1/", True),
        ("http://localhost:8080/", True),
        ("https://localhost.example.com/", False),
        ("https://127.0.0.1.nip.io/", False),
        ("nonsense", False),
    ],
)
def test_loopback_is_what_cannot_mean_another_machine(url: str, loopback: bool) -> None:
    assert is_loopback(url) is loopback


@pytest.mark.parametrize(
    ("answer", "words", "sends"),
    [("y\n", [], True), ("n\n", [], False), ("\n", [], False), ("", ["--yes"], True)],
)
def test_traffic_leaves_this_machine_only_after_a_question(
    answer: str,
    words: list[str],
    sends: bool,
    pulumi: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    pulumi(outputs(FAR))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: answer.strip())
    sent: list[str] = []

    def send(job: dict[str, Any]) -> Iterator[dict[str, Any]]:
        sent.append(job["calls"][0][1])
        yield {"start": 0, "samples": [[0, 0.0, 0.1, 429, None, "Too Many Requests", "", "1"]]}

    monkeypatch.setattr("tools.traffic.load.command.send", send)
    client = ["--client", "basic/default=1rps,for=1s", "--arrivals", "even"]
    status = main(["load", "--deployed", *client, *words])

    said = capsys.readouterr().err
    assert sent == ([FAR] if sends else [])
    assert ("is paid for" in said) is not bool(words)
    assert ("Nothing was sent" in said) is not sends
    assert status == (Exit.OK if sends else Exit.BAD_INPUT)


@pytest.mark.parametrize(("words", "seconds"), [([], 60), (["--waf-lag", "0s"], 0)])
def test_a_deployed_web_acl_gets_time_to_notice(
    words: list[str], seconds: int, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []

    def send(job: dict[str, Any]) -> Iterator[dict[str, Any]]:
        sent.append(len(job["due"]))
        yield {"start": 0, "samples": []}
        raise KeyboardInterrupt

    monkeypatch.setattr("tools.traffic.load.command.send", send)
    assert main(["load", "--deployed", "--profile", "waf", *words]) == Exit.INTERRUPTED
    assert sent == [1653 + 150 * seconds]


def test_a_run_that_nothing_answers_ends(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def send(*_: object) -> Iterator[dict[str, Any]]:
        for number in range(1000):
            assert number < 100, "it goes on sending"
            yield {
                "start": 0,
                "samples": [[number, 0.0, 0.1, 0, None, "ConnectionRefusedError", "", None]],
            }

    monkeypatch.setattr("tools.traffic.load.command.send", send)
    assert main(["load", "--deployed", "--profile", "seed"]) == Exit.BAD_INPUT
    assert f"No answer from {api.url}: ConnectionRefusedError." in capsys.readouterr().err


def _answering(limits: Limits) -> Callable[..., Iterator[dict[str, Any]]]:
    """Return a generator that a target with `limits` answers, without sending anything."""

    def send(job: dict[str, Any]) -> Iterator[dict[str, Any]]:
        name = "burst" if len(job["due"]) < 1000 else "seed"
        profile = read_profile(name, settings("dev"), waf_lag_seconds=0)
        sent = Sent(profile, make_requests(profile))
        samples = [list(one) for one in answers(limits, sent, machines=1)]
        yield {"start": 0, "samples": []}
        yield {"start": 1_772_438_400.0, "samples": samples}

    return send


def test_the_report_the_record_and_the_chart_have_what_came_back_beside_the_limits(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: Capture, project: Path
) -> None:
    monkeypatch.setattr("tools.traffic.load.command.send", _answering(DEV))
    profiles = ["--profile", "burst", "--profile", "seed"]
    status = main(["load", "--deployed", *profiles, "--record", "--chart", "c.svg"])

    out, err = capsys.readouterr()
    text = " ".join(out.split())
    assert (status, err) == (Exit.OK, "")
    for words in (
        "burst: agrees. basic/default is refused first, by the usage plan throttle",
        "requests share first at by the limits",
        "premium/default sent 69 admitted 45 65.2 % 45 agrees",
        "Admitted after p50 10 ms, p95 10 ms, p99 10 ms.",
        "33 x 429 Too Many Requests, Retry-After 1 s",
        "seed: agrees.",
        "8 counts agree with the configured limits.",
        "Limits that refused requests: usage plan throttle.",
        "best-effort",
    ):
        assert words in text
    (record,) = (project / "docs" / "tested-limits").glob("dev-deployed-*.json")
    kept = json.loads(record.read_text())
    assert KEY not in record.read_text()
    assert kept["limits"]["usage_plans"]["basic"]["throttle"] == {"rate": 5.0, "burst": 10}
    burst, seed = kept["profiles"]
    assert [one["verdict"] for one in (burst, seed)] == ["agrees", "agrees"]
    assert burst["clients"][1]["admitted"] == 45
    row = next(one for one in burst["byTheLimits"] if one["outcome"] == "usage-plan")
    assert (row["low"], row["high"], row["verdict"]) == (9, 9, "agrees")
    assert "burst: agrees." in Path("c-burst.svg").read_text()
    assert "seed: agrees." in Path("c-seed.svg").read_text()


def test_a_limit_that_is_off_is_named_and_ends_with_1(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    wrong = with_plan(DEV, "premium", rate=20, burst=80)
    monkeypatch.setattr("tools.traffic.load.command.send", _answering(wrong))

    assert main(["load", "--deployed", "--profile", "burst", "--format", "json"]) == Exit.FINDINGS
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert "Off: burst: premium/default admitted; burst: premium/default refused: " in err
    assert document["summary"][0].startswith("Off: burst: premium/default")
    assert document["profiles"][0]["verdict"] == "off"


def test_a_run_of_which_nothing_is_certain_is_no_success(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def send(*_: object) -> Iterator[dict[str, Any]]:
        yield {
            "start": 0,
            "samples": [
                [number, number / 2, 0.1, 200 if number % 2 else 0, None, "", "", None]
                for number in range(10)
            ],
        }

    monkeypatch.setattr("tools.traffic.load.command.send", send)
    client = ["--client", "basic/default=1rps,for=10s", "--arrivals", "even"]
    assert main(["load", "--deployed", *client]) == Exit.BAD_INPUT
    out, err = capsys.readouterr()
    assert "Unclear, because answers took long or failed" in out
    assert "No limit could be compared" in err


def test_locust_sends_what_the_profile_says_and_no_file_or_variable_changes_it(
    api: Api, project: Path
) -> None:
    (project / ".locust.conf").write_text("headless = true\nusers = 7\nrun-time = 1s\n")
    (project / "locust.conf").write_text("locustfile = nowhere.py\nhost = http://127.0.0.1:9\n")
    process = start(
        *("--deployed", "--profile", "burst", "--client", "no-key=5rps,for=2s"),
        HOME=str(project),
        LOCUST_USERS="9",
        LOCUST_HOST="http://127.0.0.1:9",
        LOCUST_SKIP_MONKEY_PATCH="1",
    )
    out, err = process.communicate(timeout=90)

    assert process.returncode == Exit.OK, out + err
    by_key = {key: 0 for key in [*KEYS, ""]}
    for headers in api.received:
        by_key[headers.get("x-api-key", "")] += 1
        assert headers["content-type"] == "application/json"
        assert "x-forwarded-for" not in headers, "AWS has its own"
        assert json.loads(headers["body"])["id"].startswith("load-test-")
    assert list(by_key.values())[:2] == [19, 69]
    assert sum(by_key.values()) == sum(one for one in [19, 69, by_key[""]])
    for key in KEYS:
        assert key not in out + err


@pytest.mark.parametrize("ends", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "killed"])
def test_the_generator_ends_with_the_command_however_that_ends(
    ends: signal.Signals, api: Api
) -> None:
    process = start("--deployed", "--profile", "seed", "--record")
    wait_for(lambda: len(api.received) > 100)
    children = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, ends) if ends is signal.SIGKILL else os.killpg(process.pid, ends)
    out, err = process.communicate(timeout=60)

    assert children
    assert not psutil.wait_procs(children, timeout=20)[1], "nothing goes on sending"
    assert len(api.received) < 1500
    if ends is signal.SIGINT:
        assert process.returncode == Exit.INTERRUPTED, out + err
        assert "seed: " in out
        assert "seed: off" not in out
        assert "Stopped by Ctrl-C." in out
        assert "Record: " in out


def test_workers_send_one_profile_together(api: Api) -> None:
    port = str(free_port())
    locustfile = str(CODE / "tools" / "traffic" / "load" / "locustfile.py")
    words = ["-f", locustfile, "--worker", "--master-host", "127.0.0.1", "--master-port", port]
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "locust", *words],
            env={"PYTHONPATH": str(CODE), "PATH": os.environ["PATH"]},
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    bind = ["--workers", "2", "--bind", f"127.0.0.1:{port}"]
    process = start("--deployed", "--profile", "burst", "--url", api.url, *bind)
    out, err = process.communicate(timeout=90)
    said = [worker.communicate(timeout=60)[1] for worker in workers]

    assert len(api.received) == 88, out + err + "".join(said)
    assert "burst: " in out
    assert "burst: off" not in out


def test_a_locust_that_fails_says_why(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr("tools.traffic.load.sender.sys.executable", "/bin/false")
    assert main(["load", "--deployed", "--profile", "burst"]) == Exit.BAD_INPUT
    error = capsys.readouterr().err
    assert "Locust ended before all requests were answered: it wrote no reason." in error
