"""Callers on this machine: connections that send one request after another."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import httptools
import uvloop


@dataclass
class Load:
    """What came back."""

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    """Seconds from when each request was due until its answer was there."""

    def per_second(self, status: int) -> float:
        """Answers of a status per second."""
        return self.statuses[status] / self.seconds

    def latency_ms(self, percentile: float) -> float:
        """So many percent of the answers took no longer."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percentile / 100))] * 1000


def generate(
    port: int,
    request: Callable[[int], bytes],
    *,
    connections: int,
    seconds: float,
    rate: float | None = None,
) -> Load:
    """Send requests for some time.

    Args:
        port: on the loopback interface.
        request: the bytes of the nth request.
        connections: how many requests may be under way at the same time.
        seconds: how long.
        rate: requests per second; None for one after another on each connection. A request is
            timed from when it was due, so that none that had to wait is left out.
    """
    return uvloop.run(_generate(port, request, connections, seconds, rate))


async def _generate(
    port: int,
    request: Callable[[int], bytes],
    connections: int,
    seconds: float,
    rate: float | None,
) -> Load:
    loop = asyncio.get_running_loop()
    load = Load()
    free: asyncio.Queue[_Connection] = asyncio.Queue()

    async def connect() -> _Connection:
        _, connection = await loop.create_connection(
            lambda: _Connection(load, free), "127.0.0.1", port
        )
        return connection

    for _ in range(connections):
        free.put_nowait(await connect())
    began = time.perf_counter()
    sent = 0
    while (now := time.perf_counter()) < began + seconds:
        due = began + sent / rate if rate else now
        if due > now:
            await asyncio.sleep(due - now)
        connection = await free.get()
        if connection.closed:  # by a server that answers one request on each
            connection = await connect()
        connection.send(request(sent), due if rate else time.perf_counter())
        sent += 1
    for _ in range(connections):
        (await free.get()).close()
    load.seconds = time.perf_counter() - began
    return load


class _Connection(asyncio.Protocol):
    def __init__(self, load: Load, free: "asyncio.Queue[_Connection]") -> None:
        self._load = load
        self._free = free
        self._due = 0.0
        self._waits = False
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def send(self, request: bytes, due: float) -> None:
        self._due = due
        self._waits = True
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self.closed = not self._parser.should_keep_alive()
        self._done(self._parser.get_status_code())

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        if self._waits:
            self._done(0)

    def _done(self, status: int) -> None:
        """Count an answer; 0 for none."""
        self._waits = False
        self._load.statuses[status] += 1
        self._load.latencies.append(time.perf_counter() - self._due)
        self._free.put_nowait(self)

    def close(self) -> None:
        self._transport.close()
