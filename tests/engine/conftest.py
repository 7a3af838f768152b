"""A stack under Pulumi's real engine: its CLI, a state in a temporary folder, and our provider."""

import json
import os
import runpy
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pulumi import automation
from pulumi.automation import events

from tests import stacks

CODE = Path(__file__).parents[2]
CHANGES = ("create", "update", "replace", "delete")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests of the engine where its CLI is missing."""
    if shutil.which("pulumi") is None:
        reason = "Pulumi's CLI is not on PATH: https://www.pulumi.com/docs/iac/download-install/"
        for item in items:
            if item.path.is_relative_to(Path(__file__).parent):
                item.add_marker(pytest.mark.skip(reason=reason))


@dataclass
class Engine:
    """One stack, which the engine previews, updates and destroys."""

    stack: automation.Stack
    name: str
    log: Path
    state: Path
    """The folder of the backend's state."""
    said: list[str] = field(default_factory=list)
    """Every event of the engine, as JSON, and every line that its CLI prints."""

    def configure(self, **changes: Any) -> None:  # noqa: ANN401  JSON
        """Set the config of the fixture stack with changes; see `tests.stacks.config`."""
        workspace = self.stack.workspace
        kept = workspace.stack_settings(self.name)
        kept.config = dict(stacks.config(self.name, **changes).values)
        workspace.save_stack_settings(self.name, kept)

    def preview(self) -> dict[str, str]:
        """Return what an update would change: the operation by name of each resource."""
        changes: dict[str, str] = {}

        def see(event: events.EngineEvent) -> None:
            self._hear(event)
            if event.resource_pre_event:
                step = event.resource_pre_event.metadata
                operation = step.op.value.removeprefix("create-").removeprefix("delete-")
                if operation in CHANGES and step.type != "pulumi:pulumi:Stack":
                    changes[step.urn.rpartition("::")[2]] = operation

        self.stack.preview(on_event=see, on_output=self.said.append)
        return changes

    def up(self, **options: Any) -> Counter[str]:  # noqa: ANN401  as `up` takes them
        """Update the stack, and return how many resources each operation touched."""
        done = self.stack.up(on_event=self._hear, on_output=self.said.append, **options)
        return Counter(done.summary.resource_changes or {})

    def destroy(self) -> None:
        """Destroy the stack."""
        self.stack.destroy(on_event=self._hear)

    def calls(self) -> list[dict[str, Any]]:
        """Return the provider's calls that changed something, oldest first."""
        text = self.log.read_text("utf-8") if self.log.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def resources(self) -> list[str]:
        """Return the names of all resources in the state but the stack and its provider."""
        state = self.stack.export_stack().deployment or {}
        return sorted(
            one["urn"].rpartition("::")[2]
            for one in state.get("resources", [])
            if not one["type"].startswith("pulumi:")
        )

    def _hear(self, event: events.EngineEvent) -> None:
        self.said.append(json.dumps(event, default=lambda one: vars(one)))


def _script(file: Path, command: str) -> None:
    file.write_text(f"#!/bin/sh\n{command}\n")
    file.chmod(0o755)


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the engine's state and the policy pack, and our provider on PATH."""
    folder = tmp_path_factory.mktemp("engine")
    for name in ("bin", "state", "work"):
        (folder / name).mkdir()
    plugin = folder / "bin" / "pulumi-resource-aws"
    _script(plugin, f'exec "{sys.executable}" -m tests.engine.provider "$@"')
    # The engine runs a folder by a plugin for its language, which only Pulumi's releases have. It
    # also runs an executable, which speaks the same protocol.
    command = f'exec "{sys.executable}" -u -m pulumi.policy "$1" .'
    _script(folder / "policy", f'cd "{CODE / "policy"}" && {command}')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{plugin.parent}{os.pathsep}{os.environ['PATH']}")
        patch.setenv("PYTHONPATH", str(CODE))
        patch.setenv("PULUMI_CONFIG_PASSPHRASE", "a passphrase")
        patch.setenv("PULUMI_SKIP_UPDATE_CHECK", "true")
        patch.setenv("PROVIDER_LOG", str(folder / "provider.log"))
        patch.delenv("PROVIDER_FAILS_AT", raising=False)
        yield folder


@pytest.fixture(scope="module")
def engine(backend: Path) -> Callable[..., Engine]:
    """Makes stacks that live side by side in one backend.

    It takes a stack's name, and a function to call before each run of the program.
    """

    def make(name: str, before: Callable[[], None] = lambda: None) -> Engine:
        def program() -> None:
            before()
            runpy.run_path(str(CODE / "__main__.py"), run_name="__main__")

        stack = automation.create_or_select_stack(
            name,
            project_name=stacks.PROJECT,
            program=program,
            opts=automation.LocalWorkspaceOptions(
                project_settings=automation.ProjectSettings(
                    name=stacks.PROJECT,
                    runtime="python",
                    backend=automation.ProjectBackend(url=f"file://{backend / 'state'}"),
                ),
                pulumi_home=str(backend / "home"),
                work_dir=str(backend / "work"),
            ),
        )
        made = Engine(stack, name, backend / "provider.log", backend / "state")
        made.configure()
        return made

    return make
