"""DynamoDB on this machine: the process that serves it, and the tables in it.

The process lives as long as somebody holds the other end of its lifeline, a socket that a new
sandbox takes over from the old one. So a redeployment need not start it anew, and nothing, not
even a sandbox that was killed, leaves the process behind.
"""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tools.sandbox.deployment import Table
from tools.sandbox.errors import SandboxError

LOOPBACK: Final = "127.0.0.1"
_START_SECONDS: Final = 60.0
"""Enough for a journal of some ten thousand items."""
_STOP_SECONDS: Final = 5.0


class TableServer:
    """A handle on the process that serves DynamoDB's API.

    Args:
        port: where it listens; 0 until `wait` learns it.
        lifeline: keeps it alive; None while another sandbox holds it.
    """

    def __init__(self, port: int, lifeline: socket.socket | None) -> None:
        self.port = port
        self.lifeline = lifeline

    @property
    def endpoint(self) -> str:
        """URL of the DynamoDB API."""
        return f"http://{LOOPBACK}:{self.port}"

    @classmethod
    def launch(cls, log: Path, journal: Path, port: int = 0) -> "TableServer":
        """Start the process; `wait` says when it answers.

        Args:
            log: gets what the process prints.
            journal: what the process keeps; it goes on from there.
            port: where it is to listen; 0 for any that is free.
        """
        ours, theirs = socket.socketpair()
        with theirs, log.open("ab") as output:
            words = [str(theirs.fileno()), str(port), str(journal)]
            subprocess.Popen(  # noqa: S603  our own module
                [sys.executable, "-m", "sandbox.table_server", *words],
                pass_fds=[theirs.fileno()],
                cwd=Path(__file__).parent.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return cls(0, ours)

    def wait(self) -> None:
        """Wait until the process answers.

        Raises:
            SandboxError: when it does not come up.
        """
        if self.lifeline and not self.port:
            self.lifeline.settimeout(_START_SECONDS)
            with contextlib.suppress(OSError):
                self.port = int(self.lifeline.recv(16) or b"0")
            self.lifeline.settimeout(None)
        if not self.port:
            raise SandboxError(
                "DynamoDB's stand-in did not start; its log is table.log. After make down it starts"
                " afresh, without the items that it had."
            )

    def answers(self) -> bool:
        """Whether somebody listens on its port."""
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, self.port), 1):
            return True
        return False

    def stop(self) -> None:
        """End the process if this is who keeps it alive, and wait until it has gone."""
        if self.lifeline is None:
            return
        with contextlib.suppress(OSError):
            self.lifeline.shutdown(socket.SHUT_WR)
            self.lifeline.settimeout(_STOP_SECONDS)
            self.lifeline.recv(1)
        self.lifeline.close()


class DynamoDB:
    """A client of the DynamoDB API at `endpoint`."""

    def __init__(self, endpoint: str, region: str) -> None:
        import boto3  # a third of a second, which only whoever uses tables should wait for
        from botocore.config import Config

        self._client = boto3.client(
            "dynamodb",
            endpoint_url=endpoint,
            region_name=region,
            aws_access_key_id="sandbox",
            aws_secret_access_key="sandbox",  # noqa: S106  opens nothing
            config=Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 2}),
        )
        self._endpoint = endpoint

    def create(self, tables: Sequence[Table]) -> None:
        """Create the tables that are not there yet.

        Raises:
            SandboxError: when DynamoDB cannot be reached, or a table has another key.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            for table in tables:
                self._create(table)
        except (BotoCoreError, ClientError) as error:
            raise SandboxError(f"DynamoDB at {self._endpoint}: {error}") from None

    def _create(self, table: Table) -> None:
        schema = [{"AttributeName": table.hash_key, "KeyType": "HASH"}]
        if table.range_key:
            schema.append({"AttributeName": table.range_key, "KeyType": "RANGE"})
        existing = self._client.exceptions.ResourceInUseException
        try:
            self._client.create_table(
                TableName=table.name,
                KeySchema=schema,
                AttributeDefinitions=[
                    {"AttributeName": name, "AttributeType": kind}
                    for name, kind in table.attributes.items()
                ],
                BillingMode="PAY_PER_REQUEST",
            )
        except existing:
            found = self._client.describe_table(TableName=table.name)["Table"]["KeySchema"]
            if found != schema:
                raise SandboxError(
                    f"Table {table.name} is there with another key. A new key means a new table: "
                    "`make down` forgets the old one."
                ) from None
        self._client.get_waiter("table_exists").wait(TableName=table.name)

    def items(self, table: str, most: int) -> tuple[int, list[dict[str, Any]]]:
        """How many items a table holds, and up to `most` of them as DynamoDB writes them."""
        count = 0
        sample: list[dict[str, Any]] = []
        for page in self._client.get_paginator("scan").paginate(TableName=table):
            count += page["Count"]
            sample += page["Items"][: most - len(sample)]
        return count, sample
