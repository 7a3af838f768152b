"""A copy of the project that a test may edit, and the commands that users run in it."""

import os
import re
import shutil
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
import yaml

ROOT = Path(__file__).parents[2]
_SOURCES = ("__main__.py", "Pulumi*.yaml", "components", "handler", "sandbox", "throttling")


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Project:
    """A copy of the project, with the sandbox commands that users run."""

    folder: Path
    port: int

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`python -m sandbox ...` in the copy."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PULUMI_"))}
        return subprocess.run(
            [sys.executable, "-m", "sandbox", *words],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    def up(self, *words: str) -> str:
        """`make up`; what it printed."""
        done = self.run("up", "--port", str(self.port), *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def edit(self, path: str, value: object, stack: str = "dev") -> None:
        """Do what `pulumi config set --path throttled-api:<path> <value>` does to the file."""
        file = self.folder / f"Pulumi.{stack}.yaml"
        content = yaml.safe_load(file.read_text())
        first, *rest = path.split(".")
        place: Any = content["config"]
        steps = [f"throttled-api:{first}", *rest]
        for step in steps[:-1]:
            place = place[step]
        place[steps[-1]] = value
        file.write_text(yaml.safe_dump(content))

    @property
    def data_url(self) -> str:
        """Where records are posted to."""
        return f"http://127.0.0.1:{self.port}/dev/data"

    def post(self, key: str | None, record: object = None, **headers: str) -> httpx.Response:
        """Send one record."""
        body = {"id": "12", "title": "Test Movie", "year": "2023"} if record is None else record
        if key:
            headers["x-api-key"] = key
        return httpx.post(self.data_url, json=body, headers=headers, timeout=30)


@contextmanager
def project_copy(folder: Path, *more: str) -> Iterator[Project]:
    """A copy of the project, and of `more` of it, whose sandbox is down at the end."""
    ignored = shutil.ignore_patterns("__pycache__")
    for source in (path for pattern in (*_SOURCES, *more) for path in ROOT.glob(pattern)):
        if source.is_dir():
            shutil.copytree(source, folder / source.name, ignore=ignored)
        else:
            shutil.copy(source, folder)
    copy = Project(folder, free_port())
    yield copy
    done = copy.run("down")
    assert done.returncode == 0, done.stderr


def keys_in(output: str) -> dict[str, str]:
    """The API keys that `make up` printed, by plan."""
    return dict(re.findall(r"^(\w+)\s+default\s+(\w{40})\s*$", output, re.MULTILINE))


def items_in(output: str) -> list[dict[str, Any]]:
    """All items of the table that `make up` named."""
    found = re.search(r"DynamoDB at (\S+), table (\S+)", output)
    assert found, output
    client = boto3.client(
        "dynamodb",
        endpoint_url=found[1],
        region_name="eu-central-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    items: list[dict[str, Any]] = client.scan(TableName=found[2])["Items"]
    return items
