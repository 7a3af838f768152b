"""Run the Pulumi program in this process, and record every resource that it registers.

Pulumi's own Python runtime runs it. Mocks take the place of the engine and of AWS, and answer with
outputs as AWS gives them; in a preview, they leave every output unknown.
"""

import asyncio
import gc
import logging
import os
import runpy
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from logging.handlers import BufferingHandler
from pathlib import Path
from typing import Any, Final

import pulumi
from pulumi.runtime import mocks
from pulumi.runtime.config import set_all_config
from pulumi.runtime.proto import alias_pb2, resource_pb2
from pulumi.runtime.settings import SETTINGS, get_root_resource, set_root_resource
from pulumi.runtime.stack import Stack, run_pulumi_func

from settings import StackConfig, UserError
from tools.recorder.aws import created, looked_up
from tools.recorder.resources import Properties, Resource, Resources

CODE: Final = Path(__file__).parents[2]
"""The folder of `__main__.py`."""
_SOURCES: Final = ("components", "settings", "__main__.py")
DEFAULT_REGION: Final = "us-east-1"
_ENDS: Final = ("_exit", "execv", "execve")
"""Functions of `os`, which its others use, that a program could call to end this process as well,
with status 0 and without a word."""


class ProgramError(UserError):
    """The program failed; the text is what Pulumi would show."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """The result of one run of the program."""

    resources: Resources
    secret_exports: frozenset[str]
    """Names of the stack outputs that are secrets."""
    warnings: tuple[str, ...]


def run_program(config: StackConfig, *, base_url: str = "", preview: bool = False) -> Program:
    """Run `__main__.py` with a stack's config.

    Args:
        config: of the stack.
        base_url: where the API is served; stages are paths below it.
        preview: leave every computed output unknown, as `pulumi preview` of a new stack does.

    Raises:
        ProgramError: the program failed, or registered nothing.
    """

    async def run() -> Program:
        set_all_config(dict(config.values), list(config.secret_keys))
        # Clear what an earlier run in this process left, especially one that failed.
        SETTINGS.rpc_manager.clear()
        SETTINGS.outputs.clear()
        set_root_resource(None)  # type: ignore[arg-type]
        warnings = BufferingHandler(capacity=sys.maxsize)
        warnings.setLevel(logging.WARNING)
        logger = logging.Logger(config.project)
        logger.addHandler(warnings)
        recorder = _Recorder(config, base_url, preview=preview)
        mocks.set_mocks(
            recorder,
            project=config.project,
            stack=config.stack,
            preview=preview,
            logger=logger,
            monitor=recorder,
        )
        await run_pulumi_func(_main)
        exports, secrets = await _exports()
        return Program(
            resources=Resources(items=tuple(recorder.recorded), exports=exports),
            secret_exports=frozenset(secrets),
            warnings=tuple(record.getMessage() for record in warnings.buffer),
        )

    # Nearly all objects live until the end of the run. Collecting garbage would take two thirds of
    # a large run's time.
    gc.disable()
    process, ends = os.getpid(), {name: getattr(os, name) for name in _ENDS}

    def caught(end: Callable[..., object]) -> Callable[..., object]:
        return lambda *args: sys.exit(args[0]) if os.getpid() == process else end(*args)

    vars(os).update({name: caught(end) for name, end in ends.items()})
    try:
        program = asyncio.run(run())
    except pulumi.RunError as error:
        raise ProgramError(str(error)) from None
    except SystemExit as error:
        raise ProgramError(f"The program exits with {error.code!r} before its end.") from None
    except Exception as error:  # whatever the program raises
        raise ProgramError(f"The program failed: {_where(error)}") from error
    finally:
        vars(os).update(ends)
        gc.enable()
    if not program.resources.items:
        raise ProgramError("The program registers no resources.")
    return program


def _where(error: Exception) -> str:
    """Return an exception in one line, with the innermost line of the program's own code."""
    place = ""
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        if path.is_relative_to(CODE) and path.relative_to(CODE).parts[0] in _SOURCES:
            place = f" ({path.relative_to(CODE)}:{frame.lineno})"
    return f"{type(error).__name__}: {error}{place}"


async def _main() -> None:
    runpy.run_path(str(CODE / "__main__.py"), run_name="__main__")


async def _exports() -> tuple[Properties, set[str]]:
    """Return the stack's outputs, and the names of the secret ones."""
    exports: Properties = {}
    secrets: set[str] = set()
    stack = get_root_resource()
    for name, value in stack.outputs.items() if isinstance(stack, Stack) else ():
        output = pulumi.Output.from_input(value)
        exports[name] = await output.future() if await output.is_known() else None
        if await output.is_secret():
            secrets.add(name)
    return exports, secrets


class _Recorder(mocks.MockMonitor, mocks.Mocks):
    """Pulumi's mock monitor, which adds to each resource what AWS would, and records it."""

    def __init__(self, config: StackConfig, base_url: str, *, preview: bool) -> None:
        super().__init__(self)
        self._stack = config.stack
        self._region = config.values.get("aws:region", DEFAULT_REGION)
        self._base_url = base_url
        self._preview = preview
        self._inputs: dict[tuple[str, str], Properties] = {}
        self.recorded: list[Resource] = []

    def call(self, args: mocks.MockCallArgs) -> tuple[Properties, list[tuple[str, str]]]:
        return looked_up(args.token, self._region), []

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, Properties]:
        self._inputs[args.typ, args.name] = args.inputs
        if self._preview or not args.custom:
            return None, dict(args.inputs)
        return created(
            args.typ,
            args.name,
            dict(args.inputs),
            region=self._region,
            stack=self._stack,
            base_url=self._base_url,
        )

    def RegisterResource(
        self, request: resource_pb2.RegisterResourceRequest
    ) -> resource_pb2.RegisterResourceResponse:
        response: resource_pb2.RegisterResourceResponse = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        if request.type == "pulumi:pulumi:Stack":
            return response
        registered = self.resources[response.urn]
        self.recorded.append(
            Resource(
                type=request.type,
                name=request.name,
                urn=response.urn,
                id=registered.id or "",
                parent=request.parent,
                inputs=_plain(self._inputs.pop((request.type, request.name))),
                outputs=_plain(registered.state),
                custom=request.custom,
                protect=request.protect,
                retain_on_delete=request.retainOnDelete,
                depends_on=tuple(request.dependencies),
                provider=request.provider,
                aliases=tuple(_alias(one, request) for one in request.aliases),
            )
        )
        return response


def _alias(
    alias: alias_pb2.Alias, request: resource_pb2.RegisterResourceRequest
) -> tuple[str, str]:
    """Return the type and the name of an alias; what it does not set is the resource's own."""
    if alias.urn:
        *_, types, name = alias.urn.split("::", 3)
        return types.rpartition("$")[2], name
    return alias.spec.type or request.type, alias.spec.name or request.name


def _plain(value: Any) -> Any:  # noqa: ANN401  JSON
    """Return a value without Pulumi's own types: an archive becomes the paths of its files."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, pulumi.AssetArchive):
        return {name: _plain(asset) for name, asset in value.assets.items()}
    if isinstance(value, pulumi.FileAsset):
        return str(value.path)
    return value
