"""A project of its own for a test, and the commands that users run in it."""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
import psutil
import yaml

from tests.stacks import PROJECT
from tests.stacks import ROOT as STACKS
from tools.sandbox.client import Sandbox, running

ROOT = Path(__file__).parents[3]
_CODE = ("__main__.py", "components", "handler", "routes.py", "settings", "throttling", "tools")
HOSTILE = {
    **dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY"), "http://127.0.0.1:9"),
    "AWS_PROFILE": "nosuch",
    "AWS_CONFIG_FILE": "/etc/hostname",
    "AWS_RETRY_MODE": "nosuch",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_CA_BUNDLE": "/nonexistent",
    "PYTHONWARNINGS": "error",
    "PYTHONSAFEPATH": "1",
}
"""Variables of a shell that no command may care about."""


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Project:
    """A folder with stack files, and the commands that users run there."""

    folder: Path
    code: Path
    port: int

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start `python -m tools ...` in a session of its own."""
        # As make does: without bytecode on disk, each command would compile all packages again.
        usual = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        return subprocess.Popen(
            [sys.executable, "-m", "tools", *words],
            cwd=self.folder,
            env=usual | HOSTILE | {"PYTHONPATH": str(self.code)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `python -m tools ...`."""
        with self.start(*words) as process:
            out, err = process.communicate(timeout=110)
            return subprocess.CompletedProcess(words, process.returncode, out, err)

    def up(self, *words: str) -> str:
        """Run `make up`; return what it prints."""
        done = self.run("up", "--port", str(self.port), *words)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    def refill(self) -> None:
        """Deploy what is deployed, for full buckets and empty windows; faster than `up`."""
        sandbox = self.sandbox
        sandbox.deploy(sandbox.resources(), port=self.port, dynamodb=None)

    def refused(self, *words: str) -> str:
        """Run a command that must fail; return its error."""
        done = self.run(*words)
        assert done.returncode == 2, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr

    def edit(self, path: str, value: object, stack: str = "dev") -> None:
        """Change a setting as `pulumi config set --path <project>:<path> <value>` does."""
        file = self.folder / f"Pulumi.{stack}.yaml"
        content = yaml.safe_load(file.read_text())
        first, *rest = path.split(".")
        place: Any = content["config"]
        steps = [f"{PROJECT}:{first}", *rest]
        for step in steps[:-1]:
            place = place[step]
        place[steps[-1]] = value
        file.write_text(yaml.safe_dump(content))

    @property
    def state(self) -> Path:
        """The folder of stack dev's sandbox."""
        return self.folder / ".sandbox" / "dev"

    @property
    def sandbox(self) -> Sandbox:
        """The sandbox of stack dev, which must run."""
        found = running("dev", self.folder)
        assert found
        return found

    @property
    def data_url(self) -> str:
        """Where records are posted."""
        return f"http://127.0.0.1:{self.port}/dev/data"

    def post(self, key: str | None, record: object = None, **headers: str) -> httpx.Response:
        """Send one record."""
        body = {"id": "12", "title": "Test Movie", "year": "2023"} if record is None else record
        if key:
            headers["x-api-key"] = key
        return httpx.post(self.data_url, json=body, headers=headers, timeout=30)

    def processes(self) -> list[psutil.Process]:
        """Return the server's process and those that it started."""
        server = psutil.Process(self.sandbox.pid)
        return [server, *server.children(recursive=True)]


@contextmanager
def project_copy(folder: Path, *, with_code: bool = False) -> Iterator[Project]:
    """Make a project with the fixture stacks, whose sandbox is down at the end.

    Args:
        folder: an empty one.
        with_code: copy the code too, so that a test may edit it.
    """
    for file in STACKS.glob("Pulumi*.yaml"):
        shutil.copy(file, folder)
    if with_code:
        for source in (ROOT / name for name in _CODE):
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, folder / source.name, ignore=ignored)
            else:
                shutil.copy(source, folder)
    project = Project(folder, folder if with_code else ROOT, free_port())
    yield project
    if (folder / ".sandbox").is_dir():
        done = project.run("down")
        assert done.returncode == 0, done.stderr


def keys_in(output: str) -> dict[str, str]:
    """Return the API keys that `make up` printed, by plan."""
    return dict(re.findall(r"^(\w+)\s+default\s+(\w{40})\s*$", output, re.MULTILINE))


def curl_in(output: str) -> tuple[str, dict[str, str], str]:
    """Return URL, headers and body of the curl that `make up` printed."""
    line = next(line for line in output.splitlines() if line.startswith("curl "))
    words = shlex.split(line)
    headers = dict(words[i + 1].split(": ") for i, word in enumerate(words) if word == "-H")
    return words[2], headers, words[words.index("-d") + 1]


def items_in(output: str) -> list[dict[str, Any]]:
    """Return all items of the table that `make up` named."""
    found = re.search(r"DynamoDB at (\S+), table (\S+)", output)
    assert found, output
    client = boto3.client(
        "dynamodb",
        endpoint_url=found[1],
        region_name="eu-central-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    pages = client.get_paginator("scan").paginate(TableName=found[2])
    return [item for page in pages for item in page["Items"]]


def kill(process: psutil.Process) -> None:
    """End a process as `kill -9` does."""
    process.send_signal(signal.SIGKILL)
    process.wait(30)
