"""Load tests and the client example against a running sandbox.

The tests of this file share one project, in order: some use what the one before deployed.
Deploying leaves full buckets and unused quotas; items of the test before stay.
"""

import json
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from docs.client import ThrottledApi
from tests.tools.sandbox.project import Project, items_in, keys_in, project_copy
from tools.cli import Exit


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project whose sandbox is down at the end."""
    with project_copy(tmp_path_factory.mktemp("project")) as made:
        yield made


def plan(rate: int, burst: int) -> dict[str, object]:
    quota = {"limit": 20_000, "period": "DAY"}
    return {"rateLimit": rate, "burstLimit": burst, "quota": quota, "clients": ["default"]}


def test_a_sandbox_agrees_until_its_limits_are_changed_behind_its_back(project: Project) -> None:
    project.edit("waf.rateLimit", 100)
    keys = keys_in(project.up())
    done = project.run("load", "--profile", "waf", "--profile", "burst", "--record")

    assert done.returncode == Exit.OK, done.stdout + done.stderr
    assert "waf: agrees. no-key is refused first, by the WAF at" in done.stdout
    # A busy machine answers late, which leaves its counts unclear.
    assert "burst: " in done.stdout
    assert "burst: off" not in done.stdout
    (record,) = (project.folder / "docs" / "tested-limits").glob("dev-sandbox-*.json")
    waf, burst = json.loads(record.read_text())["profiles"]
    assert waf["clients"][0]["refused"]["waf"]["requests"] == pytest.approx(13, abs=3)
    assert "usage-plan" in burst["clients"][0]["refused"]
    for key in keys.values():
        assert key not in done.stdout + done.stderr + record.read_text()

    # The sandbox logs what it answers, as AWS does.
    log = str(project.folder / ".sandbox" / "dev" / "access.jsonl")
    replayed = json.loads(project.run("replay", log, "--format", "json").stdout)
    # Of 201 requests. A busy machine answers late, and then the function is busy for longer.
    assert replayed["agreement"] >= 0.95
    sent = sum(client["sent"] for profile in (waf, burst) for client in profile["clients"])
    assert replayed["logged"]["total"]["sent"] == sent

    project.edit("waf.rateLimit", 90)
    done = project.run("load", "--client", "no-key=5rps,for=1s")

    assert done.returncode == Exit.FINDINGS, done.stdout + done.stderr
    assert "clients: agrees." in done.stdout, "so few requests meet neither limit"
    assert "deployed with other limits" in done.stdout


def test_a_sandbox_behind_a_cdn_gets_the_header_that_its_web_acl_reads(project: Project) -> None:
    project.edit("waf.aggregateBy", "FORWARDED_IP")
    project.up()
    done = project.run("load", "--profile", "waf")

    assert done.returncode == Exit.OK, done.stdout + done.stderr
    assert "waf: agrees. no-key is refused first, by the WAF at" in done.stdout
    project.edit("waf.aggregateBy", "IP")


def test_twenty_clients_together_finish_all_writes_under_a_plan_they_exceed_threefold(
    project: Project,
) -> None:
    rate, clients, each = 20, 20, 6
    project.edit("usagePlans", {"basic": plan(rate, burst=10)})
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
    assert {item["id"]["S"] for item in items} == wanted, "nothing is lost"
    for item in items:
        client, _, number = item["id"]["S"].partition("-")
        assert (item["title"]["S"], item["year"]["N"]) == (f"By {client}", number)
    status = json.loads(project.run("status", "--format", "json").stdout)
    requests = {(one["layer"], one["status"]): one["requests"] for one in status["answers"]}
    assert requests["function", 200] == len(wanted), "nothing is written twice"
    assert requests["usage-plan", 429] > clients, "the plan is exceeded"
