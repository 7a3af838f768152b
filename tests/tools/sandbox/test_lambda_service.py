"""Functions as real processes: what they see and return, and what happens when they misbehave."""

import asyncio
import os
import signal
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from settings import UserError
from tools.sandbox import lambda_service
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
                os.system("echo by a child; cat")
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
                while not os.path.exists("over"):
                    time.sleep(0.01)
            case "set":
                return {1, 2}
            case "long":
                return "x" * event["bytes"]
"""
ARN = "arn:aws:lambda:eu-central-1:000000000000:function:stores"
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


class Service(LambdaService):
    """A service for one function, whose source is `app.py` in a folder."""

    def __init__(
        self,
        folder: Path,
        code: str = CODE,
        concurrency: int | None = 4,
        log: str = "log",
        timeout: int = 60,
    ) -> None:
        source = folder / "app.py"
        source.write_text(textwrap.dedent(code))
        function = Function(
            name="stores",
            arn=ARN,
            handler="app.handle",
            files={"app.py": str(source)},
            memory_mb=512,
            timeout_seconds=timeout,
            concurrency=concurrency,
            environment={"TABLE_NAME": "records"},
        )
        self.folder = folder / "deployed"
        super().__init__(
            function,
            folder=self.folder,
            log=(folder / log).open("ab", buffering=0),
            environment={"AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:1"},
            region="eu-central-1",
        )

    async def do(self, do: str, **event: object) -> Any:  # noqa: ANN401  JSON
        """Return the result of one invocation."""
        return await self.invoke({"do": do, **event}, "r-1")

    async def hold(self, invocations: int) -> "list[asyncio.Task[Any]]":
        """Begin invocations that work until `release`."""
        tasks = [asyncio.create_task(self.do("wait")) for _ in range(invocations)]
        await asyncio.sleep(0.01)
        return tasks

    def release(self) -> None:
        (self.folder / "over").touch()


Deploy = Callable[..., Awaitable[Service]]


@pytest.fixture
async def deploy(tmp_path: Path) -> AsyncIterator[Deploy]:
    """Start a service for a function; it is stopped at the end."""
    services = []

    async def deploy(**changes: Any) -> Service:  # noqa: ANN401
        services.append(Service(tmp_path, **changes))
        await services[0].start()
        return services[0]

    yield deploy
    await services[0].stop()
    services[0]._log.close()


async def test_a_function_gets_its_event_and_context_and_stays_warm(deploy: Deploy) -> None:
    function = await deploy()
    assert (await function.do("echo", year=7))["event"] == {"do": "echo", "year": 7}
    assert await function.do("context") == ["r-1", "stores", "512", ARN, True]
    assert (await function.do("echo"))["count"] == 3


async def test_a_function_sees_the_variables_of_lambda_and_no_others(
    deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "AWS_PROFILE", "AWS_RETRY_MODE", "AWS_SESSION_TOKEN", "HOME"):
        monkeypatch.setenv(name, "of the user's shell")
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    function = await deploy()
    variables = await function.do("environment")
    variables.pop("LC_CTYPE", None)  # Python sets it where LANG has no locale.
    assert variables == {
        "TABLE_NAME": "records",
        "PATH": os.environ["PATH"],
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "PYTHONPATH": str(function.folder),
        "LAMBDA_TASK_ROOT": str(function.folder),
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


async def test_what_a_function_prints_goes_to_its_log(deploy: Deploy, tmp_path: Path) -> None:
    await (await deploy()).do("print")
    assert (tmp_path / "log").read_text() == "a line\nby a child\nhalf a line"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a device that is always full")
async def test_a_log_without_room_fails_no_invocation(deploy: Deploy) -> None:
    function = await deploy(log="/dev/full", timeout=1)
    await function.do("print")
    assert (await function.do("echo"))["count"] == 2
    with pytest.raises(FunctionFailed, match="timed out"):
        await function.do("hang")


@pytest.mark.parametrize(
    ("what", "reason", "logged"),
    [
        ("raise", "ValueError: inside", "ValueError: inside"),
        ("crash", "the execution environment ended", ""),
        ("set", "TypeError: Object of type set is not JSON serializable", "TypeError"),
        ("hang", "timed out", "r-1 Task timed out after 1.00 seconds"),
    ],
)
async def test_a_failure_costs_no_other_caller(
    deploy: Deploy, tmp_path: Path, what: str, reason: str, logged: str
) -> None:
    function = await deploy(concurrency=1, timeout=1)
    pid = (await function.do("echo"))["pid"]
    with pytest.raises(FunctionFailed, match=f"^{reason}"):
        await function.do(what)
    assert ((await function.do("echo"))["pid"] == pid) == (what in ("raise", "set"))
    assert logged in (tmp_path / "log").read_text()


async def test_an_environment_that_died_while_idle_costs_no_caller(deploy: Deploy) -> None:
    function = await deploy(concurrency=1)
    for _ in range(2):
        pid = (await function.do("echo"))["pid"]
        os.kill(pid, signal.SIGKILL)
        while psutil.pid_exists(pid):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)
    assert (await function.do("echo"))["count"] == 1


async def test_invocations_that_wait_get_environments_of_their_own(deploy: Deploy) -> None:
    function = await deploy()
    held = await function.hold(3)
    await function.do("echo")
    function.release()
    assert await asyncio.gather(*held) == [None] * 3


async def test_there_are_no_more_environments_than_the_concurrency(deploy: Deploy) -> None:
    function = await deploy(concurrency=2)
    # They wait for twenty times as long as it takes until another environment is started.
    pids = await asyncio.gather(*(function.do("hold") for _ in range(40)))
    assert len(set(pids)) <= 2


@pytest.mark.parametrize("cancelled", ["the one that runs", "the one that waits"])
async def test_an_invocation_that_is_cancelled_takes_no_environment_with_it(
    deploy: Deploy, cancelled: str
) -> None:
    function = await deploy(concurrency=1)
    held = await function.hold(2)
    held[cancelled == "the one that waits"].cancel()
    function.release()
    await asyncio.gather(*held, return_exceptions=True)
    await function.do("echo")


async def test_a_result_may_be_as_long_as_on_lambda_but_not_endless(deploy: Deploy) -> None:
    function = await deploy()
    assert await function.do("long", bytes=6 * 2**20) == "x" * 6 * 2**20
    with pytest.raises(FunctionFailed, match="too long"):
        await function.do("long", bytes=9 * 2**20)
    await function.do("echo")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("def handle(:", "SyntaxError: invalid syntax"),
        ("x = 1", "AttributeError: module 'app' has no attribute 'handle'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import os; os._exit(1)", "the execution environment ended"),
        ("import time; time.sleep(60)", "took longer than 1 s"),
    ],
)
async def test_a_function_that_cannot_be_imported_says_why(
    deploy: Deploy, code: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "time" in code:
        monkeypatch.setattr(lambda_service, "_INIT_SECONDS", 1)
    with pytest.raises(UserError, match=r"^The function app\.handle cannot be imported: ") as said:
        await deploy(code=code)
    assert reason in str(said.value)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import no_such_module", "No module named 'no_such_module'"),
        ("import os; os.write(4, b'-\\n')", "no JSON"),
    ],
)
async def test_a_function_that_stops_being_importable_fails_its_callers(
    deploy: Deploy, code: str, reason: str
) -> None:
    function = await deploy(concurrency=2)
    (function.folder / "app.py").write_text(code)
    held = await function.hold(1)
    for _ in range(2):
        with pytest.raises(FunctionFailed, match=reason):
            await function.do("echo")
    function.release()
    await asyncio.gather(*held)


async def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    function = Service(tmp_path)
    (tmp_path / "app.py").unlink()
    with pytest.raises(UserError, match=r"file app\.py cannot be deployed"):
        await function.start()
    function._log.close()


async def test_nothing_is_left_when_a_service_stops(deploy: Deploy) -> None:
    before = psutil.Process().children()
    function = await deploy(concurrency=1)
    waiting = await function.hold(2)
    await function.stop()
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(one) for one in ended] == [FunctionFailed] * 2
    assert psutil.Process().children() == before
    assert not function.folder.exists()
