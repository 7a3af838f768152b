"""The table's journal and process: what was acknowledged is there, whatever happens in between."""

import asyncio
import gc
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto.core.base_backend import BackendDict
from moto.dynamodb.models.dynamo_type import Item

from settings import UserError
from tests.fuzzing import examples
from tools.sandbox import table_server
from tools.sandbox.deployment import Table
from tools.sandbox.table import TableClient, TableProcess, pause_after
from tools.sandbox.table_server import Call, Database

CODE = Path(__file__).parents[3]
REGION = "eu-central-1"
RECORDS = Table(name="records", attributes={"id": "S"}, hash_key="id", range_key=None)
KEY = {"id": {"S": "12"}}
BEFORE = {"id": {"S": "before"}}
EXISTS = "attribute_exists(id)"
NOT_EXISTS = "attribute_not_exists(id)"
TTL = {"Enabled": True, "AttributeName": "expires"}


def call(operation: str, region: str = REGION, **body: Any) -> Call:  # noqa: ANN401  JSON
    body = {"TableName": "records", **body}
    return Call(region, f"DynamoDB_20120810.{operation}", json.dumps(body))


def put(id_: str, region: str = REGION, **item: dict[str, Any]) -> Call:
    return call("PutItem", region, Item={"id": {"S": id_}, **item})


def create(region: str = REGION, **key: str) -> Call:
    """Create the table with these attributes as its key."""
    return call(
        "CreateTable",
        region,
        KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in key.items()],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in key],
        BillingMode="PAY_PER_REQUEST",
    )


class Tables:
    """A database that can be started again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.restart()

    def restart(self) -> None:
        """Forget all that is in memory, and read the journal."""
        self.close()
        self._database = Database(self.path)
        self.journal = self._database._journal

    def close(self) -> None:
        BackendDict.reset()
        if hasattr(self, "journal"):
            self.journal.close()

    @property
    def lines(self) -> list[Call]:
        """The calls in the journal."""
        return [Call(*row) for row in self.journal.execute("SELECT * FROM calls ORDER BY rowid")]

    def status(self, call: Call) -> int:
        return self._database.answer(call)[0]

    def __call__(self, call: Call) -> dict[str, Any]:
        """The answer to a call that succeeds."""
        status, body = self._database.answer(call)
        assert status == 200, body
        answer: dict[str, Any] = json.loads(body)
        return answer

    @property
    def items(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self(call("Scan"))["Items"]
        return items

    @property
    def ids(self) -> list[str]:
        return [item["id"]["S"] for item in self.items]


@pytest.fixture
def tables(tmp_path: Path) -> Iterator[Tables]:
    """A database with the table of records."""
    tables = Tables(tmp_path / "table.sqlite")
    tables(create(id="HASH"))
    yield tables
    tables.close()


VALUES: list[dict[str, Any]] = [
    *({"S": "é\n"}, {"N": "7"}, {"B": "aGVsbG8="}, {"BOOL": True}, {"NULL": True}, {"L": []}),
    *({"SS": ["a", "b"]}, {"NS": ["1", "2"]}, {"BS": ["aGVsbG8="]}, {"M": {"x": {"B": "YQ=="}}}),
]
UPDATE: dict[str, Any] = {
    "UpdateExpression": "SET s = :s ADD n :n",
    "ExpressionAttributeValues": {":s": {"L": [{"B": "YQ=="}]}, ":n": {"N": "1"}},
}
CALLS = [
    *(put(id_) for id_ in "ab"),
    *(put("a", s=value) for value in VALUES),
    call("PutItem", Item=KEY, ConditionExpression=EXISTS),
    call("PutItem", Item=KEY, ConditionExpression=NOT_EXISTS),
    call("PutItem", Item=KEY, ConditionExpression="((("),
    *(call("DeleteItem", Key={"id": {"S": id_}}) for id_ in "ab"),
    *(call("UpdateItem", Key={"id": {"S": id_}}, **UPDATE) for id_ in "ab"),
    call("BatchWriteItem", RequestItems={"records": [{"PutRequest": {"Item": KEY}}]}),
    call("TransactWriteItems", TransactItems=[{"Put": {"TableName": "records", "Item": KEY}}]),
    call("UpdateContributorInsights", ContributorInsightsAction="ENABLE"),
    create(id="HASH"),
]


@examples(50)
@given(calls=st.lists(st.sampled_from(CALLS), max_size=12), restarts=st.sets(st.integers(0, 11)))
def test_a_restart_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, calls: list[Call], restarts: set[int]
) -> None:
    tables = Tables(tmp_path_factory.mktemp("table") / "journal")
    tables(create(id="HASH"))
    for number, sent in enumerate(calls):
        tables.status(sent)
        if number in restarts:
            before = tables.items
            tables.restart()
            assert tables.items == before
    tables.close()


def test_many_writes_over_few_ids_shorten_to_one_call_an_item(tables: Tables) -> None:
    tables(call("UpdateTimeToLive", TimeToLiveSpecification=TTL))
    for number in range(200):
        tables(put(str(number % 4), n={"S": "x" * 1000}))
    tables(call("DeleteItem", Key={"id": {"S": "3"}}))
    before = tables.items
    for _ in range(2):
        tables.restart()
        assert len(tables.lines) == 2 + 3
        assert tables.path.stat().st_size < 20_000
        assert tables.items == before
        about = tables(call("DescribeTimeToLive"))["TimeToLiveDescription"]
        assert about["AttributeName"] == "expires"


def test_two_tables_of_one_name_and_items_of_one_id_are_kept_apart(tables: Tables) -> None:
    tables(create("us-east-1", id="HASH", at="RANGE"))
    for at in ("1", "2", "2"):
        tables(put("x", "us-east-1", at={"S": at}))
    tables(put("y"))
    tables.restart()

    assert tables.ids == ["y"]
    elsewhere = tables(call("Scan", "us-east-1"))["Items"]
    assert [item["at"]["S"] for item in elsewhere] == ["1", "2"]


def test_an_item_with_a_binary_key_is_found_again(tables: Tables) -> None:
    key = {"id": {"B": "aGVsbG8="}}
    binary = create("us-east-1", id="HASH")
    tables(binary._replace(body=binary.body.replace('"S"', '"B"')))
    tables(call("PutItem", "us-east-1", Item=key))
    tables.restart()
    assert tables(call("GetItem", "us-east-1", Key=key))["Item"] == key


@pytest.mark.parametrize(
    ("failing", "status"),
    [
        (call("UpdateContributorInsights"), 500),
        (call("PutItem", Item=KEY, ConditionExpression="((("), 500),
        (call("PutItem", Item=KEY, ConditionExpression=EXISTS), 400),
        (call("PutItem", TableName="other", Item=KEY), 400),
        (create(id="HASH"), 400),
        (call("NoSuchOperation"), 500),
        (call("Scan"), 200),
        (Call(REGION, "", "{}"), 404),
        (Call(REGION, "DynamoDB_20120810.PutItem", "{"), 500),
    ],
)
def test_a_call_that_changes_nothing_is_not_kept(
    tables: Tables, failing: Call, status: int
) -> None:
    tables(put("before"))
    lines = tables.lines
    assert tables.status(failing) == status
    assert tables.lines == lines
    tables(put("after"))
    tables.restart()
    assert tables.ids == ["after", "before"]


@pytest.mark.parametrize(
    "line",
    [
        Call(REGION, "DynamoDB_20120810.PutItem", "{"),
        Call(REGION, "", "{}"),
        put("x", "nowhere"),
        call("UpdateContributorInsights"),
        create(id="HASH"),
        # Written when the process was killed, and refused otherwise.
        call("PutItem", Item=BEFORE | {"n": {"N": "1"}}, ConditionExpression=NOT_EXISTS),
        call("PutItem", TableName="other", Item=KEY),
    ],
)
def test_a_call_that_fails_is_skipped_and_nothing_is_deleted(
    tables: Tables, line: Call, caplog: pytest.LogCaptureFixture
) -> None:
    tables(put("before"))
    with tables.journal:
        tables.journal.execute("INSERT INTO calls VALUES (?, ?, ?)", line)
    for _ in range(2):
        tables.restart()
        tables(put("after"))
        assert tables.items == [{"id": {"S": "after"}}, BEFORE]
    assert "Skipped call 3 of the journal" in caplog.text
    assert line in tables.lines


def fill_disk(tables: Tables) -> None:
    """Let the journal not grow any more."""
    (pages,) = tables.journal.execute("PRAGMA page_count").fetchone()
    tables.journal.execute(f"PRAGMA max_page_count = {pages}")


def test_a_record_without_room_is_not_stored_and_harms_no_other(tables: Tables) -> None:
    tables(put("before"))
    fill_disk(tables)
    full = put("full", s={"S": "x" * 10_000})
    assert [tables.status(full) for _ in range(2)] == [503, 503]
    assert tables.ids == ["before"]
    tables(put("after"))
    tables.restart()
    assert tables.ids == ["after", "before"]


def test_a_journal_without_room_to_be_shortened_is_left_alone(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        tables(put("same"))
    lines = tables.lines
    monkeypatch.setattr(table_server, "_INSERT", "a full disk")
    tables.restart()
    assert tables.ids == ["same"]
    assert tables.lines == lines


def test_an_item_that_was_overwritten_takes_no_memory(tables: Tables) -> None:
    for _ in range(50):
        tables(put("same"))
    gc.collect()
    # Not isinstance, which asks a proxy for the class of what it stands for.
    assert sum(type(thing) is Item for thing in gc.get_objects()) == 1


class Running:
    """The process, and a client of the table that it serves."""

    def __init__(self, folder: Path) -> None:
        self.process = TableProcess(folder / "table.sqlite", folder / "table.log")

    async def __aenter__(self) -> "Running":
        self._keeping = asyncio.create_task(self.process.keep())
        endpoint = await asyncio.wait_for(self.process.ready(), 60)
        self.tables = TableClient(endpoint, REGION)
        await asyncio.to_thread(self.tables.create, [RECORDS])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._keeping.cancel()
        await asyncio.wait([self._keeping])

    def store(self, *ids: str) -> None:
        for id_ in ids:
            self.tables._client.put_item(TableName="records", Item={"id": {"S": id_}})

    @property
    def ids(self) -> list[str]:
        return [item["id"]["S"] for item in self.tables.contents("records")["sample"]]


@pytest.mark.anyio
async def test_of_two_processes_with_one_journal_the_second_waits_for_the_first(
    tmp_path: Path,
) -> None:
    second = Running(tmp_path)
    async with Running(tmp_path) as first:
        starting = asyncio.create_task(second.__aenter__())
        await asyncio.to_thread(first.store, "1", "2", "3")
    async with await starting:
        assert await asyncio.to_thread(lambda: second.ids) == ["1", "2", "3"]


@pytest.mark.anyio
async def test_a_process_that_cannot_start_names_its_log_and_leaves_the_journal_alone(
    tmp_path: Path,
) -> None:
    (tmp_path / "table.sqlite").write_text("of another program")
    running = Running(tmp_path)
    with pytest.raises(UserError) as said:
        await running.__aenter__()
    await running.__aexit__()
    log = tmp_path / "table.log"
    assert str(said.value) == f"The process of the table does not start. Its log is {log}."
    assert "file is not a database" in log.read_text()
    assert (tmp_path / "table.sqlite").read_text() == "of another program"


@pytest.mark.parametrize(
    ("lifetime", "last_pause", "pause"),
    [(3600, 0, 0), (3600, 30, 0), (9.9, 0, 1), (0, 1, 2), (0, 2, 4), (0, 16, 30), (0, 30, 30)],
)
def test_a_process_that_ends_at_once_is_started_again_more_and_more_rarely(
    lifetime: float, last_pause: float, pause: float
) -> None:
    assert pause_after(lifetime, last_pause) == pause


@pytest.mark.anyio
async def test_a_table_is_made_once_keeps_its_key_and_shows_some_items(tmp_path: Path) -> None:
    async with Running(tmp_path) as running:
        tables = running.tables

        def check() -> None:
            running.store(*"0123456")
            tables.create([RECORDS])
            other = replace(RECORDS, attributes={"key": "S"}, hash_key="key")
            with pytest.raises(UserError, match=r"^Table records exists with another key"):
                tables.create([other])
            expected = {"count": 7, "sample": [{"id": {"S": id_}} for id_ in "01234"]}
            assert tables.contents("records") == expected

        await asyncio.to_thread(check)
    for call in (lambda: tables.contents("records"), lambda: tables.create([RECORDS])):
        with pytest.raises(UserError, match=r"^DynamoDB at http:\S+ "):
            call()
