"""A stack under Pulumi's real engine: its CLI, a state in a temporary folder, and our provider."""

import json
import os
import runpy
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pulumi import automation
from pulumi.automation import events

from tests import stacks

CODE = Path(__file__).parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests of the engine where its CLI is missing."""
    if shutil.which("pulumi") is None:
        reason = "Pulumi's CLI is not on PATH: https://www.pulumi.com/docs/iac/download-install/"
        for item in items:
            if item.path.is_relative_to(Path(__file__).parent):
                item.add_marker(pytest.mark.skip(reason=reason))


def main() -> None:
    """Run the program."""
    runpy.run_path(str(CODE / "__main__.py"), run_name="__main__")


class Engine:
    """One stack, which the engine previews, updates and destroys."""

    def __init__(self, folder: Path, name: str, program: Callable[[], None] = main) -> None:
        self.name = name
        self.program = program
        """What the engine runs."""
        self.state = folder / "state"
        self.work = folder / "work"
        """The project's folder."""
        self.said: list[str] = []
        """Every event of the engine, as JSON, and every line that its CLI prints."""
        self._log = folder / "provider.log"
        backend = automation.ProjectBackend(url=f"file://{self.state}")
        self.stack = automation.create_or_select_stack(
            name,
            project_name=stacks.PROJECT,
            program=lambda: self.program(),
            opts=automation.LocalWorkspaceOptions(
                project_settings=automation.ProjectSettings(
                    name=stacks.PROJECT, runtime="python", backend=backend
                ),
                pulumi_home=str(folder / "home"),
                work_dir=str(self.work),
            ),
        )

    def configure(self, **changes: Any) -> None:  # noqa: ANN401  JSON
        """Set the config of the fixture stack with changes; see `tests.stacks.config`."""
        kept = self.stack.workspace.stack_settings(self.name)
        kept.config = dict(stacks.config(self.name, **changes).values)
        self.stack.workspace.save_stack_settings(self.name, kept)

    def preview(self, **options: Any) -> dict[str, str]:  # noqa: ANN401  as `preview` takes them
        """Return what an update would change: the operation by name of each resource."""
        changes: dict[str, str] = {}

        def see(event: events.EngineEvent) -> None:
            self._hear(event)
            if step := event.resource_pre_event and event.resource_pre_event.metadata:
                operation = step.op.value.removeprefix("create-").removeprefix("delete-")
                if operation != "same" and step.type != "pulumi:pulumi:Stack":
                    changes[step.urn.rpartition("::")[2]] = operation

        self.stack.preview(on_event=see, on_output=self.said.append, **options)
        return changes

    def up(self, **options: Any) -> set[str]:  # noqa: ANN401  as `up` takes them
        """Update the stack, and return the operations that were needed."""
        done = self.stack.up(on_event=self._hear, on_output=self.said.append, **options)
        return {*(done.summary.resource_changes or {})}

    def calls(self) -> list[dict[str, Any]]:
        """Return the provider's calls that changed something, oldest first."""
        text = self._log.read_text("utf-8") if self._log.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def resources(self) -> set[str]:
        """Return the names of all resources in the state but the stack and its provider."""
        state = self.stack.export_stack().deployment or {}
        urns = [one["urn"] for one in state.get("resources", []) if one["type"][:7] != "pulumi:"]
        return {urn.rpartition("::")[2] for urn in urns}

    def _hear(self, event: events.EngineEvent) -> None:
        self.said.append(json.dumps(event, default=vars))


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the engine's state and the policy pack, and our provider on PATH."""
    folder = tmp_path_factory.mktemp("engine")
    for name in ("bin", "state", "work"):
        (folder / name).mkdir()
    # The engine runs a folder by a plugin for its language, which only Pulumi's releases have. It
    # also runs an executable, which speaks the same protocol.
    for path, command in (
        ("bin/pulumi-resource-aws", '-m tests.engine.provider "$@"'),
        ("policy", '-u -m pulumi.policy "$1" .'),
    ):
        start = f'cd "{CODE / "policy"}"\n' if path == "policy" else ""
        (folder / path).write_text(f'#!/bin/sh\n{start}exec "{sys.executable}" {command}\n')
        (folder / path).chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
        patch.setenv("PYTHONPATH", str(CODE))
        patch.setenv("PULUMI_CONFIG_PASSPHRASE", "a passphrase")
        patch.setenv("PULUMI_SKIP_UPDATE_CHECK", "true")
        patch.setenv("PROVIDER_LOG", str(folder / "provider.log"))
        yield folder
