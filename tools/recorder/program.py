"""Runs the Pulumi program in this process, and records every resource that it registers.

Pulumi's own Python runtime runs it; only the engine and AWS behind it are stood in for, by mocks
that answer with outputs of the shape AWS gives. As a preview, they leave every output unknown.
"""

import asyncio
import gc
import hashlib
import logging
import runpy
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pulumi
from pulumi.runtime import mocks
from pulumi.runtime.config import set_all_config
from pulumi.runtime.proto import resource_pb2
from pulumi.runtime.settings import SETTINGS, get_root_resource, set_root_resource
from pulumi.runtime.stack import Stack, run_pulumi_func

from settings.errors import UserError
from settings.files import StackConfig
from tools.recorder.resources import Properties, Resource, Resources

CODE: Final = Path(__file__).parents[2]
"""The folder of `__main__.py`."""
_SOURCES: Final = tuple(str(CODE / name) for name in ("components", "settings", "__main__.py"))
ACCOUNT_ID: Final = "000000000000"
DEFAULT_REGION: Final = "us-east-1"


class ProgramError(UserError):
    """The program could not be run to its end; the text is what Pulumi would show."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """What one run of the program left behind."""

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
        ProgramError: what Pulumi would show as the program's error.
    """

    async def run() -> Program:
        set_all_config(dict(config.values), list(config.secret_keys))
        # What an earlier run that failed may have left behind.
        SETTINGS.rpc_manager.clear()
        SETTINGS.outputs.clear()
        set_root_resource(None)  # type: ignore[arg-type]  # forgets the stack of an earlier run
        warnings = _Warnings()
        logger = logging.Logger(config.project)
        logger.addHandler(warnings)
        aws = _Aws(
            config.stack, config.values.get("aws:region", DEFAULT_REGION), base_url, preview=preview
        )
        recorder = _Recorder(aws)
        mocks.set_mocks(
            aws,
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
            warnings=tuple(warnings.messages),
        )

    # Nearly all that a run makes lives until its end: looking for garbage meanwhile takes two
    # thirds of a large run's time.
    gc.disable()
    try:
        return asyncio.run(run())
    except pulumi.RunError as error:
        raise ProgramError(str(error)) from None
    except Exception as error:  # whatever the program raises is its failure, not this one's
        raise ProgramError(f"The program failed: {_where(error)}") from error
    finally:
        gc.enable()


def _where(error: Exception) -> str:
    """An exception in one line, with the innermost line of the program's own code."""
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(_SOURCES)
    ]
    place = (
        f" ({Path(frames[-1].filename).relative_to(CODE)}:{frames[-1].lineno})" if frames else ""
    )
    return f"{type(error).__name__}: {error}{place}"


async def _main() -> None:
    runpy.run_path(str(CODE / "__main__.py"), run_name="__main__")


async def _exports() -> tuple[Properties, set[str]]:
    """The stack's outputs, and which of them are secrets."""
    exports: Properties = {}
    secrets: set[str] = set()
    stack = get_root_resource()
    for name, value in stack.outputs.items() if isinstance(stack, Stack) else ():
        output = pulumi.Output.from_input(value)
        exports[name] = await output.future() if await output.is_known() else None
        if await output.is_secret():
            secrets.add(name)
    return exports, secrets


class _Warnings(logging.Handler):
    """Collects what the program logs as warnings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


class _Recorder(mocks.MockMonitor):
    """Pulumi's mock monitor, which also keeps the options of what is registered."""

    def __init__(self, aws: "_Aws") -> None:
        super().__init__(aws)
        self._aws = aws
        self.recorded: list[Resource] = []

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
                inputs=_plain(self._aws.inputs.pop((request.type, request.name))),
                outputs=_plain(registered.state),
                custom=request.custom,
                protect=request.protect,
                retain_on_delete=request.retainOnDelete,
                depends_on=tuple(request.dependencies),
                provider=request.provider,
            )
        )
        return response


def _plain(value: Any) -> Any:  # noqa: ANN401  JSON
    """A value without Pulumi's own types: an archive becomes the paths of its files."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, pulumi.AssetArchive):
        return {name: _plain(asset) for name, asset in value.assets.items()}
    if isinstance(value, pulumi.FileAsset):
        return str(value.path)
    return value


class _Aws(mocks.Mocks):
    """What AWS would add to the resources, as far as the program and the sandbox use it."""

    def __init__(self, stack: str, region: str, base_url: str, *, preview: bool) -> None:
        self._stack = stack
        self._region = region
        self._base_url = base_url
        self._preview = preview
        self.inputs: dict[tuple[str, str], Properties] = {}

    def call(self, args: mocks.MockCallArgs) -> tuple[Properties, list[tuple[str, str]]]:
        region = self._region
        match args.token:
            case "aws:index/getRegion:getRegion":
                return {"region": region, "id": region}, []
            case "aws:index/getCallerIdentity:getCallerIdentity":
                return {"accountId": ACCOUNT_ID, "id": ACCOUNT_ID}, []
            case "aws:index/getAvailabilityZones:getAvailabilityZones":
                return {"names": [f"{region}{letter}" for letter in "abcdef"], "id": region}, []
            case token:
                raise NotImplementedError(f"The program calls {token}, which has no stand-in here.")

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, Properties]:
        self.inputs[args.typ, args.name] = args.inputs
        if self._preview or not args.custom:
            return None, dict(args.inputs)
        return self._created(args.typ, args.name, dict(args.inputs))

    def _created(self, token: str, name: str, inputs: Properties) -> tuple[str, Properties]:
        digest = hashlib.sha256(f"{token} {name}".encode()).hexdigest()
        physical = inputs.get("name") or f"{inputs.get('namePrefix', name + '-')}{digest[:7]}"
        identifier = physical
        service, _, kind = token.partition(":")[2].partition(":")[0].partition("/")
        arn = f"arn:aws:{service}:{self._region}:{ACCOUNT_ID}:{kind}/{physical}"
        added: Properties = {"name": physical}
        match token:
            case "aws:dynamodb/table:Table":
                arn = f"arn:aws:dynamodb:{self._region}:{ACCOUNT_ID}:table/{physical}"
            case "aws:cloudwatch/logGroup:LogGroup":
                arn = f"arn:aws:logs:{self._region}:{ACCOUNT_ID}:log-group:{physical}"
            case "aws:iam/role:Role":
                arn = f"arn:aws:iam::{ACCOUNT_ID}:role/{physical}"
            case "aws:lambda/function:Function":
                arn = f"arn:aws:lambda:{self._region}:{ACCOUNT_ID}:function:{physical}"
                added |= {"invokeArn": self._invoke_arn(arn), "version": "1"}
            case "aws:lambda/alias:Alias":
                function = inputs["functionName"]
                arn = f"arn:aws:lambda:{self._region}:{ACCOUNT_ID}:function:{function}:{physical}"
                added["invokeArn"] = self._invoke_arn(arn)
            case "aws:apigateway/restApi:RestApi":
                identifier = digest[:10]
                arn = f"arn:aws:apigateway:{self._region}::/restapis/{identifier}"
                added["executionArn"] = (
                    f"arn:aws:execute-api:{self._region}:{ACCOUNT_ID}:{identifier}"
                )
            case "aws:apigateway/stage:Stage":
                api, stage = inputs["restApi"], inputs["stageName"]
                arn = f"arn:aws:apigateway:{self._region}::/restapis/{api}/stages/{stage}"
                added["invokeUrl"] = f"{self._base_url}/{stage}"
            case "aws:apigateway/apiKey:ApiKey":
                # The same at every run, so that a redeployment changes no client's key.
                added["value"] = hashlib.sha256(
                    f"sandbox key {self._stack} {name}".encode()
                ).hexdigest()[:40]
                identifier = digest[:10]
            case "aws:apigateway/usagePlan:UsagePlan":
                identifier = digest[:6]
            case "aws:ec2/vpcEndpoint:VpcEndpoint":
                added["prefixListId"] = f"pl-{digest[:8]}"
        return identifier, {**inputs, "arn": arn, **added}

    def _invoke_arn(self, function_arn: str) -> str:
        path = f"2015-03-31/functions/{function_arn}/invocations"
        return f"arn:aws:apigateway:{self._region}:lambda:path/{path}"
