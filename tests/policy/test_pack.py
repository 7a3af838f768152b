"""The policy pack as Pulumi's engine runs it: a folder of its own, a process of its own, gRPC."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]  # published without types
import pytest
import yaml
from google.protobuf.empty_pb2 import Empty  # type: ignore[import-untyped]  # likewise
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE

from tools.policy.check import recorded
from policy.rules import RULES
from policy.rules.model import UNKNOWN, Resource, Stack

PACK = Path(__file__).parents[2] / "policy"
PROJECT = "throttled-api"


@pytest.fixture(scope="module")
def analyzer(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[analyzer_pb2_grpc.AnalyzerStub]:
    """The pack, started as Pulumi starts it, from a copy of its folder with nothing beside it."""
    folder = tmp_path_factory.mktemp("pack") / "policy"
    shutil.copytree(PACK, folder, ignore=shutil.ignore_patterns("__pycache__", ".venv"))
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("PULUMI_", "PYTHON"))},
        "PULUMI_PROJECT": PROJECT,
        "PULUMI_STACK": "dev",
        "PULUMI_DRY_RUN": "true",
        "PULUMI_CONFIG": json.dumps({f"{PROJECT}:function": '{"reservedConcurrency": "none"}'}),
    }
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "pulumi.policy", "127.0.0.1:1", "."],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        port = process.stdout.readline().strip()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield analyzer_pb2_grpc.AnalyzerStub(channel)
    finally:
        process.terminate()
        process.communicate(timeout=10)


def wired(value: Any) -> Any:  # noqa: ANN401  JSON
    """A value as the engine sends it."""
    if value is UNKNOWN:
        return UNKNOWN_STRING_VALUE
    if isinstance(value, Mapping):
        return {key: wired(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [wired(item) for item in value]
    return value


def analyzed(analyzer: analyzer_pb2_grpc.AnalyzerStub, stack: Stack) -> set[tuple[str, str, str]]:
    """What the pack finds in a stack: policy, resource and level."""
    diagnostics = []
    resources = []
    for resource in stack.resources:
        request = analyzer_pb2.AnalyzeRequest(
            type=resource.type, urn=resource.urn, name=resource.name
        )
        request.properties.update(wired(resource.properties))
        diagnostics += analyzer.Analyze(request).diagnostics
        one = analyzer_pb2.AnalyzerResource(
            type=resource.type,
            urn=resource.urn,
            name=resource.name,
            dependencies=sorted(resource.dependencies),
        )
        one.properties.update(wired(resource.properties))
        resources.append(one)
    whole = analyzer_pb2.AnalyzeStackRequest(resources=resources)
    diagnostics += analyzer.AnalyzeStack(whole).diagnostics
    for diagnostic in diagnostics:
        assert "\nFix: " in diagnostic.message, diagnostic.message
    level = analyzer_pb2.EnforcementLevel.Name
    return {
        (found.policyName, found.urn.rpartition("::")[2], level(found.enforcementLevel))
        for found in diagnostics
    }


def changed(stack: Stack, name: str, **properties: Any) -> Stack:  # noqa: ANN401  JSON
    """A stack in which a resource has other properties; None takes one away."""

    def change(resource: Resource) -> Resource:
        if resource.name != name:
            return resource
        kept = {k: v for k, v in {**resource.properties, **properties}.items() if v is not None}
        return replace(resource, properties=kept)

    return replace(stack, resources=[change(resource) for resource in stack.resources])


def without(stack: Stack, name: str) -> Stack:
    return replace(stack, resources=[r for r in stack.resources if r.name != name])


@pytest.fixture(scope="module", params=[False, True], ids=["known", "preview"])
def stack(request: pytest.FixtureRequest) -> Stack:
    return recorded("dev", preview=request.param)


def test_the_pack_has_all_rules_with_their_levels(
    analyzer: analyzer_pb2_grpc.AnalyzerStub,
) -> None:
    info = analyzer.GetAnalyzerInfo(Empty())

    assert info.name == PROJECT
    levels = {p.name: analyzer_pb2.EnforcementLevel.Name(p.enforcementLevel) for p in info.policies}
    assert levels == {rule.name: rule.level.upper() for rule in RULES}


def test_the_pack_finds_nothing_in_the_stack(
    analyzer: analyzer_pb2_grpc.AnalyzerStub, stack: Stack
) -> None:
    assert analyzed(analyzer, stack) == set()


def test_the_pack_finds_what_is_missing_from_a_resource(
    analyzer: analyzer_pb2_grpc.AnalyzerStub, stack: Stack
) -> None:
    name = "throttled-api-plan-basic"

    found = analyzed(analyzer, changed(stack, name, quotaSettings=None))

    assert found == {("plan-has-quota", name, "MANDATORY")}


def test_the_pack_finds_a_web_acl_that_no_stage_has(
    analyzer: analyzer_pb2_grpc.AnalyzerStub, stack: Stack
) -> None:
    found = analyzed(analyzer, without(stack, "throttled-api-web-acl-association"))

    assert found == {("stage-has-web-acl", "throttled-api-stage", "MANDATORY")}


def test_the_pack_knows_the_settings(
    analyzer: analyzer_pb2_grpc.AnalyzerStub, stack: Stack
) -> None:
    name = "throttled-api-function"

    found = analyzed(analyzer, changed(stack, name, reservedConcurrentExecutions=None))

    assert found == {("function-reservation-turned-off", name, "ADVISORY")}


def test_the_project_file_names_what_pulumi_needs() -> None:
    project = yaml.safe_load((PACK / "PulumiPolicy.yaml").read_text())

    assert project["runtime"]["name"] == "python"
    assert (PACK / "__main__.py").is_file()
    locked = (PACK / "requirements.txt").read_text()
    assert "pulumi-policy==" in locked
    assert "--hash=sha256:" in locked
    assert "://" not in locked
