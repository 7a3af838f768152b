"""An account of moto's for all tests of the doctor."""

from collections.abc import Iterator
from functools import cache

import botocore.session
import pytest
from botocore.loaders import create_loader

from tests.tools.doctor.moto_account import MotoAccount, moto_account


@pytest.fixture(scope="module")
def server() -> Iterator[MotoAccount]:
    with pytest.MonkeyPatch.context() as patch, moto_account(patch) as account:
        # Each of boto3's sessions reads the descriptions of services again, which takes long.
        patch.setattr(botocore.session, "create_loader", cache(create_loader))
        yield account


@pytest.fixture
def account(server: MotoAccount) -> MotoAccount:
    """A new account."""
    server.reset()
    return server
