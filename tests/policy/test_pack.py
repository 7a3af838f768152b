"""The policy pack as Pulumi's engine runs it: a folder of its own, a process of its own, gRPC."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc  # published without types
import pytest
from google.protobuf.empty_pb2 import Empty  # likewise
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE

from policy.rules import RULES
from policy.rules.model import UNKNOWN, Stack
from tests.stacks import PROJECT, config
from tools.policy.command import recorded

PACK = Path(__file__).parents[2] / "policy"
Analyzer = analyzer_pb2_grpc.AnalyzerStub


@pytest.fixture(scope="module")
def analyzer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Analyzer]:
    """The pack, started as Pulumi starts it, from a copy of its folder with nothing beside it."""
    folder = tmp_path_factory.mktemp("pack") / "policy"
    shutil.copytree(PACK, folder, ignore=shutil.ignore_patterns("__pycache__", ".venv"))
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PULUMI_", "PYTHON"))}
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
            analyzer = Analyzer(channel)
            off = {f"{PROJECT}:function": '{"reservedConcurrency": "none"}'}
            analyzer.ConfigureStack(
                analyzer_pb2.AnalyzerStackConfigureRequest(
                    stack="dev", project=PROJECT, dry_run=True, config=off
                )
            )
            yield analyzer
    finally:
        process.terminate()
        process.communicate(timeout=10)


def wired(value: Any) -> Any:  # noqa: ANN401  JSON
    """Return a value as the engine sends it."""
    if value is UNKNOWN:
        return UNKNOWN_STRING_VALUE
    if isinstance(value, Mapping):
        return {key: wired(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [wired(item) for item in value]
    return value


def analyzed(analyzer: Analyzer, stack: Stack) -> set[tuple[str, str, str]]:
    """Return what the pack finds in a stack: policy, resource and level."""
    diagnostics = []
    resources = []
    for resource in stack.resources:
        common: dict[str, Any] = {"type": resource.type, "urn": resource.urn, "name": resource.name}
        request = analyzer_pb2.AnalyzeRequest(**common)
        request.properties.update(wired(resource.properties))
        diagnostics += analyzer.Analyze(request).diagnostics
        one = analyzer_pb2.AnalyzerResource(**common, dependencies=sorted(resource.dependencies))
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


def test_the_pack_has_all_rules_with_their_levels(analyzer: Analyzer) -> None:
    policies = analyzer.GetAnalyzerInfo(Empty()).policies

    levels = {p.name: analyzer_pb2.EnforcementLevel.Name(p.enforcementLevel) for p in policies}
    assert levels == {rule.name: rule.level.upper() for rule in RULES}


@pytest.mark.parametrize("preview", [False, True])
def test_the_pack_finds_what_is_missing_and_nothing_else(analyzer: Analyzer, preview: bool) -> None:
    stack = recorded(config("dev"), preview=preview)
    assert analyzed(analyzer, stack) == set()
    lost = {
        f"{PROJECT}-plan-basic": "quotaSettings",
        f"{PROJECT}-function": "reservedConcurrentExecutions",
    }
    resources = [
        replace(
            one, properties={k: v for k, v in one.properties.items() if k != lost.get(one.name)}
        )
        for one in stack.resources
        if one.name != f"{PROJECT}-web-acl-association"
    ]

    assert analyzed(analyzer, replace(stack, resources=resources)) == {
        ("stage-has-web-acl", f"{PROJECT}-stage", "MANDATORY"),
        ("plan-has-quota", f"{PROJECT}-plan-basic", "MANDATORY"),
        # Only advised against, because the config that the pack is given turns it off.
        ("function-reservation-turned-off", f"{PROJECT}-function", "ADVISORY"),
    }


def test_running_the_pack_by_hand_names_the_command_to_use() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "policy"], cwd=PACK.parent, capture_output=True, text=True
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "Check without Pulumi's CLI: python -m tools policy\n"
