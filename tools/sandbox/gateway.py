"""API Gateway: takes one request through the layers in AWS's order, to the function and back.

    web ACL, route, API key, quota, usage plan, stage, function

https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-request-throttling.html
"""

import asyncio
import math
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Final
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from throttling import Client, Gate, Layer, Refusal
from throttling.choices import FUNCTION_FAILURE_RESPONSE
from throttling.gate import order
from tools.sandbox.access_log import Context, line_writer
from tools.sandbox.deployment import API_KEY_HEADER, Deployment, Route
from tools.sandbox.gateway_responses import NO_STAGE, GatewayResponse
from tools.sandbox.http_server import BodyTooLarge, Request, Response
from tools.sandbox.lambda_service import FunctionFailed
from tools.sandbox.web_acl import WebAcl

MAX_BODY_BYTES: Final = 10 * 1024 * 1024
MAX_ANSWER_HEADER_BYTES: Final = 10_240
"""https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html"""
_RESPONSE_OF_LAYER: Final = {
    Layer.API_KEY: "INVALID_API_KEY",
    Layer.QUOTA: "QUOTA_EXCEEDED",
    Layer.USAGE_PLAN_METHOD: "THROTTLED",
    Layer.USAGE_PLAN: "THROTTLED",
    Layer.METHOD: "THROTTLED",
    Layer.STAGE: "THROTTLED",
    Layer.CONCURRENCY: f"{FUNCTION_FAILURE_RESPONSE}:concurrency",
}
_ROUTE: Final = "route"
"""Counts the answers to requests that match no method of the API."""
_FUNCTION: Final = "function"
"""Counts the answers to requests that no layer refused."""
_LAYERS: Final = (order()[0], _ROUTE, *order()[1:], _FUNCTION)
_CONNECTION_HEADERS: Final = {"connection", "content-length", "transfer-encoding"}
"""Headers that the HTTP server sets, whatever the function says."""
_NO_CREDENTIALS: Final = (
    *("accessKey", "accountId", "caller", "cognitoAuthenticationProvider"),
    *("cognitoAuthenticationType", "cognitoIdentityId", "cognitoIdentityPoolId"),
    *("principalOrgId", "user", "userArn"),
)
"""Fields of an event's identity that are set only for callers with AWS credentials."""
_IDENTIFYING: Final = ("requestId", "extendedRequestId", "requestTime", "requestTimeEpoch")
"""Fields of a request's context that an event and the access log share."""


class Gateway:
    """A deployment with the state of its limits, in front of the function.

    Args:
        deployment: what to serve.
        invoke: runs the function on an event and a request ID; may raise FunctionFailed.
        clock: POSIX seconds.
        log: takes the lines of the stage's access log.
        seen: takes each request that was answered, as `Recent.add` does.
    """

    def __init__(
        self,
        deployment: Deployment,
        invoke: Callable[[dict[str, Any], str], Awaitable[object]],
        clock: Callable[[], float] = time.time,
        log: Callable[[str], None] = lambda _: None,
        seen: Callable[..., None] = lambda *_: None,
    ) -> None:
        self.deployment = deployment
        self.gate = Gate(deployment.limits)
        self.web_acl = WebAcl(deployment.web_acl)
        self._invoke = invoke
        self._clock = clock
        self._log = log
        self._seen = seen
        self._line = line_writer(deployment.access_log_format)
        self._answers: Counter[tuple[str, str, int]] = Counter()

    def answers(self) -> list[dict[str, str | int]]:
        """Return how many answers each layer gave, in the order of the layers."""
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
        began = self._clock()
        request_id = str(uuid.uuid4())
        address = self.web_acl.source_address(request)
        context = Context(
            requestId=request_id,
            extendedRequestId=f"{request_id[-12:]}=",
            requestTime=_log_time(int(began)),
            requestTimeEpoch=int(began * 1000),
            httpMethod=request.verb,
        )
        context["identity.sourceIp"] = address
        stage, *segments = [part for part in request.path.split("/") if part] or [""]
        if stage != self.deployment.stage:
            return self._answer(_ROUTE, NO_STAGE, context)  # no stage logs it
        found = self.deployment.route(request.verb, segments)
        client = self.deployment.clients.get(request.header.get(API_KEY_HEADER, ""))
        response = await self._respond(request, address, found, client, context)
        if self.deployment.access_log_format:
            context["status"] = response.status
            context["responseLatency"] = self._milliseconds_since(began)
            self._log(self._line(context))
        took = float(context.get("integrationLatency", math.nan)) / 1000
        method, line = found[0].method if found else "", f"{request.verb} {request.path}"
        holder = client if found and found[0].key_required else None
        self._seen(
            *(began, took, holder, method, address, *context.answered_by, response.status, line)
        )
        return response

    async def _respond(
        self,
        request: Request,
        address: str,
        found: tuple[Route, dict[str, str]] | None,
        client: Client | None,
        context: Context,
    ) -> Response:
        """Answer a request to the stage, and add to its log's context."""
        if rule := self.web_acl.blocks(self._clock(), request, address):
            context["wafResponseCode"] = "WAF_BLOCK"
            return self._refuse(Refusal(Layer.WAF, rule.name), context, rule.response)
        if self.deployment.web_acl:
            context["wafResponseCode"] = "WAF_ALLOW"
        if found is None:
            unsigned = "authorization" not in request.header
            kind = "MISSING_AUTHENTICATION_TOKEN" if unsigned else "DEFAULT_4XX"
            return self._answer(_ROUTE, kind, context)
        route, parameters = found
        context["resourcePath"] = route.path
        if route.key_required:
            if client is None:
                return self._refuse(Refusal(Layer.API_KEY), context)
            context["identity.apiKeyId"] = self.deployment.key_ids[request.header[API_KEY_HEADER]]
        # Read the body before taking any token, so that a slow caller holds none.
        try:
            body = await request.read_body(MAX_BODY_BYTES)
        except BodyTooLarge:
            return self._answer(_ROUTE, "REQUEST_TOO_LARGE", context)
        if refusal := self.gate.admit(self._clock(), client, route.method):
            if refusal.layer == Layer.CONCURRENCY:
                context["integration.integrationStatus"] = 429  # from Lambda
            return self._refuse(refusal, context)
        invoked = self._clock()
        try:
            if not route.may_invoke:
                return self._answer(_FUNCTION, "API_CONFIGURATION_ERROR", context)
            async with asyncio.timeout(route.timeout_seconds):
                event = self._event(route, parameters, request, body, address, context)
                answer = await self._invoke(event, str(context["requestId"]))
            context["integration.integrationStatus"] = 200
            response = _proxy_response(answer, str(context["requestId"]))
        except TimeoutError:
            return self._answer(_FUNCTION, "INTEGRATION_TIMEOUT", context)
        except FunctionFailed:
            context["integration.integrationStatus"] = 200  # Lambda has run it
            return self._answer(_FUNCTION, FUNCTION_FAILURE_RESPONSE, context)
        except ValidationError:
            return self._answer(_FUNCTION, "DEFAULT_5XX", context)
        finally:
            context["integrationLatency"] = self._milliseconds_since(invoked)
            self.gate.release()
        self._answers[_FUNCTION, "", response.status] += 1
        return response

    def _milliseconds_since(self, then: float) -> int:
        return round((self._clock() - then) * 1000)

    def _refuse(
        self, refusal: Refusal, context: Context, own: GatewayResponse | None = None
    ) -> Response:
        """Return a layer's refusal. Unlike AWS, name the layer in a header."""
        response = own or _RESPONSE_OF_LAYER[refusal.layer]
        name = ("x-throttled-by", str(refusal))
        return self._answer(refusal.layer, response, context, refusal.subject, name)

    def _answer(
        self,
        layer: str,
        response: GatewayResponse | str,
        context: Context,
        subject: str = "",
        *extra: tuple[str, str],
    ) -> Response:
        """Return one of API Gateway's own responses, which may be given by its type."""
        if isinstance(response, str):
            response = self.deployment.responses[response]
        self._answers[layer, subject, response.status] += 1
        context.answered_by = layer, subject
        context["error.responseType"] = response.type
        request_id = str(context["requestId"])
        headers = [
            ("content-type", response.content_type),
            ("x-amzn-requestid", request_id),
            ("x-amzn-errortype", response.error_type),
            *response.headers.items(),
            *extra,
        ]
        return Response(response.status, headers, response.body(request_id))

    def _event(
        self,
        route: Route,
        parameters: dict[str, str],
        request: Request,
        body: bytes,
        address: str,
        context: Context,
    ) -> dict[str, Any]:
        """Return the request as API Gateway hands it to a function.

        Left out: what only an authorizer or a client certificate adds, and the headers that AWS's
        own proxies add, such as X-Forwarded-Port, X-Amzn-Trace-Id and CloudFront-Viewer-Country.
        All headers are in lower case, as those of HTTP/2 are.
        https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
        """
        query = _grouped(parse_qsl(request.query, keep_blank_values=True))
        host = request.header.get("host", "")
        key = request.header.get(API_KEY_HEADER) if route.key_required else None
        return {
            "resource": route.path,
            "path": request.path.removeprefix("/").removeprefix(self.deployment.stage),
            "httpMethod": route.verb,
            "headers": request.header,
            "multiValueHeaders": _grouped(request.headers),
            "queryStringParameters": {n: values[-1] for n, values in query.items()} or None,
            "multiValueQueryStringParameters": query or None,
            "pathParameters": parameters or None,
            "stageVariables": self.deployment.variables or None,
            "requestContext": {
                "accountId": self.deployment.permissions.account_id,
                "apiId": self.deployment.api_id,
                "deploymentId": self.deployment.id,
                "domainName": host,
                "domainPrefix": host.partition(".")[0],
                "httpMethod": route.verb,
                "identity": dict.fromkeys(_NO_CREDENTIALS)
                | {"sourceIp": address, "userAgent": request.header.get("user-agent")}
                | ({"apiKey": key, "apiKeyId": self.deployment.key_ids[key]} if key else {}),
                "path": request.path,
                "protocol": "HTTP/1.1",
                **{name: context[name] for name in _IDENTIFYING},
                "resourceId": None,
                "resourcePath": route.path,
                "stage": self.deployment.stage,
            },
            # API Gateway treats every body as text unless the API names binary media types.
            "body": body.decode("utf-8", "replace") if body else None,
            "isBase64Encoded": False,
        }


@lru_cache(maxsize=8)
def _log_time(seconds: int) -> str:
    """Return a time as common logs write it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")


_HeaderName = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]
_HeaderValue = Annotated[str, Field(pattern=r"^[^\x00-\x08\x0a-\x1f\x7f]*$")] | bool


class _Answer(BaseModel):
    """A function's answer, in the form that API Gateway asks for.

    No field is mandatory, and there may be no other fields
    (https://github.com/localstack/localstack/pull/10312, tried on AWS). It is not known exactly
    what AWS refuses; this refuses every value of an undocumented kind.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
    """

    model_config = ConfigDict(strict=True, extra="forbid")

    statusCode: (
        Annotated[int, Field(ge=200, le=599)] | Annotated[str, Field(pattern="^[2-5][0-9]{2}$")]
    ) | None = None
    headers: dict[_HeaderName, _HeaderValue] | None = None
    multiValueHeaders: dict[_HeaderName, list[_HeaderValue]] | None = None
    body: str | None = None
    isBase64Encoded: bool | None = None
    """Encoded bodies are decoded only for an API that names binary media types."""

    def lines(self) -> list[tuple[str, str]]:
        """Return the header lines. A pair that is in both fields counts once."""
        pairs = list((self.headers or {}).items())
        for name, values in (self.multiValueHeaders or {}).items():
            pairs += [(name, value) for value in values]
        texts = ((n.lower(), str(v).lower() if isinstance(v, bool) else v) for n, v in pairs)
        return list(dict.fromkeys(texts))

    @model_validator(mode="after")
    def _can_be_sent(self) -> "_Answer":
        (self.body or "").encode()  # refuses half of a surrogate pair
        if sum(len(name) + len(value) for name, value in self.lines()) > MAX_ANSWER_HEADER_BYTES:
            raise ValueError("its headers are too long")
        return self


def _proxy_response(answer: object, request_id: str) -> Response:
    """Return the function's answer as an HTTP response.

    Raises:
        ValidationError: it does not have the form of `_Answer`.
    """
    given = _Answer.model_validate(answer)
    headers = [line for line in given.lines() if line[0] not in _CONNECTION_HEADERS]
    if "content-type" not in dict(headers):
        headers.append(("content-type", "application/json"))
    headers.insert(0, ("x-amzn-requestid", request_id))
    return Response(int(given.statusCode or 200), headers, (given.body or "").encode())


def _grouped(pairs: list[tuple[str, str]]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for name, value in pairs:
        grouped.setdefault(name, []).append(value)
    return grouped
