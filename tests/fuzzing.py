"""How often hypothesis tries: the same few times in `make test`, many times in `make fuzz`."""

import os
from typing import Final

from hypothesis import settings

FUZZ: Final = int(os.environ.get("FUZZ", "0"))
"""How many times as many examples `make fuzz` tries; 0 in `make test`."""


def examples(number: int = 100) -> settings:
    """Settings of a test that tries `number` examples in `make test`."""
    return settings(
        max_examples=number * (FUZZ or 1),
        # The same ones at each run: a test that fails has found what its commit broke.
        derandomize=not FUZZ,
        deadline=None,
    )
