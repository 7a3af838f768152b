"""Functions as real processes: what they return, and what becomes of them when they misbehave."""

import asyncio
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tools.sandbox.deployment import Function
from tools.sandbox.errors import SandboxError
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
                return [context.aws_request_id, context.function_name,
                        context.memory_limit_in_mb, context.get_remaining_time_in_millis() > 0]
            case "environment":
                return {name: os.environ.get(name) for name in event["names"]}
            case "print":
                print(event["text"])
            case "raise":
                raise ValueError("inside")
            case "crash":
                os._exit(1)
            case "hang":
                time.sleep(60)
            case "set":
                return {1, 2}
"""


def function_of(folder: Path, code: str = CODE, *, concurrency: int | None = 4) -> Function:
    source = folder / "app.py"
    source.write_text(textwrap.dedent(code))
    return Function(
        name="stores",
        arn="arn:aws:lambda:eu-central-1:000000000000:function:stores",
        handler="app.handle",
        files={"app.py": str(source)},
        memory_mb=512,
        timeout_seconds=1,
        concurrency=concurrency,
        environment={"TABLE_NAME": "records"},
    )


def with_service(
    folder: Path, function: Function, use: Callable[[LambdaService], Awaitable[None]]
) -> None:
    """Run the function while `use` invokes it."""

    async def run() -> None:
        with (folder / "function.log").open("ab", buffering=0) as log:
            service = LambdaService(
                function,
                folder=folder / "deployed",
                log=log,
                environment={"AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:1"},
                region="eu-central-1",
            )
            try:
                await service.start()
                await use(service)
            finally:
                await service.stop()

    asyncio.run(run())


def test_a_function_gets_event_context_and_environment(tmp_path: Path) -> None:
    async def use(service: LambdaService) -> None:
        assert await service.invoke({"do": "context"}, "r-1") == ["r-1", "stores", "512", True]
        names = ["TABLE_NAME", "AWS_REGION", "AWS_ENDPOINT_URL_DYNAMODB", "HOME"]
        assert await service.invoke({"do": "environment", "names": names}, "r-2") == {
            "TABLE_NAME": "records",
            "AWS_REGION": "eu-central-1",
            "AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:1",
            "HOME": None,
        }

    with_service(tmp_path, function_of(tmp_path), use)
    assert not (tmp_path / "deployed").exists(), "the deployed files go with the service"


def test_an_environment_stays_warm(tmp_path: Path) -> None:
    async def use(service: LambdaService) -> None:
        answers = [await service.invoke({"do": "echo"}, "r") for _ in range(2)]
        assert [answer["count"] for answer in answers if isinstance(answer, dict)] == [1, 2]

    with_service(tmp_path, function_of(tmp_path), use)


def test_what_a_function_prints_goes_to_its_log(tmp_path: Path) -> None:
    async def use(service: LambdaService) -> None:
        await service.invoke({"do": "print", "text": "a line"}, "r")

    with_service(tmp_path, function_of(tmp_path), use)
    assert (tmp_path / "function.log").read_text() == "a line\n"


@pytest.mark.parametrize("what", ["raise", "crash", "set", "hang"])
def test_a_function_that_fails_costs_nobody_but_its_caller(tmp_path: Path, what: str) -> None:
    async def use(service: LambdaService) -> None:
        with pytest.raises(FunctionFailed):
            await service.invoke({"do": what}, "r-1")
        assert isinstance(await service.invoke({"do": "echo"}, "r-2"), dict)

    with_service(tmp_path, function_of(tmp_path), use)
    log = (tmp_path / "function.log").read_text()
    assert ("ValueError: inside" in log) == (what == "raise")
    assert ("r-1 Task timed out after 1.00 seconds" in log) == (what == "hang")


def test_invocations_that_wait_get_environments_of_their_own(tmp_path: Path) -> None:
    async def use(service: LambdaService) -> None:
        hanging = [asyncio.create_task(service.invoke({"do": "hang"}, "r")) for _ in range(2)]
        answer = await service.invoke({"do": "echo"}, "r")
        assert isinstance(answer, dict), "did not have to wait for the two that hang"
        for failed in await asyncio.gather(*hanging, return_exceptions=True):
            assert isinstance(failed, FunctionFailed)

    with_service(tmp_path, function_of(tmp_path), use)


def test_no_more_environments_than_the_concurrency(tmp_path: Path) -> None:
    async def use(service: LambdaService) -> None:
        answers = await asyncio.gather(*(service.invoke({"do": "echo"}, "r") for _ in range(20)))
        assert len({answer["pid"] for answer in answers if isinstance(answer, dict)}) == 1

    with_service(tmp_path, function_of(tmp_path, concurrency=1), use)


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
    async def use(service: LambdaService) -> None:
        raise AssertionError("it started")

    with pytest.raises(SandboxError, match=r"^The function app\.handle cannot be imported") as said:
        with_service(tmp_path, function_of(tmp_path, code), use)
    assert reason in str(said.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    function = function_of(tmp_path)
    (tmp_path / "app.py").unlink()

    async def use(service: LambdaService) -> None:
        raise AssertionError("it started")

    with pytest.raises(SandboxError, match=r"file app\.py cannot be deployed"):
        with_service(tmp_path, function, use)
