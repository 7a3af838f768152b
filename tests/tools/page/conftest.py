"""A browser, if this machine has one."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.tools.sandbox.project import Project, project_copy

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_MAC = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)


# How long a busy machine may take; nothing waits longer than it must.
expect.set_options(timeout=60_000)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project whose sandbox is down at the end."""
    with project_copy(tmp_path_factory.mktemp("project")) as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a window."""
    found = [*filter(None, map(shutil.which, _NAMES)), *(one for one in _MAC if Path(one).exists())]
    if not found:
        pytest.skip("No browser: install Chromium (apt-get install chromium) or Google Chrome.")
    with sync_playwright() as playwright:
        # Root has no sandbox for a browser, and these pages are our own.
        options = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=found[0], args=options)
        yield browser
        browser.close()
