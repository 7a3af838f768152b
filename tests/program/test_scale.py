"""The program's cost grows only with the number of plans and clients.

The cost is counted, not timed: lines of the program that run, and what it registers. With a
quadratic step, the second thousand of something costs more than the first.
"""

import json
import sys
from types import FrameType
from typing import Any

from tests.stacks import run
from tools.recorder.program import CODE

PROGRAM = tuple(str(CODE / name) for name in ("components", "throttling", "__main__.py"))


def cost(plans: int) -> list[int]:
    """Return lines run, resources, their dependencies, and the characters of all inputs."""
    lines = 0

    def line(frame: FrameType, event: str, argument: Any) -> Any:  # noqa: ANN401
        nonlocal lines
        lines += event == "line"
        return line

    def call(frame: FrameType, event: str, argument: Any) -> Any:  # noqa: ANN401
        return line if frame.f_code.co_filename.startswith(PROGRAM) else None

    plan = {"rateLimit": 1, "burstLimit": 2, "quota": {"limit": 10_000}, "clients": ["a", "b", "c"]}
    before = sys.gettrace()
    sys.settrace(call)
    try:
        made = run(usagePlans=json.dumps({f"plan-{n}": plan for n in range(plans)})).resources
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
