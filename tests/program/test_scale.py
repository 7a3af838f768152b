"""As many plans and clients as an account may have, in steps that grow only with their number.

Counted, not timed: lines of the program that run, and what it registers. With a quadratic step
among them, the second thousand of something costs more than the first.
"""

import gc
import json
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

from tools.sandbox.deployment import read_deployment
from tools.recorder.program import ROOT, Program, run_program

CODE = (str(ROOT / "components"), str(ROOT / "throttling"), str(ROOT / "__main__.py"))


@pytest.fixture(autouse=True)
def no_garbage_collection() -> Iterator[None]:
    """Its time is not the program's: it walks all that Pulumi's runtime keeps, again and again."""
    gc.disable()
    yield
    gc.enable()


def config(clients_of_plans: list[int]) -> dict[str, str]:
    """The config of a stack with so many clients in each plan."""
    plans = {
        f"plan-{plan}": {
            "rateLimit": 1,
            "burstLimit": 2,
            "quota": {"limit": 10_000},
            "clients": [f"client-{client}" for client in range(clients)],
        }
        for plan, clients in enumerate(clients_of_plans)
    }
    return {
        "aws:region": "eu-central-1",
        "throttled-api:usagePlans": json.dumps(plans),
    }


def run(clients_of_plans: list[int]) -> Program:
    return run_program(config(clients_of_plans), project="throttled-api", stack="dev")


def lines_run(clients_of_plans: list[int]) -> tuple[int, Program]:
    """How many lines of the program's own code run, and what comes of it."""
    count = 0

    def line(frame: FrameType, event: str, argument: Any) -> Any:  # noqa: ANN401
        nonlocal count
        count += event == "line"
        return line

    def call(frame: FrameType, event: str, argument: Any) -> Any:  # noqa: ANN401
        return line if frame.f_code.co_filename.startswith(CODE) else None

    before = sys.gettrace()
    sys.settrace(call)
    try:
        program = run(clients_of_plans)
    finally:
        sys.settrace(before)
    return count, program


def size(program: Program) -> tuple[int, int]:
    """Dependencies that the resources name, and characters of what they and the outputs hold."""
    resources = program.resources
    dependencies = sum(len(resource.depends_on) for resource in resources.items)
    inputs = [resource.inputs for resource in resources.items]
    return dependencies, len(json.dumps([inputs, resources.exports]))


def test_every_further_plan_and_client_costs_the_same() -> None:
    runs = [lines_run([3] * plans) for plans in (12, 24, 36)]
    measures = [(lines, len(made.resources.items), *size(made)) for lines, made in runs]
    for small, medium, large in zip(*measures, strict=True):
        first, second = medium - small, large - medium
        assert first > 0
        assert second <= first * 1.05, f"12 plans more cost {first}, another 12 cost {second}"


def test_as_many_plans_as_an_account_may_have_with_a_thousand_clients() -> None:
    clients = [4] * 100 + [3] * 200
    assert (len(clients), sum(clients)) == (300, 1000)
    made = run(clients)
    one_client = run([1])
    # A key and its place in the plan for each client, and each plan.
    more = 299 + 2 * 999
    assert len(made.resources.items) == len(one_client.resources.items) + more
    assert len({resource.urn for resource in made.resources.items}) == len(made.resources.items)
    keys = made.resources.exports["apiKeys"]
    assert [len(keys[f"plan-{plan}"]) for plan in range(300)] == clients
    values = {value for held in keys.values() for value in held.values()}
    assert len(values) == 1000
    assert len(read_deployment(made.resources).clients) == 1000
