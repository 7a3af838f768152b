"""The running sandbox, as its users meet it: the README's commands, and real HTTP.

The tests of this file share one copy of the project. Each deploys what it needs first, which
leaves full buckets, unused quotas and the items of the test before.
"""

import json
import shlex
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest

from tests.tools.sandbox.project import Project, items_in, keys_in
from tests.tools.sandbox.slow_table import SlowTable

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def output(project: Project) -> str:
    """What the first `make up` printed."""
    return project.up()


@pytest.fixture(scope="module")
def keys(output: str) -> dict[str, str]:
    """The API keys by plan; they stay the same however often the stack is redeployed."""
    return keys_in(output)


def test_the_printed_curl_stores_a_record(output: str) -> None:
    line = next(line for line in output.splitlines() if line.startswith("curl "))
    words = shlex.split(line)
    headers = dict(words[i + 1].split(": ") for i, word in enumerate(words) if word == "-H")
    url = next(word for word in words if word.startswith("http"))

    answer = httpx.post(url, headers=headers, content=words[words.index("-d") + 1])

    assert answer.status_code == 200
    assert answer.json() == {"message": "Successfully inserted data!"}
    assert items_in(output) == [
        {"id": {"S": "12"}, "title": {"S": "Test Movie"}, "year": {"N": "2023"}}
    ]


@pytest.mark.parametrize(
    ("key", "path", "body", "status", "message"),
    [
        (None, "/dev/data", "{}", 403, "Forbidden"),
        ("wrong", "/dev/data", "{}", 403, "Forbidden"),
        ("basic", "/dev/other", "{}", 404, "Not Found"),
        ("basic", "/data", "{}", 404, "Not Found"),
        ("basic", "/dev/data", '{"id": "1", "title": "T"}', 400, "year: is missing"),
        ("basic", "/dev/data", '{"id": "1"', 400, "body: is not JSON, at line 1, column 11"),
    ],
)
def test_callers_see_what_is_wrong(
    project: Project,
    keys: dict[str, str],
    key: str | None,
    path: str,
    body: str,
    status: int,
    message: str,
) -> None:
    headers = JSON | ({"x-api-key": keys.get(key, key)} if key else {})

    answer = httpx.post(f"http://127.0.0.1:{project.port}{path}", headers=headers, content=body)

    assert answer.status_code == status
    assert answer.json() == {"message": message}


def test_a_method_that_the_api_does_not_have_is_not_found(
    project: Project, keys: dict[str, str]
) -> None:
    assert httpx.get(project.data_url, headers={"x-api-key": keys["basic"]}).status_code == 404


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
    rate, burst = 5, 10  # plan basic of Pulumi.dev.yaml
    # Whatever starts late does so now: while the bucket is full, time adds no tokens.
    project.post(few["premium"])
    with httpx.Client(headers={"x-api-key": few["basic"]}) as client:
        record = {"id": "1", "title": "T", "year": 2023}
        addresses = [{"x-forwarded-for": f"198.51.100.{number % 15}"} for number in range(300)]
        first = time.monotonic()
        answers = [client.post(project.data_url, json=record, headers=a) for a in addresses]
        elapsed = time.monotonic() - first

    stored = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(stored) + len(refused) == 300
    assert abs(len(stored) - (burst + rate * elapsed)) <= 1
    for answer in refused:
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["x-throttled-by"] == "usage-plan:basic"
        assert answer.json()["message"] == "Too Many Requests"


def test_the_waf_blocks_one_address_and_no_other(project: Project, few: dict[str, str]) -> None:
    with httpx.Client(headers={"x-forwarded-for": "192.0.2.1, 10.0.0.1"}) as client:
        answers = [client.post(project.data_url) for _ in range(31)]

    assert [answer.status_code for answer in answers] == [403] * 30 + [429]
    blocked = answers[-1]
    assert blocked.headers["x-throttled-by"] == "waf"
    assert blocked.headers["retry-after"] == "60", "the window of Pulumi.dev.yaml"
    assert blocked.json()["message"] == "Too Many Requests"
    other = project.post(few["premium"], **{"x-forwarded-for": "192.0.2.2"})
    assert other.status_code == 200, "another address has a window of its own"


def test_a_used_up_quota_is_refused_without_a_retry_after(
    project: Project, few: dict[str, str]
) -> None:
    answers = [project.post(few["trial"]) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[3].json()["message"] == "Limit Exceeded"
    assert answers[3].headers["x-throttled-by"] == "quota:trial"
    assert "retry-after" not in answers[3].headers, "waiting a second would not help"
    assert project.post(few["premium"]).status_code == 200, "quotas are each client's own"


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
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["x-throttled-by"] == "concurrency"
    project.edit("function.reservedConcurrency", 25)


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
    assert keys_in(output).items() >= keys.items(), "a redeployment changes nobody's key"
    assert {"S": "kept"} in [item["id"] for item in items_in(output)]


def test_an_impossible_edit_is_refused_and_the_old_limits_stay(
    project: Project, keys: dict[str, str]
) -> None:
    project.edit("usagePlans.basic.burstLimit", 1000)

    done = project.run("up", "--port", str(project.port))

    assert done.returncode == 1
    assert (
        "throttled-api:usagePlans.basic.burstLimit: 1,000 can never be reached behind the stage's "
        "100. Allowed: at most the stage's throttle.burstLimit, 100." in done.stderr
    )
    assert (
        "pulumi config set --path throttled-api:usagePlans.basic.burstLimit 100 --stack dev"
        in done.stderr
    )
    assert "Traceback" not in done.stderr
    assert project.post(keys["basic"]).status_code == 429, "the burst of 1 is still used up"
    project.edit("usagePlans.basic.burstLimit", 10)


def test_a_function_that_cannot_be_imported_is_refused_and_the_old_one_stays(
    project: Project, keys: dict[str, str]
) -> None:
    app = project.folder / "handler" / "app.py"
    good = app.read_text()
    app.write_text("import no_such_module\n" + good)

    done = project.run("up", "--port", str(project.port))

    app.write_text(good)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: The function handler.app.handle cannot be imported: "
        "ModuleNotFoundError: No module named 'no_such_module'"
    ]
    assert project.post(keys["premium"]).status_code == 200


def test_a_broken_file_is_one_clear_line(project: Project) -> None:
    file = project.folder / "Pulumi.dev.yaml"
    good = file.read_text()
    file.write_text("config: {")

    done = project.run("up", "--port", str(project.port))

    file.write_text(good)
    assert done.returncode == 1
    assert done.stderr.startswith("error: Pulumi.dev.yaml is not valid YAML: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_port_that_is_taken_is_one_clear_line(project: Project, keys: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = project.run("up", "--port", str(port))

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"error: Port {port} cannot be used: address already in use. "
        f"Choose another with make up PORT={port + 1}."
    ]
    assert project.post(keys["premium"]).status_code == 200, "the old sandbox goes on"


def test_status_counts_answers_by_layer_and_shows_the_items(
    project: Project, keys: dict[str, str]
) -> None:
    project.edit("usagePlans.basic.burstLimit", 1)
    project.up()
    for _ in range(3):
        project.post(keys["basic"])
    project.post("wrong")

    told = json.loads(project.run("status", "--format", "json").stdout)
    shown = project.run("status").stdout

    assert told["answers"] == [
        {"layer": "api-key", "subject": "", "status": 403, "requests": 1},
        {"layer": "usage-plan", "subject": "basic", "status": 429, "requests": 2},
        {"layer": "function", "subject": "", "status": 200, "requests": 1},
    ]
    assert {"plan": "basic", "client": "default", "quotaLeft": 19999} in told["clients"]
    assert '{"id": {"S": "12"}, "title": {"S": "Test Movie"}, "year": {"N": "2023"}}' in shown
    assert "usage-plan   basic  429     2" in shown


def test_what_listens_is_on_the_loopback_address_alone(project: Project, output: str) -> None:
    told = json.loads(project.run("status", "--format", "json").stdout)
    for port in (project.port, told["tablePort"]):
        assert _listens(port)
        # Another of this machine's addresses, which whatever listens on all of them has too.
        assert not _listens(port, "127.0.0.2")


def test_another_stack_cannot_take_the_port(project: Project) -> None:
    done = project.run("up", "--stack", "prod", "--port", str(project.port))

    assert done.returncode == 1
    assert done.stderr.startswith(f"error: Port {project.port} serves the sandbox of stack dev.")


def test_down_leaves_no_process_and_no_port(project: Project) -> None:
    told = json.loads(project.run("status", "--format", "json").stdout)
    children = psutil.Process(told["pid"]).children(recursive=True)

    done = project.run("down")

    assert done.returncode == 0
    assert done.stdout == "Stack dev is down.\n"
    assert children, "the function's environments"
    assert not [p for p in children if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    assert not _listens(project.port)
    assert not _listens(told["tablePort"])
    assert not list((project.folder / ".sandbox" / "dev").glob("function-*"))


def test_a_sandbox_that_is_not_running_is_one_clear_line(project: Project) -> None:
    project.run("down")

    done = project.run("status")

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: No sandbox of stack dev is running. Start it with make up."
    ]
    assert project.run("down").returncode == 0, "already down is as good as down"


def test_an_unknown_stack_names_those_there_are(project: Project) -> None:
    done = project.run("up", "--stack", "staging")

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: There is no Pulumi.staging.yaml; stacks with a config here: dev, prod."
    ]


def _listens(port: int, address: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex((address, port)) == 0
