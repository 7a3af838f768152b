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
    """Answers by status; 0 for a connection that closed without one."""
    latencies: list[float] = field(default_factory=list)
    """Seconds from when each request was due until its answer arrived."""

    def per_second(self, status: int) -> float:
        """Return how many answers of a status arrived per second."""
        return self.statuses[status] / self.seconds

    def latency_ms(self, percentile: float) -> float:
        """Return the latency that `percentile` percent of the answers did not exceed."""
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
        request: returns the bytes of the nth request.
        connections: how many requests may be under way at the same time.
        seconds: how long.
        rate: requests per second; None for one after another on each connection.
    """
    return uvloop.run(_generate(port, request, connections, seconds, rate))


async def _generate(
    port: int,
    request: Callable[[int], bytes],
    connections: int,
    seconds: float,
    rate: float | None,
) -> Load:
    load = Load()
    free: asyncio.Queue[_Connection] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    async def connect() -> _Connection:
        return (await loop.create_connection(lambda: _Connection(load, free), "127.0.0.1", port))[1]

    for _ in range(connections):
        free.put_nowait(await connect())
    began = time.perf_counter()
    sent = 0
    while (now := time.perf_counter()) < began + seconds:
        due = began + sent / rate if rate else now
        if due > now:
            await asyncio.sleep(due - now)
        connection = await free.get()
        if connection.closed:
            connection = await connect()
        # A request with a rate is timed from when it was due, so that waiting counts.
        connection.send(request(sent), due if rate else time.perf_counter())
        sent += 1
    for _ in range(connections):
        (await free.get()).transport.close()
    load.seconds = time.perf_counter() - began
    return load


class _Connection(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, load: Load, free: "asyncio.Queue[_Connection]") -> None:
        self._load = load
        self._free = free
        self._due: float | None = None
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # uvloop's have their own type

    def send(self, request: bytes, due: float) -> None:
        self._due = due
        self._parser = httptools.HttpResponseParser(self)
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self.closed = not self._parser.should_keep_alive()
        self._finish(self._parser.get_status_code())

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if self._due is not None:
            self._finish(0)

    def _finish(self, status: int) -> None:
        self._load.statuses[status] += 1
        self._load.latencies.append(time.perf_counter() - (self._due or 0.0))
        self._due = None
        self._free.put_nowait(self)
