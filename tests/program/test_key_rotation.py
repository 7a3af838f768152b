"""A client's new key takes over from its old one, and no other client notices."""

import json
from itertools import pairwise
from typing import Any

import pytest

from tests.stacks import deploy
from throttling import Client
from tools.recorder.program import Program
from tools.recorder.resources import Properties
from tools.sandbox.deployment import read_deployment

STEPS: list[dict[str, list[int]]] = [
    {},
    {"acme": [1, 2]},
    {"acme": [2]},
    {"acme": [2, 3]},
    {"acme": [3]},
]


def at(keys: dict[str, list[int]]) -> Program:
    """Return the program with these keys in a plan of two clients."""
    plan: dict[str, Any] = {"rateLimit": 5, "burstLimit": 10, "quota": {"limit": 1000}}
    plans = {"basic": {**plan, "clients": ["default", "acme"], "keys": keys}}
    return deploy(usagePlans=json.dumps(plans))


@pytest.fixture
def steps() -> list[Program]:
    """The program at each step of two rotations."""
    return [at(keys) for keys in STEPS]


def resources_of(program: Program) -> dict[str, Properties]:
    """Return keys and their links to plans, by URN."""
    types = ("aws:apigateway/apiKey:ApiKey", "aws:apigateway/usagePlanKey:UsagePlanKey")
    return {r.urn: r.outputs for r in program.resources.items if r.type in types}


def values_of(program: Program, client: str) -> set[str]:
    """Return the key values that open the API for a client."""
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


def test_each_key_has_its_own_buckets_and_quota(steps: list[Program]) -> None:
    deployment = read_deployment(steps[1].resources)
    assert deployment.limits.usage_plans["basic"].clients == ("acme", "acme.2", "default")
    assert Client("basic", "acme.2") in deployment.clients.values()


def test_a_config_without_key_numbers_has_key_1_of_each_client() -> None:
    assert resources_of(at({"acme": [1], "default": [1]})) == resources_of(at({}))
