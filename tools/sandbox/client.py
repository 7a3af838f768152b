"""Find the sandboxes that run on this machine, and talk to them over their admin ports."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final

from settings import UserError, project_root
from tools.recorder.resources import Resources

LOOPBACK: Final = "127.0.0.1"
ADDRESS_FILE: Final = "server.json"
"""Where a server writes its admin port and token, once both of its ports listen."""
_ANSWER_SECONDS: Final = 10.0
_DEPLOY_SECONDS: Final = 180.0
"""Enough to read back a large table."""


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """The server of a stack, reached over its admin port."""

    folder: Path
    port: int
    """The admin port."""
    token: str = field(repr=False)
    pid: int

    def status(self) -> dict[str, Any]:
        """Return the stack, ports and URL, how requests were answered, and the quotas left."""
        answer: dict[str, Any] = json.loads(self._ask("GET", "/status"))
        return answer

    def items(self) -> dict[str, dict[str, Any]]:
        """Return for each table its `count` of items and a `sample` of them."""
        answer: dict[str, dict[str, Any]] = json.loads(self._ask("GET", "/items"))
        return answer

    def resources(self) -> Resources:
        """Return the resources that the sandbox serves."""
        return Resources.from_json(self._ask("GET", "/resources"))

    def deploy(self, resources: Resources, *, port: int, dynamodb: str | None) -> dict[str, Any]:
        """Serve other resources from now on, and return the status.

        Args:
            resources: what the program registered.
            port: of the API.
            dynamodb: URL of a DynamoDB API; None for the sandbox's own.

        Raises:
            UserError: the resources cannot be served; those before stay.
        """
        path = f"/deploy?port={port}" + (f"&dynamodb={dynamodb}" if dynamodb else "")
        answer: dict[str, Any] = json.loads(
            self._ask("POST", path, resources.to_json(), _DEPLOY_SECONDS)
        )
        return answer

    def stop(self) -> None:
        """End the server and its processes, and wait until its ports are free."""
        self._ask("POST", "/stop")

    def _ask(
        self, verb: str, path: str, body: bytes | None = None, seconds: float = _ANSWER_SECONDS
    ) -> bytes:
        # http.client, unlike urllib, uses no proxy from the environment.
        connection = HTTPConnection(LOOPBACK, self.port, timeout=seconds)
        try:
            connection.request(verb, path, body, {"authorization": f"Bearer {self.token}"})
            response = connection.getresponse()
            answer = response.read()
        except TimeoutError:
            raise UserError(
                f"The sandbox of stack {self.folder.name} does not answer. Its log is "
                f"{self.folder / 'server.log'}."
            ) from None
        finally:
            connection.close()
        if response.status == 200:
            return answer
        if response.status == 401:
            raise ConnectionError("another server has the port")
        raise UserError(json.loads(answer)["error"])


def running(stack: str, root: Path | None = None) -> Sandbox | None:
    """Return the running sandbox of a stack, or None.

    Args:
        stack: name of the stack.
        root: the project's folder; None for the one that holds the current folder.

    Raises:
        UserError: a sandbox runs but does not answer.
    """
    folder = (root or project_root()) / ".sandbox" / stack
    try:
        address = json.loads((folder / ADDRESS_FILE).read_text("utf-8"))
        sandbox = Sandbox(folder=folder, **address)
        sandbox.status()
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        # No file, or one that outlived its server: the port is closed, or another program has it.
        return None
    return sandbox


def sandboxes(root: Path) -> Iterator[Sandbox]:
    """Yield the sandboxes of all stacks of a project that run now."""
    for folder in sorted((root / ".sandbox").glob("*/")):
        if sandbox := running(folder.name, root):
            yield sandbox
