"""An API with known limits: what it answers, and a server that answers so."""

import json
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from tests.stacks import settings
from throttling import Client, Gate, Layer, Limits, Throttle
from throttling.simulation.traffic import Block
from tools.traffic.load.judge import Sample
from tools.traffic.profiles import Profile

DEV = settings("dev").limits()
Answer = tuple[int, str, str, str | None]
_STORED: Answer = (200, "Successfully inserted data!", "", None)
_ANSWERS: dict[Layer, Answer] = {
    Layer.WAF: (429, "Too Many Requests", "too many requests from this address", "60"),
    Layer.API_KEY: (403, "Forbidden", "", None),
    Layer.QUOTA: (429, "Limit Exceeded", "the API key's quota is used up", None),
    Layer.CONCURRENCY: (503, "Service Unavailable", "", "1"),
}
_THROTTLED: Answer = (429, "Too Many Requests", "over the rate or burst", "1")


class Sent(NamedTuple):
    """A profile and its requests."""

    profile: Profile
    requests: Block


def with_plan(limits: Limits, plan: str, *, rate: float, burst: int) -> Limits:
    """Return limits with another throttle of a plan."""
    changed = replace(limits.usage_plans[plan], throttle=Throttle(rate=rate, burst=burst))
    return replace(limits, usage_plans={**limits.usage_plans, plan: changed})


def answers(
    limits: Limits,
    sent: Sent,
    *,
    machines: int = 0,
    delay: Sequence[float] = (0.005,),
    service: float = 0.0,
    works: float = 0.005,
    late: float = 0.0,
) -> list[Sample]:
    """Return what a target with `limits` answers, without sending anything.

    Args:
        limits: of the target.
        sent: when the requests are due.
        machines: that send in turn; 0 for a sandbox, which names the layer.
        delay: seconds until each request arrives, in turn.
        service: seconds that the target is busy with each request; others queue.
        works: seconds from the decision to the answer of an admitted request.
        late: seconds by which all are sent late.
    """
    gate, (profile, requests) = Gate(limits), sent
    times = (requests.times + late).tolist()
    arrivals = sorted((at + delay[n % len(delay)], n) for n, at in enumerate(times))
    free, ends, samples = 0.0, deque[float](), list[Sample]()
    for arrival, number in arrivals:
        now = max(arrival, free)
        free = now + service
        while ends and ends[0] <= now:
            ends.popleft()
            gate.release()
        place = number % machines if machines else requests.addresses[number]
        client = profile.traffic.sources[requests.sources[number]].client
        refusal = gate.decide(now, address=str(place), client=client, method="POST /data")
        answer = _ANSWERS.get(refusal.layer, _THROTTLED) if refusal else _STORED
        if not refusal:
            ends.append(free + works)
            if profile.body_bytes[number % len(profile.body_bytes)] > 32 * 1024:
                answer = (413, "body: is larger than 32768 bytes", "", None)
        status, message, reason, retry_after = answer
        layer = str(refusal) if refusal and not machines else None
        latency = free - times[number] + (0.005 if refusal else works)
        samples.append(
            Sample(number, times[number], latency, status, layer, message, reason, retry_after)
        )
    return samples


@dataclass
class Api:
    """A server on this machine that answers as AWS does."""

    url: str
    received: list[dict[str, str]] = field(default_factory=list)
    """Headers of the requests, in lower case, with the body under `body`."""


@contextmanager
def serving(limits: Limits, keys: dict[str, Client]) -> Iterator[Api]:
    """Serve an API with `limits`, for as long as the block takes."""
    gate, api = Gate(limits), Api("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            api.received.append({**headers, "body": body.decode()})
            client = keys.get(self.headers["x-api-key"] or "")
            refusal = gate.decide(
                time.time(), address="127.0.0.1", client=client, method="POST /data"
            )
            answer = _ANSWERS.get(refusal.layer, _THROTTLED) if refusal else _STORED
            if not refusal:
                gate.release()
            content = json.dumps({"message": answer[1], "reason": answer[2]}).encode()
            self.send_response(answer[0])
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        api.url = f"http://127.0.0.1:{server.server_port}/data"
        yield api
        server.shutdown()
