"""What the README promises about previews, updates and deletions, under Pulumi's real engine."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pulumi import automation

from tests import stacks
from tests.engine.conftest import Engine

pytestmark = pytest.mark.timeout(600)
PREFIX = stacks.PROJECT


@pytest.fixture(scope="module", params=stacks.STACKS)
def deployed(engine: Callable[[str], Engine], request: pytest.FixtureRequest) -> Iterator[Engine]:
    """A stack that is up; what its first preview said is compared with what it made."""
    stack = engine(request.param)
    planned = stack.preview()
    stack.up()
    assert set(planned) == {*stack.resources()} | {"aws"}
    assert set(planned.values()) == {"create"}
    yield stack


def test_a_second_update_changes_nothing(deployed: Engine) -> None:
    deployed.configure()

    assert set(deployed.up()) == {"same"}
