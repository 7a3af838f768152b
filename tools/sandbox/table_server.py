"""The process that serves DynamoDB's API: moto's tables, with a journal that outlives the process.

`table.py` starts it, and keeps its standard input open for as long as it should live.
"""

import contextlib
import fcntl
import functools
import gc
import itertools
import json
import logging
import os
import re
import sqlite3
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import uvloop
from moto.core.model_instances import model_data
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.core.request import Request as MotoRequest
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.table import Table
from moto.dynamodb.models.utilities import dynamo_json_dump
from moto.dynamodb.responses import DynamoHandler

from tools.sandbox.client import LOOPBACK
from tools.sandbox.http_server import HttpServer, Request, Response
from tools.sandbox.permissions import Permissions
from tools.sandbox.table import FUNCTION_PREFIX, PERMISSIONS_FILE

_CREDENTIAL: Final = re.compile(r"Credential=([^/]*)/[^/]*/([a-z0-9-]+)/")
"""Access key and Region of a call."""
_READS: Final = ("BatchGet", "Describe", "Get", "List", "Query", "Scan", "TransactGet")
"""Beginnings of the names of operations that change nothing."""
_ITEM_WRITES: Final = frozenset(
    {
        *("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"),
        *("ExecuteStatement", "BatchExecuteStatement", "ExecuteTransaction"),
    }
)
"""The operations that change only items."""
_INSERT: Final = "INSERT INTO calls VALUES (?, ?, ?)"
_LONGEST_REFUSAL: Final = 2000
_SCALARS: Final = frozenset({"S", "N"})
_MAX_BODY_BYTES: Final = 16 * 2**20
"""https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html"""

_log = logging.getLogger("table")


class Call(NamedTuple):
    """One call of DynamoDB's API."""

    region: str
    target: str
    """API version and operation: DynamoDB_20120810.PutItem."""
    body: str

    @property
    def operation(self) -> str:
        """Name of the operation: PutItem."""
        return self.target.rpartition(".")[2]


class Database:
    """The tables of all Regions, in memory, and a journal of the calls that changed them.

    A call that may change a table is written to the journal before it is carried out, and removed
    if it fails. So the journal holds every acknowledged call, and a call that does not fit on the
    disk changes nothing.

    Args:
        journal: a file of SQLite, which writes a call wholly or not at all.
    """

    def __init__(self, journal: Path) -> None:
        self._journal = sqlite3.connect(journal)
        # The system writes the file to the disk some time, even if this process is killed.
        self._journal.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;"
            "CREATE TABLE IF NOT EXISTS calls (region TEXT, target TEXT, body TEXT);"
        )
        # moto lists every model that it makes, so that none would ever be freed.
        for model in model_data["dynamodb"].values():
            model.instances_tracked = deque(maxlen=0)  # type: ignore[attr-defined]
        self._replay()

    def _replay(self) -> None:
        """Carry out the journal's calls, and shorten it to those that make the same tables.

        Skip a call that fails now, and then do not shorten the journal, so that nothing is lost.
        """
        count = skipped = 0
        about_tables: list[Call] = []
        for row in self._journal.execute("SELECT * FROM calls ORDER BY rowid"):
            call = Call(*row)
            count += 1
            try:
                _repeat(call)
            except Exception as error:
                _log.warning("Skipped call %d of the journal: %r", count, error)
                skipped += 1
                continue
            if call.operation not in _ITEM_WRITES:
                about_tables.append(call)
        items = sum(len(table) for _, table in _tables())
        if not skipped and count > len(about_tables) + items:
            try:
                with self._journal:
                    self._journal.execute("DELETE FROM calls")
                    self._journal.executemany(_INSERT, itertools.chain(about_tables, _puts()))
                self._journal.executescript("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);")
            except sqlite3.Error as error:
                _log.warning("The journal could not be shortened: %s", error)

    def answer(self, call: Call) -> tuple[int, str]:
        """Carry out one call; return the HTTP status and the body of the answer."""
        if call.operation.startswith(_READS):
            return _carry_out(call)
        try:
            with self._journal:
                row = self._journal.execute(_INSERT, call).lastrowid
        except sqlite3.Error as error:
            return 503, _error("ServiceUnavailable", f"The journal cannot be written: {error}")
        status, body = _carry_out(call)
        if status >= 400:
            with contextlib.suppress(sqlite3.Error), self._journal:  # a replay would skip it
                self._journal.execute("DELETE FROM calls WHERE rowid = ?", [row])
        return status, body


def _repeat(call: Call) -> None:
    """Carry out a call that succeeded before.

    Raises:
        Exception: it fails now.
    """
    body = json.loads(call.body)
    # The stack's own writes skip moto's HTTP side, which takes twenty times as long and only adds
    # conditions and the decoding of binary values.
    if (
        call.operation == "PutItem"
        and body.keys() == {"TableName", "Item"}
        and all(value.keys() <= _SCALARS for value in body["Item"].values())
    ):
        backend = dynamodb_backends[DEFAULT_ACCOUNT_ID][call.region]
        backend.put_item(body["TableName"], body["Item"], overwrite=True)
        return
    status, answer = _carry_out(call)
    if status >= 400:
        raise RuntimeError(answer)


def _carry_out(call: Call) -> tuple[int, str]:
    """Let moto answer one call."""
    scope = f"sandbox/0/{call.region}/dynamodb/aws4_request"
    headers = {
        "content-type": "application/x-amz-json-1.0",
        "x-amz-target": call.target,
        "authorization": f"AWS4-HMAC-SHA256 Credential={scope}",
    }
    request = MotoRequest.from_primitives("POST", f"http://{LOOPBACK}/", headers, call.body)
    try:
        status, _, body = DynamoHandler.dispatch(request)
    except Exception:
        _log.exception("moto failed at %s", call.target)
        return 500, _error("InternalServerError", "moto failed; see the table's log")
    return status, body


def _error(code: str, message: str) -> str:
    return json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message})


def _tables() -> Iterator[tuple[str, Table]]:
    """Yield all tables, each with its Region."""
    for region, backend in dynamodb_backends[DEFAULT_ACCOUNT_ID].items():
        for table in backend.tables.values():
            yield region, table


def _puts() -> Iterator[Call]:
    """Yield calls that write each item of each table."""
    for region, table in _tables():
        for found in table.items.values():
            items: Iterable[Any] = found.values() if table.has_range_key else [found]
            for item in items:
                body = dynamo_json_dump({"TableName": table.name, "Item": item.attrs})
                yield Call(region, "DynamoDB_20120810.PutItem", body)


async def serve(database: Database, port: int, folder: Path) -> None:
    """Serve DynamoDB's API on a loopback port, and print the port once it listens.

    A function's access key is the name of its folder, which has its permissions. Print a line with
    the reason for each call that these refuse. Callers without a folder may do everything.
    """

    @functools.cache
    def permissions(key: str) -> Permissions:
        return Permissions.model_validate_json((folder / key / PERMISSIONS_FILE).read_bytes())

    async def answer(request: Request) -> Response:
        found = _CREDENTIAL.search(request.header.get("authorization", ""))
        key, region = found.groups() if found else ("", "us-east-1")
        target = request.header.get("x-amz-target", "")
        call = Call(region, target, (await request.read_body(_MAX_BODY_BYTES)).decode())
        refusal = ""
        if key.startswith(FUNCTION_PREFIX):
            refusal = permissions(key).refusal(call.operation, region, json.loads(call.body))
        if refusal:
            print(refusal[:_LONGEST_REFUSAL], flush=True)
            status, answer = 400, _error("AccessDeniedException", refusal)
        else:
            status, answer = database.answer(call)
        return Response(status, [("content-type", "application/x-amz-json-1.0")], answer.encode())

    server = HttpServer(answer, port)
    print(server.port, flush=True)
    await server.serve()


def _end_with_parent() -> None:
    """End the process, which has nothing left to save, when its standard input ends."""
    sys.stdin.read()
    os._exit(0)


def main(journal: Path, port: int) -> None:
    """Serve from a journal; port 0 is any free port."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Wait for another process with this journal, which is about to end.
    fcntl.flock(os.open(journal.parent, os.O_RDONLY), fcntl.LOCK_EX)
    # A replay makes no garbage. Do not look for any, during the replay or in its objects later.
    gc.disable()
    database = Database(journal)
    gc.freeze()
    gc.enable()
    uvloop.run(serve(database, port, journal.parent))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
