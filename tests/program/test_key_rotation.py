"""One client's key takes over from another, and nobody else notices."""

from itertools import pairwise

import pytest

from tools.sandbox.deployment import read_deployment
from tools.recorder.program import Program
from tools.recorder.resources import Properties
from tests.program.conftest import Deploy
from throttling import Client

KEY = "aws:apigateway/apiKey:ApiKey"
LINK = "aws:apigateway/usagePlanKey:UsagePlanKey"

STEPS: list[dict[str, list[int]]] = [
    {},
    {"acme": [1, 2]},
    {"acme": [2]},
    {"acme": [2, 3]},
    {"acme": [3]},
]


def plans(keys: dict[str, list[int]]) -> Properties:
    basic = {"rateLimit": 5, "burstLimit": 10, "quota": {"limit": 1000}}
    return {"basic": {**basic, "clients": ["default", "acme"], "keys": keys}}


@pytest.fixture(scope="module")
def steps(deploy: Deploy) -> list[Program]:
    """The program at each step of two rotations."""
    return [deploy(usagePlans=plans(keys)) for keys in STEPS]


def resources_of(program: Program) -> dict[str, Properties]:
    """Keys and their links to plans, by URN."""
    return {r.urn: r.outputs for token in (KEY, LINK) for r in program.resources.of_type(token)}


def values_of(program: Program, client: str) -> set[str]:
    """The key values that open the API for a client."""
    clients = read_deployment(program.resources).clients
    return {v for v, holder in clients.items() if holder.name.split(".")[0] == client}


def test_at_every_step_a_key_of_the_step_before_still_works(steps: list[Program]) -> None:
    for before, after in pairwise(steps):
        assert values_of(before, "acme") & values_of(after, "acme")


def test_no_key_but_the_rotated_one_is_touched(steps: list[Program]) -> None:
    for before, after in pairwise(steps):
        old, new = resources_of(before), resources_of(after)
        assert all(new[urn] == old[urn] for urn in old.keys() & new.keys()), "changed in place"
        assert all("basic.acme" in urn for urn in old.keys() ^ new.keys()), "made or deleted"
        assert values_of(before, "default") == values_of(after, "default")


def test_the_output_is_the_newest_key(steps: list[Program]) -> None:
    newest = [program.resources.exports["apiKeys"]["basic"]["acme"] for program in steps]

    assert newest[1] == newest[2]
    assert newest[3] == newest[4]
    assert len(set(newest)) == 3


def test_a_key_of_its_own_has_buckets_and_a_quota_of_its_own(steps: list[Program]) -> None:
    limits = read_deployment(steps[1].resources).limits

    assert limits.usage_plans["basic"].clients == ("acme", "acme.2", "default")
    assert Client("basic", "acme.2") in read_deployment(steps[1].resources).clients.values()


def test_a_config_of_before_there_were_numbers_keeps_its_keys(deploy: Deploy) -> None:
    numbered = deploy(usagePlans=plans({"acme": [1], "default": [1]}))
    plain = deploy(usagePlans=plans({}))

    assert resources_of(numbered) == resources_of(plain)
