"""Lambda: execution environments for one function, started as they are needed.

Each environment is a process that imports the deployed files and works on one event at a time. An
invocation that outlives the function's timeout, or crashes, costs its environment. How many
requests may be in flight is not decided here: that is the throttling model's concurrency limit.
"""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import sys
from collections import deque
from pathlib import Path
from typing import IO, Any, Final

from tools.sandbox.deployment import Function
from tools.sandbox.errors import SandboxError

MAX_ENVIRONMENTS: Final = 64
"""For a function without reserved concurrency: what a laptop can hold."""
_SCALE_AFTER_SECONDS: Final = 0.05
"""How long an invocation waits for a busy environment before another is started."""
_INIT_SECONDS: Final = 10.0
"""https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html"""
_LONGEST_LINE: Final = 8 * 1024 * 1024
"""Bytes; Lambda's own limit is 6 MB for a request or a response."""


class FunctionFailed(Exception):
    """The function raised, crashed or timed out."""


class _Environment:
    """One process and the channel to it."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer

    async def call(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send one line, and read the answer.

        Raises:
            FunctionFailed: when the process ends without an answer.
        """
        self._writer.write(json.dumps(message).encode() + b"\n")
        return await self.read()

    async def read(self) -> dict[str, Any]:
        """Read one line."""
        try:
            line = await self._reader.readline()
        except (ConnectionError, ValueError) as error:
            raise FunctionFailed("the execution environment failed") from error
        if not line.endswith(b"\n"):
            raise FunctionFailed("the execution environment ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def stop(self) -> None:
        """End the process, whatever it is doing."""
        self._writer.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


class LambdaService:
    """Runs one function.

    Args:
        function: what was deployed.
        folder: where its files are put; made anew, and removed on `stop`.
        log: where the function's output goes.
        environment: variables besides the function's own, such as where DynamoDB is.
        region: AWS Region the function sees.
    """

    def __init__(
        self,
        function: Function,
        *,
        folder: Path,
        log: IO[bytes],
        environment: dict[str, str],
        region: str,
    ) -> None:
        self._function = function
        self._folder = folder
        self._log = log
        self._variables = _variables(function, folder, region) | environment
        self._limit = min(function.concurrency or MAX_ENVIRONMENTS, MAX_ENVIRONMENTS)
        self._idle: list[_Environment] = []
        self._all: set[_Environment] = set()
        self._waiting: deque[asyncio.Future[_Environment]] = deque()
        self._scaling: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self, environments: int = 1) -> None:
        """Unpack the function, and start its first environments.

        Raises:
            SandboxError: when the function cannot be imported, with the reason.
        """
        for name, source in self._function.files.items():
            target = self._folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copyfile(source, target)
            except OSError as error:
                raise SandboxError(
                    f"The function's file {name} cannot be deployed: {error}"
                ) from None
        first = min(environments, self._limit)
        self._idle += await asyncio.gather(*(self._start_environment() for _ in range(first)))

    async def stop(self) -> None:
        """End all environments and remove the function's files."""
        self._stopping = True
        if self._scaling:
            self._scaling.cancel()
            await asyncio.gather(self._scaling, return_exceptions=True)
        await asyncio.gather(*(environment.stop() for environment in self._all))
        shutil.rmtree(self._folder, ignore_errors=True)

    async def invoke(self, event: dict[str, Any], request_id: str) -> object:
        """Run the function on one event, and give back what it returned.

        Raises:
            FunctionFailed: when it raised, crashed or ran into its timeout.
        """
        environment = await self._acquire()
        seconds = self._function.timeout_seconds
        healthy = False
        try:
            async with asyncio.timeout(seconds):
                answer = await environment.call(
                    {"event": event, "context": self._context(request_id)}
                )
            healthy = True
        except TimeoutError:
            self._say(f"{request_id} Task timed out after {seconds}.00 seconds")
            raise FunctionFailed("timed out") from None
        finally:
            if healthy:
                self._release(environment)
            else:
                await self._discard(environment)
        if "result" not in answer:
            raise FunctionFailed(answer.get("error", "no result"))
        return answer["result"]

    def _context(self, request_id: str) -> dict[str, Any]:
        return {
            "requestId": request_id,
            "functionName": self._function.name,
            "functionArn": self._function.arn,
            "memoryMb": str(self._function.memory_mb),
            "logGroup": "sandbox",
            "timeoutSeconds": self._function.timeout_seconds,
        }

    async def _acquire(self) -> _Environment:
        if self._idle:
            return self._idle.pop()
        waiter: asyncio.Future[_Environment] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._scale_if_needed()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and not waiter.exception():
                self._release(waiter.result())
            raise

    def _release(self, environment: _Environment) -> None:
        """Give an environment to the invocation that waits longest, or keep it warm."""
        waiter = self._next_waiter()
        if waiter:
            waiter.set_result(environment)
        else:
            self._idle.append(environment)

    async def _discard(self, environment: _Environment) -> None:
        self._all.discard(environment)
        await environment.stop()
        self._scale_if_needed()

    def _next_waiter(self) -> "asyncio.Future[_Environment] | None":
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                return waiter
        return None

    def _scale_if_needed(self) -> None:
        idle = self._scaling is None or self._scaling.done()
        if self._waiting and idle and not self._stopping:
            self._scaling = asyncio.create_task(self._scale())

    async def _scale(self) -> None:
        """Start environments while invocations wait for one and the function may have more."""
        while self._waiting:
            if self._all:
                await asyncio.sleep(_SCALE_AFTER_SECONDS)
            wanted = min(len(self._waiting), self._limit - len(self._all), os.cpu_count() or 1)
            if wanted <= 0:
                return
            started = await asyncio.gather(
                *(self._start_environment() for _ in range(wanted)), return_exceptions=True
            )
            for environment in started:
                if isinstance(environment, _Environment):
                    self._release(environment)
                elif waiter := self._next_waiter():
                    waiter.set_exception(
                        FunctionFailed(f"the function did not start: {environment}")
                    )

    async def _start_environment(self) -> _Environment:
        """Start one process.

        Raises:
            SandboxError: when it cannot import the function.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # keeps the sandbox's own folder off the function's path
                str(Path(__file__).with_name("lambda_runtime.py")),
                str(theirs.fileno()),
                self._function.handler,
                pass_fds=[theirs.fileno()],
                cwd=self._folder,
                env=self._variables,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
            )
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=_LONGEST_LINE)
        environment = _Environment(process, reader, writer)
        self._all.add(environment)
        try:
            async with asyncio.timeout(_INIT_SECONDS):
                said = await environment.read()
        except (FunctionFailed, TimeoutError) as error:
            said = {"error": str(error) or f"took longer than {_INIT_SECONDS:.0f} s"}
        if "ready" not in said:
            self._all.discard(environment)
            await environment.stop()
            raise SandboxError(
                f"The function {self._function.handler} cannot be imported: {said['error']}"
            )
        return environment

    def _say(self, line: str) -> None:
        """Write a line of Lambda's own to the function's log."""
        with contextlib.suppress(OSError):  # a full disk
            self._log.write(f"{line}\n".encode())


def _variables(function: Function, folder: Path, region: str) -> dict[str, str]:
    """The environment variables that Lambda gives every function.

    https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
    """
    return {
        **function.environment,
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "PYTHONPATH": str(folder),
        "LAMBDA_TASK_ROOT": str(folder),
        "_HANDLER": function.handler,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        # DynamoDB's stand-in wants requests signed, by anybody.
        "AWS_ACCESS_KEY_ID": "sandbox",
        "AWS_SECRET_ACCESS_KEY": "sandbox",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
