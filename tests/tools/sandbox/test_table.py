"""The table's journal and process: what was acknowledged is there, whatever happens in between."""

import asyncio
import contextlib
import errno
import gc
import itertools
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import botocore.session
import psutil
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from hypothesis import given
from hypothesis import strategies as st
from moto.core.base_backend import BackendDict
from moto.dynamodb.models.dynamo_type import Item

from settings import UserError
from tests.fuzzing import examples
from tools.sandbox import table as module
from tools.sandbox.deployment import Table
from tools.sandbox.table import TableClient, TableProcess, pause_after
from tools.sandbox.table_server import Call, Database, Journal

CODE = Path(__file__).parents[3]
REGION = "eu-central-1"
EXISTS = "attribute_exists(id)"
RECORDS = Table(name="records", attributes={"id": "S"}, hash_key="id", range_key=None)
KEY = {"id": {"S": "12"}}
TTL = {"Enabled": True, "AttributeName": "expires"}
CREATE = {
    "TableName": "records",
    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    "BillingMode": "PAY_PER_REQUEST",
}


def call(operation: str, **body: Any) -> Call:  # noqa: ANN401  JSON
    return Call(REGION, f"DynamoDB_20120810.{operation}", json.dumps(body))


def put(id_: str, **item: dict[str, Any]) -> Call:
    return call("PutItem", TableName="records", Item={"id": {"S": id_}, **item})


class Tables:
    """A database, started again at will."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = Journal(path)
        self.restart()

    def restart(self) -> None:
        """Forget all that is in memory, and read the journal."""
        self.close()
        self.journal = Journal(self.path)
        self._database = Database(self.journal)

    def close(self) -> None:
        BackendDict.reset()
        self.journal._file.close()

    def __call__(self, call: Call) -> dict[str, Any]:
        """The answer to a call that succeeds."""
        status, body = self._database.answer(call)
        assert status == 200, body
        answer: dict[str, Any] = json.loads(body)
        return answer

    def status(self, call: Call) -> int:
        return self._database.answer(call)[0]

    def items(self, table: str = "records") -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self(call("Scan", TableName=table))["Items"]
        return items

    @property
    def ids(self) -> list[str]:
        return [item["id"]["S"] for item in self.items()]


@pytest.fixture
def tables(tmp_path: Path) -> Iterator[Tables]:
    """A database with the table of records."""
    tables = Tables(tmp_path / "table.journal")
    tables(call("CreateTable", **CREATE))
    yield tables
    tables.close()


# The journal


ids = st.sampled_from("abc").map(lambda id_: {"id": {"S": id_}})
scalars = st.sampled_from(
    [
        *({"S": "é\n"}, {"N": "7"}, {"B": "aGVsbG8="}, {"BOOL": True}, {"NULL": True}),
        *({"SS": ["a", "b"]}, {"NS": ["1", "2"]}, {"BS": ["aGVsbG8="]}, {"M": {}}, {"L": []}),
    ]
)
attributes = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=2).map(lambda values: {"L": values})
        | st.dictionaries(st.sampled_from("xy"), inner, max_size=2).map(lambda map_: {"M": map_})
    ),
    max_leaves=3,
)
items = st.builds(dict.__or__, ids, st.dictionaries(st.sampled_from("st"), attributes, max_size=2))
conditions = st.sampled_from([EXISTS, "attribute_not_exists(id)", "((("])
operations = st.one_of(
    st.builds(lambda item: ("PutItem", {"Item": item}), items),
    st.builds(
        lambda item, condition: ("PutItem", {"Item": item, "ConditionExpression": condition}),
        *(items, conditions),
    ),
    st.builds(lambda key: ("DeleteItem", {"Key": key}), ids),
    st.builds(
        lambda key, value: (
            "UpdateItem",
            {
                "Key": key,
                "UpdateExpression": "SET s = :s ADD n :n",
                "ExpressionAttributeValues": {":s": value, ":n": {"N": "1"}},
            },
        ),
        *(ids, attributes),
    ),
    st.builds(
        lambda item: ("BatchWriteItem", {"RequestItems": {"records": [{"PutRequest": item}]}}),
        items.map(lambda item: {"Item": item}),
    ),
    st.builds(
        lambda item: (
            "TransactWriteItems",
            {"TransactItems": [{"Put": {"TableName": "records", "Item": item}}]},
        ),
        items,
    ),
    st.just(("UpdateContributorInsights", {"ContributorInsightsAction": "ENABLE"})),
    st.just(("CreateTable", CREATE)),
    st.just(("NoSuchOperation", {})),
)


@examples(30)
@given(calls=st.lists(operations, max_size=12), restarts=st.sets(st.integers(0, 11)))
def test_a_restart_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory,
    calls: list[tuple[str, dict[str, Any]]],
    restarts: set[int],
) -> None:
    tables = Tables(tmp_path_factory.mktemp("table") / "journal")
    tables(call("CreateTable", **CREATE))
    for number, (operation, body) in enumerate(calls):
        tables.status(call(operation, **{"TableName": "records", **body}))
        if number in restarts:
            before = tables.items()
            tables.restart()
            assert tables.items() == before
    tables.close()


def test_many_writes_over_few_ids_shorten_to_one_line_an_item(tables: Tables) -> None:
    tables(call("UpdateTimeToLive", TableName="records", TimeToLiveSpecification=TTL))
    for number in range(200):
        tables(put(str(number % 4), n={"N": str(number)}))
    tables(call("DeleteItem", TableName="records", Key={"id": {"S": "3"}}))
    before = tables.items()

    for _ in range(2):
        tables.restart()
        assert len(tables.path.read_bytes().splitlines()) == 2 + 3
        assert tables.items() == before
        ttl = tables(call("DescribeTimeToLive", TableName="records"))["TimeToLiveDescription"]
        assert ttl["AttributeName"] == "expires"


def test_a_table_with_two_keys_and_others_of_its_name_are_kept_apart(tables: Tables) -> None:
    key = [("id", "HASH"), ("at", "RANGE")]
    body = CREATE | {
        "KeySchema": [{"AttributeName": name, "KeyType": kind} for name, kind in key],
        "AttributeDefinitions": [{"AttributeName": n, "AttributeType": "S"} for n, _ in key],
    }
    elsewhere = call("CreateTable", **body)._replace(region="us-east-1")
    tables(elsewhere)
    for _ in range(2):
        for at in ("1", "2"):
            tables(put("x", at={"S": at})._replace(region="us-east-1"))
    tables(put("y"))
    tables.restart()

    assert tables.ids == ["y"]
    scan = call("Scan", TableName="records")._replace(region="us-east-1")
    assert [item["at"]["S"] for item in tables(scan)["Items"]] == ["1", "2"]


@pytest.mark.parametrize(
    ("refused", "status"),
    [
        (call("UpdateContributorInsights", TableName="records"), 500),
        (call("PutItem", TableName="records", Item=KEY, ConditionExpression="((("), 500),
        (call("PutItem", TableName="records", Item=KEY, ConditionExpression=EXISTS), 400),
        (call("PutItem", TableName="other", Item=KEY), 400),
        (call("CreateTable", **CREATE), 400),
        (call("NoSuchOperation"), 500),
        (call("Scan", TableName="records"), 200),
        (Call(REGION, "", "{}"), 404),
        (Call(REGION, "DynamoDB_20120810.PutItem", "{"), 500),
    ],
)
def test_a_call_that_changes_nothing_is_not_kept(
    tables: Tables, refused: Call, status: int
) -> None:
    tables(put("before"))
    journal = tables.path.read_bytes()

    assert tables.status(refused) == status
    assert tables.path.read_bytes() == journal
    tables(put("after"))
    tables.restart()
    assert tables.ids == ["after", "before"]


@pytest.mark.parametrize(
    "line",
    [
        b"not JSON",
        b"{}",
        b"\xff\x00",
        b'{"region": "eu-central-1", "target": "DynamoDB_20120810.PutItem", "body": "{"}',
        json.dumps(put("x")._replace(region="nowhere")._asdict()).encode(),
        json.dumps(call("UpdateContributorInsights", TableName="records")._asdict()).encode(),
        json.dumps(call("CreateTable", **CREATE)._asdict()).encode(),
        json.dumps(call("PutItem", TableName="other", Item=KEY)._asdict()).encode(),
    ],
)
def test_a_line_that_cannot_be_carried_out_is_skipped_and_deleted_by_nothing(
    tables: Tables, line: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    tables(put("before"))
    with tables.path.open("ab") as file:
        file.write(line + b"\n")
    tables.restart()
    tables(put("after"))
    tables.restart()

    assert tables.ids == ["after", "before"]
    assert "Skipped line 3 of the journal" in caplog.text
    assert line + b"\n" in tables.path.read_bytes()


@pytest.mark.parametrize("cut_off", [b"", b"{", b'{"target": "DynamoDB_20120810.Put'])
def test_a_journal_that_ends_within_a_line_goes_on_after_the_last_whole_one(
    tables: Tables, cut_off: bytes
) -> None:
    tables(put("before"))
    with tables.path.open("ab") as file:
        file.write(cut_off)
    tables.restart()
    tables(put("after"))
    tables.restart()

    assert tables.ids == ["after", "before"]


class FullDisk:
    """A file without room for more than some bytes."""

    def __init__(self, file: Any, room: int) -> None:  # noqa: ANN401
        self._file = file
        self._room = room

    def write(self, data: bytes) -> int:
        if not self._room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written: int = self._file.write(data[: self._room])
        self._room -= written
        return written

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._file, name)


@pytest.mark.parametrize("room", [0, 50])
def test_a_record_without_room_is_not_stored_and_harms_no_other(tables: Tables, room: int) -> None:
    tables(put("before"))
    usual = tables.journal._file
    full: Any = FullDisk(usual, room)
    tables.journal._file = full
    for _ in range(2):
        assert tables.status(put("full")) == 503
    assert tables.ids == ["before"]
    tables.journal._file = usual
    tables(put("after"))
    tables.restart()

    assert tables.ids == ["after", "before"]


def test_a_journal_that_cannot_be_shortened_for_lack_of_room_is_left_alone(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        tables(put("same"))
    journal = tables.path.read_bytes()

    def full(self: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    tables.restart()

    assert tables.ids == ["same"]
    assert tables.path.read_bytes() == journal
    assert list(tables.path.parent.iterdir()) == [tables.path]


def test_an_item_that_was_overwritten_takes_no_memory(tables: Tables) -> None:
    for _ in range(50):
        tables(put("same"))
    gc.collect()
    assert len([thing for thing in gc.get_objects() if isinstance(thing, Item)]) == 1


# The process


@contextlib.asynccontextmanager
async def running(folder: Path) -> AsyncIterator[TableProcess]:
    """The process, kept running."""
    process = TableProcess(folder / "table.journal", folder / "table.log")
    await process.start()
    keeper = asyncio.create_task(process.keep())
    try:
        yield process
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
        await process.stop()


def client(process: TableProcess) -> Any:  # noqa: ANN401  botocore has no types
    return botocore.session.get_session().create_client(
        "dynamodb",
        endpoint_url=process.endpoint,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )


def store(process: TableProcess, id_: str) -> None:
    client(process).put_item(TableName="records", Item={"id": {"S": id_}})


def stored(process: TableProcess) -> set[str]:
    pages = client(process).get_paginator("scan").paginate(TableName="records")
    return {item["id"]["S"] for page in pages for item in page["Items"]}


async def make_table(process: TableProcess) -> TableClient:
    tables = await asyncio.to_thread(TableClient, process.endpoint, REGION)
    await asyncio.to_thread(tables.create, [RECORDS])
    return tables


def kill(folder: Path) -> None:
    """End the process that has the journal in this folder as `kill -9` does."""
    journal = str(folder / "table.journal")
    (found,) = (child for child in psutil.Process().children() if journal in child.cmdline())
    found.kill()


def test_nothing_acknowledged_is_lost_when_the_process_is_killed_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "pause_after", lambda lifetime, last_pause: 0.0)
    acknowledged: set[str] = set()
    over = threading.Event()

    def write(process: TableProcess, writer: int) -> None:
        dynamodb = client(process)
        for turn in itertools.count():
            if over.is_set():
                return
            id_ = f"{writer}-{turn}"
            with contextlib.suppress(BotoCoreError, ClientError):
                dynamodb.put_item(TableName="records", Item={"id": {"S": id_}})
                acknowledged.add(id_)

    async def run() -> None:
        async with running(tmp_path) as process:
            await make_table(process)
            endpoint = process.endpoint
            writers = [asyncio.to_thread(write, process, n) for n in range(2)]
            writing = asyncio.gather(*writers)
            try:
                for _ in range(2):
                    before = len(acknowledged)
                    while len(acknowledged) < before + 20:
                        await asyncio.sleep(0.01)
                    kill(tmp_path)
            finally:
                over.set()
                await writing
            assert process.endpoint == endpoint
        async with running(tmp_path) as process:
            assert acknowledged <= await asyncio.to_thread(stored, process)

    asyncio.run(run())


def test_items_outlive_the_program_that_started_the_process(tmp_path: Path) -> None:
    code = (
        "import asyncio, os, pathlib\n"
        "from tools.sandbox.deployment import Table\n"
        "from tools.sandbox.table import TableClient, TableProcess\n"
        "process = TableProcess(pathlib.Path('table.journal'), pathlib.Path('table.log'))\n"
        "asyncio.run(process.start())\n"
        "records = Table(name='records', attributes={'id': 'S'}, hash_key='id', range_key=None)\n"
        "TableClient(process.endpoint, 'eu-central-1').create([records])\n"
        "print(process.endpoint.rpartition(':')[2], flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    port = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CODE)},
        stdout=subprocess.PIPE,
        check=False,
    ).stdout

    async def run() -> None:
        async with running(tmp_path) as process:  # waits until the other process has ended
            assert await asyncio.to_thread(stored, process) == set()

    asyncio.run(run())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(port)))


def test_of_two_processes_with_one_journal_the_second_waits_for_the_first(tmp_path: Path) -> None:
    async def run() -> None:
        first = TableProcess(tmp_path / "table.journal", tmp_path / "table.log")
        second = TableProcess(tmp_path / "table.journal", tmp_path / "table.log")
        await first.start()
        await make_table(first)
        starting = asyncio.create_task(second.start())
        for id_ in ("1", "2", "3"):
            await asyncio.to_thread(store, first, id_)
        await first.stop()
        await starting
        assert await asyncio.to_thread(stored, second) == {"1", "2", "3"}
        await second.stop()

    asyncio.run(run())


def test_the_users_shell_does_not_reach_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "AWS_PROFILE", "AWS_CONFIG_FILE", "PYTHONHOME", "MOTO_ACCOUNT_ID"):
        monkeypatch.setenv(name, "/nowhere")
    for name, value in (("PYTHONWARNINGS", "error"), ("PYTHONSAFEPATH", "1")):
        monkeypatch.setenv(name, value)

    async def run() -> None:
        async with running(tmp_path) as process:
            assert process.contents(REGION, "records") == {"count": 0, "sample": []}

    asyncio.run(run())


def test_a_process_that_cannot_start_names_its_log_and_leaves_the_journal_alone(
    tmp_path: Path,
) -> None:
    (tmp_path / "table.journal").mkdir()
    process = TableProcess(tmp_path / "table.journal", tmp_path / "table.log")

    with pytest.raises(UserError) as said:
        asyncio.run(process.start())

    assert str(said.value) == (
        f"The process of the table did not start. Its log is {tmp_path / 'table.log'}."
    )
    assert "IsADirectoryError" in (tmp_path / "table.log").read_text()
    assert (tmp_path / "table.journal").is_dir()


@pytest.mark.parametrize(
    ("lifetime", "last_pause", "pause"),
    [(3600, 0, 0), (3600, 30, 0), (9.9, 0, 1), (0, 1, 2), (0, 2, 4), (0, 16, 30), (0, 30, 30)],
)
def test_a_process_that_ends_at_once_is_started_again_more_and_more_rarely(
    lifetime: float, last_pause: float, pause: float
) -> None:
    assert pause_after(lifetime, last_pause) == pause


def test_the_contents_of_a_table_are_its_count_and_some_items(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(tmp_path) as process:
            tables = await make_table(process)
            for number in range(7):
                await asyncio.to_thread(store, process, str(number))
            for contents in (
                await asyncio.to_thread(process.contents, REGION, "records"),
                await asyncio.to_thread(tables.contents, "records"),
            ):
                ids = [item["id"]["S"] for item in contents.pop("sample")]
                assert contents == {"count": 7}
                assert ids == ["0", "1", "2", "3", "4"]
        with pytest.raises(UserError, match=r"^The table does not answer: "):
            process.contents(REGION, "records")

    asyncio.run(run())


def test_a_table_is_made_once_and_keeps_its_key(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(tmp_path) as process:
            tables = await make_table(process)
            await asyncio.to_thread(tables.create, [RECORDS])
            other = replace(RECORDS, attributes={"key": "S"}, hash_key="key")
            with pytest.raises(UserError, match=r"^Table records exists with another key"):
                await asyncio.to_thread(tables.create, [other])
        with pytest.raises(UserError, match=rf"^DynamoDB at {process.endpoint}: "):
            tables.create([RECORDS])

    asyncio.run(run())
