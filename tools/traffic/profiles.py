"""Traffic as people write it: `premium/default=600rps,ips=3,for=10m`, or a YAML profile.

Both forms have the same parts. `docs/simulate.md` describes them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Annotated, Final, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from routes import METHODS
from settings import UserError
from throttling import Client, Limits
from throttling.simulation.traffic import (
    DEFAULT_START,
    NO_KEY,
    Arrivals,
    Phase,
    Source,
    Traffic,
)
from tools.traffic.derived import PROFILES, SMALL_BODY

_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_PER_SECOND: Final = {"rps": 1, "rpm": 1 / 60}
_MAX_SECONDS: Final = 366 * 86_400
_MAX_RPS: Final = 1_000_000
_MAX_REQUESTS: Final = 10_000_000_000
"""About five minutes of simulation."""
_YEARS: Final = range(2000, 2101)

_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """Traffic with a name."""

    name: str
    traffic: Traffic
    body_bytes: tuple[int, ...] = (SMALL_BODY,)
    """Sizes of the bodies that a load test sends, in turn. They do not matter to the throttles."""


def parse_duration(text: str) -> float:
    """Return the seconds of `90s`, `1.5h` and the like.

    Raises:
        ValueError: when `text` is not a duration, or longer than 366 days.
    """
    return _quantity(text, _SECONDS, "duration", "30s", "366d", _MAX_SECONDS)


def parse_rate(text: str) -> float:
    """Return the requests per second of `600rps` or `30rpm`.

    Raises:
        ValueError: when `text` is not a rate, or above 1,000,000 requests per second.
    """
    return _quantity(text, _PER_SECOND, "rate", "600rps", f"{_MAX_RPS}rps", _MAX_RPS)


def parse_start(text: str) -> datetime:
    """Return the moment of `2026-03-02T08:00`, or of `08:00` on the default day, in UTC.

    Raises:
        ValueError: when `text` is neither, or not in the years 2000 to 2100.
    """
    try:
        if re.fullmatch(r"[0-9]{2}:[0-9]{2}(:[0-9]{2})?", text):
            return datetime.combine(DEFAULT_START.date(), time.fromisoformat(text), UTC)
        moment = datetime.fromisoformat(text)
        if moment.year not in _YEARS:
            raise ValueError
    except ValueError:
        raise ValueError(
            f"{text!r} is not a start; allowed is a time such as 08:00, or a date and a time such "
            f"as 2026-03-02T08:00 (UTC), in the years {_YEARS[0]} to {_YEARS[-1]}"
        ) from None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def parse_client(text: str) -> Source:
    """Return the source of `premium/default=600rps,ips=3,for=10m,at=5m`.

    Raises:
        ValueError: when `text` does not have this form.
    """
    name, _, rest = text.partition("=")
    rate, *options = rest.split(",")
    if not rate:
        raise ValueError(f"{text!r} has no rate; write {name or 'CLIENT'}=600rps,ips=3,for=10m")
    values = {"for": "1m"}
    for option in options:
        key, _, value = option.partition("=")
        if key not in ("ips", "for", "at"):
            raise ValueError(f"{option!r} in {text!r} is unknown; allowed: ips=, for=, at=")
        values[key] = value
    phase = {"rate": rate, "for": values.pop("for")}
    section = _checked(_ClientSection, {**values, "phases": [phase]})
    return section.source(_check_name(name))


def parse_profile(text: str, name: str = "") -> Profile:
    """Return the traffic of a YAML profile.

    Raises:
        ValueError: when `text` does not have the form of a profile.
    """
    try:
        # Everything stays a string: to YAML, 10:00 is the number 600.
        content = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  makes no objects
    except yaml.YAMLError as error:
        raise ValueError(f"it is not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    file = _checked(_ProfileFile, content)
    traffic = Traffic(
        sources=tuple(section.source(client) for client, section in file.clients.items()),
        arrivals=file.arrivals,
        seed=file.seed,
        start=file.start,
    )
    return Profile(name=name, traffic=traffic, body_bytes=tuple(file.body_bytes))


def load_profile(
    name: str, limits: Limits, duration_seconds: float, waf_lag_seconds: float
) -> Profile:
    """Return a profile that is derived from the limits, by its name, or one from a YAML file.

    Args:
        name: one of `derived.PROFILES`, or a path.
        limits: of the stack.
        duration_seconds: how long the function works on a request.
        waf_lag_seconds: how far the WAF's view is behind the requests.

    Raises:
        UserError: when there is no such profile, or it is invalid.
    """
    if name in PROFILES:
        traffic, body_bytes = PROFILES[name](limits, duration_seconds, waf_lag_seconds)
        return Profile(name=name, traffic=traffic, body_bytes=body_bytes)
    try:
        return parse_profile(Path(name).read_text("utf-8"), Path(name).stem)
    except OSError as error:
        raise UserError(
            f"--profile {name}: {error.strerror}; give a YAML file, or one of "
            f"{', '.join(PROFILES)}."
        ) from None
    except ValueError as error:
        raise UserError(f"--profile {name}: {error}.") from None


def with_changes(
    profile: Profile | None,
    clients: tuple[Source, ...],
    arrivals: Arrivals | None,
    seed: int | None,
    start: datetime | None = None,
) -> Profile:
    """Return a profile, or none, with what the command line adds to it or overrules."""
    profile = profile or Profile(name="clients", traffic=Traffic(sources=()))
    traffic = profile.traffic
    traffic = replace(
        traffic,
        sources=traffic.sources + clients,
        arrivals=arrivals or traffic.arrivals,
        seed=traffic.seed if seed is None else seed,
        start=start or traffic.start,
    )
    return replace(profile, traffic=traffic)


def check_traffic(profile: Profile, limits: Limits, stack: str) -> None:
    """Check that there is something to send, and that the stack has the clients who send it.

    Raises:
        UserError: when that is not so.
    """
    traffic = profile.traffic
    known = {
        str(Client(plan, client))
        for plan, section in limits.usage_plans.items()
        for client in section.clients
    }
    for client in traffic.clients:
        if client and str(client) not in known:
            raise UserError(
                f"Stack {stack} has no client {client}; allowed: {', '.join(sorted(known))}, and "
                f"{NO_KEY} for requests without a valid API key."
            )
    if not 0 < traffic.expected_requests <= _MAX_REQUESTS:
        if traffic.expected_requests:
            many = f"{traffic.expected_requests:,.0f} requests; allowed: {_MAX_REQUESTS:,}"
            raise UserError(f"Profile {profile.name} has {many}.")
        if profile.name in PROFILES:
            raise UserError(f"Profile {profile.name} sends nothing: stack {stack} has no such limit.")
        raise UserError(
            "There is no traffic; give --client premium/default=600rps,ips=3,for=10m, or --profile."
        )


def _quantity(
    text: str, units: Mapping[str, float], kind: str, example: str, most: str, maximum: float
) -> float:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([a-z]+)", text.strip())
    if not match or match[2] not in units:
        raise ValueError(
            f"{text!r} is not a {kind}; allowed is a number and one of {', '.join(units)}, such "
            f"as {example}"
        )
    value = float(match[1]) * units[match[2]]
    if value > maximum:
        raise ValueError(f"{text!r} is too much; allowed is a {kind} up to {most}")
    return value


def _check_name(name: str) -> Client | None:
    if name == NO_KEY:
        return None
    plan, slash, client = name.partition("/")
    if not (plan and slash and client):
        raise ValueError(
            f"{name!r} is not a client; allowed is PLAN/CLIENT, such as premium/default, or "
            f"{NO_KEY}"
        )
    return Client(plan, client)


def _checked(model: type[_Model], content: object) -> _Model:
    """Return `content` as a model; raise a ValueError of one line when it does not fit."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        raise ValueError(f"{where}: {message}" if where else message) from None


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _PhaseSection(_Section):
    seconds: Annotated[float, BeforeValidator(parse_duration)] = Field(alias="for")
    rate: Annotated[float, BeforeValidator(parse_rate)]
    to: Annotated[float, BeforeValidator(parse_rate)] | None = None


class _ClientSection(_Section):
    ips: int = Field(1, ge=1, le=100_000)
    at: Annotated[float, BeforeValidator(parse_duration)] = 0.0
    phases: list[_PhaseSection] = Field(min_length=1)

    def source(self, client: Client | None) -> Source:
        """Return the requests of `client`."""
        phases: list[Phase] = []
        now = self.at
        for phase in self.phases:
            to = phase.rate if phase.to is None else phase.to
            phases.append(
                Phase(start_seconds=now, seconds=phase.seconds, from_rps=phase.rate, to_rps=to)
            )
            now = phases[-1].end_seconds
        return Source(
            client=client, method=METHODS[0], addresses=self.ips, phases=tuple(phases)
        )


class _ProfileFile(_Section):
    description: str = ""
    arrivals: Arrivals = Arrivals.POISSON
    seed: int = Field(0, ge=0, lt=10**18)
    start: Annotated[datetime, BeforeValidator(parse_start)] = DEFAULT_START
    body_bytes: list[Annotated[int, Field(ge=60, le=1_000_000)]] = Field([SMALL_BODY], min_length=1)
    clients: dict[Annotated[Client | None, BeforeValidator(_check_name)], _ClientSection] = Field(
        min_length=1
    )
