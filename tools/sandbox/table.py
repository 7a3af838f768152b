"""DynamoDB on this machine: the process that serves it, and a client that makes the tables.

The process runs `table_server.py` and ends with the process that started it. Nothing acknowledged
is lost when either is killed: the journal brings it back.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from settings import UserError
from tools.sandbox.client import LOOPBACK
from tools.sandbox.deployment import Table

SAMPLE: Final = 5
"""How many items of a table are shown."""
FUNCTION_PREFIX: Final = "function-"
"""How the names of folders with a function's files begin. Each name is also its access key."""
PERMISSIONS_FILE: Final = "permissions.json"
"""File in such a folder that says what the function may do with tables."""
_CODE: Final = Path(__file__).parents[2]
_STABLE_SECONDS: Final = 10.0
"""A process that has lived this long restarts at once when it ends."""
_LONGEST_PAUSE_SECONDS: Final = 30.0
_START_SECONDS: Final = 120.0
"""Long enough to read back a large table on a busy machine."""


class TableProcess:
    """The process that serves DynamoDB's API.

    Args:
        journal: the file that brings its items back when it starts.
        log: the file that gets its errors.
        refused: gets the reason for each call of a function that its permissions refuse.
    """

    def __init__(self, journal: Path, log: Path, refused: Callable[[str], None] = print) -> None:
        self._journal = journal
        self._log = log
        self._refused = refused
        self._port = 0
        self._answers = False
        self._settled = asyncio.Event()
        """Set when it answers, and when it did not start."""

    @property
    def endpoint(self) -> str:
        """URL of the DynamoDB API; once it has answered, the same for ever."""
        return f"http://{LOOPBACK}:{self._port}"

    async def ready(self) -> str:
        """Return the URL once the process answers, which may just be restarting.

        Raises:
            UserError: it does not start, or not in time.
        """
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._settled.wait(), _START_SECONDS)
        if not self._answers:
            raise UserError(f"The process of the table does not start. Its log is {self._log}.")
        return self.endpoint

    async def keep(self) -> None:
        """Run the process, and start it again whenever it ends, until cancelled."""
        pause = 0.0
        while True:
            began = time.monotonic()
            with contextlib.suppress(OSError):  # no more processes or files
                await self._run()
            if self._answers:
                self._settled.clear()
            else:
                self._settled.set()
            self._answers = False
            pause = pause_after(time.monotonic() - began, pause)
            await asyncio.sleep(pause)

    async def _run(self) -> None:
        """Start the process, and read what it says until it ends."""
        with self._log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tools.sandbox.table_server"),
                *(str(self._journal.absolute()), str(self._port)),
                cwd=_CODE,
                stdin=asyncio.subprocess.PIPE,  # the process ends when this is closed
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        assert process.stdout  # noqa: S101  a pipe was asked for
        try:
            if port := await process.stdout.readline():
                self._port = int(port)
                self._answers = True
                self._settled.set()
            async for line in process.stdout:
                self._refused(line.decode().rstrip())
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def pause_after(lifetime: float, last_pause: float) -> float:
    """Seconds to wait before a process that lived for `lifetime` seconds is started again."""
    if lifetime >= _STABLE_SECONDS:
        return 0.0
    return min(max(1.0, 2 * last_pause), _LONGEST_PAUSE_SECONDS)


class TableClient:
    """A client of DynamoDB's API, whatever serves it.

    Args:
        endpoint: URL of the API.
        region: AWS Region of the tables.
    """

    def __init__(self, endpoint: str, region: str) -> None:
        self._endpoint = endpoint
        self._client = botocore.session.get_session().create_client(
            "dynamodb",
            endpoint_url=endpoint,
            region_name=region,
            aws_access_key_id="sandbox",
            aws_secret_access_key="sandbox",  # noqa: S106  opens nothing
            config=Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 2}),
        )

    def create(self, tables: Sequence[Table]) -> None:
        """Create the tables that do not exist yet.

        Raises:
            UserError: the API cannot be reached, or a table exists with another key.
        """
        with self._user_errors():
            for table in tables:
                self._create(table)

    def _create(self, table: Table) -> None:
        keys = {table.hash_key: "HASH"} | ({table.range_key: "RANGE"} if table.range_key else {})
        schema = [{"AttributeName": name, "KeyType": kind} for name, kind in keys.items()]
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
        except self._client.exceptions.ResourceInUseException:
            found = self._client.describe_table(TableName=table.name)["Table"]["KeySchema"]
            if found != schema:
                raise UserError(
                    f"Table {table.name} exists with another key, and a table's key cannot change. "
                    "Undo the change, or delete the table with its items: make down does so, if "
                    "the sandbox made it."
                ) from None
        self._client.get_waiter("table_exists").wait(TableName=table.name)

    def contents(self, table: str) -> dict[str, Any]:
        """Return the `count` of a table's items, and a `sample` of them as DynamoDB writes them.

        The count may be some hours old:
        https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TableDescription.html

        Raises:
            UserError: the API cannot be reached.
        """
        with self._user_errors():
            about = self._client.describe_table(TableName=table)["Table"]
            sample = self._client.scan(TableName=table, Limit=SAMPLE)["Items"]
        return {"count": about["ItemCount"], "sample": sample}

    @contextlib.contextmanager
    def _user_errors(self) -> Iterator[None]:
        try:
            yield
        except (BotoCoreError, ClientError) as error:
            raise UserError(f"DynamoDB at {self._endpoint}: {error}") from None
