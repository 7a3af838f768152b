"""Requests through the gateway, with a function, a clock and limits that the test chooses."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.edge_protection.access_log import access_log_format
from throttling import Client, Gate, Period, Quota, Throttle, UsagePlan
from tools.recorder.resources import Resources
from tools.sandbox import access_log
from tools.sandbox.deployment import read_deployment
from tools.sandbox.gateway import MAX_BODY_BYTES, Gateway
from tools.sandbox.gateway_responses import read_gateway_responses
from tools.sandbox.http_server import BodyTooLarge, Request, Response
from tools.sandbox.lambda_service import FunctionFailed

ONE_A_MINUTE = {"rateBasedStatement": {"limit": 1, "evaluationWindowSec": 60}}
ONE = Throttle(rate=1, burst=1)
BASIC = UsagePlan(clients=("default",), throttle=ONE, quota=None)
ONE_A_DAY = replace(BASIC, throttle=None, quota=Quota(limit=1, period=Period.DAY))
Sending = dict[str, Any]


class Api:
    """Stack dev behind a gateway, whose clock stands still until it is set."""

    def __init__(
        self,
        resources: Resources,
        route: Sending | None = None,
        waf: Sending | None = None,
        **limits: object,
    ) -> None:
        deployment = read_deployment(resources)
        (rule,) = deployment.web_acl
        rules = (replace(rule, statement=waf or rule.statement),)
        place = ("POST", "/data")
        only = deployment.routes[place]
        self.key = next(k for k, client in deployment.clients.items() if client.plan == "basic")
        self.now = 1_800_000_000.0
        self.answer: object = {"statusCode": 200}
        self.events: list[dict[str, Any]] = []
        self.log: list[str] = []
        self.gateway = Gateway(
            replace(
                deployment,
                limits=replace(deployment.limits, **limits),  # type: ignore[arg-type]
                routes={place: replace(only, **route or {})},
                web_acl=rules,
            ),
            self._invoke,
            lambda: self.now,
            self.log.append,
        )

    async def _invoke(self, event: dict[str, Any], request_id: str) -> object:
        self.events.append(event)
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is asyncio.Future:
            return await asyncio.get_running_loop().create_future()
        return self.answer

    @property
    def good(self) -> Sending:
        """What to send with a key of plan basic."""
        return {"x-api-key": self.key}

    def send(self, *requests: Sending) -> list[Response]:
        """Send requests, given as their headers and what is special about them."""

        async def all_of_them() -> list[Response]:
            return [await self.gateway.handle(_request(**sent)) for sent in requests]

        return asyncio.run(all_of_them())

    def statuses(self, *requests: Sending) -> list[int]:
        return [answer.status for answer in self.send(*requests)]


def _request(
    verb: str = "POST",
    path: str = "/dev/data",
    query: str = "",
    body: bytes | Exception = b"{}",
    **headers: str | list[str],
) -> Request:
    async def read_body(most: int) -> bytes:
        assert most == MAX_BODY_BYTES
        if isinstance(body, Exception):
            raise body
        return body

    sent = [
        (name, value)
        for name, values in headers.items()
        for value in (values if isinstance(values, list) else [values])
    ]
    return Request(verb, path, query, sent, dict(sent), "127.0.0.1", read_body)


def header(response: Response, name: str) -> str | None:
    return {key.lower(): value for key, value in response.headers}.get(name)


@pytest.fixture
def api(resources: Resources) -> Api:
    return Api(resources)


def test_the_function_gets_a_proxy_event(api: Api) -> None:
    headers = {
        "host": "localhost",
        "user-agent": "test",
        "x-forwarded-for": "2001:db8::1, 10.0.0.1",
        "accept": ["a", "b"],
    }
    body = '{"id": "é"}'

    (response,) = api.send({**headers, **api.good, "query": "a=1&a=2&b=", "body": body.encode()})

    (event,) = api.events
    deployment = api.gateway.deployment
    assert header(response, "x-amzn-requestid") == event["requestContext"].pop("requestId")
    assert event["requestContext"].pop("extendedRequestId")
    assert event == {
        "resource": "/data",
        "path": "/data",
        "httpMethod": "POST",
        "headers": {**headers, "accept": "b", **api.good},
        "multiValueHeaders": {
            "host": ["localhost"],
            "user-agent": ["test"],
            "x-forwarded-for": ["2001:db8::1, 10.0.0.1"],
            "accept": ["a", "b"],
            "x-api-key": [api.key],
        },
        "queryStringParameters": {"a": "2", "b": ""},
        "multiValueQueryStringParameters": {"a": ["1", "2"], "b": [""]},
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {
            "accountId": "000000000000",
            "apiId": deployment.api_id,
            "deploymentId": deployment.id,
            "domainName": "localhost",
            "domainPrefix": "localhost",
            "httpMethod": "POST",
            "identity": {
                **dict.fromkeys(("accessKey", "accountId", "caller", "principalOrgId")),
                **dict.fromkeys(("user", "userArn", "cognitoIdentityId", "cognitoIdentityPoolId")),
                **dict.fromkeys(("cognitoAuthenticationProvider", "cognitoAuthenticationType")),
                "apiKey": api.key,
                "apiKeyId": deployment.key_ids[api.key],
                "sourceIp": "2001:db8::1",
                "userAgent": "test",
            },
            "path": "/dev/data",
            "protocol": "HTTP/1.1",
            "requestTime": "15/Jan/2027:08:00:00 +0000",
            "requestTimeEpoch": 1_800_000_000_000,
            "resourceId": None,
            "resourcePath": "/data",
            "stage": "dev",
        },
        "body": body,
        "isBase64Encoded": False,
    }


JSON = ("content-type", "application/json")
MALFORMED = "malformed"
BAD: dict[str, list[Any]] = {
    "statusCode": [0, 99, 199, 600, 1000, -200, "", "20", "2000", "abc", "²00", 200.0, True, [200]],
    "headers": [
        *("x", ["x"], 1, {"x": 1}, {"x": None}, {"x": []}, {"x": "a\rb"}, {"x": "a\nb"}),
        *({"x": "\0"}, {"x": "1" * 20_000}, {"": "v"}, {"a b": "v"}, {"a\r\nb": "v"}, {"é": "v"}),
    ],
    "multiValueHeaders": ["x", {"x": "x"}, {"x": 1}, {"x": None}, {"x": [1]}, {"x": ["a\nb"]}],
    "body": [1, {"not": "text"}, ["x"], False, "\ud800"],
    "isBase64Encoded": [1, "true", []],
    "cookies": [[]],
}
MALFORMED_ANSWERS: list[Any] = [
    *(None, "text", 1, [], [{"statusCode": 200}], {"status": 200}),
    *({field: value} for field, values in BAD.items() for value in values),
]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({}, (200, b"", [JSON])),
        ({"statusCode": None, "headers": None, "body": None}, (200, b"", [JSON])),
        ({"statusCode": "201"}, (201, b"", [JSON])),
        ({"statusCode": 599, "body": "é"}, (599, "é".encode(), [JSON])),
        ({"headers": {"Content-Type": "text/plain"}}, (200, b"", [("content-type", "text/plain")])),
        (
            {
                "headers": {"X-A": "1", "X-B": True, "Connection": "close", "Content-Length": "7"},
                "multiValueHeaders": {"x-a": ["1", "2"], "X-C": ["c"]},
            },
            (200, b"", [("x-a", "1"), ("x-b", "true"), ("x-a", "2"), ("x-c", "c"), JSON]),
        ),
        # The API names no binary media types.
        ({"body": "AP8=", "isBase64Encoded": True}, (200, b"AP8=", [JSON])),
        *((answer, MALFORMED) for answer in MALFORMED_ANSWERS),
    ],
)
def test_a_functions_answer_is_passed_on_or_a_bad_gateway(
    api: Api, answer: object, expected: object
) -> None:
    api.answer = answer

    (response,) = api.send(api.good)

    if expected == MALFORMED:
        assert response.status == 502
        assert json.loads(response.body) == {"message": "Internal server error"}
    else:
        assert (response.status, response.body, response.headers[1:]) == expected
    assert api.gateway.gate.in_flight == 0, "its concurrency is free again"


def test_a_function_that_fails_is_answered_as_the_document_says(resources: Resources) -> None:
    api = Api(resources)
    api.answer = FunctionFailed("crashed")
    (response,) = api.send(api.good)
    own = api.gateway.deployment.responses["INTEGRATION_FAILURE"]
    assert (response.status, response.body) == (own.status, own.body(""))

    assert read_gateway_responses({})["INTEGRATION_FAILURE"].status == 502
    assert read_gateway_responses({})["INTEGRATION_FAILURE:concurrency"].status == 500


def test_a_function_that_outlives_the_integration_is_a_gateway_timeout(
    resources: Resources,
) -> None:
    api = Api(resources, {"timeout_seconds": 0.0})
    api.answer = asyncio.Future

    (response,) = api.send(api.good)

    assert response.status == 504
    assert json.loads(response.body) == {"message": "Endpoint request timed out"}


def test_an_api_that_may_not_invoke_its_function_cannot_answer(resources: Resources) -> None:
    api = Api(resources, {"may_invoke": False})

    assert api.statuses(api.good) == [503], "as the document's API_CONFIGURATION_ERROR says"
    assert not api.events


@pytest.mark.parametrize(
    ("limits", "layer", "message", "retry_after"),
    [
        ({"stage": ONE}, "stage", "Too Many Requests", "1"),
        (
            {"stage": ONE, "methods": {"POST /data": ONE}},
            *("method:POST /data", "Too Many Requests", "1"),
        ),
        ({"usage_plans": {"basic": BASIC}}, "usage-plan:basic", "Too Many Requests", "1"),
        # Waiting a second would not help.
        ({"usage_plans": {"basic": ONE_A_DAY}}, "quota:basic", "Limit Exceeded", None),
    ],
)
def test_a_request_beyond_a_limit_does_not_reach_the_function(
    resources: Resources, limits: Sending, layer: str, message: str, retry_after: str | None
) -> None:
    api = Api(resources, **limits)

    passed, refused = api.send(api.good, api.good)

    assert (passed.status, refused.status) == (200, 429)
    assert header(refused, "x-throttled-by") == layer
    assert json.loads(refused.body)["message"] == message
    assert header(refused, "retry-after") == retry_after
    assert len(api.events) == 1


def test_more_in_flight_than_the_concurrency_is_unavailable(resources: Resources) -> None:
    api = Api(resources, concurrency=1)
    api.answer = asyncio.Future

    async def two_at_once() -> Response:
        first = asyncio.create_task(api.gateway.handle(_request(**api.good)))
        while not api.events:
            await asyncio.sleep(0)
        refused = await api.gateway.handle(_request(**api.good))
        first.cancel()
        await asyncio.wait([first])
        return refused

    refused = asyncio.run(two_at_once())

    assert refused.status == 503
    assert json.loads(refused.body) == {"message": "Service Unavailable"}
    assert header(refused, "retry-after") is None, "a crash has the same answer on AWS"
    assert header(refused, "x-throttled-by") == "concurrency"
    assert api.gateway.gate.in_flight == 0, "a caller that went away gives its place back"


def test_a_body_larger_than_api_gateway_takes_is_refused_without_a_token(api: Api) -> None:
    (refused,) = api.send(api.good | {"body": BodyTooLarge()})

    assert MAX_BODY_BYTES == 10 * 1024 * 1024
    assert refused.status == 413
    assert json.loads(refused.body) == {"message": "Request Too Long"}
    assert api.statuses(*[api.good] * 10) == [200] * 10, "the whole burst is left"


@pytest.mark.parametrize(
    ("sent", "status", "message"),
    [
        ({}, 403, "Forbidden"),
        ({"x-api-key": "wrong"}, 403, "Forbidden"),
        ({"path": "/dev/other"}, 404, "Not Found"),
        ({"verb": "GET"}, 404, "Not Found"),
        ({"path": "/dev/other", "authorization": "Bearer x"}, 403, "Bad Request"),
    ],
)
def test_the_body_of_a_caller_without_a_key_or_a_route_is_not_read(
    api: Api, sent: Sending, status: int, message: str
) -> None:
    (answer,) = api.send(sent | {"body": AssertionError("the body was read")})

    assert (answer.status, json.loads(answer.body)) == (status, {"message": message})
    assert not api.events


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/dev/data", 200),
        ("/dev/data/", 200),
        ("/dev//data", 200),
        ("/dev//data//", 200),
        ("/dev/da%74a", 404),
        ("/dev/data/x", 404),
        ("/dev", 404),
        ("/dev/", 404),
        ("/", 403),
        ("", 403),
        ("/data", 403),
        ("/other/data", 403),
        ("/devdata", 403),
    ],
)
def test_paths_are_matched_segment_by_segment_as_the_caller_wrote_them(
    resources: Resources, path: str, status: int
) -> None:
    api = Api(resources, waf=ONE_A_MINUTE)

    answers = api.send(api.good | {"path": path}, api.good | {"path": path})

    assert answers[0].status == status
    if status == 403:
        assert [json.loads(answer.body) for answer in answers] == [{"message": "Forbidden"}] * 2
        assert header(answers[0], "x-amzn-errortype") == "ForbiddenException"
    else:
        assert answers[1].status == 429, "the web ACL counts it"
    assert [event["path"] for event in api.events] == ([path[4:]] if status == 200 else [])


def test_parameters_are_decoded_and_a_literal_segment_wins(resources: Resources) -> None:
    api = Api(resources)
    deployment = api.gateway.deployment
    ((_, only),) = deployment.routes.items()
    paths = ("/data/{id}", "/data/list", "/{kind}/{id}/parts")
    api.gateway.deployment = replace(
        deployment, routes={("POST", path): replace(only, path=path) for path in paths}
    )
    sent = ("/data/a%2Fb%20%C3%A9", "/data/list", "/data/li%73t", "/x/%7B/parts", "/x/y")

    statuses = api.statuses(*(api.good | {"path": f"/dev{path}"} for path in sent))

    assert statuses == [200, 200, 200, 200, 404]
    assert [(e["resource"], e["path"], e["pathParameters"]) for e in api.events] == [
        ("/data/{id}", "/data/a%2Fb%20%C3%A9", {"id": "a/b é"}),
        ("/data/list", "/data/list", None),
        ("/data/{id}", "/data/li%73t", {"id": "list"}),
        ("/{kind}/{id}/parts", "/x/%7B/parts", {"kind": "x", "id": "{"}),
    ]


def test_used_quota_stays_used_in_the_next_deployment(api: Api) -> None:
    api.send(*[api.good] * 5)
    limits = api.gateway.deployment.limits
    basic = limits.usage_plans["basic"]
    assert basic.quota

    left = []
    for quota in (
        replace(basic.quota, limit=100),
        replace(basic.quota, limit=3),
        replace(basic.quota, limit=100, period=Period.MONTH),
    ):
        plans = {**limits.usage_plans, "basic": replace(basic, quota=quota)}
        after = Gate(replace(limits, usage_plans=plans))
        after.keep_usage(api.gateway.gate)
        left.append(after.quota_left(api.now, Client("basic", "default")))

    assert left == [95, -2, 100], "another period begins with no use"


def test_a_blocked_address_passes_again_when_its_window_is_over(resources: Resources) -> None:
    api = Api(resources, waf=ONE_A_MINUTE)

    statuses = []
    for seconds in (0, 59, 59, 61):
        api.now += seconds
        statuses += api.statuses({})
    _, blocked = api.send({}, {})

    assert statuses == [403, 429, 429, 403]
    assert header(blocked, "x-throttled-by") == "waf:rate-per-address"
    assert header(blocked, "retry-after") == "60", "the window"
    assert header(blocked, "content-type") == "application/json"
    assert json.loads(blocked.body)["message"] == "Too Many Requests"
    assert api.statuses({"x-forwarded-for": "192.0.2.2"}) == [403], "it has its own window"


def test_a_route_without_key_counts_toward_the_stage_only(resources: Resources) -> None:
    keyless = ("POST /data",)
    stage = Throttle(rate=1, burst=20)
    api = Api(resources, {"key_required": False}, keyless=keyless, stage=stage)

    assert api.statuses(*[{}] * 21) == [200] * 20 + [429]


def test_the_access_log_has_the_fields_and_the_form_that_the_program_registers(api: Api) -> None:
    api.now += 0.25
    api.send(api.good | {"x-forwarded-for": "192.0.2.1"})

    (line,) = map(json.loads, api.log)

    request_id = line["requestId"]
    assert json.loads(access_log_format()).keys() == line.keys()
    assert line == {
        "requestId": request_id,
        "extendedRequestId": f"{request_id[-12:]}=",
        "requestTime": "15/Jan/2027:08:00:00 +0000",
        "requestTimeEpoch": "1800000000250",
        "sourceIp": "192.0.2.1",
        "apiKeyId": api.gateway.deployment.key_ids[api.key],
        "method": "POST",
        "path": "/data",
        "status": "200",
        "responseType": "-",
        "wafStatus": "-",
        "wafResponseCode": "WAF_ALLOW",
        "integrationStatus": "200",
        "integrationLatencyMs": "0",
        "responseLatencyMs": "0",
        "xrayTraceId": "-",
    }


@pytest.mark.parametrize(
    ("sent", "answer", "limits", "expected"),
    [
        ({}, None, {}, "403 INVALID_API_KEY WAF_ALLOW /data - -"),
        ({"path": "/dev/other"}, None, {}, "404 MISSING_AUTHENTICATION_TOKEN WAF_ALLOW - - -"),
        ("key", None, {"stage": Throttle(rate=1, burst=0)}, "429 THROTTLED WAF_ALLOW /data KEY -"),
        ("key", None, {"concurrency": 0}, "503 INTEGRATION_FAILURE WAF_ALLOW /data KEY 429"),
        ("key", FunctionFailed("x"), {}, "503 INTEGRATION_FAILURE WAF_ALLOW /data KEY 200"),
        ("key", {"statusCode": 400}, {}, "400 - WAF_ALLOW /data KEY 200"),
        ("key", "malformed", {}, "502 DEFAULT_5XX WAF_ALLOW /data KEY 200"),
        ("blocked", None, {}, "429 WAF_FILTERED WAF_BLOCK - - -"),
    ],
)
def test_the_access_log_says_who_was_answered_how_and_why(
    resources: Resources, sent: Sending | str, answer: object, limits: Sending, expected: str
) -> None:
    api = Api(resources, waf=ONE_A_MINUTE, **limits)
    api.answer = answer
    headers = api.good if sent == "key" else sent if isinstance(sent, dict) else {}
    api.send(*[headers] * (2 if sent == "blocked" else 1))

    line = json.loads(api.log[-1])

    fields = ("status", "responseType", "wafResponseCode", "path", "apiKeyId", "integrationStatus")
    key_id = api.gateway.deployment.key_ids[api.key]
    assert " ".join(line[field] for field in fields).replace(key_id, "KEY") == expected


def test_requests_to_another_stage_or_one_without_a_log_are_not_logged(api: Api) -> None:
    api.send({"path": "/other/data"}, {"path": "/"})
    api.gateway.deployment = replace(api.gateway.deployment, access_log_format="")
    api.send(api.good)

    assert api.log == []


def test_the_format_of_a_line_may_be_any_text() -> None:
    write = access_log.line_writer('100 % $context.status."$context.nosuch" $input')

    assert write(access_log.Context(status=200)) == '100 % 200."-" $input\n'


def test_lines_are_written_in_batches_and_a_full_file_becomes_the_older_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_log, "_FLUSH_SECONDS", 0)
    monkeypatch.setattr(access_log, "_MAX_BYTES", 7)
    file, old = tmp_path / "access.jsonl", tmp_path / "access.old.jsonl"

    async def write() -> None:
        log = access_log.AccessLog(file)
        keeping = asyncio.create_task(log.keep())
        for batch in ("ab", "cd", "e"):
            for letter in batch:
                log.add(letter * 3 + "\n")
            while not file.exists() or batch[-1] * 3 not in file.read_text():
                if old.exists() and batch[-1] * 3 in old.read_text():
                    break
                await asyncio.sleep(0.001)
        keeping.cancel()

    asyncio.run(write())

    assert (old.read_text(), file.read_text()) == ("ccc\nddd\n", "eee\n")
