"""The process behind `make up`: serves one deployment until it is stopped or replaced.

Reports its start to whoever launched it, as JSON lines on standard output. A second one takes the
listening socket over from the first, so that no request is refused while the stack is redeployed.
"""

import argparse
import asyncio
import contextlib
import errno
import json
import os
import resource
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import uvicorn
import uvloop

from tools.sandbox.asgi import Message, Receive, Send
from tools.sandbox.connections import MAX_CONNECTIONS, Callers
from tools.sandbox.deployment import read_deployment
from tools.sandbox.errors import SandboxError
from tools.sandbox.gateway import MAX_BODY_BYTES, BodyTooLarge, Gateway, Request
from tools.sandbox.lambda_service import LambdaService
from tools.recorder.resources import Resources
from tools.sandbox.state import ControlServer, Reply, State
from tools.sandbox.table import LOOPBACK, DynamoDB, TableServer

_FUNCTION: Final = "function-"
"""How the folders begin that hold a deployed function's files."""
_WARM_ENVIRONMENTS: Final = 2
_DRAIN_SECONDS: Final = 30
"""How long a replaced sandbox finishes its requests: no longer than API Gateway waits."""
_STOP_SECONDS: Final = 1
_LARGE_BODY_BYTES: Final = 256 * 1024
_MOST_LARGE_BODIES: Final = 16
"""How many large bodies may be in memory; the others are not read on until one has gone."""


class ClientGone(Exception):
    """The caller closed the connection before its request was complete."""


class Server:
    """One deployment, served on one port.

    Args:
        state: the sandbox's folder.
        port: of the API, on the loopback interface.
        dynamodb: the stand-in to use, or the URL of any other DynamoDB API.
    """

    def __init__(self, state: State, port: int, dynamodb: TableServer | str) -> None:
        self._state = state
        self._port = port
        self._table_server = dynamodb if isinstance(dynamodb, TableServer) else None
        self._endpoint = dynamodb if isinstance(dynamodb, str) else ""
        self._deployment = read_deployment(Resources.load(state.resources))
        self._started = time.time()
        self._large_bodies = asyncio.Semaphore(_MOST_LARGE_BODIES)
        self._table_keeper: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Start, serve, and clean up.

        Raises:
            SandboxError: when it cannot start; a sandbox that ran before goes on running.
        """
        if self._state.ask("status") is None:
            for leftover in self._state.folder.glob(f"{_FUNCTION}*"):  # of one that was killed
                shutil.rmtree(leftover, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=_FUNCTION, dir=self._state.folder))
        try:
            if self._table_server:
                await asyncio.to_thread(self._table_server.wait)
                self._endpoint = self._table_server.endpoint
            with self._state.function_log.open("ab", buffering=0) as log:
                function = LambdaService(
                    self._deployment.function,
                    folder=folder,
                    log=log,
                    environment={"AWS_ENDPOINT_URL_DYNAMODB": self._endpoint},
                    region=self._deployment.region,
                )
                self._gateway = Gateway(self._deployment, function)
                try:
                    await asyncio.gather(
                        function.start(_WARM_ENVIRONMENTS), asyncio.to_thread(self._create_tables)
                    )
                    await self._serve()
                finally:
                    await self._stop_keeping_table()
                    await function.stop()
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            if self._table_server:
                self._table_server.stop()

    def _create_tables(self) -> None:
        self._tables = DynamoDB(self._endpoint, self._deployment.region)
        self._tables.create(self._deployment.tables)

    async def _serve(self) -> None:
        most_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        callers = Callers(min(MAX_CONNECTIONS, most_files // 2))
        config = uvicorn.Config(
            self._app,
            interface="asgi3",
            http=callers.connection,  # type: ignore[arg-type]  # as good as a class
            callback_notify=callers.drop_slow,
            timeout_notify=1,
            ws="none",
            proxy_headers=False,  # X-Forwarded-For is the web ACL's business
            lifespan="off",
            access_log=False,
            log_level="error",  # a warning for each bad request would let callers fill the disk
            server_header=False,
        )
        self._uvicorn = uvicorn.Server(config)
        self._loop = asyncio.get_running_loop()
        self._listener = self._take_over() or self._listen()
        if self._table_server and self._table_server.lifeline:
            self._table_keeper = asyncio.create_task(
                self._keep_table(self._table_server, self._table_server.lifeline)
            )
        serving = asyncio.create_task(self._uvicorn.serve([self._listener]))
        while not self._uvicorn.started and not serving.done():
            await asyncio.sleep(0.005)
        ControlServer(self._state.control, self._control)
        _report({"ready": self._status()})
        await serving

    async def _keep_table(self, table: TableServer, lifeline: socket.socket) -> None:
        """Start the table's server again whenever it ends, on the same port."""
        while True:
            lifeline.setblocking(False)
            # Its port at first; then nothing until it ends.
            while await self._loop.sock_recv(lifeline, 16):
                pass
            again = TableServer.launch(self._state.table_log, self._state.journal, table.port)
            assert again.lifeline  # noqa: S101  of a process that was just launched
            lifeline.close()
            table.lifeline = lifeline = again.lifeline

    async def _stop_keeping_table(self) -> None:
        if self._table_keeper:
            self._table_keeper.cancel()
            await asyncio.gather(self._table_keeper, return_exceptions=True)

    def _take_over(self) -> socket.socket | None:
        """Replace the sandbox that runs already, if any, and take its port over if it is ours."""
        running = self._state.ask("status")
        if running is None:
            return None
        elsewhere = self._listen() if running["port"] != self._port else None
        reply, descriptors = self._state.ask_for_descriptors("hand-over")
        if reply is None:
            return elsewhere
        listener, *lifeline = (socket.socket(fileno=descriptor) for descriptor in descriptors)
        if lifeline:
            if self._table_server and self._table_server.lifeline is None:
                self._table_server.lifeline = lifeline[0]
            else:
                TableServer(reply["tablePort"], lifeline[0]).stop()
        if elsewhere:
            listener.close()
        return elsewhere or listener

    def _listen(self) -> socket.socket:
        listener = socket.socket()
        # A port whose last user has just gone is free, whatever connections still linger.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, self._port))
        except OSError as error:
            listener.close()
            reason = os.strerror(error.errno or errno.EADDRINUSE).lower()
            raise SandboxError(
                f"Port {self._port} cannot be used: {reason}. "
                f"Choose another with make up PORT={self._port + 1}."
            ) from None
        return listener

    def _control(self, command: str) -> tuple[Reply, Sequence[int]]:
        """Answer a command from the control socket; called in a thread of its own."""
        match command:
            case "status":
                return self._status(), ()
            case "stop":
                self._finish(_STOP_SECONDS)
                return {"stopping": True}, ()
            case "hand-over":
                return asyncio.run_coroutine_threadsafe(self._hand_over(), self._loop).result()
            case _:
                return {"error": f"unknown command {command}"}, ()

    async def _hand_over(self) -> tuple[Reply, Sequence[int]]:
        """Stop accepting requests, and give away what the next sandbox needs."""
        descriptors = [os.dup(self._listener.fileno())]
        reply = {"tablePort": self._table_server.port if self._table_server else None}
        if self._table_server and self._table_server.lifeline:
            await self._stop_keeping_table()
            descriptors.append(self._table_server.lifeline.detach())
            self._table_server.lifeline = None
        for server in self._uvicorn.servers:
            server.close()
        self._finish(_DRAIN_SECONDS)
        return reply, descriptors

    def _finish(self, seconds: int) -> None:
        """End, giving requests in flight so long to be answered."""
        self._uvicorn.config.timeout_graceful_shutdown = seconds
        self._uvicorn.should_exit = True

    def _status(self) -> Reply:
        gateway, deployment = self._gateway, self._deployment
        now = gateway.clock()
        return {
            "stack": self._state.stack,
            "port": self._port,
            "pid": os.getpid(),
            "started": self._started,
            "apiUrl": deployment.url,
            "dynamodb": self._endpoint,
            "tablePort": self._table_server.port if self._table_server else None,
            "region": deployment.region,
            "tables": [table.name for table in deployment.tables],
            "inFlight": gateway.gate.in_flight,
            "answers": gateway.statistics.rows(),
            "clients": [
                {
                    "plan": client.plan,
                    "client": client.name,
                    "quotaLeft": gateway.gate.quota_left(now, client),
                }
                for client in sorted(deployment.clients.values(), key=str)
            ],
            "notEnforced": list(deployment.not_enforced),
        }

    async def _app(self, scope: Message, receive: Receive, send: Send) -> None:
        """The ASGI application: HTTP on one side, the gateway on the other."""
        headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in scope["headers"]]
        async with contextlib.AsyncExitStack() as held:
            request = Request(
                verb=scope["method"],
                path=scope["path"],
                query=scope["query_string"].decode("latin-1"),
                headers=headers,
                peer=scope["client"][0],
                read_body=lambda: self._body(receive, held),
            )
            try:
                response = await self._gateway.handle(request)
            except ClientGone:
                return
        lines = [
            (name.encode("latin-1", "replace"), value.encode("latin-1", "replace"))
            for name, value in response.headers
        ]
        lines.append((b"content-length", str(len(response.body)).encode()))
        await send({"type": "http.response.start", "status": response.status, "headers": lines})
        await send({"type": "http.response.body", "body": response.body})

    async def _body(self, receive: Receive, held: contextlib.AsyncExitStack) -> bytes:
        """Read a request's whole body; a large one takes its place until `held` is closed.

        Raises:
            BodyTooLarge: when it is larger than API Gateway takes.
            ClientGone: when the caller closes the connection first.
        """
        body = bytearray()
        large = False
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            body += message.get("body", b"")
            if len(body) > MAX_BODY_BYTES:
                raise BodyTooLarge
            if not message.get("more_body"):
                return bytes(body)
            if not large and len(body) > _LARGE_BODY_BYTES:
                await held.enter_async_context(self._large_bodies)
                large = True


def _report(message: dict[str, Any]) -> None:
    """Tell the launcher one thing; it reads JSON lines until the first of them."""
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(message), flush=True)


def main() -> None:
    """Serve the deployment of one stack, as the launcher says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("stack")
    parser.add_argument("port", type=int)
    dynamodb = parser.add_mutually_exclusive_group(required=True)
    dynamodb.add_argument("--endpoint", help="URL of a DynamoDB API")
    dynamodb.add_argument("--table-port", type=int, help="a running stand-in, to be taken over")
    dynamodb.add_argument("--table-lifeline", type=int, help="descriptor of a new stand-in's")
    args = parser.parse_args()
    table: TableServer | str = args.endpoint
    if args.table_port:
        table = TableServer(args.table_port, None)
    elif args.table_lifeline:
        table = TableServer(0, socket.socket(fileno=args.table_lifeline))
    # Each caller is a connection, and each connection an open file.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        uvloop.run(Server(State(args.root, args.stack), args.port, table).run())
    except (SandboxError, OSError) as error:
        _report({"error": str(error)})
        sys.exit(1)


if __name__ == "__main__":
    main()
