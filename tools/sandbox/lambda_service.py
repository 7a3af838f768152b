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
        """How many environments there may be; 0 when the service has stopped."""
        self._all: list[_Environment] = []
        self._idle: asyncio.LifoQueue[_Environment] = asyncio.LifoQueue()
        self._waiting = 0

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
        self._all = [_Environment() for _ in range(min(environments, self._limit))]
        try:
            await asyncio.gather(*map(self._start, self._all))
        except FunctionFailed as error:
            raise UserError(
                f"The function {self._function.handler} cannot be imported: {error}"
            ) from None
        for environment in self._all:
            self._idle.put_nowait(environment)

    async def stop(self) -> None:
        """End all environments, and remove the function's files."""
        self._limit = 0
        await asyncio.gather(*(environment.end() for environment in self._all))
        shutil.rmtree(self._folder, ignore_errors=True)

    async def invoke(self, event: dict[str, Any], request_id: str) -> object:
        """Run the function on one event, and return what it returned.

        Raises:
            FunctionFailed: it raised, crashed, timed out, or cannot be imported any more.
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
            if environment.ended:
                await self._start(environment)
                self._grow()
            async with asyncio.timeout(seconds):
                answer = await environment.ask(invocation)
        except TimeoutError:
            await environment.end()
            with contextlib.suppress(OSError):  # a full disk
                self._log.write(
                    f"{request_id} Task timed out after {seconds}.00 seconds\n".encode()
                )
            raise FunctionFailed("timed out") from None
        except BaseException:  # it crashed, or API Gateway stopped waiting
            await environment.end()
            raise
        finally:
            # Even if it has ended: then an invocation that waits starts it again.
            self._idle.put_nowait(environment)
        if "result" not in answer:
            raise FunctionFailed(answer["error"])
        return answer["result"]

    async def _acquire(self) -> "_Environment":
        """Wait for an idle environment. If that takes long, another one is added."""
        self._waiting += 1
        growing = asyncio.get_running_loop().call_later(_SCALE_AFTER_SECONDS, self._grow)
        try:
            return await self._idle.get()
        finally:
            self._waiting -= 1
            growing.cancel()

    def _grow(self) -> None:
        """Add an environment for an invocation that waits, if the function may have more.

        The invocation starts it. No more start at a time than this machine has processors.
        """
        starting = sum(one.ended for one in self._all)
        room = min(self._limit - len(self._all), (os.cpu_count() or 1) - starting)
        if self._waiting > self._idle.qsize() and room > 0:
            self._all.append(environment := _Environment())
            self._idle.put_nowait(environment)

    async def _start(self, environment: "_Environment") -> None:
        """Start an environment's process.

        Raises:
            FunctionFailed: it cannot import the function.
        """
        try:
            environment.process = await asyncio.create_subprocess_exec(
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
            async with asyncio.timeout(_INIT_SECONDS):
                said = await environment.answer()
        except TimeoutError:
            raise FunctionFailed(f"took longer than {_INIT_SECONDS:.0f} s") from None
        except OSError as error:
            raise FunctionFailed(str(error)) from None
        if not self._limit or "ready" not in said:
            raise FunctionFailed(said.get("error", "the function was stopped"))
        environment.ready = True


class _Environment:
    """One process, which answers each line of its standard input with a line of output."""

    process: Process | None = None
    ready = False
    """Whether the process has imported the function."""

    @property
    def ended(self) -> bool:
        """Whether the process must be started, for the first time or again."""
        return not self.ready or self._pipes[1].at_eof()

    @property
    def _pipes(self) -> tuple[asyncio.StreamWriter, asyncio.StreamReader]:
        assert self.process and self.process.stdin and self.process.stdout  # noqa: S101, PT018
        return self.process.stdin, self.process.stdout

    async def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send one line, and return the answer; raises as `answer`."""
        self._pipes[0].write(json.dumps(message).encode() + b"\n")
        return await self.answer()

    async def answer(self) -> dict[str, Any]:
        """Read one line.

        Raises:
            FunctionFailed: the process ended before, or the line is too long or no JSON.
        """
        try:
            line = await self._pipes[1].readline()
            if not line.endswith(b"\n"):
                raise FunctionFailed("the execution environment ended")
            answer: dict[str, Any] = json.loads(line)
        except ValueError:
            raise FunctionFailed("the answer is too long, or no JSON") from None
        return answer

    async def end(self) -> None:
        """End the process, whatever it is doing."""
        self.ready = False
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
