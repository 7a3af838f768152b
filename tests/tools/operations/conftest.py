"""What the tests of operations share."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import botocore.session
import pytest
from botocore.loaders import create_loader

from tools.traffic.load.target import Target
from operations.stacks import stack_settings
from throttling import Client

ROOT = Path(__file__).parents[2]


def target_of(stack: str, *, sandbox: bool = True, generators: int = 1) -> Target:
    """A stack as a target, without anything that runs."""
    settings = stack_settings(stack)
    target = Target(
        stack=stack,
        url="http://127.0.0.1:1/dev/data" if sandbox else "https://api.example.com/data",
        keys={
            Client(plan, client): f"key-of-{plan}-{client}"
            for plan, section in settings.usage_plans.items()
            for client in section.clients
        },
        limits=settings.limits(),
        retry_after_seconds=1,
        expected_duration_seconds=settings.function.expected_duration_ms / 1000,
        sandbox=sandbox,
        generators=generators,
    )
    return replace(target, deployed_limits=target.limits if sandbox else None)


@pytest.fixture(scope="session", autouse=True)
def read_the_descriptions_of_services_once() -> Iterator[None]:
    """Each of boto3's sessions reads those of its own, which is half of what these tests do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", cache(create_loader))
        yield


@pytest.fixture
def dev() -> Target:
    """The sandbox of stack dev."""
    return target_of("dev")
