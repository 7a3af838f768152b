"""The access log of a stage, read into arrays: millions of lines in seconds.

It takes what CloudWatch gives: JSON lines, the results of a query in Logs Insights, and what
`aws logs filter-log-events` prints; each as it is or compressed with gzip.
"""

import gzip
import re
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path
from typing import Annotated, Any, Final, Literal, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from settings import UserError
from settings.paths import printable
from throttling import Layer
from throttling.simulation.engine import CODES
from throttling.simulation.loops import Codes
from throttling.simulation.traffic import Floats, Ints

NONE: Final = "-"
"""Stands in a line for an absent value."""
MAX_SECONDS: Final = 366 * 86_400
_LATE_MS: Final = 60_000
"""A line may be written so long after those of later requests: 29 s is the longest request."""
_CHUNK_BYTES: Final = 1 << 20
_EXAMPLES: Final = 3
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_DOCUMENT: Final = re.compile(
    rb"\s*(\[|\{\s*(\n|\"(events|results|searchedLogStreams|nextToken|queryLanguage|statistics)\"))"
)
"""How a file begins that is one JSON document, not a line for each request."""
_STAMP: Final = re.compile(rb"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z ", re.MULTILINE)
"""What CloudWatch's export to S3 writes before each line."""
_CODES: Final = {
    "WAF_FILTERED": CODES[Layer.WAF],
    "INVALID_API_KEY": CODES[Layer.API_KEY],
    "MISSING_AUTHENTICATION_TOKEN": CODES[Layer.API_KEY],
    "QUOTA_EXCEEDED": CODES[Layer.QUOTA],
    # A log does not say which throttle it was.
    "THROTTLED": CODES[Layer.USAGE_PLAN],
}
"""The layer that refuses a request, by the type of API Gateway's response."""
_TYPES: Final = "qqiifB"
"""Of the columns: time, ID, sender, address, latency and code; see the module array."""


class Line(msgspec.Struct, rename="camel", gc=False):
    """The fields of a line that decide how its request is replayed."""

    # In milliseconds, in the years 2000 to 2099.
    request_time_epoch: Annotated[int, msgspec.Meta(ge=946_684_800_000, lt=4_102_444_800_000)]
    source_ip: str
    api_key_id: str
    method: str
    path: str
    response_type: str
    waf_response_code: str
    integration_status: str
    integration_latency_ms: Annotated[int, msgspec.Meta(ge=0, lt=2**31)] | Literal["-"]
    # Clients can set requestId, and not this one.
    extended_request_id: str = NONE

    @property
    def code(self) -> int:
        """What happened to the request, as a code of `engine.OUTCOMES`."""
        if self.waf_response_code == "WAF_BLOCK":
            return CODES[Layer.WAF]
        # Lambda's own status: it had no free concurrency.
        if self.integration_status == "429":
            return CODES[Layer.CONCURRENCY]
        return _CODES.get(self.response_type, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class AccessLog:
    """The requests of a log in the order of their times. All arrays have equal lengths."""

    start: datetime
    """When the first request came (UTC)."""
    times: Floats
    """Seconds after the start."""
    senders: Sequence[tuple[str, str]]
    """Key ID and method of the requests, for `sender` to refer to."""
    sender: Ints
    addresses: Sequence[str]
    """For `address` to refer to."""
    address: Ints
    latency: Floats
    """Seconds that the function took; NaN for requests that it did not get."""
    logged: Codes
    """What happened, as codes of `engine.OUTCOMES`; the usage plan stands for every throttle."""
    notes: Sequence[str]
    """What the reader of the log should know about it."""


def read_log(
    paths: Sequence[Path], progress: Callable[[int, int], None] = lambda *_: None
) -> AccessLog:
    """Read files, and the files in folders, as one log.

    `progress` is called now and then with the bytes that are read, and all bytes.

    Raises:
        UserError: when a file cannot be read, no line can be, or the times cannot be right.
    """
    files = [file for path in paths for file in _files(path)]
    reader, done, total = _Reader(), 0, sum(file.stat().st_size for file in files)
    for file in files:
        reader.begin(file)
        try:
            with file.open("rb") as raw:
                for chunk, in_order in _chunks(raw):
                    reader.add(chunk, in_order=in_order)
                    progress(done + raw.tell(), total)
        except EOFError:
            raise UserError(
                f"{file} is cut off: its gzip stream has no end. Fetch it again."
            ) from None
        except (OSError, zlib.error, *UNREADABLE) as error:
            raise UserError(f"{file} cannot be read: {error}.") from None
        done += file.stat().st_size
    return reader.log(", ".join(map(str, paths)))


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise UserError(f"{path}: there is no such file or folder.")
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def _chunks(raw: BufferedReader) -> Iterator[tuple[bytes, bool]]:
    """Yield the lines of a file, many at a time, and whether they are in the order of writing."""
    file = raw
    if raw.peek(2)[:2] == b"\x1f\x8b":
        file = cast(BufferedReader, gzip.GzipFile(fileobj=raw))
    rest = file.read(_CHUNK_BYTES)
    if _DOCUMENT.match(rest):
        # A query has an order of its own.
        yield b"\n".join(_messages(msgspec.json.decode(rest + file.read()))), False
        return
    while piece := file.read(_CHUNK_BYTES):
        lines, newline, tail = piece.rpartition(b"\n")
        if newline:
            yield rest + lines, True
            rest = tail
        else:
            rest += piece
    yield rest, True


def _messages(document: Any) -> Iterator[bytes]:  # noqa: ANN401  JSON
    """Yield the lines in the events of a log group, or in the rows of a query's results."""
    if isinstance(document, dict):
        document = document.get("events", document.get("results", [document]))
    for item in document if isinstance(document, list) else [document]:
        if isinstance(item, list):
            item = {cell.get("field"): cell.get("value") for cell in item if isinstance(cell, dict)}
        if isinstance(item, dict):
            item = item.get("message", item.get("@message", item))
        text = item.encode() if isinstance(item, str) else msgspec.json.encode(item)
        yield text.replace(b"\n", b" ")


class _Reader:
    """Collects the lines of all files."""

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(Line, strict=False)
        self._columns: list[array[Any]] = [array(kind) for kind in _TYPES]
        self._senders: dict[tuple[str, str, str], int] = {}
        self._addresses: dict[str, int] = {}
        self._unread = self._late = self._latest_ms = 0
        self._examples: list[str] = []
        self._file, self._number, self._last = Path(), 0, 0

    def begin(self, file: Path) -> None:
        """Begin a file."""
        self._file, self._number, self._last = file, 0, 0

    def add(self, chunk: bytes, *, in_order: bool) -> None:
        """Add lines of the file; refuse a clock that is set back between lines `in_order`."""
        if chunk[:1].isdigit():
            chunk = _STAMP.sub(b"", chunk)
        try:
            lines = self._decoder.decode_lines(chunk)
        except UNREADABLE:
            lines = list(self._one_by_one(chunk))
        self._number += chunk.count(b"\n") + 1
        if not lines:
            return
        senders, addresses = self._senders, self._addresses
        columns: list[list[Any]] = [
            [one.request_time_epoch for one in lines],
            [hash(one.extended_request_id) for one in lines],
            [
                senders.setdefault((one.api_key_id, one.method, one.path), len(senders))
                for one in lines
            ],
            [addresses.setdefault(one.source_ip, len(addresses)) for one in lines],
            [
                np.nan if one.integration_latency_ms == NONE else one.integration_latency_ms
                for one in lines
            ],
            [one.code for one in lines],
        ]
        for column, more in zip(self._columns, columns, strict=True):
            column.fromlist(more)
        if in_order:
            self._check_clock(np.array(columns[0]))

    def _check_clock(self, times: Ints) -> None:
        late = -np.diff(times, prepend=self._last)
        worst, self._last = int(late.argmax()), times[-1]
        if late[worst] > _LATE_MS:
            now, before = (_moment(at) for at in (times[worst], times[worst] + late[worst]))
            raise UserError(
                f"{self._file}: the clock goes back from {before:%Y-%m-%d %H:%M:%S} to "
                f"{now:%Y-%m-%d %H:%M:%S}. A line is written when its request ends, within 29 s. "
                "Correct the times. Give the parts of a file that joins several logs as files."
            )
        self._late += int(np.count_nonzero(late > 0))
        self._latest_ms = max(self._latest_ms, int(late[worst]))

    def _one_by_one(self, chunk: bytes) -> Iterator[Line]:
        """Yield the lines that can be read, and count the others."""
        for number, line in enumerate(chunk.split(b"\n"), self._number + 1):
            if not line.strip():
                continue
            try:
                yield self._decoder.decode(line)
            except UNREADABLE as error:
                self._unread += 1
                if len(self._examples) < _EXAMPLES:
                    shown = printable(line[:60].decode(errors="replace"))
                    self._examples.append(f"{self._file} line {number}: {error}: {shown}")

    def log(self, name: str) -> AccessLog:
        """Return what was read; raise a UserError if it is nothing or too long."""
        if not self._columns[0]:
            if self._unread:
                raise UserError(
                    f"None of the {self._unread:,} lines is one of the stage's access log. "
                    f"{self._examples[0]}"
                )
            raise UserError(f"{name}: there is no line of an access log.")
        columns = [np.frombuffer(self._columns.pop(0), kind) for kind in _TYPES]
        read, notes = len(columns[0]), []
        if self._unread:
            notes = [f"{self._unread:,} of {self._unread + read:,} lines cannot be read, such as:"]
            notes += self._examples
        if self._late:
            most = f"{self._latest_ms / 1000:,.1f} s"
            notes.append(
                f"The clock goes back at {self._late:,} lines, by up to {most}, because a line is "
                "written when its request ends. The lines are sorted by time."
            )
        new = _new(columns.pop(1))
        if not new.all():
            notes.append(
                f"{np.count_nonzero(~new):,} lines are there more than once (the same "
                "extendedRequestId). They count once."
            )
        order = np.argsort(columns[0], kind="stable")
        order = order[new[order]]
        # One after the other, so that memory does not hold all of them twice.
        times, sender, address, latency, logged = (columns.pop(0)[order] for _ in range(5))
        start, end = _moment(times[0]), _moment(times[-1])
        if (end - start).total_seconds() > MAX_SECONDS:
            raise UserError(
                f"{name}: the log goes from {start:%Y-%m-%d} to {end:%Y-%m-%d}. Allowed are "
                f"{MAX_SECONDS // 86_400} days: is a clock wrong?"
            )
        latency[logged > 0] = np.nan
        return AccessLog(
            start=start,
            times=(times - times[0]) / 1000,
            senders=[(key, f"{verb} {path}") for key, verb, path in self._senders],
            sender=sender,
            addresses=[*self._addresses],
            address=address,
            latency=latency / 1000,
            logged=logged,
            notes=notes,
        )


def _moment(epoch_ms: int) -> datetime:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)


def _new(ids: Ints) -> NDArray[np.bool_]:
    """Return which lines have an ID that no line before has, or none at all."""
    order, new = np.argsort(ids, kind="stable"), np.ones(len(ids), np.bool_)
    ids = ids[order]
    again = (ids[1:] == ids[:-1]) & (ids[1:] != hash(NONE))
    new[order[1:][again]] = False
    return new
