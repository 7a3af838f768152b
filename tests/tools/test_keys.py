"""`python -m tools keys`: the keys of a stack, as an account has them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient
from moto import mock_aws

from tests.stacks import PROJECT, settings
from tools.__main__ import main
from tools.aws import Account
from tools.keys import read_keys

REGION = "eu-central-1"
MINE = {"project": PROJECT, "stack": "prod"}
VALUES = {"default": "a" * 20, "default.2": "b" * 20}
NOW = 1_800_000_000.0  # Friday 2027-01-15
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def api_gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
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
            add(client, plan["id"], f"k{number}", value, tags)
        add(client, plan["id"], "other", "c" * 20, {"project": "other"})
        yield client


def add(client: Any, plan: str, name: str, value: str, tags: dict[str, str]) -> None:  # noqa: ANN401
    key = client.create_api_key(name=name, value=value, enabled=name != "off", tags=tags)
    client.create_usage_plan_key(usagePlanId=plan, keyId=key["id"], keyType="API_KEY")


def counted(patch: pytest.MonkeyPatch, used: dict[str, list[list[int]]]) -> list[Any]:
    """Let GetUsage, which moto lacks, answer by the value of a key; return its parameters."""
    asked: list[Any] = []
    real = BaseClient._make_api_call

    def call(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:  # noqa: ANN401
        if operation != "GetUsage":
            return real(client, operation, parameters)
        asked.append((parameters["startDate"], parameters["endDate"]))
        ids = {key["value"]: key["id"] for key in client.get_api_keys(includeValues=True)["items"]}
        items = {ids[value]: days for value, days in used.items()}
        return {"items": items, "ResponseMetadata": {"RequestId": "1"}}

    patch.setattr(BaseClient, "_make_api_call", call)
    return asked


def test_keys_are_listed_with_age_and_use(
    api_gateway: Any,  # noqa: ANN401
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = counted(monkeypatch, {VALUES["default"]: [[10, 9990], [30, 9960]]})

    found = sorted(read_keys(Account(settings("prod")), NOW), key=lambda key: str(key["name"]))

    assert [tuple(key[name] for name in ("name", "used", "left", "period")) for key in found] == [
        ("basic/default", 40, 9960, "week"),
        ("basic/default.2", 0, 10_000, "week"),
    ]
    created = api_gateway.get_api_key(apiKey=found[0]["id"])["createdDate"].timestamp()
    assert found[0]["age_days"] == int((NOW - created) // 86_400)
    assert asked == [("2027-01-10", "2027-01-15")], "since Sunday"


def test_a_value_is_printed_only_for_the_key_that_is_asked_for(
    api_gateway: Any,  # noqa: ANN401
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    counted(monkeypatch, {})

    assert main(["keys", "--stack", "prod"]) == 0
    listed = capsys.readouterr().out
    assert main(["keys", "--stack", "prod", "--format", "json"]) == 0
    as_json = capsys.readouterr().out
    assert main(["keys", "--stack", "prod", "--show", "basic/default.2"]) == 0
    shown = capsys.readouterr().out

    assert "basic/default.2" in listed
    assert [key["name"] for key in json.loads(as_json)] == ["basic/default", "basic/default.2"]
    for value in VALUES.values():
        assert value not in listed + as_json
    assert shown == VALUES["default.2"] + "\n"
    assert main(["keys", "--stack", "prod", "--show", "gold/x"]) == 2
    error = capsys.readouterr().err
    assert "has no key gold/x. Its keys: basic/default, basic/default.2." in error
    assert main(["keys", "--stack", "dev"]) == 0
    assert "Stack dev has no API keys in this account and Region." in capsys.readouterr().out


def test_keys_whose_tags_are_missing_or_hold_markup_are_listed_as_they_are(
    api_gateway: Any,  # noqa: ANN401
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    (plan,) = api_gateway.get_usage_plans()["items"]
    add(api_gateway, plan["id"], "untagged", "d" * 20, MINE)
    odd = {**MINE, "plan": "[/]", "client": "[red]x\x9b", "key": "first"}
    add(api_gateway, plan["id"], "off", "e" * 20, odd)
    counted(monkeypatch, {})

    assert main(["keys", "--stack", "prod"]) == 0

    out = capsys.readouterr().out
    assert "basic/untagged" in out
    assert r"[/]/[red]x\x9b (disabled)" in out
