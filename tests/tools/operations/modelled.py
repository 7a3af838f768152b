"""What a target with given limits would answer to a schedule, without sending anything."""

import json
import random
from collections.abc import Sequence

from tools.traffic.load.bodies import TOO_LARGE
from tools.traffic.load.job import make_job
from tools.traffic.load.samples import Sample
from tools.traffic.load.scenarios import Schedule
from tools.traffic.load.target import Target
from throttling import Gate, Layer, Limits

_ANSWERS = {
    Layer.API_KEY: (403, "Forbidden", "", None),
    Layer.QUOTA: (429, "Limit Exceeded", "the API key's quota is used up", None),
    Layer.CONCURRENCY: (503, "Service Unavailable", "", "1"),
}
_THROTTLED = (429, "Too Many Requests", "over the rate or burst of the usage plan", "1")


def answers(
    target: Target,
    schedule: Schedule,
    limits: Limits,
    *,
    latency: float = 0.01,
    late: float = 0.0,
    slowed: float = 1.0,
    stalled: tuple[float, float] = (0.0, 0.0),
    tells_layer: bool = True,
) -> list[Sample]:
    """All samples of a run, had the target `limits`.

    Args:
        target: what the schedule was planned for.
        schedule: what to send.
        limits: what the target enforces.
        latency: seconds until each answer.
        late: seconds by which requests are sent late, at most.
        slowed: how many times longer than planned it all takes.
        stalled: from when until when nothing is sent, which then comes all at once.
        tells_layer: whether the target is a sandbox, which tells who refused.
    """
    gate = Gate(limits)
    chance = random.Random(1)  # noqa: S311
    job = make_job(target, schedule)
    sent = []
    for arrival in job.arrivals():
        at = arrival.due * slowed + chance.uniform(0, late)
        if stalled[0] < at < stalled[1]:
            at = stalled[1] + (at - stalled[0]) / 1000
        sent.append((at, arrival))
    found: list[Sample] = []
    for at, arrival in sorted(sent):
        phase = schedule.phases[arrival.phase]
        headers, body = job.request(arrival)
        refusal = gate.decide(
            at,
            address=headers.get("X-Forwarded-For", "192.0.2.1"),
            client=phase.client,
            method="POST /data",
        )
        status, message, reason, retry_after = (200, "Successfully inserted data!", "", None)
        if refusal:
            status, message, reason, retry_after = _ANSWERS.get(refusal.layer, _THROTTLED)
            if refusal.layer is Layer.WAF and limits.waf:
                reason = "too many requests from this address"
                retry_after = str(limits.waf.window_seconds)
        else:
            gate.release()
            json.loads(body)
            if phase.sizes[arrival.number % len(phase.sizes)] == TOO_LARGE:
                status, message = 413, "body: is larger than 32768 bytes"
        found.append(
            Sample(
                phase=arrival.phase,
                number=arrival.number,
                due=arrival.due,
                sent=at,
                latency=latency,
                status=status,
                message=message,
                reason=reason,
                throttled_by=str(refusal) if refusal and tells_layer else "",
                retry_after=retry_after,
            )
        )
    return found


def until(samples: Sequence[Sample], seconds: float) -> list[Sample]:
    """What had come back by then."""
    return [one for one in samples if one.answered <= seconds]
