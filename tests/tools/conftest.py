"""A project to run commands in, and credentials to run them with."""

import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import botocore.session
import pytest
from botocore.loaders import create_loader

from components.monitoring.alarms import Alarm, Names, alarms
from routes import ROUTES
from settings import Settings
from tests.stacks import ROOT


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the fixture stacks' files, which is the current folder."""
    for file in ROOT.glob("*.yaml"):
        shutil.copy(file, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


_create_loader = cache(create_loader)


@pytest.fixture(scope="module")
def credentials() -> Iterator[None]:
    """Credentials for moto, and nothing of the developer's own AWS config."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_REGION", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
            patch.delenv(name, raising=False)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            patch.setenv(name, "/dev/null")
        # Each of boto3's sessions reads the descriptions of services again, which takes long.
        patch.setattr(botocore.session, "create_loader", _create_loader)
        yield


SHIPPED_ALARMS = {
    *("waf-blocked-requests", "throttled-requests", "quota-exceeded-requests", "server-errors"),
    *("latency-p99", "function-throttles", "function-errors", "function-duration"),
    *("function-concurrency", "table-throttles"),
}


@pytest.fixture
def shipped_route(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave POST /data and its alarms only, for numbers that more of them would change."""
    routes = tuple(route for route in ROUTES if route.method == "POST /data")
    for module in ("tools.cost.bill", "tools.diff.report"):
        monkeypatch.setattr(f"{module}.METHODS", ("POST /data",))
    for module in ("tools.cost.bill", "settings.schema"):
        monkeypatch.setattr(f"{module}.ROUTES", routes)

    def shipped(config: Settings, names: Names) -> Iterator[Alarm]:
        return (one for one in alarms(config, names) if one.name in SHIPPED_ALARMS)

    monkeypatch.setattr("tools.cost.bill.alarms", shipped)
