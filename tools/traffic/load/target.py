"""Where a load test goes, with which keys, and which limits should hold there.

The limits come from the stack's settings, not from what runs: a target with other limits than its
settings is what a load test finds.
"""

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from settings import Settings, UserError, project_root
from throttling import Client
from tools.cli import is_url
from tools.sandbox.client import running
from tools.sandbox.deployment import read_deployment
from tools.sandbox.web_acl import address_header

_PULUMI_SECONDS: Final = 120


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """An API to load."""

    url: str
    """Where records are posted to."""
    keys: Mapping[Client, str] = field(repr=False)
    sandbox: bool
    address_headers: Sequence[str] = ()
    """Headers of a sandbox that hold the caller's address: X-Forwarded-For stands for the source
    address there, and behind a CDN the web ACL reads another one."""
    outdated: bool = False
    """Whether the sandbox was deployed with other limits than those configured now."""


def is_loopback(url: str) -> bool:
    """Return whether a URL's host can only mean this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def find_target(settings: Settings, *, url: str | None, deployed: bool, named: bool) -> Target:
    """Return the stack's sandbox if one runs, else the stack that Pulumi deployed.

    Args:
        settings: of the stack.
        url: where to send to instead, with the same keys.
        deployed: pass over the sandbox.
        named: whether the user named the stack. Only then may the deployed one be loaded.

    Raises:
        UserError: when there is neither, or it cannot be reached.
    """
    if url is not None and not is_url(url):
        raise UserError(f"--url {url} is not an http or https address.")
    sandbox = None if deployed else running(settings.stack)
    if not (sandbox or deployed or named):
        raise UserError(
            f"No sandbox of stack {settings.stack} is running. Start it with make up, or name a "
            f"deployed stack with --stack."
        )
    resources = sandbox.resources() if sandbox else None
    outputs = resources.exports if resources else pulumi_outputs(settings.stack)
    try:
        url = str(url or outputs["dataUrl"])
        keys = {
            Client(plan, client): str(value)
            for plan, clients in outputs["apiKeys"].items()
            for client, value in clients.items()
        }
    except (KeyError, AttributeError):
        raise UserError(
            f"Stack {settings.stack} has no outputs dataUrl and apiKeys. Deploy it with pulumi up."
        ) from None
    if resources is None or not is_loopback(url):
        return Target(url=url, keys=keys, sandbox=False)
    deployment = read_deployment(resources)
    return Target(
        url=url,
        keys=keys,
        sandbox=True,
        address_headers=["X-Forwarded-For", *filter(None, [address_header(deployment.web_acl)])],
        outdated=deployment.limits != settings.limits(),
    )


def pulumi_outputs(stack: str) -> Mapping[str, Any]:
    """Return what a deployed stack exports, API keys included."""
    pulumi = shutil.which("pulumi")
    if pulumi is None:
        raise UserError(
            f"No sandbox of stack {stack} is used, and finding a deployed stack takes the Pulumi "
            f"CLI (https://www.pulumi.com/docs/iac/download-install/). Start a sandbox with "
            f"make up STACK={stack}."
        )
    words = [pulumi, "stack", "output", "--json", "--show-secrets", "--stack", stack]
    try:
        done = subprocess.run(  # noqa: S603  the CLI that the user put on the path
            [*words, "--non-interactive"],
            cwd=project_root(),
            capture_output=True,
            text=True,
            timeout=_PULUMI_SECONDS,
            check=True,
        )
        outputs: Mapping[str, Any] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        # Without the output itself, which holds the keys.
        said = getattr(error, "stderr", None) or type(error).__name__
        raise UserError(
            f"pulumi stack output --stack {stack} failed: {' '.join(str(said).split())}. Is the "
            f"stack deployed, and are you logged in (pulumi whoami)?"
        ) from None
    return outputs
