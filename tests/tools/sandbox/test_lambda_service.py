"""Functions as real processes: what they see and return, and what happens when they misbehave."""

import asyncio
import os
import signal
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from settings import UserError
from tools.sandbox.deployment import Function
from tools.sandbox.lambda_service import FunctionFailed, LambdaService

CODE = """
    import os, sys, time

    count = 0

    def handle(event, context):
        global count
        count += 1
        match event["do"]:
            case "echo":
                return {"event": event, "count": count, "pid": os.getpid()}
            case "context":
                return [context.aws_request_id, context.function_name, context.memory_limit_in_mb,
                        context.invoked_function_arn, context.get_remaining_time_in_millis() > 0]
            case "environment":
                return dict(os.environ)
            case "print":
                print("a", "line")
                print("half a line", end="")
            case "raise":
                raise ValueError("inside")
            case "crash":
                os._exit(1)
            case "hang":
                time.sleep(60)
            case "hold":
                time.sleep(0.05)
                return os.getpid()
            case "wait":
                while not os.path.exists(event["for"]):
                    time.sleep(0.01)
            case "set":
                return {1, 2}
            case "long":
                return "x" * event["bytes"]
"""
ARN = "arn:aws:lambda:eu-central-1:000000000000:function:stores"


@asynccontextmanager
async def serving(
    folder: Path, code: str = CODE, concurrency: int | None = 4, log: str = "function.log"
) -> AsyncIterator[LambdaService]:
    """A service that runs a function with this code."""
    source = folder / "app.py"
    source.write_text(textwrap.dedent(code))
    function = Function(
        name="stores",
        arn=ARN,
        handler="app.handle",
        files={"app.py": str(source)},
        memory_mb=512,
        timeout_seconds=1,
        concurrency=concurrency,
        environment={"TABLE_NAME": "records"},
    )
    with (folder / log).open("ab", buffering=0) as output:
        service = LambdaService(
            function,
            folder=folder / "deployed",
            log=output,
            environment={"AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:1"},
            region="eu-central-1",
        )
        try:
            await service.start()
            yield service
        finally:
            await service.stop()


async def echo(service: LambdaService) -> dict[str, Any]:
    answer = await service.invoke({"do": "echo"}, "r")
    assert isinstance(answer, dict)
    return answer


def test_a_function_gets_its_event_and_context(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as service:
            assert (await echo(service))["event"] == {"do": "echo"}
            assert await service.invoke({"do": "context"}, "r-1") == [
                *("r-1", "stores", "512", ARN, True)
            ]
        assert not (tmp_path / "deployed").exists(), "the deployed files go with the service"

    asyncio.run(run())


def test_a_function_sees_the_variables_of_lambda_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "AWS_PROFILE", "AWS_RETRY_MODE", "AWS_SESSION_TOKEN", "HOME"):
        monkeypatch.setenv(name, "of the user's shell")
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    monkeypatch.setenv("PYTHONSAFEPATH", "1")

    async def run() -> None:
        async with serving(tmp_path) as service:
            variables = await service.invoke({"do": "environment"}, "r")
            assert isinstance(variables, dict)
            variables.pop("LC_CTYPE", None)  # Python sets it where LANG has no locale.
            assert variables == {
                "TABLE_NAME": "records",
                "PATH": os.environ["PATH"],
                "LANG": "en_US.UTF-8",
                "TZ": ":UTC",
                "PYTHONPATH": str(tmp_path / "deployed"),
                "LAMBDA_TASK_ROOT": str(tmp_path / "deployed"),
                "_HANDLER": "app.handle",
                "AWS_REGION": "eu-central-1",
                "AWS_DEFAULT_REGION": "eu-central-1",
                "AWS_LAMBDA_FUNCTION_NAME": "stores",
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
                "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
                "AWS_ACCESS_KEY_ID": "sandbox",
                "AWS_SECRET_ACCESS_KEY": "sandbox",
                "AWS_EC2_METADATA_DISABLED": "true",
                "AWS_CONFIG_FILE": "/dev/null",
                "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
                "AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:1",
            }

    asyncio.run(run())


def test_an_environment_stays_warm(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as service:
            assert [(await echo(service))["count"] for _ in range(3)] == [1, 2, 3]

    asyncio.run(run())


def test_what_a_function_prints_goes_to_its_log(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as service:
            await service.invoke({"do": "print"}, "r")

    asyncio.run(run())
    assert (tmp_path / "function.log").read_text() == "a line\nhalf a line"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a device that is always full")
@pytest.mark.parametrize("what", ["print", "hang"])
def test_a_log_without_room_fails_no_invocation(tmp_path: Path, what: str) -> None:
    async def run() -> None:
        async with serving(tmp_path, log="/dev/full") as service:
            await asyncio.gather(service.invoke({"do": what}, "r"), return_exceptions=True)
            assert (await echo(service))["count"] == (2 if what == "print" else 1)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("what", "reason", "logged"),
    [
        ("raise", "ValueError: inside", "ValueError: inside"),
        ("crash", "the execution environment ended", ""),
        ("set", "TypeError: Object of type set is not JSON serializable", "TypeError"),
        ("hang", "timed out", "r-1 Task timed out after 1.00 seconds"),
    ],
)
def test_a_failure_costs_no_other_caller(
    tmp_path: Path, what: str, reason: str, logged: str
) -> None:
    async def run() -> None:
        async with serving(tmp_path, concurrency=1) as service:
            pid = (await echo(service))["pid"]
            with pytest.raises(FunctionFailed, match=f"^{reason}"):
                await service.invoke({"do": what}, "r-1")
            same = (await echo(service))["pid"] == pid
            assert same == (what in ("raise", "set"))

    asyncio.run(run())
    assert logged in (tmp_path / "function.log").read_text()


def test_an_environment_that_died_while_idle_costs_no_caller(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path, concurrency=1) as service:
            for _ in range(2):
                pid = (await echo(service))["pid"]
                os.kill(pid, signal.SIGKILL)
                while psutil.pid_exists(pid):
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.01)  # The event loop looks at the channel once more.
            assert (await echo(service))["pid"] != pid

    asyncio.run(run())


def test_invocations_that_wait_get_environments_of_their_own(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as service:
            held = {"do": "wait", "for": str(tmp_path / "over")}
            waiting = [asyncio.create_task(service.invoke(held, "r")) for _ in range(2)]
            await echo(service)
            (tmp_path / "over").touch()
            assert await asyncio.gather(*waiting) == [None, None]

    asyncio.run(run())


def test_there_are_no_more_environments_than_the_concurrency(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path, concurrency=2) as service:
            # They wait for twenty times as long as it takes until another one is started.
            pids = await asyncio.gather(*(service.invoke({"do": "hold"}, "r") for _ in range(40)))
            assert len(set(pids)) <= 2

    asyncio.run(run())


@pytest.mark.parametrize("running", [True, False])
def test_an_invocation_that_is_cancelled_takes_no_environment_with_it(
    tmp_path: Path, running: bool
) -> None:
    async def run() -> None:
        async with serving(tmp_path, concurrency=1) as service:
            held = {"do": "wait", "for": str(tmp_path / "over")}
            tasks = [asyncio.create_task(service.invoke(held, "r")) for _ in range(2)]
            await asyncio.sleep(0)
            tasks[0 if running else 1].cancel()
            (tmp_path / "over").touch()
            await asyncio.gather(*tasks, return_exceptions=True)
            await echo(service)

    asyncio.run(run())


def test_a_result_may_be_as_long_as_on_lambda_but_not_endless(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as service:
            answer = await service.invoke({"do": "long", "bytes": 6 * 2**20}, "r")
            assert answer == "x" * 6 * 2**20
            with pytest.raises(FunctionFailed):
                await service.invoke({"do": "long", "bytes": 9 * 2**20}, "r")
            await echo(service)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("def handle(:", "SyntaxError: invalid syntax"),
        ("x = 1", "AttributeError: module 'app' has no attribute 'handle'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import os; os._exit(1)", "the execution environment ended"),
    ],
)
def test_a_function_that_cannot_be_imported_says_why(
    tmp_path: Path, code: str, reason: str
) -> None:
    async def run() -> None:
        async with serving(tmp_path, code):
            pytest.fail("it started")

    with pytest.raises(UserError, match=r"^The function app\.handle cannot be imported: ") as said:
        asyncio.run(run())
    assert reason in str(said.value)


def test_a_function_that_stops_being_importable_fails_its_callers(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path, concurrency=1) as service:
            (tmp_path / "deployed" / "app.py").write_text("import no_such_module")
            with pytest.raises(FunctionFailed, match="ended"):
                await service.invoke({"do": "crash"}, "r")
            with pytest.raises(FunctionFailed, match=r"did not start: .*no_such_module"):
                await echo(service)

    asyncio.run(run())
