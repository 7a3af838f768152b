"""Find the sandboxes that run on this machine, and talk to them over their admin ports."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import psutil

from settings import UserError, check_stack_name, project_root
from tools.recorder.resources import Resources

LOOPBACK: Final = "127.0.0.1"
FOLDER: Final = ".sandbox"
"""Folder in the project's folder, with a folder for each stack's sandbox."""
ADDRESS_FILE: Final = "server.json"
"""Where a server writes its admin port and token, once both of its ports listen."""
KEEP: Final = b"keep\n"
"""The command that launches a server sends it this at the end. If not, the server ends too."""
_ANSWER_SECONDS: Final = 10.0
_TABLE_SECONDS: Final = 180.0
"""Longer than the server waits for the process of the table."""


class _NotRunning(UserError):
    """The server has ended."""


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
        return _json(self._ask("GET", "/status"))

    def items(self) -> dict[str, dict[str, Any]]:
        """Return for each table its `count` of items and a `sample` of them."""
        return _json(self._ask("GET", "/items", seconds=_TABLE_SECONDS))

    def resources(self) -> Resources:
        """Return the resources that the sandbox serves."""
        return Resources.from_json(self._ask("GET", "/resources"))

    def deploy(
        self, resources: Resources, *, port: int, dynamodb: str | None, changes: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Serve resources, in place of those before, and return the status.

        Args:
            resources: what the program registered.
            port: of the API.
            dynamodb: URL of a DynamoDB API; None for the sandbox's own.
            changes: of settings, that are not in the stack's file.

        Raises:
            UserError: the resources cannot be served. Those before are still served.
        """
        options = {"port": port, "set": changes} | ({"dynamodb": dynamodb} if dynamodb else {})
        query = urlencode(options, doseq=True)
        return _json(self._ask("POST", f"/deploy?{query}", resources.to_json(), _TABLE_SECONDS))

    def stop(self) -> None:
        """End the server's processes and free its ports. Then its own process ends."""
        self._ask("POST", "/stop")

    def _ask(
        self, verb: str, path: str, body: bytes | None = None, seconds: float | None = None
    ) -> bytes:
        name = f"The sandbox of stack {self.folder.name}"
        see_log = f"Its log is {self.folder / 'server.log'}."
        # http.client, unlike urllib, uses no proxy from the environment.
        connection = HTTPConnection(LOOPBACK, self.port, timeout=seconds or _ANSWER_SECONDS)
        try:
            connection.request(verb, path, body, {"authorization": f"Bearer {self.token}"})
            response = connection.getresponse()
            answer = response.read()
        except (OSError, HTTPException) as error:
            if isinstance(error, TimeoutError) and psutil.pid_exists(self.pid):
                raise UserError(f"{name} does not answer. {see_log}") from None
            raise _NotRunning(f"{name} has ended. {see_log}") from None
        finally:
            connection.close()
        match response.status:
            case 200:
                return answer
            case 401:  # another sandbox has the port
                raise _NotRunning(f"{name} has ended. {see_log}")
            case 422:
                raise UserError(json.loads(answer)["message"])
        raise UserError(f"{name} failed at {path.partition('?')[0]}. {see_log}")


def _json(answer: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer)
    return found


def running(stack: str, root: Path | None = None) -> Sandbox | None:
    """Return the running sandbox of a stack, or None.

    Args:
        stack: name of the stack.
        root: the project's folder; None for the one that holds the current folder.

    Raises:
        UserError: a sandbox runs but does not answer.
    """
    folder = stack_folder(root or project_root(), stack)
    try:
        sandbox = Sandbox(folder=folder, **json.loads((folder / ADDRESS_FILE).read_text("utf-8")))
        sandbox.status()
    except (FileNotFoundError, ValueError, TypeError, _NotRunning):
        # No file, or one that outlived its server: the port is closed, or another program has it.
        return None
    return sandbox


def stack_folder(root: Path, stack: str) -> Path:
    """Return the folder of a stack's sandbox.

    Raises:
        UserError: the name cannot be a stack's, or the folder is or holds a symbolic link.
    """
    check_stack_name(stack)
    folder = root / FOLDER / stack
    for path in (folder, *folder.glob("*")):
        if path.is_symlink():
            raise UserError(f"{path} is a symbolic link. Remove it.")
    return folder
