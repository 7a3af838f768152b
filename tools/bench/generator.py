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
        rate: requests per second of all connections, which take turns; None for one after another
            on each connection.
    """
    return uvloop.run(_generate(port, request, connections, seconds, rate))


async def _generate(
    port: int,
    request: Callable[[int], bytes],
    connections: int,
    seconds: float,
    rate: float | None,
) -> Load:
    load, loop, began = Load(), asyncio.get_running_loop(), time.perf_counter()

    async def call(first: int) -> None:
        connection, number = None, first
        while (due := began + number / rate if rate else time.perf_counter()) < began + seconds:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            if not connection or connection.closed:
                _, connection = await loop.create_connection(_Connection, "127.0.0.1", port)
            load.statuses[await connection.send(request(number))] += 1
            # A request with a rate is timed from when it was due, so that waiting counts.
            load.latencies.append(time.perf_counter() - due)
            number += connections
        if connection:
            connection.transport.close()

    await asyncio.gather(*map(call, range(connections)))
    load.seconds = time.perf_counter() - began
    return load


class _Connection(asyncio.Protocol):
    transport: asyncio.Transport
    closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # uvloop's have their own type
        self._status = asyncio.get_running_loop().create_future()

    def send(self, request: bytes) -> "asyncio.Future[int]":
        """Send a request, and return the status of its answer; 0 without one."""
        self._status = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self.transport.write(request)
        return self._status

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self.closed = not self._parser.should_keep_alive()
        self._status.set_result(self._parser.get_status_code())

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if not self._status.done():
            self._status.set_result(0)
