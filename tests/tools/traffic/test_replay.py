"""`python -m tools replay`: what happened, through limits to try."""

import json
import os
import re
import shlex
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from tests.stacks import deploy, settings
from tests.throttling.examples import BASIC, PREMIUM, even, poisson, steady
from tests.tools.traffic.logs import KEYS, line, lines_of, write, write_keys
from throttling import Throttle
from throttling.simulation.traffic import Traffic
from tools import aws
from tools.__main__ import main
from tools.traffic import logged

PROD = settings("prod").limits()
MIXED = poisson(
    steady(BASIC, 130, 60, addresses=200),
    steady(PREMIUM, 400, 40, addresses=4),
    steady(None, 20, 60),
)
"""The plan of basic, the web ACL and the API key refuse some of this."""

STAGE = "rateLimit: 500\n    burstLimit: 1000"

Capture = pytest.CaptureFixture[str]
pytestmark = pytest.mark.usefixtures("project")


def log_of(traffic: Traffic, folder: Path) -> list[str]:
    """Return the words that replay what production logs of traffic."""
    file = write(folder / "access.jsonl", lines_of(traffic, PROD))
    return [str(file), "--stack", "prod", "--keys", str(write_keys(folder))]


def json_of(words: list[str], capsys: Capture) -> Any:  # noqa: ANN401  JSON
    assert main(["replay", *words, "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def text_of(words: list[str], capsys: Capture) -> str:
    assert main(["replay", *words]) == 0
    return re.sub(" +", " ", capsys.readouterr().out)


def error_of(words: list[str], capsys: Capture) -> str:
    assert main(["replay", *words]) == 2
    out, error = capsys.readouterr()
    assert not out
    return error


def test_the_limits_in_force_decide_as_the_log_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(logged, "_BLOCK_REQUESTS", 1000)
    result = json_of(log_of(MIXED, tmp_path), capsys)
    assert result["agreement"] > 0.999
    refused = {one["client"]: [*one["refused"]] for one in result["logged"]["clients"]}
    assert refused == {
        "basic/default": ["usage-plan"],
        "premium/default": ["waf"],
        "no-key": ["api-key"],
    }
    for was, now in zip(*(result[key]["clients"] for key in ("logged", "replayed")), strict=True):
        assert now["admitted"] == pytest.approx(was["admitted"], abs=0.01 * was["sent"])


def test_a_throttled_request_counts_for_the_throttle_that_refuses_it_now(
    project: Path, capsys: Capture
) -> None:
    config = project / "Pulumi.prod.yaml"
    text = config.read_text()
    config.write_text(text.replace("rateLimit: 1000\n    burstLimit: 2000", STAGE))
    limits = replace(PROD, waf=None, stage=Throttle(rate=500, burst=1000))
    traffic = even(steady(BASIC, 90, 20, addresses=40), steady(PREMIUM, 700, 20, addresses=40))
    file = str(write(project / "log", lines_of(traffic, limits)))
    result = json_of([file, "--stack", "prod", "--keys", str(write_keys(project))], capsys)
    assert result["agreement"] > 0.999
    assert {*result["logged"]["clients"][1]["refused"]} == {"usage-plan", "stage"}


def test_what_the_log_says_stands_beside_other_limits(tmp_path: Path, capsys: Capture) -> None:
    file = str(write(tmp_path / "log", [line(), line(responseType="THROTTLED")]))
    result = json_of([file, "--stack", "prod", "--keys", str(write_keys(tmp_path))], capsys)
    assert result["agreement"] == 0.5
    assert result["logged"]["total"]["refused"]["usage-plan"]["requests"] == 1
    assert result["replayed"]["total"]["admitted"] == 2
    assert result["change"][0]["againstLog"] == 1


def test_a_change_is_compared_with_the_log_and_with_the_limits_in_force(
    tmp_path: Path, capsys: Capture
) -> None:
    log = log_of(even(steady(BASIC, 50, 40, addresses=40)), tmp_path)
    change = ["--set", "usagePlans.basic.rateLimit=10", "--set", "usagePlans.basic.burstLimit=10"]
    text = text_of([*log, *change, "--compare"], capsys)
    for words in (
        "basic/default is refused first, by the usage plan throttle at 0.2 s; 80% of its requests",
        "the limits in force decide 100 % as the log says.",
        "In force: All 2,000 requests are admitted.",
        "Against the limits in force: basic/default loses 1,591 requests.",
        "refused: usage plan throttle 1,591 79.5 % 0.2 s 01-05 00:00:00 0 0 +1,591",
        "Peak concurrency 5 of 100 reserved, at the logged latency (mean 100 ms)",
        "API Gateway may write no lines in a flood",
    ):
        assert words in text
    result = json_of([*log, *change], capsys)
    assert result["change"] == [
        {"client": "basic/default", "againstLog": -1591, "againstLimitsInForce": -1591}
    ]
    assert result["inForce"]["total"]["admitted"] == 2000
    assert sum(result["replayed"]["timeline"]["clients"]["basic/default"]["admitted"]) == 409


def test_each_request_takes_as_long_as_in_the_log(tmp_path: Path, capsys: Capture) -> None:
    lines = lines_of(even(steady(BASIC, 20, 30, addresses=9)), PROD)
    for one in lines:
        one["integrationLatencyMs"] = "2000"
    words = [str(write(tmp_path / "log", lines)), "--keys", str(write_keys(tmp_path))]
    words += ["--stack", "prod", "--set", "function.reservedConcurrency=20"]
    result = json_of(words, capsys)
    # Little's law: 20 a second for 2 s each are 40, and 20 of them fit.
    admitted = result["replayed"]["total"]["admitted"] / result["replayed"]["total"]["sent"]
    assert admitted == pytest.approx(0.5, abs=0.03)


def test_requests_that_the_web_acl_blocked_count_for_the_client_of_their_address(
    tmp_path: Path, capsys: Capture
) -> None:
    log = log_of(even(steady(PREMIUM, 100, 30)), tmp_path)
    result = json_of([*log, "--set", "waf.rateLimit=100000"], capsys)
    assert result["logged"]["clients"][0]["refused"]["waf"]["requests"] == 1000
    assert result["change"][0]["againstLog"] == 1000
    assert any("1,000 of them count for the client" in note for note in result["notes"])


def test_unknown_keys_are_listed_and_count_as_none(tmp_path: Path, capsys: Capture) -> None:
    lines = [line(apiKeyId=key) for key in ("stranger", "k-basic", "stranger", "-")]
    file = str(write(tmp_path / "log", lines))
    result = json_of([file, "--stack", "prod", "--keys", str(write_keys(tmp_path))], capsys)
    assert any("requests: stranger (2). They count" in note for note in result["notes"])
    sent = {one["client"]: one["sent"] for one in result["replayed"]["clients"]}
    assert sent == {"no-key": 3, "basic/default": 1}


@pytest.mark.parametrize(
    "content",
    [
        [{"id": "k-basic", "name": "basic/default.2", "age_days": 3}],
        {"k-basic": "basic/default.2"},
        {"basic": {"default": "other", "default.2": "k-basic"}},
    ],
    ids=["tools keys", "by ID", "stack output"],
)
def test_keys_come_in_each_form_that_names_them(
    content: object, tmp_path: Path, capsys: Capture
) -> None:
    file, keys = write(tmp_path / "log", [line()]), tmp_path / "keys.json"
    keys.write_text(json.dumps(content))
    result = json_of([str(file), "--stack", "prod", "--keys", str(keys)], capsys)
    assert [one["client"] for one in result["replayed"]["clients"]] == ["basic/default.2"]


def test_the_stack_exports_the_id_of_each_key_and_the_name_of_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    plans: dict[str, Any] = {"basic": {"keys": {"default": [1, 2]}}}
    outputs = deploy("prod", usagePlans=plans).resources.exports
    assert [*outputs["apiKeyIds"]["basic"]] == ["default", "default.2"]
    assert "access-logs" in outputs["accessLogGroup"]
    monkeypatch.setattr(logged, "pulumi_outputs", lambda stack: {"prod": outputs}[stack])
    file = write(tmp_path / "log", [line(apiKeyId=outputs["apiKeyIds"]["basic"]["default.2"])])
    result = json_of([str(file), "--stack", "prod"], capsys)
    assert [one["client"] for one in result["replayed"]["clients"]] == ["basic/default.2"]


def test_a_forwarded_address_is_not_in_the_log_so_its_limit_is_left_out(
    tmp_path: Path, capsys: Capture
) -> None:
    log = log_of(even(steady(PREMIUM, 100, 30)), tmp_path)
    main(["replay", *log, "--set", "waf.aggregateBy=FORWARDED_IP", "--format", "json"])
    result = json.loads(capsys.readouterr().out)
    assert result["replayed"]["total"]["admitted"] == 3000


def test_a_chart_is_drawn(tmp_path: Path, capsys: Capture) -> None:
    log = log_of(even(steady(BASIC, 50, 4)), tmp_path)
    text_of([*log, "--chart", str(tmp_path / "run.svg")], capsys)
    assert "<svg" in (tmp_path / "run.svg").read_text()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("", "Give the files of an access log, or --from-aws"),
        ("LOG --from-aws", "Give the files of an access log, or --from-aws"),
        ("LOG --keys KEYS --compare", "--compare has nothing to compare"),
        ("LOG --keys none.json", "--keys none.json: "),
        ("LOG --keys LOG", "The keys have another form"),
        ("LOG --keys KEYS --set waf.rateLimit=1", "waf.rateLimit"),
        ("absent --keys KEYS", "absent: there is no such file or folder"),
        ("LOG", "Or say with --keys FILE who has which key ID"),
    ],
)
def test_bad_input_is_one_error_and_status_2(
    words: str, error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("PATH", "")
    log, keys = write(tmp_path / "log", [line()]), write_keys(tmp_path)
    filled = words.replace("LOG", str(log)).replace("KEYS", str(keys))
    assert error in error_of([*shlex.split(filled), "--stack", "prod"], capsys)


# --from-aws


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    """CloudWatch Logs at 2026-01-05 01:30 UTC, and a stack that logs there."""
    client = boto3.client(
        "logs", region_name="eu-central-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    ids = {client.plan: {client.name: key} for client, key in KEYS.items()}
    monkeypatch.setattr(
        logged, "pulumi_outputs", lambda _: {"apiKeyIds": ids, "accessLogGroup": "group"}
    )
    monkeypatch.setattr(aws.Account, "_client", lambda *_: client)
    monkeypatch.setattr(time, "time", lambda: 1_767_571_200 + 5400.0)
    with Stubber(client) as stub:
        yield stub
        stub.assert_no_pending_responses()


def page(
    stub: Stubber, hour: int, *lines: dict[str, Any], after: str = "", goes_on: str = ""
) -> None:
    """Expect a call for an hour, and answer with lines."""
    start = 1_767_571_200_000 + hour * 3_600_000
    asked = {"logGroupName": "group", "startTime": start, "endTime": start + 3_600_000 - 1}
    answer: dict[str, Any] = {"ResponseMetadata": {"RequestId": "1"}}
    answer["events"] = [{"message": json.dumps(one) + "\n"} for one in lines]
    if goes_on:
        answer["nextToken"] = goes_on
    stub.add_response(
        "filter_log_events", answer, {**asked, "nextToken": after} if after else asked
    )


def test_the_log_comes_from_aws_page_by_page_and_only_what_is_missing_again(
    stub: Stubber, project: Path, capsys: Capture
) -> None:
    words = ["--stack", "prod", "--from-aws", "--last", "1h"]
    page(stub, 0, line(), goes_on="1")
    page(stub, 0, after="1", goes_on="2")
    page(stub, 0, line(requestTimeEpoch="1767571201000"), after="2")
    stub.add_client_error("filter_log_events", "AccessDeniedException", "not you")
    error = error_of(words, capsys)
    folder = project / ".access-log" / "prod"
    assert "the credentials do not permit logs:FilterLogEvents" in error
    assert "permission logs:FilterLogEvents on group" in error
    assert [one.name for one in folder.iterdir() if one.suffix == ".jsonl"] == [
        "2026-01-05T00.jsonl"
    ]
    page(stub, 1, line(requestTimeEpoch="1767574800000"))
    assert json_of(words, capsys)["replayed"]["total"]["sent"] == 3
    # The present hour goes on, so it is fetched again.
    os.utime(folder / "2026-01-05T01.jsonl", (time.time(), time.time()))
    page(stub, 1)
    assert json_of(words, capsys)["replayed"]["total"]["sent"] == 2


def test_a_stack_that_exports_no_log_group_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(logged, "pulumi_outputs", lambda _: {"apiKeyIds": {}})
    error = error_of(["--stack", "prod", "--from-aws"], capsys)
    assert "Stack prod has no output accessLogGroup. Run pulumi up." in error
