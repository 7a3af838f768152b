"""The keys of a stack, as an account has them."""

import json
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws

from operations import cli, keys
from operations.errors import OperationsError
from operations.stacks import stack_settings

REGION = "eu-central-1"
MINE = {"project": "throttled-api", "stack": "prod"}
VALUES = {"default": "a" * 20, "default.2": "b" * 20}


@pytest.fixture
def api_gateway(monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401  a boto3 client
    """An account with two keys of one client of prod, and one of another stack."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with mock_aws():
        client = boto3.client("apigateway", region_name=REGION)
        plan = client.create_usage_plan(
            name="basic", quota={"limit": 10_000, "period": "WEEK"}, tags=MINE
        )
        for number, value in enumerate(VALUES.values(), start=1):
            tags = {**MINE, "plan": "basic", "client": "default", "key": str(number)}
            key = client.create_api_key(name=f"k{number}", value=value, enabled=True, tags=tags)
            client.create_usage_plan_key(usagePlanId=plan["id"], keyId=key["id"], keyType="API_KEY")
        other = client.create_api_key(name="other", value="c" * 20, tags={"project": "other"})
        client.create_usage_plan_key(usagePlanId=plan["id"], keyId=other["id"], keyType="API_KEY")
        yield client


def counted(client: Any, used: dict[str, list[list[int]]]) -> list[dict[str, Any]]:  # noqa: ANN401
    """Let GetUsage, which moto lacks, answer by the value of a key; what it was asked."""
    ids = {key["value"]: key["id"] for key in client.get_api_keys(includeValues=True)["items"]}
    asked: list[dict[str, Any]] = []

    def answer(params: dict[str, Any], **_: object) -> tuple[SimpleNamespace, dict[str, Any]]:
        asked.append(params["query_string"])
        items = {ids[value]: days for value, days in used.items()}
        return SimpleNamespace(status_code=200), {"items": items}

    client.meta.events.register("before-call.api-gateway.GetUsage", answer)
    return asked


NOW = 1_800_000_000.0  # Friday 2027-01-15


def test_keys_are_listed_with_age_and_use(api_gateway: Any) -> None:  # noqa: ANN401
    asked = counted(api_gateway, {VALUES["default"]: [[10, 9990], [30, 9960]]})

    found = sorted(
        keys.read_keys(api_gateway, stack_settings("prod"), NOW), key=lambda key: key.name
    )

    assert [(key.name, key.used, key.left, key.period) for key in found] == [
        ("basic/default", 40, 9960, "week"),
        ("basic/default.2", 0, 10_000, "week"),
    ]
    created = api_gateway.get_api_key(apiKey=found[0].id)["createdDate"].timestamp()
    assert found[0].age_days == int((NOW - created) // 86_400)
    assert asked == [{"startDate": "2027-01-10", "endDate": "2027-01-15"}], "since Sunday"


def test_a_value_is_shown_only_for_the_key_that_is_asked_for(
    api_gateway: Any,  # noqa: ANN401
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    counted(api_gateway, {})
    monkeypatch.setattr(boto3.Session, "client", lambda *_, **__: api_gateway)

    assert cli.main(["keys", "--stack", "prod"]) == 0
    listed = capsys.readouterr().out
    assert cli.main(["keys", "--stack", "prod", "--format", "json"]) == 0
    as_json = capsys.readouterr().out
    assert cli.main(["keys", "--stack", "prod", "--show", "basic/default.2"]) == 0
    shown = capsys.readouterr().out

    assert "basic/default.2" in listed
    assert [key["name"] for key in json.loads(as_json)] == ["basic/default", "basic/default.2"]
    for value in VALUES.values():
        assert value not in listed + as_json
    assert shown == VALUES["default.2"] + "\n"


def test_an_unknown_key_names_those_there_are(api_gateway: Any) -> None:  # noqa: ANN401
    counted(api_gateway, {})
    found = list(keys.read_keys(api_gateway, stack_settings("prod"), NOW))

    with pytest.raises(OperationsError, match=r"no key gold/x\. Its keys: basic/default, basic/d"):
        keys.value_of(api_gateway, found, "gold/x", "prod")


def test_an_account_that_does_not_answer_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    status = cli.main(["keys", "--endpoint-url", "http://127.0.0.1:1"])

    assert status == 2
    said = capsys.readouterr().err
    assert said.startswith("error: AWS does not tell about API keys: ")
    assert len(said.splitlines()) == 1
