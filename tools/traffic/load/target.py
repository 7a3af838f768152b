"""Where a load test goes, with which keys, and what is promised there.

The limits come from the stack's settings, never from what runs: a target with other limits than
its settings say is what a load test is to find.
"""

import json
import shutil
import subprocess
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from components.edge_protection.openapi import retry_after_seconds
from settings.schema import Settings
from operations.errors import OperationsError
from tools.sandbox.deployment import read_deployment
from tools.sandbox.errors import SandboxError
from tools.recorder.resources import Resources
from tools.sandbox.state import State
from throttling import Client, Limits
from settings.stacks import ROOT

_PULUMI_SECONDS: Final = 120


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """An API to load."""

    stack: str
    url: str
    """Where records are posted to."""
    keys: Mapping[Client, str] = field(repr=False)
    limits: Limits
    """As the settings promise them."""
    retry_after_seconds: int
    """What a throttled caller is told to wait."""
    expected_duration_seconds: float
    """Average time of the function for one request."""
    sandbox: bool
    """Whether X-Forwarded-For stands for the source address."""
    deployed_limits: Limits | None = None
    """What a sandbox was deployed with."""
    generators: int = 1
    """Machines that send, each from an address of its own."""
    run: str = field(default_factory=lambda: uuid.uuid4().hex[:4])
    """Makes the source addresses of each run its own."""

    @property
    def loopback(self) -> bool:
        """Whether requests stay on this machine."""
        return is_loopback(self.url)

    @property
    def name(self) -> str:
        """What is loaded, in words."""
        kind = "the sandbox of stack" if self.sandbox else "the deployed stack"
        return f"{kind} {self.stack} at {self.url}"

    def address(self, number: int) -> str:
        """A source address for the sandbox, of the block for documentation (RFC 3849)."""
        return str(ip_address(f"2001:db8:{self.run}:{number:x}::1"))


def is_loopback(url: str) -> bool:
    """Whether a URL names this machine, by an address that cannot mean another."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def find_target(
    settings: Settings,
    *,
    url: str | None = None,
    deployed: bool = False,
    asked_for: bool = False,
    generators: int = 1,
    root: Path = ROOT,
) -> Target:
    """The stack's sandbox if one runs here, and else the deployed stack if it was asked for.

    Args:
        settings: of the stack.
        url: where to send to instead, with the same keys.
        deployed: leave a sandbox of the stack alone.
        asked_for: whether the stack was named, or is only the default.
        generators: how many machines send.
        root: the project's folder.

    Raises:
        OperationsError: when there is neither, or it cannot be asked.
    """
    if url is not None and urlsplit(url).scheme not in ("http", "https"):
        raise OperationsError(f"--url {url}: is no http or https address.")
    resources = None if deployed else _sandbox_resources(settings.stack, root)
    outputs: Mapping[str, Any]
    if resources:
        outputs = resources.exports
    else:
        if not (asked_for or deployed):
            raise OperationsError(
                f"No sandbox of stack {settings.stack} is running. Start it with make up, or name "
                f"a deployed stack with --stack."
            )
        outputs = _pulumi_outputs(settings.stack, root, tried_sandbox=not deployed)
    buckets = (
        settings.throttle,
        *settings.throttle.methods.values(),
        *settings.usage_plans.values(),
    )
    try:
        keys = {
            Client(plan, client): str(value)
            for plan, clients in outputs["apiKeys"].items()
            for client, value in clients.items()
            if plan in settings.usage_plans
        }
        data_url = str(url or outputs["dataUrl"])
    except (KeyError, AttributeError):
        raise OperationsError(
            f"Stack {settings.stack} has no outputs dataUrl and apiKeys. Deploy it with pulumi up."
        ) from None
    sandbox = resources is not None and is_loopback(data_url)
    return Target(
        stack=settings.stack,
        url=data_url,
        keys=keys,
        limits=settings.limits(),
        retry_after_seconds=retry_after_seconds([bucket.rate_limit for bucket in buckets]),
        expected_duration_seconds=settings.function.expected_duration_ms / 1000,
        sandbox=sandbox,
        deployed_limits=read_deployment(resources).limits if resources else None,
        # The sandbox takes addresses from a header, whoever sends it.
        generators=1 if sandbox else generators,
    )


def _sandbox_resources(stack: str, root: Path) -> Resources | None:
    """What the stack's running sandbox serves; None when none runs."""
    state = State(root, stack)
    try:
        if state.ask("status") is None:
            return None
        return Resources.load(state.resources)
    except SandboxError as error:
        raise OperationsError(str(error)) from None
    except (OSError, ValueError) as error:
        raise OperationsError(f"{state.resources} cannot be read: {error}. Run make up.") from None


def _pulumi_outputs(stack: str, root: Path, *, tried_sandbox: bool) -> Mapping[str, Any]:
    """What a deployed stack exports, keys included."""
    because = f"No sandbox of stack {stack} is running, so it" if tried_sandbox else "It"
    pulumi = shutil.which("pulumi")
    if pulumi is None:
        raise OperationsError(
            f"{because} is looked for among the deployed stacks, which takes the Pulumi CLI, and "
            f"that is not installed: https://www.pulumi.com/docs/iac/download-install/. "
            f"For the sandbox, run make up STACK={stack} first."
        )
    words = [pulumi, "stack", "output", "--json", "--show-secrets", "--stack", stack]
    try:
        done = subprocess.run(  # noqa: S603  the CLI that the user put on the path
            [*words, "--non-interactive"],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=_PULUMI_SECONDS,
            check=False,
        )
        if done.returncode == 0:
            outputs: Mapping[str, Any] = json.loads(done.stdout)
            return outputs
        why = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
    except subprocess.TimeoutExpired:
        why = f"no answer within {_PULUMI_SECONDS} s"
    except (OSError, ValueError) as error:
        # Not the output itself, which has the keys.
        why = type(error).__name__
    raise OperationsError(
        f"pulumi stack output --stack {stack} failed: {why}. Is the stack deployed, and are you "
        f"logged in (pulumi whoami)?"
    )
