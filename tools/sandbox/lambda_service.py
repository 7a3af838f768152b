"""Lambda: the execution environments of one function, started as they are needed.

Each environment is a process that imports the deployed files and works on one event at a time. An
invocation that crashes or takes longer than the function's timeout ends its environment. The
throttling model, not this module, decides how many requests may be in flight.
"""

import asyncio
import contextlib
import json
import os
import shutil
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import IO, Any, Final

from settings import UserError
from tools.sandbox.deployment import Function

MAX_ENVIRONMENTS: Final = 64
"""For a function without reserved concurrency: as many as a laptop can hold."""
_SCALE_AFTER_SECONDS: Final = 0.05
"""How long an invocation waits for a busy environment before another one is started."""
_INIT_SECONDS: Final = 10.0
"""https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html"""
_LONGEST_LINE: Final = 8 * 1024 * 1024
"""Bytes. Lambda's own limit is 6 MB for a request or a response."""


class FunctionFailed(Exception):
    """The function raised, crashed or timed out."""


class _Environment:
    """One process, which answers each line of its standard input with a line of output."""

    def __init__(self, process: Process) -> None:
        assert process.stdin and process.stdout  # noqa: S101, PT018  pipes were asked for
        self._process = process
        self._input = process.stdin
        self._output = process.stdout

    @property
    def ended(self) -> bool:
        """Whether the process has ended and left nothing to read."""
        return self._output.at_eof()

    async def call(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send one line, and read the answer.

        Raises:
            FunctionFailed: the process ended without an answer.
        """
        self._input.write(json.dumps(message).encode() + b"\n")
        return await self.read()

    async def read(self) -> dict[str, Any]:
        """Read one line.

        Raises:
            FunctionFailed: the process ended before, or the line is too long.
        """
        try:
            line = await self._output.readline()
        except ValueError as error:
            raise FunctionFailed("the answer is too long") from error
        if not line.endswith(b"\n"):
            raise FunctionFailed("the execution environment ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def end(self) -> None:
        """End the process, whatever it is doing."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


class LambdaService:
    """The execution environments of one function.

    Args:
        function: what was deployed.
        folder: where its files are put; removed on `stop`.
        log: where the function's output goes.
        environment: variables besides the function's own, such as where DynamoDB is.
        region: AWS Region that the function sees.
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
        # https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
        self._variables = {
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
            # The sandbox's DynamoDB takes any signature.
            "AWS_ACCESS_KEY_ID": "sandbox",
            "AWS_SECRET_ACCESS_KEY": "sandbox",
            "AWS_EC2_METADATA_DISABLED": "true",
            # Lambda has no such files, but this machine's user may.
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            **environment,
        }
        self._limit = min(function.concurrency or MAX_ENVIRONMENTS, MAX_ENVIRONMENTS)
        self._all: set[_Environment] = set()
        self._idle: asyncio.LifoQueue[_Environment | FunctionFailed] = asyncio.LifoQueue()
        """Environments without work. A failure to start one goes to an invocation that waits."""
        self._waiting = 0
        self._scaling: asyncio.Task[None] | None = None

    async def start(self, environments: int = 1) -> None:
        """Unpack the function, and start its first environments.

        Raises:
            UserError: the function cannot be imported.
        """
        for name, source in self._function.files.items():
            target = self._folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copyfile(source, target)
            except OSError as error:
                raise UserError(f"The function's file {name} cannot be deployed: {error}") from None
        first = min(environments, self._limit)
        await asyncio.gather(*(self._start_environment() for _ in range(first)))

    async def stop(self) -> None:
        """End all environments, and remove the function's files."""
        self._limit = 0
        if self._scaling:
            self._scaling.cancel()
            await asyncio.gather(self._scaling, return_exceptions=True)
        await asyncio.gather(*map(self._end, list(self._all)))
        shutil.rmtree(self._folder, ignore_errors=True)

    async def invoke(self, event: dict[str, Any], request_id: str) -> object:
        """Run the function on one event, and return what it returned.

        Raises:
            FunctionFailed: it raised, crashed or timed out.
        """
        seconds = self._function.timeout_seconds
        invocation = {
            "event": event,
            "requestId": request_id,
            "functionArn": self._function.arn,
            "timeoutSeconds": seconds,
        }
        environment = await self._acquire()
        try:
            async with asyncio.timeout(seconds):
                answer = await environment.call(invocation)
        except TimeoutError:
            await self._end(environment)
            with contextlib.suppress(OSError):  # a full disk
                self._log.write(
                    f"{request_id} Task timed out after {seconds}.00 seconds\n".encode()
                )
            raise FunctionFailed("timed out") from None
        except BaseException:  # it crashed, or API Gateway stopped waiting
            await self._end(environment)
            raise
        self._idle.put_nowait(environment)
        if "result" not in answer:
            raise FunctionFailed(answer["error"])
        return answer["result"]

    async def _acquire(self) -> _Environment:
        """Wait for an idle environment. If that takes long, start others."""
        self._waiting += 1
        try:
            while True:
                self._scale_if_needed()
                environment = await self._idle.get()
                if isinstance(environment, FunctionFailed):
                    raise environment
                if not environment.ended:
                    return environment
                await self._end(environment)
        finally:
            self._waiting -= 1

    async def _end(self, environment: _Environment) -> None:
        self._all.discard(environment)
        self._scale_if_needed()
        await environment.end()

    @property
    def _missing(self) -> int:
        """How many environments to start now."""
        missing = self._waiting - self._idle.qsize()
        return min(missing, self._limit - len(self._all), os.cpu_count() or 1)

    def _scale_if_needed(self) -> None:
        if self._missing > 0 and (self._scaling is None or self._scaling.done()):
            self._scaling = asyncio.create_task(self._scale())

    async def _scale(self) -> None:
        """Start environments while invocations wait and the function may have more."""
        while self._missing > 0:
            if self._all:
                await asyncio.sleep(_SCALE_AFTER_SECONDS)
            starting = (self._start_environment() for _ in range(self._missing))
            for failure in await asyncio.gather(*starting, return_exceptions=True):
                if failure and self._missing > 0:
                    self._idle.put_nowait(FunctionFailed(f"the function did not start: {failure}"))

    async def _start_environment(self) -> None:
        """Start one process, and put it among the idle ones.

        Raises:
            UserError: it cannot import the function.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # keeps the folder of lambda_runtime.py off the function's path
            str(Path(__file__).with_name("lambda_runtime.py")),
            self._function.handler,
            cwd=self._folder,
            env=self._variables,
            stdin=PIPE,
            stdout=PIPE,
            stderr=self._log,
            limit=_LONGEST_LINE,
        )
        environment = _Environment(process)
        self._all.add(environment)
        try:
            async with asyncio.timeout(_INIT_SECONDS):
                said = await environment.read()
        except (FunctionFailed, TimeoutError) as error:
            said = {"error": str(error) or f"took longer than {_INIT_SECONDS:.0f} s"}
        if "ready" not in said:
            await self._end(environment)
            raise UserError(
                f"The function {self._function.handler} cannot be imported: {said['error']}"
            )
        self._idle.put_nowait(environment)
