"""The same requests, once over HTTP to the running sandbox and once through the simulator."""

import random
import time
from collections import Counter

import httpx

from settings.schema import parse_settings
from settings.files import read_stack
from tests.tools.sandbox.project import Project, keys_in
from throttling import Client, Layer
from throttling.simulation.replay import Request, replay

REQUESTS = 3000


def test_sandbox_and_simulator_give_the_same_verdicts(project: Project) -> None:
    project.edit("waf.rateLimit", 500)
    # Less than its burst: it is used up after so many requests, not at a moment between two tokens,
    # which decides between quota and plan for all requests that follow.
    project.edit("usagePlans.premium.quota.limit", 25)
    project.edit("usagePlans.premium.burstLimit", 30)
    project.edit("usagePlans.basic.rateLimit", 25)
    project.edit("throttle.burstLimit", 30)
    project.edit("function.reservedConcurrency", "none")
    keys = keys_in(project.up())
    clients = {
        Client("basic", "default"): keys["basic"],
        Client("premium", "default"): keys["premium"],
        None: "wrong",
    }
    rng = random.Random(7)  # noqa: S311  traffic, not a secret
    sent: list[Request] = []
    verdicts: Counter[str] = Counter()
    record = {"id": "1", "title": "T", "year": 2023}

    with httpx.Client() as http:
        for _ in range(REQUESTS):
            client = rng.choice(list(clients))
            # The first address alone sends more than the web ACL allows in a window.
            address = f"192.0.2.{rng.choice([1, 1, 1, 2, 3, 4])}"
            headers = {"x-api-key": clients[client], "x-forwarded-for": address}
            sent.append(Request(time.time(), address, client))
            answer = http.post(project.data_url, json=record, headers=headers)
            verdicts[answer.headers.get("x-throttled-by", "admitted").partition(":")[0]] += 1

    settings = parse_settings(
        read_stack(project.folder, "dev"), project="throttled-api", stack="dev"
    )
    decided = replay(settings.limits(), sent, duration_seconds=0.0)
    expected = Counter(
        {str(layer) if layer else "admitted": count for layer, count in decided.items()}
    )
    assert {Layer.WAF, Layer.API_KEY, Layer.QUOTA, Layer.USAGE_PLAN} <= set(decided), (
        "the traffic meets the layers it was made for"
    )
    for verdict in {*expected, *verdicts}:
        assert abs(verdicts[verdict] - expected[verdict]) <= 0.01 * REQUESTS, (verdicts, expected)
