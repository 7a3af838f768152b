"""A client's new key takes over from its old one, and no other client notices."""

import json
from itertools import pairwise
from typing import Any

import pytest

from tests.stacks import deploy
from tools.recorder.program import Program
from tools.sandbox.deployment import read_deployment

STEPS: list[dict[str, list[int]]] = [
    {},
    {"acme": [1, 2]},
    {"acme": [2]},
    {"acme": [2, 3]},
    {"acme": [3]},
]


@pytest.fixture
def steps() -> list[Program]:
    """The program at each step of two rotations, with a plan of two clients."""
    plan: dict[str, Any] = {"rateLimit": 5, "burstLimit": 10, "quota": {"limit": 1000}}
    plans = [{"basic": {**plan, "clients": ["default", "acme"], "keys": keys}} for keys in STEPS]
    return [deploy(usagePlans=json.dumps(one)) for one in plans]


def values_of(program: Program, client: str) -> set[str]:
    """Return the key values that open the API for a client."""
    clients = read_deployment(program.resources).clients
    return {v for v, holder in clients.items() if holder.name.split(".")[0] == client}


def test_at_every_step_a_key_of_the_step_before_still_works(steps: list[Program]) -> None:
    for before, after in pairwise(steps):
        assert values_of(before, "acme") & values_of(after, "acme")
        assert values_of(before, "default") == values_of(after, "default"), "no rotation of it"


def test_the_output_is_the_newest_key(steps: list[Program]) -> None:
    newest = [program.resources.exports["apiKeys"]["basic"]["acme"] for program in steps]
    assert newest[1] == newest[2]
    assert newest[3] == newest[4]
    assert len(set(newest)) == 3
