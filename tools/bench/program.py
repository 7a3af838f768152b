"""The program: how long `pulumi preview` waits for it, apart from AWS and the engine."""

from collections.abc import Iterator
from typing import Final

from tools.bench.figures import Figure, result

# From the first import to the last resource, in a fresh interpreter.
_PROD: Final = """
import time
began = time.perf_counter()
from settings import read_stack
from tools.recorder.program import run_program
run_program(read_stack("prod"))
print(time.perf_counter() - began)
"""
# Imports are not counted: they are the same for any number.
_LARGE: Final = """
import json, time
from settings import StackConfig
from tools.recorder.program import run_program
limits = {"rateLimit": 1, "burstLimit": 2, "quota": {"limit": 10_000}}
def run(plans):
    clients = {"clients": [f"client-{n}" for n in range(3)]}
    config = json.dumps({f"plan-{n}": limits | clients for n in range(plans)})
    values = {"aws:region": "eu-central-1", "large:usagePlans": config}
    began = time.perf_counter()
    run_program(StackConfig(project="large", stack="dev", values=values))
    return time.perf_counter() - began
run(1)
print(run(300))
"""


def figures() -> Iterator[Figure]:
    """Measure the program."""
    yield Figure(
        what="whole evaluation of prod with its imports",
        unit="s",
        samples=[result(_PROD) for _ in range(9)],
        at_most=2,
    )
    yield Figure(
        what="300 plans with 900 clients, without imports",
        unit="s",
        samples=[result(_LARGE) for _ in range(3)],
        at_most=10,
    )
