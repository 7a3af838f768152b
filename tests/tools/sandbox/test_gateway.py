"""One request through the gateway, with a function whose answer the test chooses."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from throttling import Throttle, WafRateLimit
from tools.recorder.resources import Resource, Resources
from tools.sandbox.deployment import Deployment, read_deployment
from tools.sandbox.gateway import MAX_BODY_BYTES, Gateway
from tools.sandbox.http_server import BodyTooLarge, Request, Response
from tools.sandbox.lambda_service import FunctionFailed

STORED = {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": "{}"}


class Function:
    """Stands for the running function, and keeps the events."""

    def __init__(self, answer: object = STORED) -> None:
        self.answer = answer
        self.events: list[dict[str, Any]] = []

    async def invoke(self, event: dict[str, Any], request_id: str) -> object:
        self.events.append(event)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def deployment(resources: Resources) -> Deployment:
    return read_deployment(resources)


@pytest.fixture
def key(deployment: Deployment) -> str:
    return next(key for key, client in deployment.clients.items() if client.plan == "basic")


def gateway_of(
    deployment: Deployment, answer: object = STORED, clock: Callable[[], float] | None = None
) -> tuple[Gateway, Function]:
    function = Function(answer)
    return Gateway(deployment, function.invoke, clock or Clock()), function


def request(
    key: str | None = None,
    *,
    verb: str = "POST",
    path: str = "/dev/data",
    query: str = "",
    body: bytes | Exception = b"{}",
    headers: list[tuple[str, str]] | None = None,
) -> Request:
    async def read_body(most: int) -> bytes:
        assert most == MAX_BODY_BYTES
        if isinstance(body, Exception):
            raise body
        return body

    sent = [*(headers or []), *([("x-api-key", key)] if key else [])]
    return Request(verb, path, query, sent, dict(sent), "127.0.0.1", read_body)


def send(gateway: Gateway, *requests: Request) -> list[Response]:
    async def all_of_them() -> list[Response]:
        return [await gateway.handle(one) for one in requests]

    return asyncio.run(all_of_them())


def header(response: Response, name: str) -> str | None:
    return next((value for key, value in response.headers if key.lower() == name), None)


def test_the_function_gets_a_proxy_event(deployment: Deployment, key: str) -> None:
    gateway, function = gateway_of(deployment)

    (response,) = send(
        gateway,
        request(
            key,
            query="a=1&a=2&b=",
            body='{"id": "é"}'.encode(),
            headers=[
                ("host", "localhost"),
                ("user-agent", "test"),
                ("x-forwarded-for", "2001:db8::1, 10.0.0.1"),
                ("accept", "a"),
                ("accept", "b"),
            ],
        ),
    )

    (event,) = function.events
    request_id = event["requestContext"].pop("requestId")
    assert header(response, "x-amzn-requestid") == request_id
    assert event == {
        "resource": "/data",
        "path": "/data",
        "httpMethod": "POST",
        "headers": {
            "host": "localhost",
            "user-agent": "test",
            "x-forwarded-for": "2001:db8::1, 10.0.0.1",
            "accept": "b",
            "x-api-key": key,
        },
        "multiValueHeaders": {
            "host": ["localhost"],
            "user-agent": ["test"],
            "x-forwarded-for": ["2001:db8::1, 10.0.0.1"],
            "accept": ["a", "b"],
            "x-api-key": [key],
        },
        "queryStringParameters": {"a": "2", "b": ""},
        "multiValueQueryStringParameters": {"a": ["1", "2"], "b": [""]},
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "sandbox",
            "domainName": "localhost",
            "httpMethod": "POST",
            "identity": {"sourceIp": "2001:db8::1", "userAgent": "test"},
            "path": "/dev/data",
            "protocol": "HTTP/1.1",
            "requestTime": "15/Jan/2027:08:00:00 +0000",
            "requestTimeEpoch": 1_800_000_000_000,
            "resourcePath": "/data",
            "stage": "dev",
        },
        "body": '{"id": "é"}',
        "isBase64Encoded": False,
    }


def test_the_functions_answer_is_passed_on(deployment: Deployment, key: str) -> None:
    gateway, _ = gateway_of(
        deployment,
        {
            "statusCode": 201,
            "headers": {"X-One": "1", "Connection": "close", "Content-Length": "7"},
            "multiValueHeaders": {"X-Two": ["a", "b"]},
            "body": "AP8=",
            "isBase64Encoded": True,
        },
    )

    (response,) = send(gateway, request(key))

    assert (response.status, response.body) == (201, b"\x00\xff")
    assert response.headers[1:] == [("x-one", "1"), ("x-two", "a"), ("x-two", "b")]


@pytest.mark.parametrize(
    "answer",
    [
        FunctionFailed("crashed"),
        None,
        "text",
        {"status": 200},
        {"statusCode": "200"},
        {"statusCode": 99},
        {"statusCode": 101},
        {"statusCode": 600},
        {"statusCode": 200, "body": "\ud800"},
        {"statusCode": 200, "headers": ["x"]},
        {"statusCode": 200, "multiValueHeaders": {"x": 1}},
        {"statusCode": 200, "headers": {"x": "1" * 20_000}},
        {"statusCode": 200, "body": {"not": "text"}},
        {"statusCode": 200, "body": "?", "isBase64Encoded": True},
    ],
)
def test_a_function_that_fails_or_answers_in_another_form_is_a_bad_gateway(
    deployment: Deployment, key: str, answer: object
) -> None:
    gateway, _ = gateway_of(deployment, answer)

    (response,) = send(gateway, request(key))

    assert response.status == 502
    assert json.loads(response.body) == {"message": "Internal server error"}
    assert gateway.gate.in_flight == 0, "its concurrency is free again"


def test_a_function_that_outlives_the_integration_is_a_gateway_timeout(
    deployment: Deployment, key: str
) -> None:
    routes = {k: replace(r, timeout_seconds=0.0) for k, r in deployment.routes.items()}

    class Hangs(Function):
        async def invoke(self, event: dict[str, Any], request_id: str) -> object:
            return await asyncio.get_running_loop().create_future()

    gateway = Gateway(replace(deployment, routes=routes), Hangs().invoke, Clock())

    (response,) = send(gateway, request(key))

    assert response.status == 504
    assert json.loads(response.body) == {"message": "Endpoint request timed out"}


def test_an_api_that_may_not_invoke_its_function_cannot_answer(
    deployment: Deployment, key: str
) -> None:
    routes = {k: replace(r, may_invoke=False) for k, r in deployment.routes.items()}
    gateway, function = gateway_of(replace(deployment, routes=routes))

    (response,) = send(gateway, request(key))

    assert response.status == 503, "as the document's API_CONFIGURATION_ERROR says"
    assert not function.events


def test_nothing_that_a_layer_refuses_reaches_the_function(
    deployment: Deployment, key: str
) -> None:
    limits = replace(deployment.limits, stage=Throttle(rate=1, burst=1))
    gateway, function = gateway_of(replace(deployment, limits=limits))

    answers = send(gateway, request(), request("wrong"), request(key), request(key))

    assert [answer.status for answer in answers] == [403, 403, 200, 429]
    assert header(answers[3], "x-throttled-by") == "stage"
    assert len(function.events) == 1


def test_a_method_throttle_is_asked_before_the_stage(deployment: Deployment, key: str) -> None:
    limits = replace(
        deployment.limits,
        stage=Throttle(rate=1, burst=1),
        methods={"POST /data": Throttle(rate=1, burst=1)},
    )
    gateway, _ = gateway_of(replace(deployment, limits=limits))

    answers = send(gateway, request(key), request(key))

    assert header(answers[1], "x-throttled-by") == "method:POST /data"


def test_tokens_come_back_with_time(deployment: Deployment, key: str) -> None:
    clock = Clock()
    gateway, _ = gateway_of(deployment, clock=clock)

    burst = send(gateway, *[request(key)] * 11)
    clock.now += 0.2  # one token at 5 a second
    later = send(gateway, *[request(key)] * 2)

    assert [answer.status for answer in burst] == [200] * 10 + [429]
    assert [answer.status for answer in later] == [200, 429]


def test_a_body_larger_than_api_gateway_takes_is_refused_without_a_token(
    deployment: Deployment, key: str
) -> None:
    gateway, _ = gateway_of(deployment)

    refused, *others = send(gateway, request(key, body=BodyTooLarge()), *[request(key)] * 10)

    assert MAX_BODY_BYTES == 10 * 1024 * 1024
    assert refused.status == 413
    assert json.loads(refused.body) == {"message": "Request Too Long"}
    assert [answer.status for answer in others] == [200] * 10, "the whole burst is left"


@pytest.mark.parametrize(
    "caller", [request(), request("wrong"), request(path="/dev/other"), request(verb="GET")]
)
def test_the_body_of_a_caller_without_a_key_or_a_route_is_not_read(
    deployment: Deployment, caller: Request
) -> None:
    async def never(most: int) -> bytes:
        raise AssertionError("the body was read")

    gateway, _ = gateway_of(deployment)

    (response,) = send(gateway, replace(caller, read_body=never))

    assert response.status in (403, 404)


def with_waf(deployment: Deployment) -> Deployment:
    """Return a deployment whose rate rule passes one request in 60 seconds."""
    limits = replace(deployment.limits, waf=WafRateLimit(limit=1, window_seconds=60))
    return replace(deployment, limits=limits)


@pytest.mark.parametrize(
    "forwarded",
    [
        ("made up", "also made up"),
        ("fe80::1%" + "a" * 60_000, "fe80::1%b"),
        ("2001:db8::1", "2001:0db8:0::1"),
        ("192.0.2.1", " 192.0.2.1 , 10.0.0.1"),
    ],
)
def test_equal_addresses_share_a_window_however_they_are_written(
    deployment: Deployment, forwarded: tuple[str, str]
) -> None:
    gateway, _ = gateway_of(with_waf(deployment))

    answers = send(gateway, *(request(headers=[("x-forwarded-for", text)]) for text in forwarded))

    assert [answer.status for answer in answers] == [403, 429]


def test_a_blocked_address_passes_again_when_its_window_is_over(deployment: Deployment) -> None:
    clock = Clock()
    gateway, _ = gateway_of(with_waf(deployment), clock=clock)

    statuses = []
    for seconds in (0, 59, 59, 61):
        clock.now += seconds
        statuses += [answer.status for answer in send(gateway, request())]

    assert statuses == [403, 429, 429, 403]


def test_a_web_acl_without_a_response_of_its_own_forbids(resources: Resources) -> None:
    def silent(resource: Resource) -> Resource:
        if resource.type != "aws:wafv2/webAcl:WebAcl":
            return resource
        (rule, *_) = resource.inputs["rules"]
        return replace(resource, inputs={"rules": [rule | {"action": {"block": {}}}]})

    edited = replace(resources, items=tuple(map(silent, resources.items)))
    gateway, _ = gateway_of(with_waf(read_deployment(edited)))

    answers = send(gateway, request(), request())

    assert answers[1].status == 403
    assert json.loads(answers[1].body) == {"message": "Forbidden"}
    assert header(answers[1], "x-throttled-by") == "waf"


def test_a_route_without_key_counts_toward_the_stage_only(deployment: Deployment) -> None:
    routes = {k: replace(r, key_required=False) for k, r in deployment.routes.items()}
    limits = replace(deployment.limits, stage=Throttle(rate=1, burst=20))
    gateway, _ = gateway_of(replace(deployment, routes=routes, limits=limits))

    answers = send(gateway, *[request()] * 21)

    assert [answer.status for answer in answers] == [200] * 20 + [429]


def test_answers_and_quotas_are_counted(deployment: Deployment, key: str) -> None:
    gateway, _ = gateway_of(deployment)

    send(gateway, request(), request(verb="GET"), *[request(key)] * 11)

    assert gateway.answers() == [
        {"layer": "route", "subject": "", "status": 404, "requests": 1},
        {"layer": "api-key", "subject": "", "status": 403, "requests": 1},
        {"layer": "usage-plan", "subject": "basic", "status": 429, "requests": 1},
        {"layer": "function", "subject": "", "status": 200, "requests": 10},
    ]
    assert gateway.quotas_left() == [
        {"plan": "basic", "client": "default", "quotaLeft": 20_000 - 10},
        {"plan": "premium", "client": "default", "quotaLeft": 100_000},
    ]
