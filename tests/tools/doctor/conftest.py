"""An AWS account of moto's for all tests of the doctor, with the call that moto lacks."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.request import Request, urlopen

import boto3
import botocore.session
import pytest
from botocore.loaders import create_loader
from moto.awslambda import urls as lambda_urls
from moto.server import ThreadedMotoServer

REGION = "eu-central-1"


@dataclass
class MotoAccount:
    """What a test can set before it runs a check."""

    url: str
    concurrency: int = 1000
    unreserved: int = 1000

    def client(self, service: str) -> Any:  # noqa: ANN401  boto3's clients have no types
        """Return a client with which a test fills the account."""
        return boto3.client(service, endpoint_url=self.url, region_name=REGION)

    def limit_concurrency(self, total: int, unreserved: int | None = None) -> None:
        """Set the concurrency of the account's functions."""
        self.concurrency = total
        self.unreserved = total if unreserved is None else unreserved

    def reset(self) -> None:
        """Empty the account."""
        request = Request(f"{self.url}/moto-api/reset", method="POST")  # noqa: S310
        with urlopen(request, timeout=10):  # noqa: S310
            pass
        self.limit_concurrency(1000)


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def server(patch: pytest.MonkeyPatch) -> Iterator[MotoAccount]:
    """A server with one account, and credentials for it in the environment."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        patch.delenv(name, raising=False)
    patch.setenv("AWS_ACCESS_KEY_ID", "testing")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    patch.setenv("AWS_CONFIG_FILE", "/dev/null")
    patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    account = MotoAccount(url="")

    def account_settings(*_: object) -> tuple[int, dict[str, str], str]:
        limit = {
            "ConcurrentExecutions": account.concurrency,
            "UnreservedConcurrentExecutions": account.unreserved,
        }
        return 200, {}, json.dumps({"AccountLimit": limit, "AccountUsage": {}})

    path = r"{0}/2016-08-19/account-settings/?$"
    patch.setitem(lambda_urls.url_paths, path, account_settings)
    # Each of boto3's sessions reads the descriptions of services again, which takes long.
    patch.setattr(botocore.session, "create_loader", cache(create_loader))
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    account.url = f"http://127.0.0.1:{port}"
    yield account
    server.stop()


@pytest.fixture
def account(server: MotoAccount) -> MotoAccount:
    """A new account."""
    server.reset()
    return server
