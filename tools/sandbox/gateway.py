"""API Gateway: one request through the layers in AWS's order, to the function and back.

    web ACL, route, API key, quota, usage plan, stage, function

https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-request-throttling.html
"""

import asyncio
import base64
import binascii
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import parse_qsl

from tools.sandbox.deployment import API_KEY_HEADER, Deployment, Route
from tools.sandbox.lambda_service import FunctionFailed, LambdaService
from tools.sandbox.statistics import FUNCTION, ROUTE, Statistics
from throttling import Gate, Layer, Refusal

MAX_BODY_BYTES: Final = 10 * 1024 * 1024
"""https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html"""

_RESPONSE_OF_LAYER: Final = {
    Layer.API_KEY: "INVALID_API_KEY",
    Layer.QUOTA: "QUOTA_EXCEEDED",
    Layer.USAGE_PLAN_METHOD: "THROTTLED",
    Layer.USAGE_PLAN: "THROTTLED",
    Layer.METHOD: "THROTTLED",
    Layer.STAGE: "THROTTLED",
    Layer.CONCURRENCY: "INTEGRATION_FAILURE",
}


class BodyTooLarge(Exception):
    """The body is larger than API Gateway takes."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. Header names are in lower case."""

    verb: str
    path: str
    """Path with the stage, without the query."""
    query: str
    headers: list[tuple[str, str]]
    peer: str
    """Address of whoever connected."""
    read_body: Callable[[], Awaitable[bytes]]
    """Reads the whole body; raises BodyTooLarge. Not called for a request refused before."""

    def header(self, name: str) -> str | None:
        """The last header of that name, as API Gateway passes it on."""
        return next((value for key, value in reversed(self.headers) if key == name), None)


@dataclass(frozen=True, slots=True)
class Response:
    """One HTTP response."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


@dataclass(slots=True)
class Gateway:
    """A deployment with the counts of its limits, in front of the running function."""

    deployment: Deployment
    function: LambdaService
    clock: Callable[[], float] = time.time
    """POSIX seconds."""
    statistics: Statistics = field(default_factory=Statistics)
    gate: Gate = field(init=False)

    def __post_init__(self) -> None:
        self.gate = Gate(self.deployment.limits)

    async def handle(self, request: Request) -> Response:
        """Answer one request as the deployed API would."""
        request_id = str(uuid.uuid4())
        address = _source_address(request)
        if refusal := self.gate.screen(self.clock(), address):
            return self._refuse(refusal, request_id)
        stage, _, path = request.path.removeprefix("/").partition("/")
        route = self.deployment.routes.get((request.verb, f"/{path}"))
        if route is None or stage != self.deployment.stage:
            return self._answer(ROUTE, "MISSING_AUTHENTICATION_TOKEN", request_id)
        key = request.header(API_KEY_HEADER)
        client = self.deployment.clients.get(key) if key else None
        if route.key_required and client is None:
            return self._refuse(Refusal(Layer.API_KEY), request_id)
        # The whole body comes before any token is taken: a caller who sends slowly holds nothing.
        try:
            body = await request.read_body()
        except BodyTooLarge:
            return self._answer(ROUTE, "REQUEST_TOO_LARGE", request_id)
        if refusal := self.gate.admit(
            self.clock(), client, route.method, key_required=route.key_required
        ):
            return self._refuse(refusal, request_id)
        try:
            return await self._invoke(route, request, body, request_id, address)
        finally:
            self.gate.release()

    async def _invoke(
        self, route: Route, request: Request, body: bytes, request_id: str, address: str
    ) -> Response:
        if not route.may_invoke:
            return self._answer(FUNCTION, "API_CONFIGURATION_ERROR", request_id)
        event = self._event(route, request, body, request_id, address)
        try:
            async with asyncio.timeout(route.timeout_seconds):
                answer = await self.function.invoke(event, request_id)
            response = _proxy_response(answer, request_id)
        except TimeoutError:
            return self._answer(FUNCTION, "INTEGRATION_TIMEOUT", request_id)
        except (FunctionFailed, _Malformed):
            return self._answer(FUNCTION, "DEFAULT_5XX", request_id)
        self.statistics.count(FUNCTION, response.status)
        return response

    def _refuse(self, refusal: Refusal, request_id: str) -> Response:
        """A layer's refusal, with the layer's name, which AWS does not tell."""
        extra = [("x-throttled-by", str(refusal))]
        block = self.deployment.waf_block
        if refusal.layer is Layer.WAF and block:
            # The web ACL's own answer wins over API Gateway's.
            self.statistics.count(refusal.layer, block.status)
            headers = [("content-type", block.content_type), *block.headers.items(), *extra]
            return Response(block.status, headers, block.body)
        kind = _RESPONSE_OF_LAYER.get(refusal.layer, "WAF_FILTERED")
        return self._answer(refusal.layer, kind, request_id, refusal.subject, extra)

    def _answer(
        self,
        layer: str,
        kind: str,
        request_id: str,
        subject: str = "",
        extra: list[tuple[str, str]] | None = None,
    ) -> Response:
        """One of API Gateway's own answers."""
        response = self.deployment.responses[kind]
        self.statistics.count(layer, response.status, subject)
        headers = [
            ("content-type", "application/json"),
            ("x-amzn-requestid", request_id),
            ("x-amzn-errortype", response.error_type),
            *response.headers.items(),
            *(extra or []),
        ]
        return Response(response.status, headers, response.body(request_id))

    def _event(
        self, route: Route, request: Request, body: bytes, request_id: str, address: str
    ) -> dict[str, Any]:
        """The request as API Gateway hands it to a function.

        https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
        """
        now = self.clock()
        query = _grouped(parse_qsl(request.query, keep_blank_values=True))
        headers = _grouped(request.headers)
        return {
            "resource": route.path,
            "path": route.path,
            "httpMethod": route.verb,
            "headers": {name: values[-1] for name, values in headers.items()},
            "multiValueHeaders": headers,
            "queryStringParameters": {n: values[-1] for n, values in query.items()} or None,
            "multiValueQueryStringParameters": query or None,
            "pathParameters": None,
            "stageVariables": None,
            "requestContext": {
                "accountId": "000000000000",
                "apiId": "sandbox",
                "domainName": request.header("host") or "",
                "httpMethod": route.verb,
                "identity": {
                    "sourceIp": address,
                    "userAgent": request.header("user-agent"),
                },
                "path": request.path,
                "protocol": "HTTP/1.1",
                "requestId": request_id,
                "requestTime": datetime.fromtimestamp(now, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000"),
                "requestTimeEpoch": int(now * 1000),
                "resourcePath": route.path,
                "stage": self.deployment.stage,
            },
            # Without binary media types, API Gateway takes every body for text.
            "body": body.decode("utf-8", "replace") if body else None,
            "isBase64Encoded": False,
        }


class _Malformed(Exception):
    """What the function returned is no proxy response."""


def _proxy_response(answer: object, request_id: str) -> Response:
    """What the function returned, as an HTTP response."""
    if not isinstance(answer, dict) or not isinstance(answer.get("statusCode"), int):
        raise _Malformed
    body = answer.get("body") or ""
    headers = [("x-amzn-requestid", request_id)]
    for name, value in (answer.get("headers") or {}).items():
        headers.append((str(name).lower(), str(value)))
    for name, values in (answer.get("multiValueHeaders") or {}).items():
        headers += [(str(name).lower(), str(value)) for value in values]
    if not isinstance(body, str):
        raise _Malformed
    try:
        content = (
            base64.b64decode(body, validate=True)
            if answer.get("isBase64Encoded")
            else body.encode()
        )
    except binascii.Error:
        raise _Malformed from None
    return Response(answer["statusCode"], headers, content)


def _source_address(request: Request) -> str:
    """The caller's address: the first in X-Forwarded-For, which here stands for the source IP."""
    forwarded = request.header("x-forwarded-for")
    if forwarded:
        first = forwarded.split(",", 1)[0].strip()
        try:
            return str(ip_address(first))
        except ValueError:
            pass
    return request.peer


def _grouped(pairs: list[tuple[str, str]]) -> Mapping[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for name, value in pairs:
        grouped.setdefault(name, []).append(value)
    return grouped
