"""Functions as real processes: what they see and return, and what happens when they misbehave."""

import asyncio
import os
import signal
import sys
import textwrap
from collections.abc import Callable, Iterator
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
                while not os.path.exists(event["until"]):
                    time.sleep(0.01)
            case "set":
                return {1, 2}
            case "long":
                return "x" * event["bytes"]
"""
ARN = "arn:aws:lambda:eu-central-1:000000000000:function:stores"


class Deployed:
    """A function that a service runs."""

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
        self._log = (folder / log).open("ab", buffering=0)
        self._runner = asyncio.Runner()
        self._service = LambdaService(
            function,
            folder=self.folder,
            log=self._log,
            environment={"AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:1"},
            region="eu-central-1",
        )

    def start(self) -> None:
        self._runner.run(self._service.start())

    def stopping(self) -> "asyncio.Task[None]":
        return self._runner.get_loop().create_task(self._service.stop())

    def stop(self) -> None:
        self._runner.run(self._service.stop())
        self._runner.close()
        self._log.close()

    def tasks(self, *events: dict[str, Any]) -> "list[asyncio.Task[object]]":
        """Invocations at the same time; they go on while `run` waits for something."""
        loop = self._runner.get_loop()
        return [loop.create_task(self._service.invoke(event, "r-1")) for event in events]

    def run(self, *waiting: "asyncio.Future[Any]") -> list[Any]:
        """Wait for all of these; return results and exceptions."""

        async def gather() -> list[Any]:
            async with asyncio.timeout(30):  # an invocation that waits for ever must fail, not hang
                return await asyncio.gather(*waiting, return_exceptions=True)

        return self._runner.run(gather())

    def pause(self) -> None:
        """Let the event loop look at what has happened."""
        self._runner.run(asyncio.sleep(0.01))

    def invoke(self, do: str, **event: object) -> Any:  # noqa: ANN401  JSON
        """The result of one invocation."""
        (result,) = self.run(*self.tasks({"do": do, **event}))
        if isinstance(result, Exception):
            raise result
        return result


@pytest.fixture
def deploy(tmp_path: Path) -> Iterator[Callable[..., Deployed]]:
    """Start a service for a function; it is stopped at the end."""
    deployed = []

    def deploy(**changes: Any) -> Deployed:  # noqa: ANN401
        deployed.append(Deployed(tmp_path, **changes))
        deployed[0].start()
        return deployed[0]

    yield deploy
    deployed[0].stop()


Deploy = Callable[..., Deployed]


def test_a_function_gets_its_event_and_context(deploy: Deploy) -> None:
    function = deploy()
    assert function.invoke("echo", year=7)["event"] == {"do": "echo", "year": 7}
    assert function.invoke("context") == ["r-1", "stores", "512", ARN, True]


def test_a_function_sees_the_variables_of_lambda_and_no_others(
    deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "AWS_PROFILE", "AWS_RETRY_MODE", "AWS_SESSION_TOKEN", "HOME"):
        monkeypatch.setenv(name, "of the user's shell")
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    function = deploy()
    variables = function.invoke("environment")
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


def test_an_environment_stays_warm(deploy: Deploy) -> None:
    function = deploy()
    assert [function.invoke("echo")["count"] for _ in range(3)] == [1, 2, 3]


def test_what_a_function_prints_goes_to_its_log(deploy: Deploy, tmp_path: Path) -> None:
    deploy().invoke("print")
    assert (tmp_path / "log").read_text() == "a line\nby a child\nhalf a line"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a device that is always full")
def test_a_log_without_room_fails_no_invocation(deploy: Deploy) -> None:
    function = deploy(log="/dev/full", timeout=1)
    function.invoke("print")
    assert function.invoke("echo")["count"] == 2
    with pytest.raises(FunctionFailed, match="timed out"):
        function.invoke("hang")


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
    deploy: Deploy, tmp_path: Path, what: str, reason: str, logged: str
) -> None:
    function = deploy(concurrency=1, timeout=1)
    pid = function.invoke("echo")["pid"]
    with pytest.raises(FunctionFailed, match=f"^{reason}"):
        function.invoke(what)
    assert (function.invoke("echo")["pid"] == pid) == (what in ("raise", "set"))
    assert logged in (tmp_path / "log").read_text()


def test_an_environment_that_died_while_idle_costs_no_caller(deploy: Deploy) -> None:
    function = deploy(concurrency=1)
    for _ in range(2):
        pid = function.invoke("echo")["pid"]
        os.kill(pid, signal.SIGKILL)
        while psutil.pid_exists(pid):
            function.pause()
        function.pause()
    assert function.invoke("echo")["count"] == 1


def test_invocations_that_wait_get_environments_of_their_own(
    deploy: Deploy, tmp_path: Path
) -> None:
    function = deploy()
    held = function.tasks(*[{"do": "wait", "until": str(tmp_path / "over")}] * 2)
    function.invoke("echo")
    (tmp_path / "over").touch()
    assert function.run(*held) == [None, None]


def test_there_are_no_more_environments_than_the_concurrency(deploy: Deploy) -> None:
    function = deploy(concurrency=2)
    # They wait for twenty times as long as it takes until another environment is started.
    pids = function.run(*function.tasks(*[{"do": "hold"}] * 40))
    assert len(set(pids)) <= 2


@pytest.mark.parametrize("running", [True, False])
def test_an_invocation_that_is_cancelled_takes_no_environment_with_it(
    deploy: Deploy, tmp_path: Path, running: bool
) -> None:
    function = deploy(concurrency=1)
    held = function.tasks(*[{"do": "wait", "until": str(tmp_path / "over")}] * 2)
    function.pause()
    held[0 if running else 1].cancel()
    (tmp_path / "over").touch()
    function.run(*held)
    function.invoke("echo")


def test_a_result_may_be_as_long_as_on_lambda_but_not_endless(deploy: Deploy) -> None:
    function = deploy()
    assert function.invoke("long", bytes=6 * 2**20) == "x" * 6 * 2**20
    with pytest.raises(FunctionFailed, match="too long"):
        function.invoke("long", bytes=9 * 2**20)
    function.invoke("echo")


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
    deploy: Deploy, code: str, reason: str
) -> None:
    with pytest.raises(UserError, match=r"^The function app\.handle cannot be imported: ") as said:
        deploy(code=code)
    assert reason in str(said.value)


def test_a_function_that_stops_being_importable_fails_its_callers(deploy: Deploy) -> None:
    function = deploy(concurrency=1)
    (function.folder / "app.py").write_text("import no_such_module")
    with pytest.raises(FunctionFailed, match="ended"):
        function.invoke("crash")
    with pytest.raises(FunctionFailed, match="no_such_module"):
        function.invoke("echo")
    both = function.run(*function.tasks(*[{"do": "echo"}] * 2))
    assert [type(one) for one in both] == [FunctionFailed] * 2, "no caller waits for ever"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    function = Deployed(tmp_path)
    (tmp_path / "app.py").unlink()
    with pytest.raises(UserError, match=r"file app\.py cannot be deployed"):
        function.start()
    function.stop()


def test_nothing_is_left_when_a_service_stops(tmp_path: Path) -> None:
    before = psutil.Process().children()
    function = Deployed(tmp_path, concurrency=1)
    function.start()
    pid = function.invoke("echo")["pid"]
    waiting = function.tasks({"do": "wait", "until": "never"}, {"do": "echo"})
    function.pause()
    function.run(function.stopping())
    assert [type(one) for one in function.run(*waiting)] == [FunctionFailed] * 2
    function.stop()
    assert not psutil.pid_exists(pid)
    assert psutil.Process().children() == before
    assert not function.folder.exists()
