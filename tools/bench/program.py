"""The program: how long `pulumi preview` waits for it, apart from AWS and the engine."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Final

from tools.bench.figures import Figure, in_turns

# From the first import to the last resource, in a fresh interpreter.
_PROD: Final = """
import time
began = time.perf_counter()
import json, sys
from tools.recorder.program import run_program
from settings import read_stack
made = run_program(read_stack("prod"))
took = time.perf_counter() - began
types = [[r.type, r.name] for r in made.resources.items if r.custom and r.type.startswith("aws:")]
print(json.dumps([took, types]))
"""
# As many resources of the same types, without arguments, components or outputs; and without garbage
# collection, as the program is run here.
_BARE: Final = """
import time
began = time.perf_counter()
import asyncio, gc, json, sys
import pulumi, pulumi_aws
from pulumi.runtime import mocks
from pulumi.runtime.stack import run_pulumi_func
class Aws(mocks.Mocks):
    def call(self, args):
        return {}, []
    def new_resource(self, args):
        return args.name, args.inputs
async def program():
    for token, name in json.loads(sys.argv[1]):
        module, _, kind = token.removeprefix("aws:").partition("/")
        module = getattr(pulumi_aws, {"lambda": "lambda_"}.get(module, module))
        kind = getattr(module, kind.split(":")[1])
        pulumi.CustomResource.__init__(kind.__new__(kind), token, name, {})
async def run():
    mocks.set_mocks(Aws(), project="bare", stack="prod", preview=False)
    await run_pulumi_func(program)
gc.disable()
asyncio.run(run())
print(json.dumps([time.perf_counter() - began]))
"""
# Imports are not counted: they are the same for any number.
_SCALE: Final = """
import json, sys, time
from settings import StackConfig
from tools.recorder.program import run_program
def run(plans, clients):
    each, more = divmod(clients, plans)
    config = {
        f"plan-{plan}": {
            "rateLimit": 1, "burstLimit": 2, "quota": {"limit": 10_000},
            "clients": [f"client-{n}" for n in range(each + (plan < more))],
        }
        for plan in range(plans)
    }
    values = {"aws:region": "eu-central-1", "scale:usagePlans": json.dumps(config)}
    began = time.perf_counter()
    made = run_program(StackConfig(project="scale", stack="dev", values=values))
    return [time.perf_counter() - began, len(made.resources.items)]
run(1, 1)
print(json.dumps([run(*size) for size in json.loads(sys.argv[1])]))
"""
_SIZES: Final = ((100, 333), (300, 1000))


def figures() -> Iterator[Figure]:
    """Measure the program."""
    types = _run(_PROD)[1]
    prod, bare = in_turns(
        9, lambda: float(_run(_PROD)[0]), lambda: float(_run(_BARE, json.dumps(types))[0])
    )
    yield Figure(
        what=f"whole evaluation of prod, imports and {len(types)} resources of AWS",
        unit="s",
        samples=prod,
        than="as many bare resources",
        others=bare,
        at_most=2,
        ratio_at_most=1.3,
    )
    third, full = zip(*(_run(_SCALE, json.dumps(_SIZES)) for _ in range(3)), strict=True)
    yield Figure(
        what=f"300 plans with 1,000 clients: {full[0][1]:,} resources, without imports",
        unit="s",
        samples=[seconds for seconds, _ in full],
    )
    # Linear: each costs the same however many there are. A quadratic step would triple it.
    yield Figure(
        what="one resource of these",
        unit="ms",
        samples=[1000 * seconds / resources for seconds, resources in full],
        than="one of a third as many",
        others=[1000 * seconds / resources for seconds, resources in third],
        ratio_at_most=1.2,
    )


def _run(script: str, *words: str) -> Any:  # noqa: ANN401  JSON
    done = subprocess.run(  # noqa: S603  our own scripts
        [sys.executable, "-c", script, *words], stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])
