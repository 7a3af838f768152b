"""The process behind `make up`: serves a stack's API on one port and takes commands on another.

It prints the number and token of its admin port, and waits for a first deployment. A later one gets
all new requests at once. Requests under way end on the old one.
"""

import asyncio
import contextlib
import hmac
import json
import os
import resource
import secrets
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

import uvloop

from settings import UserError
from tools.page.files import FILES, HEADERS
from tools.page.live import Page
from tools.recorder.resources import Resources
from tools.sandbox.access_log import AccessLog
from tools.sandbox.client import ADDRESS_FILE, KEEP, LOOPBACK
from tools.sandbox.deployment import read_deployment
from tools.sandbox.gateway import Gateway
from tools.sandbox.http_server import HttpServer, Request, Response, json_response, message
from tools.sandbox.lambda_service import LambdaService
from tools.sandbox.table import FUNCTION_PREFIX, PERMISSIONS_FILE, TableClient, TableProcess

_FUNCTION_LOG: Final = "function.log"
_WARM_ENVIRONMENTS: Final = 2
_DRAIN_SECONDS: Final = 30
"""How long requests may take to end on a replaced deployment; API Gateway waits no longer."""
_STOP_SECONDS: Final = 1
"""How long requests may take to end when the sandbox stops."""
_MAX_FILES: Final = 10_240
"""How many open files to ask for. Each connection is one; macOS allows no more."""
_MAX_LOG_BYTES: Final = 10_000_000
_MAX_RESOURCES_BYTES: Final = 1_000_000_000


class Release:
    """A deployment with its running function, which may be replaced while requests end.

    Raises:
        UserError: the resources cannot be served.
    """

    def __init__(
        self,
        resources: Resources,
        folder: Path,
        dynamodb: str,
        access_log: AccessLog,
        seen: Callable[..., None],
    ) -> None:
        self.resources = resources
        self.dynamodb = dynamodb
        self.deployment = read_deployment(resources)
        self.tables = TableClient(dynamodb, self.deployment.region)
        self._log = (folder / _FUNCTION_LOG).open("ab", buffering=0)
        files = Path(tempfile.mkdtemp(prefix=FUNCTION_PREFIX, dir=folder))
        (files / PERMISSIONS_FILE).write_text(self.deployment.permissions.model_dump_json())
        self._function = LambdaService(
            self.deployment.function,
            folder=files,
            log=self._log,
            environment={"AWS_ENDPOINT_URL_DYNAMODB": dynamodb, "AWS_ACCESS_KEY_ID": files.name},
            region=self.deployment.region,
        )
        self.gateway = Gateway(
            self.deployment, self._function.invoke, log=access_log.add, seen=seen
        )
        self._under_way = 0

    async def start(self) -> None:
        """Start the function and create the tables.

        Raises:
            UserError: one of these failed; then nothing of the release is left.
        """
        results = await asyncio.gather(
            self._function.start(_WARM_ENVIRONMENTS),
            asyncio.to_thread(self.tables.create, self.deployment.tables),
            return_exceptions=True,
        )
        for failure in filter(None, results):
            await self.stop(0)
            raise failure

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        self._under_way += 1
        try:
            return await self.gateway.handle(request)
        finally:
            self._under_way -= 1

    async def stop(self, seconds: float) -> None:
        """End the function when no request is under way, or after `seconds` at the latest."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._under_way:
                    await asyncio.sleep(0.1)
        await self._function.stop()
        self._log.close()


class SandboxServer:
    """A stack's API, and the admin port that controls it.

    Args:
        folder: the folder of the sandbox. It has the stack's name.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._token = secrets.token_urlsafe()
        self._admin = HttpServer(self._answer_admin, 0)
        self._api: HttpServer | None = None
        self._releases: list[Release] = []
        """The last one is current; earlier ones finish their requests."""
        self._table = TableProcess(folder / "table.sqlite", folder / "table.log", self._log_refusal)
        self._access_log = AccessLog(folder / "access.jsonl")
        self._page = Page(folder, self._handle)
        self._refusals: Counter[str] = Counter()
        """Calls of DynamoDB that the function's permissions refuse, by reason."""
        self._changing = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Serve until a command stops it, or the first deployment fails.

        Raises:
            SystemExit: always; other exceptions are faults.
        """
        self._remove_functions()  # of a server that was killed
        async with asyncio.TaskGroup() as self._tasks:
            self._tasks.create_task(self._admin.serve())
            self._tasks.create_task(self._await_launcher())
            writing = [
                self._tasks.create_task(task)
                for task in (self._table.keep(), self._access_log.keep(), self._rotate_logs())
            ]
            print(json.dumps(self._address()), flush=True)
            await self._stopping.wait()
            await self._page.stop()
            # A deployment under way ends first, so that nothing of it is left. None follows it.
            await self._changing.acquire()
            (self._folder / ADDRESS_FILE).unlink(missing_ok=True)
            if self._api:
                await self._api.finish(_STOP_SECONDS)
            await asyncio.gather(*(release.stop(0) for release in self._releases))
            for task in writing:
                task.cancel()
            await asyncio.wait(writing)
            self._remove_functions()
            self._stopped.set()
            await self._admin.finish(_STOP_SECONDS)
            raise SystemExit

    def _remove_functions(self) -> None:
        for folder in self._folder.glob(f"{FUNCTION_PREFIX}*"):
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def _current(self) -> Release:
        return self._releases[-1]

    def _address(self) -> dict[str, Any]:
        return {"port": self._admin.port, "token": self._token, "pid": os.getpid()}

    async def _await_launcher(self) -> None:
        """Stop unless the command that launched this server says that it may stay."""
        # Not in a thread, which would keep a server that failed from ending.
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        if await reader.readline() != KEEP:
            self._stopping.set()

    async def _rotate_logs(self) -> None:
        """Copy each log that is too large to one older file, and empty it."""
        while True:
            await asyncio.sleep(10)
            for log in self._folder.glob("*.log"):
                if log.stat().st_size > _MAX_LOG_BYTES:
                    with contextlib.suppress(OSError):  # a full disk
                        await asyncio.to_thread(shutil.copyfile, log, log.with_suffix(".old"))
                    os.truncate(log, 0)  # its writers append

    async def _answer_admin(self, request: Request) -> Response:
        """Answer a request to the admin port."""
        # Refuse other host names that lead here, and scripts of other pages: they are not the user.
        host = request.header.get("host", "")
        if host.partition(":")[0] not in (LOOPBACK, "localhost"):
            return message(403, f"Open this at {LOOPBACK} or localhost.")
        if request.header.get("origin", f"http://{host}") != f"http://{host}":
            return message(403, "Another page may not ask this.")
        if request.verb == "GET" and request.path in FILES:
            file, kind = FILES[request.path]
            return Response(200, [*HEADERS, ("content-type", kind)], file.read_bytes())
        for_page = request.path.startswith("/page/")
        token = self._page.token if for_page else self._token
        sent = request.header.get("authorization", "").encode()
        if not hmac.compare_digest(sent, f"Bearer {token}".encode()):
            return message(401, "The token is missing or wrong.")
        try:
            match request.verb, request.path:
                case _, _ if for_page:
                    return await self._page.answer(request)
                case "GET", "/status":
                    return json_response(self._status())
                case "GET", "/items":
                    return json_response(await self._items())
                case "GET", "/resources":
                    return Response(200, [], self._current.resources.to_json())
                case "POST", "/deploy":
                    query = parse_qs(request.query)
                    dynamodb = query.get("dynamodb", [None])[0]
                    body = await request.read_body(_MAX_RESOURCES_BYTES)
                    async with self._changing:
                        port = int(query["port"][0])
                        await self._deploy(body, port, dynamodb, query.get("set", []))
                    return json_response(self._status())
                case "POST", "/stop":
                    self._stopping.set()
                    await self._stopped.wait()
                    return json_response({})
        except UserError as error:
            return message(422, str(error))
        except OSError as error:
            return message(422, f"{error.filename or 'The sandbox'}: {error.strerror or error}.")
        return message(404, "Not Found")

    async def _deploy(
        self, body: bytes, port: int, dynamodb: str | None, changes: list[str]
    ) -> None:
        """Serve new resources. They come from the stack's file with `changes`.

        Raises:
            UserError: they cannot be served. Then nothing changes.
            OSError: a port or a file cannot be used. Then nothing changes either.
        """
        api = self._api
        if not api or api.port != port:
            api = HttpServer(self._handle, port)
        try:
            endpoint = dynamodb or await self._table.ready()
            # In a thread: with many keys, reading takes long enough for callers to notice.
            release = await asyncio.to_thread(
                lambda: Release(
                    *(Resources.from_json(body), self._folder, endpoint, self._access_log),
                    self._page.recent.add,
                )
            )
            await release.start()
        except BaseException:
            if api is not self._api:
                api.close()
            raise
        for live in self._releases[-1:]:
            release.gateway.gate.keep_usage(live.gateway.gate)
            self._tasks.create_task(self._retire(live))
        self._releases.append(release)
        self._refusals.clear()
        options = [f"--port={port}", *([f"--dynamodb-endpoint={dynamodb}"] if dynamodb else [])]
        self._page.show(release.gateway, changes, options)
        if api is not self._api:
            self._tasks.create_task(api.serve())
            if self._api:
                self._tasks.create_task(self._api.finish(_DRAIN_SECONDS))
            else:
                self._write_address()
            self._api = api

    def _log_refusal(self, reason: str) -> None:
        self._refusals[reason] += 1
        with (
            contextlib.suppress(OSError),  # a full disk
            (self._folder / _FUNCTION_LOG).open("a", encoding="utf-8") as log,
        ):
            log.write(f"AccessDeniedException: {reason}\n")

    async def _retire(self, release: Release) -> None:
        await release.stop(_DRAIN_SECONDS)
        self._releases.remove(release)

    async def _handle(self, request: Request) -> Response:
        return await self._current.handle(request)

    def _write_address(self) -> None:
        """Write where the admin port is to a file that only this user can read."""
        path = self._folder / ADDRESS_FILE
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(self._address(), file)

    def _status(self) -> dict[str, Any]:
        release, gateway = self._current, self._current.gateway
        not_enforced = list(release.deployment.not_enforced)
        if release.dynamodb != self._table.endpoint:
            not_enforced.append("the function's permissions")
        return {
            "stack": self._folder.name,
            "pid": os.getpid(),
            "port": self._api and self._api.port,
            "apiUrl": release.deployment.url,
            "dynamodb": release.dynamodb,
            "tables": [table.name for table in release.deployment.tables],
            "answers": gateway.answers(),
            "counted": gateway.web_acl.counted,
            "clients": gateway.quotas_left(),
            "refusedCalls": [
                {"reason": reason, "calls": calls} for reason, calls in self._refusals.most_common()
            ],
            "notEnforced": not_enforced,
            "page": f"http://{LOOPBACK}:{self._admin.port}/#{self._page.token}",
            "changes": self._page.changes,
        }

    async def _items(self) -> dict[str, dict[str, Any]]:
        release = self._current
        if release.dynamodb == self._table.endpoint:
            await self._table.ready()
        return {
            table.name: await asyncio.to_thread(release.tables.contents, table.name)
            for table in release.deployment.tables
        }


def _raise_file_limit() -> None:
    usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_FILES if most == resource.RLIM_INFINITY else min(_MAX_FILES, most)
    if usual != resource.RLIM_INFINITY and usual < wanted:
        with contextlib.suppress(ValueError, OSError):  # keep the usual limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def main() -> None:
    """Serve a stack, whose sandbox has the folder that the argument names."""
    _raise_file_limit()
    uvloop.run(SandboxServer(Path(sys.argv[1])).run())


if __name__ == "__main__":
    main()
