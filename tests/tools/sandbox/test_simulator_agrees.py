"""The same requests, once over HTTP to the running sandbox and once through the simulator."""

import random
import time
from collections import Counter

import httpx
import numpy as np

from routes import METHODS
from settings import load_stack
from tests.tools.sandbox.project import Project, keys_in
from throttling import Client, Layer
from throttling.simulation.engine import OUTCOMES, Engine

REQUESTS = 500


def test_sandbox_and_simulator_give_the_same_verdicts(project: Project) -> None:
    # No token comes back, and no window ends, while the test runs: the verdicts depend on the order
    # of the requests alone, however busy this machine is.
    slow = {"rateLimit": 0.001, "clients": ["default"]}
    quota = {"limit": 8, "period": "MONTH"}
    project.edit("usagePlans.basic", {**slow, "burstLimit": 12, "quota": quota | {"limit": 500}})
    project.edit("usagePlans.premium", {**slow, "burstLimit": 30, "quota": quota})
    project.edit("usagePlans.trial", {**slow, "burstLimit": 30, "quota": quota | {"limit": 500}})
    project.edit("throttle", {"rateLimit": 0.001, "burstLimit": 30})
    project.edit("waf", {"rateLimit": 100, "windowSeconds": 600})
    project.edit("function.reservedConcurrency", "none")
    keys = keys_in(project.up())
    clients = [*(Client(plan, "default") for plan in keys), None]
    rng = random.Random(7)  # noqa: S311  traffic, not a secret
    sources = [rng.randrange(len(clients)) for _ in range(REQUESTS)]
    # The first address sends more than the web ACL allows.
    addresses = [rng.choice([0, 0, 0, 1, 2, 3]) for _ in range(REQUESTS)]
    record = {"id": "1", "title": "T", "year": 2023}
    sent: list[float] = []
    verdicts: list[str] = []

    with httpx.Client() as http:
        for source, address in zip(sources, addresses, strict=True):
            client = clients[source]
            key = keys[client.plan] if client else "wrong"
            headers = {"x-api-key": key, "x-forwarded-for": f"192.0.2.{address}"}
            sent.append(time.time())
            answer = http.post(project.data_url, json=record, headers=headers)
            verdicts.append(answer.headers.get("x-throttled-by", "None").partition(":")[0])

    limits = load_stack("dev", root=project.folder).limits()
    engine = Engine(limits, [(client, METHODS[0]) for client in clients], epoch=sent[0])
    codes = engine.decide(np.array(sent) - sent[0], np.array(sources), np.array(addresses), 0.0)
    expected = [str(OUTCOMES[code]) for code in codes]
    met = {Layer.WAF, Layer.API_KEY, Layer.QUOTA, Layer.USAGE_PLAN, Layer.STAGE, None}
    assert set(expected) == {str(outcome) for outcome in met}, Counter(expected)
    assert verdicts == expected
