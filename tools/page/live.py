"""The server's side of the page: it sends news, tries limits, deploys them and makes traffic."""

import asyncio
import contextlib
import json
import os
import pickle
import secrets
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from settings import UserError, load_stack
from throttling import Layer, Quota
from throttling.gate import LimitMet
from tools.page.content import REASONS, limit_rows
from tools.page.files import HEADERS
from tools.page.recent import OUTCOMES, Recent
from tools.sandbox.deployment import API_KEY_HEADER, Deployment
from tools.sandbox.gateway import Gateway
from tools.sandbox.http_server import BodyTooLarge, Request, Response, json_response, message
from tools.sandbox.web_acl import address_header
from tools.traffic.outcomes import LAYER_NAMES, NO_KEY, client_name

_CODE: Final = Path(__file__).parents[2]
_NEWS_SECONDS: Final = 0.5
_LATE_SECONDS: Final = 2
"""How long the news repeats the counts of a second."""
_MAX_WATCHERS: Final = 8
_MAX_GAUGED_CLIENTS: Final = 20
_MAX_GAUGED_ADDRESSES: Final = 20
_MAX_BODY_BYTES: Final = 100_000
_LONGEST_ANSWER: Final = 2**26
_Model = TypeVar("_Model", bound=BaseModel)


class _Changes(BaseModel, extra="forbid"):
    """Changes of settings, such as `usagePlans.basic.rateLimit=150`."""

    changes: list[Annotated[str, Field(max_length=300)]] = Field(max_length=1000)


class Traffic(BaseModel, extra="forbid"):
    """Requests to make, with the bounds that keep them a small test."""

    client: str
    """Plan and client, or no-key."""
    rate: float = Field(ge=0, le=500)
    """Requests per second."""
    burst: int = Field(ge=0, le=1000)
    """Requests at once, before the others."""
    seconds: float = Field(ge=0, le=60)
    address: Annotated[str, AfterValidator(lambda text: str(ip_address(text)))]
    """The address that they come from."""


class Page:
    """The page of one sandbox.

    Args:
        folder: the folder of the sandbox. It has the stack's name.
        handle: answers a request to the API.
    """

    def __init__(self, folder: Path, handle: Callable[[Request], Awaitable[Response]]) -> None:
        self.token = secrets.token_urlsafe()
        """It opens the page, and nothing else of the admin port."""
        self.recent = Recent()
        self.changes: Sequence[str] = ()
        """The changes of the stack's file that are in force."""
        self._folder, self._root = folder, folder.parents[1]
        self._handle = handle
        self._trial = _Trial(self._root, folder / "page.log")
        self._watchers = 0
        self._traffic: asyncio.Task[None] | None = None
        self._gateway: Gateway | None = None
        self._options: Sequence[str] = ()
        self._ending = asyncio.Event()

    def show(self, gateway: Gateway, changes: Sequence[str], options: Sequence[str]) -> None:
        """Show another deployment.

        Args:
            gateway: the one that takes new requests.
            changes: the changes of the stack's file.
            options: those of the command that would deploy it again.
        """
        self._gateway, self.changes, self._options = gateway, changes, options

    async def stop(self) -> None:
        """End what the page has started."""
        self._ending.set()
        if self._traffic:
            self._traffic.cancel()
        await self._trial.stop()

    async def answer(self, request: Request) -> Response:
        """Answer a request of the page.

        Raises:
            UserError: the server cannot do what it asks for.
        """
        if not self._gateway:
            return message(503, "Nothing is deployed yet.")
        match request.verb, request.path:
            case "GET", "/page/news":
                if self._watchers >= _MAX_WATCHERS:
                    return message(503, "The page is open too often. Close one.")
                kind = ("content-type", "text/event-stream")
                return Response(200, [*HEADERS, kind], b"", self._news())
            case "POST", "/page/try":
                asked = await _read(request, _Changes)
                answer = await self._try(self._gateway, asked.changes)
                return json_response(answer, headers=HEADERS)
            case "POST", "/page/deploy":
                asked = await _read(request, _Changes)
                await self._deploy(asked.changes)
                return json_response({}, headers=HEADERS)
            case "POST", "/page/traffic":
                traffic = await _read(request, Traffic)
                self._start_traffic(self._gateway.deployment, traffic)
                return json_response({}, headers=HEADERS)
        return message(404, "Not Found")

    async def _news(self) -> AsyncGenerator[bytes, None]:
        """Yield server-sent events: the first one with all, later ones with what is new."""
        self._watchers += 1
        shown, since, number = None, 0.0, 0
        try:
            while not self._ending.is_set() and (gateway := self._gateway):
                now = time.time()
                news: dict[str, Any] = {
                    "now": now,
                    "seconds": {
                        second: counts
                        for second, counts in self.recent.history.items()
                        if second >= since
                    },
                    "gauges": self._gauges(gateway),
                    "refusals": self.recent.refusals(number),
                    "number": self.recent.number,
                    "sending": self._traffic is not None and not self._traffic.done(),
                }
                since, number = now - _LATE_SECONDS, self.recent.number
                if shown is not gateway:
                    shown = gateway
                    news["stack"] = await asyncio.to_thread(self._about, gateway.deployment)
                yield f"data: {json.dumps(news)}\n\n".encode()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._ending.wait(), _NEWS_SECONDS)
        finally:
            self._watchers -= 1

    def _about(self, deployment: Deployment) -> dict[str, Any]:
        about = {
            "name": self._folder.name,
            "url": deployment.url,
            "outcomes": OUTCOMES,
            "reasons": REASONS,
            "clients": [*sorted({str(one) for one in deployment.clients.values()}), NO_KEY],
            "changes": dict(change.split("=", 1) for change in self.changes),
        }
        try:
            file = load_stack(self._folder.name, (), self._root)
            settings = load_stack(self._folder.name, self.changes, self._root)
        except UserError as error:
            return about | {"problem": str(error), "limits": []}
        if settings.limits() != deployment.limits:
            about["problem"] = "The stack's file has changed since. Run make up to deploy it."
        in_file = {one["path"]: one["value"] for row in limit_rows(file) for one in row["settings"]}
        return about | {"limits": limit_rows(settings), "file": in_file}

    def _gauges(self, gateway: Gateway) -> list[dict[str, Any]]:
        """Return how full each limiter is: those of all callers, then of the newest clients."""
        now, deployment, recent = time.time(), gateway.deployment, self.recent
        all_clients = dict.fromkeys(deployment.clients.values())
        newest = [one for one in reversed(recent.clients.values()) if one in all_clients]
        clients = [*dict.fromkeys([*newest, *all_clients])]
        left: dict[LimitMet, float] = {}
        for client in (None, *clients[:_MAX_GAUGED_CLIENTS]):
            for route in deployment.routes.values():
                left |= gateway.gate.left(now, client, route.method)
        gauges = [_gauge(one, rest) for one, rest in left.items()]
        if (most := deployment.limits.concurrency) is not None:
            busy = {"of": "", "what": "function's concurrency", "used": gateway.gate.in_flight}
            gauges.append(busy | {"most": most})
        for name, limit, counts in gateway.web_acl.windows(now, _MAX_GAUGED_ADDRESSES):
            for address, count in counts.items():
                holder = client_name(recent.clients.get(address))
                window = {"of": holder, "what": f"{name}, {address}", "used": count}
                gauges += [window | {"most": limit}] if count else []
        return gauges

    async def _try(self, gateway: Gateway, tried: Sequence[str]) -> dict[str, Any]:
        return await self._trial.ask(
            requests=self.recent.requests(),
            limits=gateway.deployment.limits,
            root=self._root,
            stack=self._folder.name,
            changes=self.changes,
            tried=tried,
        )

    async def _deploy(self, changes: Sequence[str]) -> None:
        """Deploy the stack as `make up` does, with changes.

        Raises:
            UserError: the deployment failed. The text is the command's error.
        """
        words = [*self._options, *(f"--set={change}" for change in changes)]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tools", "up", "--stack", self._folder.name, *words),
            cwd=self._root,
            env=os.environ | {"PYTHONPATH": str(_CODE)},
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=PIPE,
        )
        _, error = await process.communicate()
        if process.returncode:
            raise UserError(error.decode().strip().removeprefix("error: "))

    def _start_traffic(self, deployment: Deployment, traffic: Traffic) -> None:
        """Send requests to this sandbox, in place of those that are being sent."""
        keys = {str(client): key for key, client in deployment.clients.items()} | {NO_KEY: ""}
        if traffic.client not in keys:
            raise UserError(f"There is no client {traffic.client!r}.")
        if self._traffic:
            self._traffic.cancel()
        self._traffic = asyncio.create_task(
            _send(self._handle, _request(deployment, keys[traffic.client], traffic), traffic)
        )


def _gauge(one: LimitMet, left: float) -> dict[str, Any]:
    if isinstance(one.limit, Quota):
        what, most = f"quota, {one.limit.period.lower()}", one.limit.limit
    else:
        name = "function's rate" if one.layer is Layer.CONCURRENCY else LAYER_NAMES[one.layer]
        what, most = f"{name}, {one.limit.rate:,g}/s", one.limit.burst
    if one.method:
        what += f", {one.method}"
    return {"of": str(one.client or ""), "what": what, "used": round(most - left, 2), "most": most}


def _request(deployment: Deployment, key: str, traffic: Traffic) -> Request:
    """Return the request of the first route's example."""
    route = next(iter(deployment.routes.values()))
    body = json.dumps(route.example).encode()
    headers = [("content-type", "application/json"), (API_KEY_HEADER, key)]
    if header := address_header(deployment.web_acl):
        headers.append((header.lower(), traffic.address))

    async def read_body(_: int) -> bytes:
        return body

    return Request(
        verb=route.verb,
        path=f"/{deployment.stage}{route.path}",
        query="",
        headers=headers,
        header=dict(headers),
        peer=traffic.address,
        read_body=read_body,
    )


async def _send(
    handle: Callable[[Request], Awaitable[Response]], request: Request, traffic: Traffic
) -> None:
    began = time.monotonic()
    sent: list[asyncio.Future[Response]] = []
    while (passed := time.monotonic() - began) < traffic.seconds or not sent:
        due = traffic.burst + int(traffic.rate * passed)
        sent += [asyncio.ensure_future(handle(request)) for _ in range(due - len(sent))]
        await asyncio.sleep(0.02)
    await asyncio.gather(*sent, return_exceptions=True)


class _Trial:
    """The process of trial.py."""

    def __init__(self, root: Path, log: Path) -> None:
        self._root, self._log = root, log
        self._process: Process | None = None
        self._asking = asyncio.Lock()

    async def ask(self, **question: object) -> dict[str, Any]:
        """Return the answer of `trial.decide`.

        Raises:
            UserError: there is no answer.
        """
        async with self._asking:
            try:
                process = self._process = self._process or await self._start()
                assert process.stdin  # noqa: S101  pipes were asked for
                assert process.stdout  # noqa: S101
                data = pickle.dumps(question)
                process.stdin.write(len(data).to_bytes(8, "big") + data)
                await process.stdin.drain()
                answer: dict[str, Any] = json.loads(await process.stdout.readline())
            except (OSError, ValueError):
                await self.stop()
                raise UserError(f"The trial failed. Its log is {self._log}.") from None
            except BaseException:  # the answer would be taken for the next one
                await self.stop()
                raise
        return answer

    async def _start(self) -> Process:
        with self._log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tools.page.trial"),
                cwd=_CODE,
                stdin=PIPE,
                stdout=PIPE,
                stderr=log,
                limit=_LONGEST_ANSWER,
            )

    async def stop(self) -> None:
        """End the process; a later question starts another."""
        process, self._process = self._process, None
        if process and process.returncode is None:
            process.kill()
            await process.wait()


async def _read(request: Request, model: type[_Model]) -> _Model:
    """Return the body of a request, which must have the form of a model."""
    try:
        return model.model_validate_json(await request.read_body(_MAX_BODY_BYTES))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UserError(f"{place}: {first['msg']}.") from None
    except BodyTooLarge:
        raise UserError("These are too many changes: apply fewer at once.") from None
