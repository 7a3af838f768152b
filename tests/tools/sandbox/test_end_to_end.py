"""The running sandbox as its users meet it: the README's commands and real HTTP.

The tests of this file share a project. Each deploys what it needs first, which leaves full
buckets, and the items and the used quotas of the tests before.
"""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import pytest

from tests.tools.sandbox.project import Project, curl_in, items_in, keys_in
from tests.tools.sandbox.slow_table import SlowTable

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def output(project: Project) -> str:
    """What the first `make up` printed."""
    return project.up()


@pytest.fixture(scope="module")
def keys(output: str) -> dict[str, str]:
    """The API keys by plan; no redeployment changes them."""
    return keys_in(output)


def test_the_printed_curl_stores_a_record(output: str) -> None:
    url, headers, body = curl_in(output)

    answer = httpx.post(url, headers=headers, content=body)

    assert answer.status_code == 200
    assert answer.json() == {"message": "Successfully inserted data!"}
    assert items_in(output) == [
        {"id": {"S": "12"}, "title": {"S": "Test Movie"}, "year": {"N": "2023"}}
    ]


@pytest.mark.parametrize(
    ("key", "method", "path", "body", "status", "message"),
    [
        (None, "POST", "/dev/data", "{}", 403, "Forbidden"),
        ("wrong", "POST", "/dev/data", "{}", 403, "Forbidden"),
        ("basic", "POST", "/dev/other", "{}", 404, "Not Found"),
        ("basic", "POST", "/data", "{}", 403, "Forbidden"),
        ("basic", "GET", "/dev/data", "", 404, "Not Found"),
        ("basic", "POST", "/dev/data", '{"id": "1", "title": "T"}', 400, "year: is missing"),
        ("basic", "POST", "/dev/data", '{"id": 1', 400, "body: is not JSON, at line 1, column 9"),
    ],
)
def test_callers_see_what_is_wrong(
    project: Project,
    keys: dict[str, str],
    key: str | None,
    method: str,
    path: str,
    body: str,
    status: int,
    message: str,
) -> None:
    headers = JSON | ({"x-api-key": keys.get(key, key)} if key else {})
    url = f"http://127.0.0.1:{project.port}{path}"

    answer = httpx.request(method, url, headers=headers, content=body)

    assert answer.status_code == status
    assert answer.json() == {"message": message}


@pytest.fixture(scope="module")
def few(project: Project, keys: dict[str, str]) -> dict[str, str]:
    """The API keys of a stack whose web ACL and whose plan `trial` allow only a few requests."""
    project.edit("waf.rateLimit", 30)
    trial = {"rateLimit": 5, "burstLimit": 10, "quota": {"limit": 3}, "clients": ["default"]}
    project.edit("usagePlans.trial", trial)
    return keys_in(project.up())


def test_300_fast_requests_pass_as_burst_and_rate_allow(
    project: Project, few: dict[str, str]
) -> None:
    rate, burst = 5, 10  # plan basic
    addresses = [{"x-forwarded-for": f"198.51.100.{number % 15}"} for number in range(300)]
    record = {"id": "1", "title": "T", "year": 2023}
    with httpx.Client(headers={"x-api-key": few["basic"]}) as client:
        began = time.monotonic()
        answers = [client.post(project.data_url, json=record, headers=a) for a in addresses]
        ended = time.monotonic()

    stored = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(stored) + len(refused) == 300
    # The bucket was asked between the first sending and the last answer.
    assert burst <= len(stored) <= burst + rate * (ended - began)
    assert refused[0].headers["retry-after"] == "1"
    assert refused[0].headers["x-throttled-by"] == "usage-plan:basic"
    assert refused[0].json()["message"] == "Too Many Requests"


def test_the_waf_blocks_one_address_and_no_other(project: Project, few: dict[str, str]) -> None:
    with httpx.Client(headers={"x-forwarded-for": "192.0.2.1, 10.0.0.1"}) as client:
        answers = [client.post(project.data_url) for _ in range(31)]

    assert [answer.status_code for answer in answers] == [403] * 30 + [429]
    blocked = answers[-1]
    assert blocked.headers["x-throttled-by"] == "waf:rate-per-address"
    assert blocked.headers["retry-after"] == "60", "the window"
    assert blocked.json()["message"] == "Too Many Requests"
    other = project.post(few["premium"], **{"x-forwarded-for": "192.0.2.2"})
    assert other.status_code == 200, "another address has its own window"


def test_a_used_up_quota_is_refused_without_a_retry_after(
    project: Project, few: dict[str, str]
) -> None:
    answers = [project.post(few["trial"]) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[3].json()["message"] == "Limit Exceeded"
    assert answers[3].headers["x-throttled-by"] == "quota:trial"
    assert "retry-after" not in answers[3].headers, "waiting a second would not help"
    assert project.post(few["premium"]).status_code == 200, "each client has its own quota"


def test_more_in_flight_than_the_reserved_concurrency_is_unavailable(
    project: Project, keys: dict[str, str]
) -> None:
    project.edit("function.reservedConcurrency", 2)
    with SlowTable() as table, ThreadPoolExecutor(2) as pool:
        project.up("--dynamodb-endpoint", table.url)
        in_flight = [pool.submit(project.post, keys["premium"]) for _ in range(2)]
        table.wait_for_writes(2)

        refused = project.post(keys["premium"])

        table.release()
        assert [answer.result().status_code for answer in in_flight] == [200, 200]
    assert refused.status_code == 503
    assert refused.json() == {"message": "Service Unavailable"}
    assert "retry-after" not in refused.headers, "a crash has the same answer on AWS"
    assert refused.headers["x-throttled-by"] == "concurrency"
    project.edit("function.reservedConcurrency", 25)


def test_a_call_without_permission_is_refused_logged_and_shown(
    project: Project, keys: dict[str, str]
) -> None:
    project.up()
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
    assert "1 calls of DynamoDB refused: User: arn:aws:sts::" in project.run("status").stdout
    project.up()
    assert project.post(keys["premium"]).status_code == 200
    assert sandbox.status()["refusedCalls"] == []


def test_an_edit_of_the_config_changes_the_limits_and_keeps_the_items(
    project: Project, keys: dict[str, str]
) -> None:
    project.up()
    project.post(keys["basic"], {"id": "kept", "title": "T", "year": 1})
    project.edit("usagePlans.basic.burstLimit", 1)
    project.edit("usagePlans.basic.rateLimit", "0.01")

    output = project.up()

    answers = [project.post(keys["basic"]) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert answers[1].headers["retry-after"] == "100", "the slowest bucket's time for one token"
    assert keys_in(output).items() >= keys.items(), "a redeployment changes no key"
    assert {"S": "kept"} in [item["id"] for item in items_in(output)]


def test_an_impossible_edit_is_refused_and_the_old_limits_stay(
    project: Project, keys: dict[str, str]
) -> None:
    project.edit("usagePlans.basic.burstLimit", 1000)

    error = project.refused("up", "--port", str(project.port))

    assert "fixture-api:usagePlans.basic.burstLimit: 1,000 can never be reached" in error
    assert "pulumi config set --path fixture-api:usagePlans.basic.burstLimit 100" in error
    assert project.post(keys["basic"]).status_code == 429, "the burst of 1 is still used up"
    project.edit("usagePlans.basic.burstLimit", 1)


def test_a_port_that_is_taken_is_one_clear_line_and_the_old_one_stays(
    project: Project, keys: dict[str, str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        error = project.refused("up", "--port", str(port))

    assert error == (
        f"error: Port {port} cannot be used: address already in use. "
        f"Choose another with make up PORT={port + 1}.\n"
    )
    assert project.post(keys["premium"]).status_code == 200


def test_the_port_of_another_stack_is_refused_by_name(project: Project, output: str) -> None:
    error = project.refused("up", "--stack", "prod", "--port", str(project.port))

    assert error.startswith(f"error: Port {project.port} serves the sandbox of stack dev.")


def test_status_counts_answers_by_layer_and_shows_the_items(
    project: Project, keys: dict[str, str]
) -> None:
    project.up()
    before = quota_left(project)
    for _ in range(3):
        project.post(keys["basic"])
    project.post("wrong")

    found = json.loads(project.run("status", "--format", "json").stdout)
    shown = project.run("status").stdout

    assert found["answers"] == [
        {"layer": "api-key", "subject": "", "status": 403, "requests": 1},
        {"layer": "usage-plan", "subject": "basic", "status": 429, "requests": 2},
        {"layer": "function", "subject": "", "status": 200, "requests": 1},
    ]
    assert quota_left(project) == before - 1
    project.up()
    assert quota_left(project) == before - 1, "used quota stays used"
    assert '{"id": {"S": "12"}, "title": {"S": "Test Movie"}, "year": {"N": "2023"}}' in shown
    assert "usage-plan   basic  429     2" in shown


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


def test_a_redeployment_to_another_port_frees_the_one_before(
    project: Project, keys: dict[str, str]
) -> None:
    project.up()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    before, project.port = project.port, port

    output = project.up()

    assert project.post(keys["premium"]).status_code == 200
    assert f":{port}/" in curl_in(output)[0]
    assert not _listens(before)


def test_down_leaves_no_process_no_port_and_no_items(project: Project) -> None:
    processes = project.processes()
    assert len(processes) >= 3, "server, table and an environment of the function"

    done = project.run("down")

    assert (done.returncode, done.stdout) == (0, "Stack dev is down.\n")
    for process in processes:
        process.wait(30)
    assert not _listens(project.port)
    assert not list((project.folder / ".sandbox").iterdir())
    assert project.run("down").stdout == "No sandbox is running.\n"
    assert items_in(project.up()) == []


def quota_left(project: Project) -> int:
    left: int = next(
        row["quotaLeft"] for row in project.sandbox.status()["clients"] if row["plan"] == "basic"
    )
    return left


def _listens(port: int, address: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex((address, port)) == 0
