"""As many plans and clients as an account may have, at a cost that grows only with their number.

The cost is counted, not timed: lines of the program that run, and what it registers. With a
quadratic step, the second thousand of something costs more than the first.
"""

import json
import sys
from types import FrameType
from typing import Any

from tests.stacks import run
from tools.recorder.program import CODE, Program
from tools.sandbox.deployment import read_deployment

PROGRAM = tuple(str(CODE / name) for name in ("components", "throttling", "__main__.py"))


def with_clients(clients_of_plans: list[int]) -> Program:
    """Run the program with this number of clients in each plan."""
    plans = {
        f"plan-{plan}": {
            "rateLimit": 1,
            "burstLimit": 2,
            "quota": {"limit": 10_000},
            "clients": [f"client-{client}" for client in range(clients)],
        }
        for plan, clients in enumerate(clients_of_plans)
    }
    return run(usagePlans=json.dumps(plans))


def cost(plans: int) -> list[int]:
    """Return lines run, resources, their dependencies, and the characters of all inputs."""
    lines = 0

    def line(frame: FrameType, event: str, argument: Any) -> Any:  # noqa: ANN401
        nonlocal lines
        lines += event == "line"
        return line

    def call(frame: FrameType, event: str, argument: Any) -> Any:  # noqa: ANN401
        return line if frame.f_code.co_filename.startswith(PROGRAM) else None

    before = sys.gettrace()
    sys.settrace(call)
    try:
        made = with_clients([3] * plans).resources
    finally:
        sys.settrace(before)
    dependencies = sum(len(resource.depends_on) for resource in made.items)
    inputs = json.dumps([[resource.inputs for resource in made.items], made.exports])
    return [lines, len(made.items), dependencies, len(inputs)]


def test_every_further_plan_and_client_costs_the_same() -> None:
    for small, medium, large in zip(cost(12), cost(24), cost(36), strict=True):
        first, second = medium - small, large - medium
        assert first > 0
        assert second <= first * 1.05, f"12 plans more cost {first}, another 12 cost {second}"


def test_as_many_plans_as_an_account_may_have_with_a_thousand_clients() -> None:
    clients = [4] * 100 + [3] * 200
    assert (len(clients), sum(clients)) == (300, 1000)
    made = with_clients(clients).resources
    # A key and its place in the plan for each client, and each plan.
    assert len(made.items) == len(with_clients([1]).resources.items) + 299 + 2 * 999
    assert len({resource.urn for resource in made.items}) == len(made.items)
    keys = made.exports["apiKeys"]
    assert [len(keys[f"plan-{plan}"]) for plan in range(300)] == clients
    assert len({value for held in keys.values() for value in held.values()}) == 1000
    assert len(read_deployment(made).clients) == 1000
