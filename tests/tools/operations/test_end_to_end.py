"""Load tests and the client example against a running sandbox, in a copy of the project.

The tests of this file share one copy, and run in their order: some use what the one before
deployed. Deploying leaves full buckets and unused quotas; the items of the test before stay.
"""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from docs.client import ThrottledApi
from tests.tools.sandbox.project import Project, free_port, items_in, keys_in, project_copy


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A copy of the project, whose sandbox is down at the end."""
    with project_copy(tmp_path_factory.mktemp("project"), "operations") as copy:
        yield copy


def start(project: Project, module: str, *words: str) -> subprocess.Popen[str]:
    """`python -m ...` in the copy."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *words],
        cwd=project.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # pytest-xdist's workers ignore Ctrl-C, and with them what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def load(project: Project, *words: str) -> tuple[int, str, str]:
    """`python -m operations load`: its exit status, output and errors."""
    process = start(project, "operations", "load", *words)
    output, errors = process.communicate(timeout=90)
    return process.returncode, output, errors


def row(output: str, limit: str) -> list[str]:
    """The cells behind the name of a compared limit."""
    return next(
        line.removeprefix(limit).split() for line in output.splitlines() if line.startswith(limit)
    )


def test_a_load_test_agrees_until_the_limits_are_changed_behind_its_back(
    project: Project,
) -> None:
    project.edit("waf.rateLimit", 100)
    keys = keys_in(project.up())

    status, output, errors = load(
        project, "--scenario", "smoke", "waf", "--record", "--chart", "chart.png"
    )

    assert status == 0, output + errors
    assert row(output, "requests in 60 s from one address") == ["100", "100", "agrees"]
    assert row(output, "110 requests from 50 addresses")[:2] == ["0", "blocked"]
    assert "waf one address: 110 of 110 sent, 0 passed, 110 refused" in errors
    assert (project.folder / "chart.png").stat().st_size > 10_000
    (record,) = (project.folder / "docs" / "tested-limits").glob("dev-sandbox-*.json")
    assert json.loads(record.read_text())["agrees"] is True
    for key in keys.values():
        assert key not in output + errors + record.read_text()

    project.edit("waf.rateLimit", 70)
    project.edit("usagePlans.premium.burstLimit", 90)
    project.up()
    project.edit("waf.rateLimit", 100)
    project.edit("usagePlans.premium.burstLimit", 40)
    status, output, errors = load(project, "--scenario", "waf")

    assert status == 1, output + errors
    assert row(output, "requests in 60 s from one address") == ["100", "70", "off"]
    assert row(output, "usage_plans.premium.throttle.burst")[:3] == ["40", "90", "off"]


def test_a_plans_rate_and_burst_are_measured_and_ctrl_c_prints_what_was(project: Project) -> None:
    project.edit("usagePlans", {"basic": _plan(rate=20, burst=20)})
    project.up()
    process = start(project, "operations", "load", "--scenario", "plan")
    assert process.stderr
    for line in process.stderr:
        if line.startswith("plan basic/default 100%"):
            break
    children = psutil.Process(process.pid).children(recursive=True)
    time.sleep(4.5)  # inside of what measures the rate
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)

    assert process.returncode == 130, output + errors
    assert "Stopped by Ctrl-C" in output
    assert row(output, "basic/default at 20/s (100%)")[-1] == "agrees"
    assert row(output, "basic/default rate")[0] == "20/s"
    assert row(output, "basic/default rate")[2] == "agrees"
    assert row(output, "basic/default burst")[1:] == ["not", "measured", "unclear"]
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive, "nothing goes on sending"


def test_several_workers_send_one_schedule_together(project: Project) -> None:
    address = f"127.0.0.1:{free_port()}"
    host, port = address.split(":")
    words = ["-f", "operations/locustfile.py", "--worker", "--master-host", host]
    workers = [start(project, "locust", *words, "--master-port", port) for _ in range(2)]

    status, output, errors = load(
        project, "--scenario", "smoke", "waf", "--workers", "2", "--bind", address
    )

    said = [worker.communicate(timeout=30)[1] for worker in workers]
    assert status == 0, output + errors + "".join(said)
    assert row(output, "requests in 60 s from one address") == ["100", "100", "agrees"]


def test_the_locustfile_runs_by_hand(project: Project) -> None:
    process = start(
        project, "locust", "-f", "operations/locustfile.py", "--headless", "--scenario", "smoke"
    )
    output, errors = process.communicate(timeout=60)

    assert process.returncode == 0, output + errors
    assert "smoke basic/default README's curl" in output + errors


def test_twenty_clients_together_finish_all_writes_under_a_plan_they_exceed_threefold(
    project: Project,
) -> None:
    rate, clients, each = 20, 20, 6
    project.edit("usagePlans", {"basic": _plan(rate=rate, burst=10)})
    project.edit("waf.rateLimit", 100_000)
    output = project.up()
    key = keys_in(output)["basic"]
    before = {item["id"]["S"] for item in items_in(output)}
    pause = clients / (3 * rate)
    chance = random.Random(1)  # noqa: S311

    def write(client: int) -> None:
        api = ThrottledApi(project.data_url, key, jitter=chance.uniform)
        for number in range(each):
            began = time.monotonic()
            api.store({"id": f"{client}-{number}", "title": f"By {client}", "year": number})
            time.sleep(max(0.0, pause - (time.monotonic() - began)))

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(write, range(clients)))

    wanted = {f"{client}-{number}" for client in range(clients) for number in range(each)}
    items = [item for item in items_in(output) if item["id"]["S"] not in before]
    assert {item["id"]["S"] for item in items} == wanted, "nothing lost"
    for item in items:
        client, _, number = item["id"]["S"].partition("-")
        assert (item["title"]["S"], item["year"]["N"]) == (f"By {client}", number)
    status = json.loads(project.run("status", "--format", "json").stdout)
    requests = {(one["layer"], one["status"]): one["requests"] for one in status["answers"]}
    assert requests["function", 200] == len(wanted), "nothing written twice"
    assert requests["usage-plan", 429] > clients, "the plan was exceeded"


def _plan(*, rate: int, burst: int) -> dict[str, object]:
    return {
        "rateLimit": rate,
        "burstLimit": burst,
        "quota": {"limit": 20000, "period": "DAY"},
        "clients": ["default"],
    }
