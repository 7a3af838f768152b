"""Keeps the developer's own Pulumi and AWS settings out of the tests."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def environment() -> Iterator[None]:
    """Remove such settings, and let Pulumi raise when an Output is used as a text."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PULUMI_CONFIG", "PULUMI_CONFIG_SECRET_KEYS", "AWS_REGION", "AWS_PROFILE"):
            patch.delenv(name, raising=False)
        patch.setenv("PULUMI_ERROR_OUTPUT_STRING", "1")
        yield
