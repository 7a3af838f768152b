"""Runs of the program, and what they send to Pulumi's engine."""

from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from google.protobuf.json_format import MessageToDict
from pulumi.runtime import mocks
from pulumi.runtime.proto import engine_pb2, resource_pb2

from tests.stacks import STACKS, deploy
from tools.recorder.program import Program

EVERY_OPTION: Final[dict[str, Any]] = {
    "function": {"snapStart": True},
    "throttle": {"methods": {"POST /data": {"rateLimit": 10, "burstLimit": 20}}},
    "monitoring": {"alarmEmails": ["ops@example.com"]},
    "waf": {"managedRuleGroups": ["AWSManagedRulesCommonRuleSet"]},
}
"""Changes to a stack that add every optional resource."""
RUNS: Final[dict[str, dict[str, Any]]] = {
    **{
        f"{stack}, {'preview' if preview else 'update'}": {"stack": stack, "preview": preview}
        for stack in STACKS
        for preview in (False, True)
    },
    "every option": EVERY_OPTION,
}


@pytest.fixture(params=list(RUNS))
def program(request: pytest.FixtureRequest) -> Program:
    """Each stack, with all outputs known and with none, and a stack with every option."""
    return deploy(**RUNS[request.param])


@dataclass
class Sent:
    """What Pulumi's engine was sent by runs of the program."""

    resources: list[resource_pb2.RegisterResourceRequest] = field(default_factory=list)
    outputs: list[resource_pb2.RegisterResourceOutputsRequest] = field(default_factory=list)
    calls: list[resource_pb2.ResourceInvokeRequest] = field(default_factory=list)
    logs: list[engine_pb2.LogRequest] = field(default_factory=list)

    def documents(self) -> list[dict[str, Any]]:
        """Return what may get into the state, as JSON."""
        requests = (*self.resources, *self.outputs, *self.calls)
        return [MessageToDict(request) for request in requests]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """What the engine is sent from now on."""
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
    return kept
