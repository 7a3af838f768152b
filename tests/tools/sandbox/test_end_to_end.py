"""The running sandbox as its users meet it: the README's commands and real HTTP.

The tests of this file share a project. Each deploys what it needs first, which leaves full
buckets, and the items and the used quotas of the tests before.
"""

import json
import socket
import time
from dataclasses import replace

import httpx
import pytest

from settings import UserError
from tests.tools.sandbox.project import Project, curl_in, free_port, items_in, keys_in


@pytest.fixture(scope="module")
def output(project: Project) -> str:
    """What the first `make up` printed."""
    return project.up()


@pytest.fixture(scope="module")
def keys(output: str) -> dict[str, str]:
    """The API keys by plan; no redeployment changes them."""
    return keys_in(output)


def test_the_printed_curl_stores_a_record_and_is_logged(project: Project, output: str) -> None:
    url, headers, body = curl_in(output)

    answer = httpx.post(url, headers=headers, content=body)

    assert answer.status_code == 200
    assert answer.json() == {"message": "Successfully inserted data!"}
    assert items_in(output) == [
        {"id": {"S": "12"}, "title": {"S": "Test Movie"}, "year": {"N": "2023"}}
    ]
    refused = httpx.post(url, headers=headers, content='{"id": "1", "title": "T"}')
    assert (refused.status_code, refused.json()) == (400, {"message": "year: is missing"})
    log = project.state / "access.jsonl"
    deadline = time.monotonic() + 30
    while not log.exists() or len(log.read_text().splitlines()) < 2:
        assert time.monotonic() < deadline, "nothing was logged"
        time.sleep(0.01)
    lines = map(json.loads, log.read_text().splitlines())
    assert [(line["status"], line["wafResponseCode"]) for line in lines] == [
        ("200", "WAF_ALLOW"),
        ("400", "WAF_ALLOW"),
    ]


def test_300_fast_requests_pass_as_burst_and_rate_allow(
    project: Project, keys: dict[str, str]
) -> None:
    rate, burst = 5, 10  # plan basic
    project.refill()
    record = {"id": "1", "title": "T", "year": 2023}
    with httpx.Client(headers={"x-api-key": keys["basic"]}) as client:
        began = time.monotonic()
        answers = [client.post(project.data_url, json=record) for _ in range(300)]
        ended = time.monotonic()

    stored = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(stored) + len(refused) == 300
    # The bucket was asked between the first sending and the last answer.
    assert burst <= len(stored) <= burst + rate * (ended - began)
    assert refused[0].headers["retry-after"] == "1"
    assert refused[0].headers["x-throttled-by"] == "usage-plan:basic"
    assert refused[0].json()["message"] == "Too Many Requests"


def test_a_call_without_permission_is_refused_logged_and_shown(
    project: Project, keys: dict[str, str]
) -> None:
    sandbox = project.sandbox
    resources = sandbox.resources()
    policies = ("aws:iam/rolePolicy:RolePolicy", "aws:iam/role:Role")
    items = tuple(
        replace(one, inputs=one.inputs | {"policy": '{"Statement": []}'})
        if one.type in policies
        else one
        for one in resources.items
    )
    sandbox.deploy(replace(resources, items=items), port=project.port, dynamodb=None)

    assert project.post(keys["premium"]).status_code == 500

    (refused,) = sandbox.status()["refusedCalls"]
    assert "is not authorized to perform: dynamodb:PutItem on resource: arn:" in refused["reason"]
    assert refused["calls"] == 1
    assert refused["reason"] in (project.state / "function.log").read_text()
    shown = project.run("status").stdout
    assert "1 calls of DynamoDB refused: User: arn:aws:sts::" in shown
    assert "function         500     1" in shown
    assert '{"id": {"S": "12"}, "title": {"S": "Test Movie"}, "year": {"N": "2023"}}' in shown
    sandbox.deploy(resources, port=project.port, dynamodb=None)
    assert project.post(keys["premium"]).status_code == 200
    assert sandbox.status()["refusedCalls"] == []


def test_an_edit_of_the_config_changes_the_limits_and_keeps_the_items(
    project: Project, keys: dict[str, str]
) -> None:
    project.refill()
    project.post(keys["basic"], {"id": "kept", "title": "T", "year": 1})
    project.edit("usagePlans.basic.burstLimit", 1)
    project.edit("usagePlans.basic.rateLimit", "0.01")

    output = project.up()

    answers = [project.post(keys["basic"]) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert answers[1].headers["retry-after"] == "100", "the slowest bucket's time for one token"
    assert keys_in(output).items() >= keys.items(), "a redeployment changes no key"
    assert {"S": "kept"} in [item["id"] for item in items_in(output)]


def test_a_port_that_is_taken_is_one_clear_line_and_another_one_is_moved_to(
    project: Project, keys: dict[str, str]
) -> None:
    before = project.port
    assert project.refused("up", "--stack", "prod", "--port", str(before)) == (
        f"error: Port {before} cannot be used: address already in use. "
        f"Choose another with make up PORT={before + 1}.\n"
    )
    project.port = free_port()
    project.refill()
    assert project.post(keys["premium"]).status_code == 200
    deadline = time.monotonic() + 30
    while _listens(before):
        assert time.monotonic() < deadline, "the port before is not free"
        time.sleep(0.01)


def test_another_dynamodb_is_used_as_it_is(project: Project, keys: dict[str, str]) -> None:
    url = project.sandbox.status()["dynamodb"]

    output = project.up("--dynamodb-endpoint", url.replace("127.0.0.1", "localhost"))

    assert "not enforced here: the function's permissions" in output
    assert project.post(keys["premium"], {"id": "x", "title": "T", "year": 1}).status_code == 200
    assert {"S": "x"} in [item["id"] for item in items_in(output)]


def test_status_counts_answers_by_layer_and_used_quota_stays_used(
    project: Project, keys: dict[str, str]
) -> None:
    project.refill()
    before = quota_left(project)
    for _ in range(3):
        project.post(keys["basic"])
    project.post("wrong")
    httpx.get(project.data_url)

    found = json.loads(project.run("status", "--format", "json").stdout)

    assert found["answers"] == [
        {"layer": "route", "subject": "", "status": 404, "requests": 1},
        {"layer": "api-key", "subject": "", "status": 403, "requests": 1},
        {"layer": "usage-plan", "subject": "basic", "status": 429, "requests": 2},
        {"layer": "function", "subject": "", "status": 200, "requests": 1},
    ]
    (table,) = found["items"].values()
    assert (table["count"], {"S": "kept"} in [item["id"] for item in table["sample"]]) == (4, True)
    assert quota_left(project) == before - 1
    project.refill()
    assert quota_left(project) == before - 1


def test_status_shows_what_a_shadow_limit_would_block(
    project: Project, keys: dict[str, str]
) -> None:
    project.edit("waf", {"shadow": {"rateLimit": 10, "windowSeconds": 60}})
    project.up()

    statuses = [project.post("wrong").status_code for _ in range(13)]

    assert statuses == [403] * 13, "it blocks none"
    line = "Rule shadow-rate-per-address of the web ACL only counts: 3 requests"
    assert line in project.run("status").stdout


def test_all_ports_are_on_the_loopback_address_alone(project: Project, output: str) -> None:
    ports = {
        connection.laddr.port
        for process in project.processes()
        for connection in process.net_connections("tcp")
        if connection.status == "LISTEN"
    }

    assert len(ports) == 3, "of the API, the commands and the table"
    for port in ports:
        assert _listens(port)
        # Another of this machine's addresses, which a socket for all addresses would answer too.
        assert not _listens(port, "127.0.0.2")


def test_the_admin_port_answers_only_with_the_token(project: Project, output: str) -> None:
    url = f"http://127.0.0.1:{project.sandbox.port}"

    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Bearer é"}):
        for method, path in (("GET", "/status"), ("POST", "/stop"), ("POST", "/deploy?port=1")):
            encoded = [(k.encode(), v.encode()) for k, v in headers.items()]
            answer = httpx.request(method, url + path, headers=encoded)
            assert answer.status_code == 401
    assert (project.state / "server.json").stat().st_mode & 0o077 == 0, "it has the token"


def test_a_fault_of_the_server_names_its_log_and_changes_nothing(
    project: Project, output: str
) -> None:
    log, port = project.state / "server.log", free_port()
    with pytest.raises(UserError) as said:
        project.sandbox._ask("POST", f"/deploy?port={port}", b"no JSON")
    assert str(said.value) == f"The sandbox of stack dev failed at /deploy. Its log is {log}."
    assert "Traceback" in log.read_text()
    assert _listens(project.port)
    assert not _listens(port)


def test_down_leaves_no_process_no_port_and_no_items(project: Project) -> None:
    processes = project.processes()
    assert len(processes) >= 3, "server, table and an environment of the function"

    done = project.run("down")

    assert (done.returncode, done.stdout) == (0, "Stack dev is down.\n")
    for process in processes:
        process.wait(30)
    assert not _listens(project.port)
    assert not list((project.folder / ".sandbox").iterdir())


def quota_left(project: Project) -> int:
    left: int = next(
        row["quotaLeft"] for row in project.sandbox.status()["clients"] if row["plan"] == "basic"
    )
    return left


def _listens(port: int, address: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex((address, port)) == 0
