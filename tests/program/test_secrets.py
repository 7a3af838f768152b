"""What Pulumi's engine is sent, and would keep in the stack's state: no secret that is not marked.

These tests read the requests themselves. Whatever the program means to be a secret counts here only
if the request says so.
"""

import importlib
import inspect
import json
import re
from dataclasses import dataclass, field
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]
from pulumi.runtime import mocks
from pulumi.runtime.proto import engine_pb2, resource_pb2
from pulumi.runtime.settings import get_root_resource
from pulumi.runtime.stack import Stack

from tools.sandbox import program as sandbox_program
from tools.recorder.program import Program
from tests.program.conftest import STACKS, Deploy, find

# https://github.com/pulumi/pulumi/blob/master/sdk/python/lib/pulumi/runtime/rpc.py
SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET = "1b47061264138c4ac30d75fd1eb44270"

EVERYTHING: dict[str, Any] = {
    "function": {"snapStart": True},
    "throttle": {"methods": {"POST /data": {"rateLimit": 10, "burstLimit": 20}}},
    "monitoring": {"alarmEmails": ["ops@example.com"]},
    "waf": {"managedRuleGroups": ["AWSManagedRulesCommonRuleSet"]},
}


@dataclass
class Sent:
    """What the engine got from one run of the program."""

    resources: list[resource_pb2.RegisterResourceRequest] = field(default_factory=list)
    outputs: list[resource_pb2.RegisterResourceOutputsRequest] = field(default_factory=list)
    calls: list[resource_pb2.ResourceInvokeRequest] = field(default_factory=list)
    logs: list[engine_pb2.LogRequest] = field(default_factory=list)

    def documents(self) -> list[dict[str, Any]]:
        """What may get into the state, as JSON."""
        requests = (*self.resources, *self.outputs, *self.calls)
        return [MessageToDict(request) for request in requests]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """What the engine gets from now on."""
    kept = Sent()

    def keep(owner: type, method: str, into: list[Any]) -> None:
        original = getattr(owner, method)

        def wrapper(self: object, request: object) -> object:
            into.append(request)
            return original(self, request)

        monkeypatch.setattr(owner, method, wrapper)

    keep(mocks.MockMonitor, "RegisterResource", kept.resources)
    keep(mocks.MockMonitor, "RegisterResourceOutputs", kept.outputs)
    keep(mocks.MockMonitor, "Invoke", kept.calls)
    keep(mocks.MockEngine, "Log", kept.logs)

    # What Pulumi's own entry point does with the stack's outputs when a program has ended.
    run = sandbox_program._main

    async def main() -> None:
        await run()
        stack = get_root_resource()
        assert isinstance(stack, Stack)
        stack.register_outputs(stack.outputs)

    monkeypatch.setattr(sandbox_program, "_main", main)
    return kept


def in_the_clear(value: Any) -> Any:  # noqa: ANN401  JSON
    """What anybody reads in a document: all but what it marks as secret."""
    if isinstance(value, dict):
        if value.get(SIGNATURE) == SECRET:
            return "[secret]"
        return {key: in_the_clear(item) for key, item in value.items()}
    if isinstance(value, list):
        return [in_the_clear(item) for item in value]
    return value


def key_values(program: Program) -> list[str]:
    return [key.outputs["value"] for key in find(program, "apigateway/apiKey:ApiKey")]


@pytest.mark.parametrize("stack", STACKS)
def test_the_values_of_keys_are_sent_marked_as_secrets_and_never_in_the_clear(
    deploy: Deploy, sent: Sent, stack: str
) -> None:
    values = key_values(deploy(stack, anew=True, **EVERYTHING))

    assert len(values) == 2
    state = json.dumps(sent.documents())
    readable = json.dumps(in_the_clear(sent.documents()))
    logged = [request.message for request in sent.logs]
    assert logged, "not even Pulumi's own debug messages"
    for value in values:
        assert value in state, "or this test looks at nothing"
        assert value not in readable
        assert value not in "".join(logged)


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("preview", [False, True], ids=["update", "preview"])
def test_the_keys_are_the_only_output_and_are_marked_before_they_are_known(
    deploy: Deploy, sent: Sent, stack: str, preview: bool
) -> None:
    deploy(stack, preview=preview, anew=True, **EVERYTHING)

    marked = [
        (request.urn.split("::")[2].rpartition(":")[2], name)
        for request in sent.outputs
        for name, value in MessageToDict(request.outputs).items()
        if SECRET in json.dumps(value)
    ]
    assert sorted(marked) == [("EdgeProtection", "apiKeys"), ("Stack", "apiKeys")]
    for request in sent.outputs:
        for name, value in MessageToDict(request.outputs).items():
            if name == "apiKeys":
                assert in_the_clear(value) == "[secret]"


def properties(token: str) -> list[str]:
    """The names of all outputs of a resource type, as its Python class has them."""
    _, module, name = token.split(":")
    package = module.partition("/")[0].replace("lambda", "lambda_")
    cls = getattr(importlib.import_module(f"pulumi_aws.{package}"), name)
    members = inspect.getmembers(cls, lambda item: isinstance(item, property))
    return [name for name, _ in members]


@pytest.mark.parametrize("preview", [False, True], ids=["update", "preview"])
def test_what_aws_answers_about_a_key_is_kept_as_a_secret(
    deploy: Deploy, sent: Sent, preview: bool
) -> None:
    deploy("prod", preview=preview, anew=True, **EVERYTHING)

    sounds_secret = re.compile(r"^value$|secret|password|credential|private_key|token$")
    marked = {
        (request.type, name, name in request.additionalSecretOutputs)
        for request in sent.resources
        if request.type.startswith("aws:")
        for name in properties(request.type)
        if sounds_secret.search(name)
    }
    assert marked == {
        ("aws:apigateway/apiKey:ApiKey", "value", True),
        ("aws:apigateway/usagePlanKey:UsagePlanKey", "value", True),
        # These open nothing: a version for optimistic locking, and the id of an Alexa skill.
        ("aws:wafv2/webAcl:WebAcl", "lock_token", False),
        ("aws:lambda/permission:Permission", "event_source_token", False),
    }


def test_web_acls_hide_keys_in_logs_and_in_the_requests_that_they_sample(
    deploy: Deploy, sent: Sent
) -> None:
    deploy("prod", anew=True, **EVERYTHING)

    # https://docs.aws.amazon.com/waf/latest/developerguide/data-protection-masking.html
    (acl,) = (
        MessageToDict(request.object)
        for request in sent.resources
        if request.type == "aws:wafv2/webAcl:WebAcl"
    )
    hidden = acl["dataProtectionConfig"]["dataProtections"]
    assert [one["field"]["fieldKeys"] for one in hidden] == [["x-api-key"]]


def test_nothing_of_the_credentials_that_pulumi_runs_with_is_sent(
    deploy: Deploy, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        *("PULUMI_ACCESS_TOKEN", "PULUMI_CONFIG_PASSPHRASE"),
    ):
        monkeypatch.setenv(name, "canary-of-the-environment")
    credentials = dict.fromkeys(("accessKey", "secretKey", "token"), "canary-of-the-config")

    deploy("dev", anew=True, aws={**credentials, "profile": "canary-profile"})

    everything = json.dumps(sent.documents()) + str(sent.logs)
    assert "canary-profile" in everything, "which is no secret"
    assert "canary-of-the-environment" not in everything
    assert "canary-of-the-config" not in everything


def test_an_address_that_gets_alarms_is_in_its_subscription_alone(
    deploy: Deploy, sent: Sent
) -> None:
    deploy("prod", anew=True, **EVERYTHING)

    holders = [
        document for document in sent.documents() if "ops@example.com" in json.dumps(document)
    ]
    assert [holder["type"] for holder in holders] == ["aws:sns/topicSubscription:TopicSubscription"]
