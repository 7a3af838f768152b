"""Access logs are read in each form that CloudWatch gives them, and what cannot be read is said."""

import gzip
import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from components.edge_protection.access_log import access_log_format
from settings import UserError
from tests.tools.traffic.logs import line, write
from throttling import Layer
from throttling.simulation.engine import OUTCOMES
from tools.traffic.access_log import Line, read_log

LINES = [line(requestTimeEpoch=str(1_767_571_200_000 + at), sourceIp=f"::{at}") for at in range(5)]
TEXTS = [json.dumps(one) for one in LINES]
EVENTS = [{"logStreamName": "s", "timestamp": 1, "message": text + "\n"} for text in TEXTS]
ROWS = [[{"field": "@message", "value": text}, {"field": "@ptr", "value": "x"}] for text in TEXTS]
COLUMNS = [[{"field": key, "value": str(value)} for key, value in one.items()] for one in LINES]


def test_the_stage_logs_every_field_that_is_read() -> None:
    assert {*Line.__struct_encode_fields__} <= json.loads(access_log_format()).keys()


@pytest.mark.parametrize(
    "content",
    [
        "\n".join(TEXTS),
        "\r\n\n".join(TEXTS) + "\n\n",
        "".join(f"2026-01-05T00:00:00.000Z {text}\n" for text in TEXTS),
        json.dumps({"events": EVENTS, "searchedLogStreams": []}, indent=4),
        json.dumps({"events": EVENTS}),
        json.dumps({"queryLanguage": "CWLI", "results": ROWS, "status": "Complete"}, indent=4),
        json.dumps({"results": COLUMNS, "statistics": {}}),
        json.dumps([{"@timestamp": "x", "@message": one} for one in LINES]),
        json.dumps(TEXTS, indent=1),
    ],
    ids=["lines", "crlf", "S3", "events", "compact", "insights", "columns", "console", "texts"],
)
@pytest.mark.parametrize("pack", [lambda content: content, gzip.compress], ids=["plain", "gzip"])
def test_every_form_of_cloudwatch_is_read(
    content: str, pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    (tmp_path / "log").write_bytes(pack(content.encode()))
    log = read_log([tmp_path / "log"])
    assert log.times.tolist() == pytest.approx([0, 0.001, 0.002, 0.003, 0.004])
    assert [log.addresses[index] for index in log.address] == [f"::{at}" for at in range(5)]
    assert [log.senders[index] for index in log.sender] == [("k-basic", "POST /data")] * 5
    assert log.latency.tolist() == pytest.approx([0.1] * 5)
    assert f"{log.start:%Y-%m-%d %H:%M:%S %Z}" == "2026-01-05 00:00:00 UTC"
    assert not log.notes


def test_a_line_longer_than_what_is_read_at_a_time_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.traffic.access_log._CHUNK_BYTES", 100)
    assert len(read_log([write(tmp_path / "log", LINES)]).times) == 5


def test_folders_and_several_files_are_one_log_in_order_of_time(tmp_path: Path) -> None:
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    write(tmp_path / "folder" / "deep" / "b", LINES[:2])
    write(tmp_path / "folder" / "a", [LINES[3], LINES[2]])
    last = write(tmp_path / "z", LINES[4:])
    log = read_log([last, tmp_path / "folder"])
    assert [log.addresses[index] for index in log.address] == [f"::{at}" for at in range(5)]
    (note,) = log.notes
    assert note.startswith("The clock goes back at 1 lines, by up to 0.0 s, because a line is")


def test_a_line_that_several_files_have_counts_once(tmp_path: Path) -> None:
    (tmp_path / "day").mkdir()
    first = write(tmp_path / "day" / "a", LINES[:3])
    write(tmp_path / "day" / "b", LINES[1:])
    without = [line(extendedRequestId="-") for _ in range(2)]
    log = read_log([first, tmp_path / "day", write(tmp_path / "c", without)])
    came = sorted(log.addresses[index] for index in log.address)
    assert came == ["192.0.2.1"] * 2 + [f"::{at}" for at in range(5)]
    assert log.notes == [
        "5 lines are there more than once (the same extendedRequestId). They count once."
    ]


@pytest.mark.parametrize(
    ("fields", "layer"),
    [
        ({}, None),
        ({"status": "400"}, None),
        ({"responseType": "INTEGRATION_FAILURE"}, None),
        ({"responseType": "THROTTLED"}, Layer.USAGE_PLAN),
        ({"responseType": "QUOTA_EXCEEDED"}, Layer.QUOTA),
        ({"responseType": "INVALID_API_KEY"}, Layer.API_KEY),
        ({"responseType": "MISSING_AUTHENTICATION_TOKEN"}, Layer.API_KEY),
        ({"responseType": "WAF_FILTERED"}, Layer.WAF),
        ({"wafResponseCode": "WAF_BLOCK"}, Layer.WAF),
        ({"responseType": "INTEGRATION_FAILURE", "integrationStatus": "429"}, Layer.CONCURRENCY),
    ],
)
def test_a_line_says_which_layer_refused(
    fields: dict[str, str], layer: Layer | None, tmp_path: Path
) -> None:
    log = read_log([write(tmp_path / "log", [line(**fields)])])
    assert OUTCOMES[log.logged[0]] is layer
    assert (log.latency[0] == pytest.approx(0.1)) == (layer is None)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"requestTimeEpoch": "soon"}, "Expected `int`, got `str` - at `$.requestTimeEpoch`"),
    ({"requestTimeEpoch": None}, "Expected `int`, got `null`"),
    ({"requestTimeEpoch": 1767571200}, "Expected `int` >= 946684800000"),
    ({"sourceIp": 7}, "Expected `str`, got `int` - at `$.sourceIp`"),
    ({"integrationLatencyMs": "-5"}, "Expected `int` >= 0"),
    ({"integrationLatencyMs": [1]}, "Expected `int | str`, got `array`"),
]


@pytest.mark.parametrize(("fields", "words"), BAD)
def test_a_line_that_cannot_be_read_is_counted_and_shown(
    fields: dict[str, Any], words: str, tmp_path: Path
) -> None:
    log = read_log([write(tmp_path / "log", [*LINES[:2], line(**fields), *LINES[2:]])])
    assert len(log.times) == 5
    counted, example = log.notes
    assert counted == "1 of 6 lines cannot be read, such as:"
    assert words in example
    assert f"{tmp_path / 'log'} line 3: " in example


def test_no_more_than_three_lines_are_shown_without_control_characters(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"\x1b[31mred\n" * 7 + b"\xff\xfe\n" + TEXTS[0].encode())
    counted, *shown = read_log([file]).notes
    assert counted.startswith("8 of 9 lines")
    assert len(shown) == 3
    assert not any("\x1b" in one for one in shown)


NO_EPOCH = {key: value for key, value in LINES[0].items() if key != "requestTimeEpoch"}
CUT_OFF = gzip.compress("\n".join(TEXTS).encode())[:-20]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "there is no line of an access log"),
        (b"\n \n", "there is no line of an access log"),
        (b'{"events": []}', "there is no line of an access log"),
        (b"time,key,status\n1,2,200\n", "None of the 2 lines is one of the stage's access log"),
        (b"PAR1\x00\x15\x04", "None of the 1 lines is one"),
        (json.dumps(NO_EPOCH).encode(), "Object missing required field `requestTimeEpoch`"),
        (CUT_OFF, "is cut off: its gzip stream has no end"),
        (b"\x1f\x8bnonsense", "cannot be read"),
        (b'{\n"events": [', "cannot be read: Input data was truncated"),
        (b'{"events": 7}', "None of the 1 lines is one"),
        (b"[1, null, [2]]", "None of the 3 lines is one"),
    ],
)
def test_bad_input_is_one_clear_error(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(content)
    with pytest.raises(UserError) as error:
        read_log([tmp_path / "log"])
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        ((400 * 86_400,), r"from 2026-01-05 to 2027-02-09\. Allowed are 366 days"),
        (
            (0, 7200, 3600),
            r"log: the clock goes back from 2026-01-05 02:00:00 to 2026-01-05 01:00:",
        ),
        ((61, 0), "the clock goes back"),
        ((60, 0), None),
    ],
)
def test_a_wrong_clock_is_one_clear_error(
    seconds: tuple[int, ...], words: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.traffic.access_log._CHUNK_BYTES", 300)
    late = [line(requestTimeEpoch=str(1_767_571_200_000 + 1000 * at)) for at in seconds]
    with pytest.raises(UserError, match=words) if words else nullcontext():
        read_log([write(tmp_path / "log", [*LINES, *late])])


def test_rows_of_a_query_may_have_any_order(tmp_path: Path) -> None:
    late = line(requestTimeEpoch=str(1_767_571_200_000 + 3_600_000))
    (tmp_path / "log").write_text(json.dumps([late, *LINES]))
    assert read_log([tmp_path / "log"]).times.tolist()[-1] == 3600
