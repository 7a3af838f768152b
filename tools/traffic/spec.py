"""Traffic as people write it: `premium/default=600rps,ips=3,for=10m`, or a YAML profile."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from typing import Any, Final

import yaml

from throttling.gate import Client
from throttling.simulation.traffic import (
    DEFAULT_START,
    NO_KEY,
    Arrivals,
    Phase,
    Source,
    Traffic,
)

_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_PER_SECOND: Final = {"rps": 1, "rpm": 1 / 60}
_DEFAULT_DURATION: Final = "1m"
_MAX_ADDRESSES: Final = 100_000
_NUMBER: Final = r"([0-9]+(?:\.[0-9]+)?)"


class TrafficError(Exception):
    """Traffic that cannot be sent; one line that says what is wrong, and what is allowed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """Traffic of a YAML file, which the command line may add to and overrule."""

    description: str = ""
    sources: tuple[Source, ...] = ()
    arrivals: Arrivals = Arrivals.POISSON
    seed: int = 0
    start: datetime = DEFAULT_START


def parse_duration(text: str) -> float:
    """Seconds of `90s`, `1.5h` and the like.

    Raises:
        TrafficError: when it is nothing of the kind.
    """
    return _quantity(text, _SECONDS, "duration", "30s")


def parse_rate(text: str) -> float:
    """Requests per second of `600rps` or `30rpm`.

    Raises:
        TrafficError: when it is neither.
    """
    return _quantity(text, _PER_SECOND, "rate", "600rps")


def parse_start(text: str) -> datetime:
    """A moment of `2026-03-02T08:00`, or of `08:00` on the default day; both UTC.

    Raises:
        TrafficError: when it is neither.
    """
    try:
        if re.fullmatch(r"[0-9]{2}:[0-9]{2}(:[0-9]{2})?", text):
            return datetime.combine(DEFAULT_START.date(), time.fromisoformat(text), UTC)
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise TrafficError(
            f"{text!r} is no start; allowed is a time such as 08:00, or a date and a time such as "
            f"2026-03-02T08:00 (UTC)."
        ) from None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def parse_client(text: str) -> Source:
    """One source of `premium/default=600rps,ips=3,for=10m,at=5m`.

    Raises:
        TrafficError: when something is wrong with it.
    """
    name, _, rest = text.partition("=")
    rate, *options = rest.split(",")
    if not rate:
        raise TrafficError(f"{text!r} has no rate; write {name or 'CLIENT'}=600rps,ips=3,for=10m.")
    values = {"ips": "1", "for": _DEFAULT_DURATION, "at": "0s"}
    for option in options:
        key, _, value = option.partition("=")
        if key not in values:
            raise TrafficError(f"{option!r} in {text!r} is not known; allowed: ips=, for=, at=.")
        values[key] = value
    rps = parse_rate(rate)
    phase = Phase(
        start_seconds=parse_duration(values["at"]),
        seconds=parse_duration(values["for"]),
        from_rps=rps,
        to_rps=rps,
    )
    return Source(client=_client(name), addresses=_addresses(values["ips"]), phases=(phase,))


def parse_profile(text: str) -> Profile:
    """The traffic of a YAML profile; `docs/simulate.md` describes its form.

    Raises:
        TrafficError: when something is wrong with it.
    """
    try:
        # Nothing but strings: to YAML, 10:00 is the number 600.
        content = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  makes no objects
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise TrafficError(f"it is not valid YAML: {reason}.") from None
    top = _section(
        content, "the profile", {"clients"}, {"description", "arrivals", "seed", "start"}
    )
    if not isinstance(top["clients"], dict) or not top["clients"]:
        raise TrafficError("`clients` is no mapping of clients, such as basic/default, to phases.")
    profile = Profile(
        description=" ".join(str(top.get("description", "")).split()),
        sources=tuple(_source(name, value) for name, value in top["clients"].items()),
        arrivals=parse_arrivals(str(top.get("arrivals", Arrivals.POISSON))),
        seed=parse_seed(str(top.get("seed", "0"))),
    )
    return replace(profile, start=parse_start(str(top["start"]))) if "start" in top else profile


def parse_arrivals(text: str) -> Arrivals:
    """Poisson or even.

    Raises:
        TrafficError: when it is neither.
    """
    if text not in set(Arrivals):
        raise TrafficError(f"{text!r} are no arrivals; allowed: {', '.join(Arrivals)}.")
    return Arrivals(text)


def parse_seed(text: str) -> int:
    """A whole number that is not negative.

    Raises:
        TrafficError: when it is not.
    """
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise TrafficError(f"{text!r} is no seed; allowed is a whole number such as 7.")
    return int(text)


def check_traffic(traffic: Traffic, clients: Collection[Client], stack: str) -> None:
    """Hold the traffic against who may send it.

    Raises:
        TrafficError: when there is nothing to send, or a client that the stack does not have.
    """
    if not traffic.sources:
        raise TrafficError(
            "there is no traffic; give --client premium/default=600rps,ips=3,for=10m, or --profile."
        )
    if traffic.seconds <= 0 or traffic.expected_requests <= 0:
        raise TrafficError("the traffic has no requests; give a rate and a time above 0.")
    for client in traffic.clients:
        if client and client not in clients:
            known = ", ".join(str(known) for known in clients)
            raise TrafficError(
                f"stack {stack} has no client {client}; allowed: {known}, and {NO_KEY} for "
                f"requests without a valid API key."
            )


def _source(name: str, value: object) -> Source:
    where = f"client {name}"
    section = _section(value, where, {"phases"}, {"ips"})
    if not isinstance(section["phases"], list) or not section["phases"]:
        raise TrafficError(f"`phases` of {where} is no list of phases.")
    phases: list[Phase] = []
    for number, item in enumerate(section["phases"], 1):
        phase = _section(item, f"phase {number} of {where}", {"for", "rate"}, {"to"})
        try:
            rate = parse_rate(str(phase["rate"]))
            phases.append(
                Phase(
                    start_seconds=phases[-1].end_seconds if phases else 0.0,
                    seconds=parse_duration(str(phase["for"])),
                    from_rps=rate,
                    to_rps=parse_rate(str(phase["to"])) if "to" in phase else rate,
                )
            )
        except TrafficError as error:
            raise TrafficError(f"phase {number} of {where}: {error}") from None
    return Source(
        client=_client(name),
        addresses=_addresses(str(section.get("ips", "1"))),
        phases=tuple(phases),
    )


def _section(
    value: object, where: str, required: set[str], optional: set[str]
) -> Mapping[str, Any]:
    """A mapping with these keys."""
    allowed = ", ".join(sorted(required | optional))
    if not isinstance(value, dict):
        raise TrafficError(f"{where} is no mapping; allowed: {allowed}.")
    unknown = [str(key) for key in value if key not in required | optional]
    if unknown:
        raise TrafficError(f"{where} has {unknown[0]!r}, which is not known; allowed: {allowed}.")
    missing = sorted(required - set(value))
    if missing:
        raise TrafficError(f"{where} has no {missing[0]!r}; allowed: {allowed}.")
    return value


def _client(name: str) -> Client | None:
    if name == NO_KEY:
        return None
    plan, slash, client = name.partition("/")
    if not (plan and slash and client):
        raise TrafficError(
            f"{name!r} is no client; allowed is PLAN/CLIENT, such as premium/default, or {NO_KEY}."
        )
    return Client(plan, client)


def _addresses(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= _MAX_ADDRESSES:
        raise TrafficError(
            f"ips={text} is no number of addresses; allowed: 1 to {_MAX_ADDRESSES:,}."
        )
    return int(text)


def _quantity(text: str, units: Mapping[str, float], kind: str, example: str) -> float:
    match = re.fullmatch(_NUMBER + r"([a-zA-Z/]*)", text.strip())
    if not match or match[2] not in units:
        raise TrafficError(
            f"{text!r} is no {kind}; allowed is a number and one of {', '.join(units)}, such as "
            f"{example}."
        )
    return float(match[1]) * units[match[2]]
