"""`python -m tools doctor`: all checks, and what stops them."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from tests.stacks import PROJECT, settings
from tests.tools.doctor.conftest import REGION, MotoAccount
from tools.__main__ import main
from tools.doctor.command import CHECKS, examine

Capture = pytest.CaptureFixture[str]
PROD = settings("prod")
NONE_RESERVED = f"pulumi config set --path {PROJECT}:function.reservedConcurrency none --stack prod"


def test_a_good_account_has_no_problem(account: MotoAccount) -> None:
    found = dict(examine(PROD, account.url))

    assert {subject: answer.severity for subject, answer in found.items()} == {
        **dict.fromkeys(["credentials", *CHECKS], "ok"),
        "alarm e-mails": "warning",
    }
    assert found["credentials"].meaning.startswith(f"Account 123456789012, Region {REGION}, as ")
    assert all(answer.action for answer in found.values() if answer.severity != "ok")


def test_problems_are_printed_with_commands_and_status_1(
    account: MotoAccount, project: Path, capsys: Capture
) -> None:
    account.limit_concurrency(10)
    words = ["doctor", "--endpoint-url", account.url]

    assert main(words) == 1
    out = capsys.readouterr().out
    assert "problem  function concurrency: Stack prod reserves 100 executions, and 0 can be" in out
    assert "pulumi up would fail" in out
    assert f"\n         {NONE_RESERVED}\n" in out
    assert out.splitlines()[-1] == "Stack prod: 1 problem, 1 warning."

    assert main([*words, "--format", "json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["stack"], report["deployable"]) == ("prod", False)
    (problem,) = [one for one in report["findings"] if one["level"] == "problem"]
    assert problem["check"] == "function concurrency"
    assert problem["action"].startswith(NONE_RESERVED)
    account.limit_concurrency(1000)
    assert main(words) == 0


def deny(patch: pytest.MonkeyPatch, operations: Callable[[str], bool]) -> None:
    """Let AWS deny operations."""
    real = BaseClient._make_api_call

    def call(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:  # noqa: ANN401
        if not operations(operation):
            return real(client, operation, parameters)
        ec2 = client.meta.service_model.service_name == "ec2"
        code = "UnauthorizedOperation" if ec2 else "AccessDeniedException"
        raise ClientError({"Error": {"Code": code, "Message": "no"}}, operation)

    patch.setattr(BaseClient, "_make_api_call", call)


def test_each_missing_permission_is_a_warning_that_names_it(
    account: MotoAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    deny(monkeypatch, lambda operation: operation != "GetCallerIdentity")

    found = dict(examine(PROD, account.url))

    denied = {subject: one for subject, one in found.items() if one.severity == "warning"}
    named = {subject: one.meaning.rpartition(" ")[2] for subject, one in denied.items()}
    del named["alarm e-mails"]  # without topics and groups, nothing is asked
    assert named == {
        "deployed already": "tag:GetResources.",
        "function concurrency": "lambda:GetAccountSettings.",
        "API Gateway throttle": "apigateway:GET.",
        "usage plans": "apigateway:GET.",
        "API keys": "apigateway:GET.",
        "API Gateway logging role": "apigateway:GET.",
        "web ACL association": "apigateway:GET.",
        "VPCs": "ec2:DescribeVpcs.",
        "network overlap": "ec2:DescribeVpcs.",
        "Availability Zones": "ec2:DescribeAvailabilityZones.",
    }
    assert denied["VPCs"].meaning.startswith("Not checked: the credentials do not permit ")
    assert {one.severity for one in found.values()} == {"ok", "warning"}


def test_without_one_permission_the_rest_is_still_checked(
    account: MotoAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    deny(monkeypatch, lambda operation: operation in ("GetResources", "GetServiceQuota"))
    account.limit_concurrency(10)

    found = dict(examine(PROD, account.url))

    assert "Not checked" in found["deployed already"].meaning
    assert "may have 5 (AWS's default; the quota was not read" in found["VPCs"].meaning
    assert found["function concurrency"].severity == "problem"


def test_an_answer_without_what_it_must_have_stops_no_other_check(
    account: MotoAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = BaseClient._make_api_call
    nothing = lambda *words: {} if words[1] == "GetAccountSettings" else real(*words)  # noqa: E731
    monkeypatch.setattr(BaseClient, "_make_api_call", nothing)

    found = dict(examine(PROD, account.url))

    assert found["function concurrency"].meaning == "Not checked: the answer has no 'AccountLimit'."
    assert found["VPCs"].severity == "ok"


@pytest.mark.parametrize("command", ["doctor", "keys"])
@pytest.mark.parametrize(
    ("environment", "error", "fix"),
    [
        ({"AWS_ACCESS_KEY_ID": None}, "Unable to locate credentials", "Log in"),
        ({"AWS_PROFILE": "nowhere"}, "(nowhere) could not be found", "Set AWS_PROFILE to"),
        ({"AWS_CONFIG_FILE": "broken"}, "The AWS config cannot be used", "Correct the file"),
        ({"AWS_RETRY_MODE": "often"}, 'Invalid value provided to "mode"', "Correct the AWS_ "),
        (
            {"AWS_ENDPOINT_URL": "localhost:1"},
            "Invalid endpoint: localhost:1",
            "AWS_ENDPOINT_URL takes",
        ),
        (
            {"AWS_ENDPOINT_URL": "http://h:99999"},
            "Invalid endpoint: http://h:99999",
            "AWS_ENDPOINT_URL takes",
        ),
        (
            {"AWS_ENDPOINT_URL_STS": "moto", "AWS_ENDPOINT_URL_API_GATEWAY": "moto"},
            "moto",
            "AWS_ENDPOINT_URL takes",
        ),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "Could not connect", "check that it answers"),
        ({"profile": "nowhere"}, "(nowhere) could not be found", "pulumi config set aws:profile"),
        ({"region": None}, "names a Region", "pulumi config set aws:region eu-central-1"),
    ],
)
def test_an_account_that_cannot_be_asked_is_one_error_and_status_2(
    account: MotoAccount,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
    command: str,
    environment: dict[str, str | None],
    error: str,
    fix: str,
) -> None:
    (project / "broken").write_text("[profile")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr("tools.aws._CONFIG", None)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    changes = {name: environment[name] for name in environment if name in ("region", "profile")}
    for name, value in environment.items():
        if name not in changes:
            monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    stack = PROD.model_copy(update=changes)
    for module in ("doctor.command", "keys"):
        monkeypatch.setattr(f"tools.{module}.load_stack", lambda _: stack)

    assert main([command]) == 2

    out, printed = capsys.readouterr()
    assert out == ""
    assert error in printed
    assert fix in printed
    assert printed.startswith("error: ")
    assert "Traceback" not in printed


@pytest.mark.parametrize("command", ["doctor", "keys"])
@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--stack", "nowhere"], "There is no Pulumi.nowhere.yaml; stacks with a config"),
        (["--endpoint-url", "moto"], "moto is not an http or https address."),
        (["--endpoint-url", "http://localhost:70000"], "is not an http or https address."),
    ],
)
def test_bad_input_is_one_error_and_status_2(
    project: Path, command: str, arguments: list[str], error: str, capsys: Capture
) -> None:
    assert main([command, *arguments]) == 2
    assert error in capsys.readouterr().err


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b"<html><body>ok</body></html>"])
@pytest.mark.parametrize("command", ["doctor", "keys"])
def test_an_endpoint_that_is_not_aws_is_one_error_and_status_2(
    account: MotoAccount,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
    command: str,
    body: bytes,
) -> None:
    answer = AWSResponse("http://h", 200, {}, SimpleNamespace(stream=lambda: [body]))
    monkeypatch.setattr("botocore.httpsession.URLLib3Session.send", lambda *_: answer)

    assert main([command, "--format", "json"]) == 2

    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith("error: AWS refuses the credentials, or cannot be reached: ")
    assert "check that it answers as AWS does" in error
