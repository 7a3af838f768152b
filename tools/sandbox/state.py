"""Where a running sandbox keeps what it needs, and how it is talked to.

Whether a sandbox runs is asked of its control socket, never of a pid file: a socket whose process
is gone, however it went, refuses the connection.
"""

import array
import contextlib
import fcntl
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from tools.sandbox.errors import SandboxError

_REPLY_SECONDS: Final = 10.0
_MOST_DESCRIPTORS: Final = 4
Reply = dict[str, Any]


class State:
    """The folder of one stack's sandbox."""

    def __init__(self, root: Path, stack: str) -> None:
        self.stack = stack
        self.folder = root / ".sandbox" / stack
        self.resources = self.folder / "resources.json"
        self.server_log = self.folder / "server.log"
        self.function_log = self.folder / "function.log"
        self.table_log = self.folder / "table.log"
        self.journal = self.folder / "table.journal"
        self.control = self.folder / "control.sock"

    @staticmethod
    def all(root: Path) -> "list[State]":
        """The sandboxes of all stacks that ever ran here."""
        return [State(root, folder.name) for folder in sorted((root / ".sandbox").glob("*/"))]

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep others from changing this sandbox meanwhile.

        Raises:
            SandboxError: when somebody does.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise SandboxError(
                    f"Another command is changing the sandbox of stack {self.stack}; "
                    "wait for it to finish."
                ) from None
            yield

    def ask(self, command: str) -> Reply | None:
        """Send a command to the running sandbox; None when there is none."""
        reply, descriptors = self.ask_for_descriptors(command)
        for descriptor in descriptors:
            os.close(descriptor)
        return reply

    def ask_for_descriptors(self, command: str) -> tuple[Reply | None, list[int]]:
        """Like `ask`, for a command that hands over open files too."""
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(_REPLY_SECONDS)
            try:
                channel.connect(_short(self.control))
                channel.sendall(command.encode() + b"\n")
                return _receive(channel)
            except (FileNotFoundError, ConnectionError):
                return None, []
            except TimeoutError:
                raise SandboxError(
                    f"The sandbox of stack {self.stack} does not answer; its log is "
                    f"{self.server_log}."
                ) from None

    def wait_until_gone(self, seconds: float) -> bool:
        """Wait until the running sandbox's process has ended."""
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(seconds)
            try:
                channel.connect(_short(self.control))
                # The other end closes when its process does, and never says anything.
                return channel.recv(1) == b""
            except (FileNotFoundError, ConnectionError):
                return True
            except TimeoutError:
                return False


class ControlServer:
    """Answers commands on a sandbox's control socket, in a thread of its own."""

    def __init__(self, path: Path, handle: Callable[[str], tuple[Reply, Sequence[int]]]) -> None:
        self._handle = handle
        self._socket = socket.socket(socket.AF_UNIX)
        # Bound under another name first: the socket of a sandbox that hands over to this one
        # stays where it is until this one takes its place.
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        self._socket.bind(_short(fresh))
        fresh.chmod(0o600)
        self._socket.listen()
        fresh.replace(path)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            channel, _ = self._socket.accept()
            threading.Thread(target=self._answer, args=[channel], daemon=True).start()

    def _answer(self, channel: socket.socket) -> None:
        with channel, contextlib.suppress(OSError):
            command = channel.makefile().readline().strip()
            if command:
                reply, descriptors = self._handle(command)
                socket.send_fds(channel, [json.dumps(reply).encode() + b"\n"], descriptors)


def _receive(channel: socket.socket) -> tuple[Reply, list[int]]:
    data, descriptors, _, _ = socket.recv_fds(channel, 1 << 16, _MOST_DESCRIPTORS)
    while not data.endswith(b"\n"):
        more = channel.recv(1 << 16)
        if not more:
            raise ConnectionError("the sandbox ended while it answered")
        data += more
    reply: Reply = json.loads(data)
    return reply, list(array.array("i", descriptors))


def _short(path: Path) -> str:
    """The shorter of a path's two forms: a socket's may have no more than 104 bytes."""
    return min(str(path), os.path.relpath(path), key=len)
