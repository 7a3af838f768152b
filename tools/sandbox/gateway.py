"""API Gateway: takes one request through the layers in AWS's order, to the function and back.

    web ACL, route, API key, quota, usage plan, stage, function

https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-request-throttling.html
"""

import asyncio
import base64
import contextlib
import socket
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl

from throttling import Gate, Layer, Refusal
from tools.sandbox.deployment import API_KEY_HEADER, Deployment, Route
from tools.sandbox.http_server import BodyTooLarge, Request, Response
from tools.sandbox.lambda_service import FunctionFailed

MAX_BODY_BYTES: Final = 10 * 1024 * 1024
MAX_ANSWER_HEADER_BYTES: Final = 10_240
"""https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html"""
_RESPONSE_OF_LAYER: Final = {
    Layer.WAF: "WAF_FILTERED",
    Layer.API_KEY: "INVALID_API_KEY",
    Layer.QUOTA: "QUOTA_EXCEEDED",
    Layer.USAGE_PLAN_METHOD: "THROTTLED",
    Layer.USAGE_PLAN: "THROTTLED",
    Layer.METHOD: "THROTTLED",
    Layer.STAGE: "THROTTLED",
    Layer.CONCURRENCY: "INTEGRATION_FAILURE",
}
_ROUTE: Final = "route"
"""Counts the answers to requests that match no method of the API."""
_FUNCTION: Final = "function"
"""Counts the answers to requests that no layer refused."""
_LAYERS: Final = (Layer.WAF, _ROUTE, *list(Layer)[1:], _FUNCTION)
_CONNECTION_HEADERS: Final = {"connection", "content-length", "transfer-encoding"}
"""Headers that the HTTP server sets, whatever the function says."""


class Gateway:
    """A deployment with the state of its limits, in front of the function.

    Args:
        deployment: what to serve.
        invoke: runs the function on an event and a request ID; may raise FunctionFailed.
        clock: POSIX seconds.
    """

    def __init__(
        self,
        deployment: Deployment,
        invoke: Callable[[dict[str, Any], str], Awaitable[object]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.deployment = deployment
        self.gate = Gate(deployment.limits)
        self._invoke = invoke
        self._clock = clock
        self._answers: Counter[tuple[str, str, int]] = Counter()

    def answers(self) -> list[dict[str, str | int]]:
        """Return how many answers each layer gave, in the order in which a request meets them."""
        return [
            {"layer": layer, "subject": subject, "status": status, "requests": count}
            for (layer, subject, status), count in sorted(
                self._answers.items(), key=lambda item: (_LAYERS.index(item[0][0]), item[0][1:])
            )
        ]

    def quotas_left(self) -> list[dict[str, str | int | None]]:
        """Return the requests that each client may still make in its period; None for no quota."""
        now = self._clock()
        return [
            {
                "plan": client.plan,
                "client": client.name,
                "quotaLeft": self.gate.quota_left(now, client),
            }
            for client in sorted(self.deployment.clients.values(), key=str)
        ]

    async def handle(self, request: Request) -> Response:
        """Answer one request as the deployed API would."""
        request_id = str(uuid.uuid4())
        address = _source_address(request)
        if refusal := self.gate.screen(self._clock(), address):
            return self._refuse(refusal, request_id)
        stage, _, path = request.path.removeprefix("/").partition("/")
        route = self.deployment.routes.get((request.verb, f"/{path}"))
        if route is None or stage != self.deployment.stage:
            return self._answer(_ROUTE, "MISSING_AUTHENTICATION_TOKEN", request_id)
        client = self.deployment.clients.get(request.header.get(API_KEY_HEADER, ""))
        if route.key_required and client is None:
            return self._refuse(Refusal(Layer.API_KEY), request_id)
        # Read the body before taking any token, so that a slow caller holds none.
        try:
            body = await request.read_body(MAX_BODY_BYTES)
        except BodyTooLarge:
            return self._answer(_ROUTE, "REQUEST_TOO_LARGE", request_id)
        if refusal := self.gate.admit(self._clock(), client, route.method):
            return self._refuse(refusal, request_id)
        try:
            if not route.may_invoke:
                return self._answer(_FUNCTION, "API_CONFIGURATION_ERROR", request_id)
            async with asyncio.timeout(route.timeout_seconds):
                event = self._event(route, request, body, request_id, address)
                response = _proxy_response(await self._invoke(event, request_id), request_id)
        except TimeoutError:
            return self._answer(_FUNCTION, "INTEGRATION_TIMEOUT", request_id)
        except (FunctionFailed, _MalformedAnswer):
            return self._answer(_FUNCTION, "DEFAULT_5XX", request_id)
        finally:
            self.gate.release()
        self._answers[_FUNCTION, "", response.status] += 1
        return response

    def _refuse(self, refusal: Refusal, request_id: str) -> Response:
        """Return a layer's refusal, with the layer's name, which AWS does not give."""
        kind = _RESPONSE_OF_LAYER[refusal.layer]
        name = ("x-throttled-by", str(refusal))
        return self._answer(refusal.layer, kind, request_id, refusal.subject, name)

    def _answer(
        self, layer: str, kind: str, request_id: str, subject: str = "", *extra: tuple[str, str]
    ) -> Response:
        """Return one of API Gateway's own responses."""
        response = self.deployment.responses[kind]
        self._answers[layer, subject, response.status] += 1
        headers = [
            ("content-type", response.content_type),
            ("x-amzn-requestid", request_id),
            ("x-amzn-errortype", response.error_type),
            *response.headers.items(),
            *extra,
        ]
        return Response(response.status, headers, response.body(request_id))

    def _event(
        self, route: Route, request: Request, body: bytes, request_id: str, address: str
    ) -> dict[str, Any]:
        """Return the request as API Gateway hands it to a function.

        https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
        """
        now = self._clock()
        query = _grouped(parse_qsl(request.query, keep_blank_values=True))
        return {
            "resource": route.path,
            "path": route.path,
            "httpMethod": route.verb,
            "headers": request.header,
            "multiValueHeaders": _grouped(request.headers),
            "queryStringParameters": {n: values[-1] for n, values in query.items()} or None,
            "multiValueQueryStringParameters": query or None,
            "pathParameters": None,
            "stageVariables": None,
            "requestContext": {
                "accountId": "000000000000",
                "apiId": "sandbox",
                "domainName": request.header.get("host", ""),
                "httpMethod": route.verb,
                "identity": {"sourceIp": address, "userAgent": request.header.get("user-agent")},
                "path": request.path,
                "protocol": "HTTP/1.1",
                "requestId": request_id,
                "requestTime": datetime.fromtimestamp(now, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000"),
                "requestTimeEpoch": int(now * 1000),
                "resourcePath": route.path,
                "stage": self.deployment.stage,
            },
            # API Gateway treats every body as text unless the API names binary media types.
            "body": body.decode("utf-8", "replace") if body else None,
            "isBase64Encoded": False,
        }


class _MalformedAnswer(Exception):
    """The function's answer does not have the form that API Gateway asks for."""


def _proxy_response(answer: object, request_id: str) -> Response:
    """Return the function's answer as an HTTP response."""
    if not isinstance(answer, dict):
        raise _MalformedAnswer
    status, body = answer.get("statusCode"), answer.get("body") or ""
    if not isinstance(status, int) or not 200 <= status <= 599 or not isinstance(body, str):
        raise _MalformedAnswer
    try:
        lines = [*(answer.get("headers") or {}).items()]
        for name, values in (answer.get("multiValueHeaders") or {}).items():
            lines += [(name, value) for value in values]
        encoded = answer.get("isBase64Encoded")
        content = base64.b64decode(body, validate=True) if encoded else body.encode()
    except (AttributeError, TypeError, ValueError):
        raise _MalformedAnswer from None
    headers = [(str(name).lower(), str(value)) for name, value in lines]
    if sum(len(name) + len(value) for name, value in headers) > MAX_ANSWER_HEADER_BYTES:
        raise _MalformedAnswer
    kept = [line for line in headers if line[0] not in _CONNECTION_HEADERS]
    return Response(status, [("x-amzn-requestid", request_id), *kept], content)


def _source_address(request: Request) -> str:
    """Return the first address in X-Forwarded-For, which stands for the caller's address here."""
    forwarded = request.header.get("x-forwarded-for")
    if forwarded:
        first = forwarded.partition(",")[0].strip()
        for family in (socket.AF_INET, socket.AF_INET6):
            with contextlib.suppress(OSError, ValueError):
                # Unlike ip_address, this accepts no IPv6 scope ID, which may be any text.
                return socket.inet_ntop(family, socket.inet_pton(family, first))
    return request.peer


def _grouped(pairs: list[tuple[str, str]]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for name, value in pairs:
        grouped.setdefault(name, []).append(value)
    return grouped
