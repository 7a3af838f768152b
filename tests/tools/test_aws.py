"""What keeps `doctor` and `keys` from asking an account: one error each."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from botocore.awsrequest import AWSResponse
from moto import mock_aws

from tests.edits import edit
from tools.__main__ import main

Capture = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch
commands = pytest.mark.parametrize("command", ["doctor", "keys"])


@pytest.fixture(autouse=True)
def without_retries(project: Path, credentials: None, monkeypatch: Patch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr("tools.aws._CONFIG", None)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")


@commands
@pytest.mark.parametrize(
    ("variables", "error", "fix"),
    [
        ({"AWS_ACCESS_KEY_ID": ""}, "Unable to locate credentials", "Log in"),
        ({"AWS_PROFILE": "nowhere"}, "(nowhere) could not be found", "Set AWS_PROFILE to"),
        ({"AWS_CONFIG_FILE": "broken"}, "The AWS config cannot be used", "the AWS config file"),
        ({"AWS_RETRY_MODE": "often"}, 'Invalid value provided to "mode"', "Correct the AWS_ "),
        ({"AWS_ENDPOINT_URL": "localhost:1"}, "Invalid endpoint: localhost:1", "URL takes"),
        ({"AWS_ENDPOINT_URL": "http://h:99999"}, "Invalid endpoint: http://h:99999", "URL takes"),
        ({"AWS_ENDPOINT_URL_STS": "m", "AWS_ENDPOINT_URL_API_GATEWAY": "m"}, "m", "URL takes"),
        (
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"},
            'Could not connect to the endpoint URL: "',
            "",
        ),
        ({"aws:profile": "nowhere"}, "(nowhere) could not be found", "config set aws:profile"),
        ({"aws:region": ""}, "names a Region", "pulumi config set aws:region eu-central-1"),
    ],
)
def test_an_account_that_cannot_be_asked_is_one_error_and_status_2(
    project: Path,
    monkeypatch: Patch,
    capsys: Capture,
    command: str,
    variables: dict[str, str],
    error: str,
    fix: str,
) -> None:
    (project / "broken").write_text("[profile")
    for name, value in variables.items():
        if name.startswith("AWS"):
            monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
        else:
            line = f"  {name}: {value}\n" if value else ""
            edit(project / "Pulumi.prod.yaml", "  aws:region: eu-central-1\n", line)
            monkeypatch.setenv("AWS_REGION", "eu-central-1" if value else "")

    assert main([command]) == 2

    out, printed = capsys.readouterr()
    assert out == ""
    assert error in printed
    assert fix in printed
    assert printed.startswith("error: ")
    assert "Traceback" not in printed


@commands
@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--stack", "nowhere"], "There is no Pulumi.nowhere.yaml; stacks with a config"),
        (["--endpoint-url", "moto"], "moto is not an http or https address."),
        (["--endpoint-url", "http://localhost:70000"], "is not an http or https address."),
    ],
)
def test_bad_input_is_one_error_and_status_2(
    command: str, arguments: list[str], error: str, capsys: Capture
) -> None:
    assert main([command, *arguments]) == 2
    assert error in capsys.readouterr().err


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b"<html><body>ok</body></html>"])
@pytest.mark.parametrize(
    ("command", "service"),
    [("keys", ""), ("keys", "_API_GATEWAY"), ("doctor", "_STS"), ("doctor", "_API_GATEWAY")],
)
def test_an_endpoint_that_is_not_aws_is_one_error_and_status_2(
    monkeypatch: Patch, capsys: Capture, command: str, service: str, body: bytes
) -> None:
    monkeypatch.setenv(f"AWS_ENDPOINT_URL{service}", "http://not.aws")
    answer = AWSResponse("http://not.aws", 200, {}, SimpleNamespace(stream=lambda: [body]))
    monkeypatch.setattr("botocore.httpsession.URLLib3Session.send", lambda *_: answer)

    with mock_aws():  # answers where no endpoint is set
        assert main([command, "--format", "json"]) == 2

    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith("error: http://not.aws does not answer as AWS does.\nCorrect ")
    first = "_STS" if command == "doctor" else "_API_GATEWAY"
    assert f"AWS_ENDPOINT_URL{service or first}, " in error
