"""Traffic as people write it: `premium/default=600rps,ips=3,for=10m`, or a YAML profile.

Both forms have the same parts. docs/simulate.md describes them.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from routes import METHODS
from settings import Settings, UserError
from throttling import Client
from throttling.simulation.traffic import (
    DEFAULT_START,
    Arrivals,
    Phase,
    Source,
    Traffic,
)
from tools.traffic.derived import ALL_SIZES, PROFILES, SMALL_BODY, derive
from tools.traffic.outcomes import NO_KEY

_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_PER_SECOND: Final = {"rps": 1, "rpm": 1 / 60}
_MAX_SECONDS: Final = 366 * 86_400
_MAX_REQUESTS: Final = 10_000_000_000
"""About five minutes of simulation."""
_YEARS: Final = range(2000, 2101)
_MAX_CHARACTERS: Final = 1_000_000
"""Of a profile's file."""

_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """Traffic with a name."""

    name: str
    traffic: Traffic
    body_bytes: Sequence[int] = (SMALL_BODY,)
    """Sizes of the bodies that `load` sends, in turn. No limit depends on them."""


def read_profile(
    name: str | None,
    settings: Settings,
    *,
    waf_lag_seconds: float,
    clients: Sequence[Source] = (),
    **given: Any,  # noqa: ANN401  fields of Traffic
) -> Profile:
    """Return the traffic that the command line asks for.

    Args:
        name: one of `derived.PROFILES`, or the path of a YAML file, or None for `clients` alone.
        settings: of the stack.
        waf_lag_seconds: how far the WAF's view is behind the requests.
        clients: sources in addition to those of the profile.
        given: `arrivals`, `seed` and `start` in place of those of the profile, unless None.

    Raises:
        UserError: when the profile is not there or invalid, or the stack cannot get its traffic.
    """
    if name is None:
        profile = Profile(name="clients", traffic=Traffic(sources=()))
    elif name in PROFILES:
        traffic = derive(name, settings.limits(), waf_lag_seconds)
        sizes = ALL_SIZES if name == "sizes" else (SMALL_BODY,)
        profile = Profile(name=name, traffic=traffic, body_bytes=sizes)
    else:
        try:
            with Path(name).open(encoding="utf-8") as file:
                profile = parse_profile(file.read(_MAX_CHARACTERS + 1), Path(name).stem)
        except OSError as error:
            known = ", ".join(PROFILES)
            raise UserError(
                f"--profile {name}: {error.strerror}; give a YAML file, or one of {known}."
            ) from None
        except ValueError as error:
            raise UserError(f"--profile {name}: {error}.") from None
    traffic = replace(
        profile.traffic,
        sources=(*profile.traffic.sources, *clients),
        **{field: value for field, value in given.items() if value is not None},
    )
    _check(traffic, settings)
    return replace(profile, traffic=traffic)


def _check(traffic: Traffic, settings: Settings) -> None:
    """Raise a UserError when there is nothing to send, or the stack does not have a client."""
    plans = settings.limits().usage_plans
    known = [Client(plan, client) for plan in plans for client in plans[plan].clients]
    for client in traffic.clients:
        if client and client not in known:
            raise UserError(
                f"Stack {settings.stack} has no client {client}; allowed: "
                f"{', '.join(map(str, known))}, and {NO_KEY} for requests without a valid API key."
            )
    requests = traffic.expected_requests
    if not requests:
        raise UserError(
            "There is no traffic. Give --client premium/default=600rps,ips=3,for=10m, or a "
            "--profile that tests a limit of this stack."
        )
    if requests > _MAX_REQUESTS or traffic.seconds > _MAX_SECONDS:
        raise UserError(
            f"{requests:,.0f} requests in {traffic.seconds / 86_400:,.0f} days are too much; "
            f"allowed: {_MAX_REQUESTS:,} in {_MAX_SECONDS // 86_400} days."
        )


def parse_duration(value: object) -> float:
    """Return the seconds of `90s` or `1.5h`.

    Like the others here, it raises a ValueError for anything else.
    """
    return _quantity(value, _SECONDS, "duration", "30s", 366, "d")


def parse_rate(value: object) -> float:
    """Return the requests per second of `600rps` or `30rpm`."""
    return _quantity(value, _PER_SECOND, "rate", "600rps", 1_000_000, "rps")


def _quantity(
    value: object, units: Mapping[str, float], kind: str, example: str, most: int, unit: str
) -> float:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([a-z]+)", str(value).strip())
    if not match or match[2] not in units:
        raise ValueError(
            f"{_shown(value)} is not a {kind}; allowed is a number and one of {', '.join(units)}, "
            f"such as {example}"
        )
    number = float(match[1]) * units[match[2]]
    if number > most * units[unit]:
        raise ValueError(f"{_shown(value)} is too much; allowed is a {kind} up to {most}{unit}")
    return number


def parse_start(value: object) -> datetime:
    """Return the moment (UTC) of `2026-03-02T08:00`, or of `08:00` on the default day."""
    try:
        text = str(value)
        if re.fullmatch(r"[0-9]{2}:[0-9]{2}(:[0-9]{2})?", text):
            return datetime.combine(DEFAULT_START.date(), time.fromisoformat(text), UTC)
        moment = datetime.fromisoformat(text)
        if moment.year not in _YEARS:
            raise ValueError
    except ValueError:
        raise ValueError(
            f"{_shown(value)} is not a start; allowed is a time such as 08:00, or a date and a "
            f"time such as 2026-03-02T08:00 (UTC), in the years {_YEARS[0]} to {_YEARS[-1]}"
        ) from None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def parse_client(text: str) -> Source:
    """Return the requests of `premium/default=600rps,ips=3,for=10m,at=5m,method=POST /data`."""
    name, _, rest = text.partition("=")
    if not rest:
        raise ValueError(f"{text!r} has no rate; write {name or 'CLIENT'}=600rps,ips=3,for=10m")
    values: dict[str, str] = {}
    for part in f"rate={rest}".split(","):
        key, _, value = part.partition("=")
        if key not in ("rate", "ips", "for", "at", "method") or key in values:
            raise ValueError(
                f"{part!r} in {text!r} is {'there twice' if key in values else 'unknown'}; "
                "allowed, once each: ips=, for=, at=, method="
            )
        values[key] = value
    one = checked(_ClientText, values)
    return one.source(_parse_name(name), [one])


def parse_profile(text: str, name: str = "") -> Profile:
    """Return the traffic of a YAML profile."""
    if len(text) > _MAX_CHARACTERS:
        raise ValueError(f"it is larger than {_MAX_CHARACTERS:,} characters")
    try:
        content = yaml.load(text, _Loader)  # noqa: S506  makes no objects
    except yaml.YAMLError as error:
        raise ValueError(f"it is not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    file = checked(_ProfileSection, content)
    traffic = Traffic(
        sources=tuple(one.source(client, one.phases) for client, one in file.clients.items()),
        arrivals=file.arrivals,
        seed=file.seed,
        start=file.start,
    )
    return Profile(name=name, traffic=traffic, body_bytes=file.bytes)


def checked(model: type[_Model], content: object) -> _Model:
    """Return `content` as a model; raise a ValueError with its first problem."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(str(step) for step in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] in ("model_type", "dict_type"):
            message = "a mapping is expected"
        raise ValueError(f"{where}: {message}" if where else message) from None


def _parse_name(name: str) -> Client | None:
    plan, slash, client = name.partition("/")
    if name != NO_KEY and not (plan and slash and client):
        raise ValueError(
            f"{name!r} is not a client; allowed is PLAN/CLIENT, such as premium/default, or "
            f"{NO_KEY}"
        )
    return None if name == NO_KEY else Client(plan, client)


def _method(value: object) -> object:
    if value not in METHODS:
        raise ValueError(f"{_shown(value)} is not a route; allowed: {', '.join(METHODS)}")
    return value


def _number(value: object) -> object:
    """Return the text of a whole number: pydantic alone would take `1_0` and `1.0` too."""
    if not re.fullmatch("[0-9]{1,18}", str(value)):
        raise ValueError(f"{_shown(value)} is not a whole number")
    return value


def _shown(value: object) -> str:
    """Return a wrong value for a message: its beginning, since it may be a huge list."""
    return repr(str(value)[:60])


_Duration = Annotated[float, BeforeValidator(parse_duration)]
_Rate = Annotated[float, BeforeValidator(parse_rate)]
_Method = Annotated[str, BeforeValidator(_method)]
_Start = Annotated[datetime, BeforeValidator(parse_start)]
_Number = Annotated[int, BeforeValidator(_number)]


class _Loader(yaml.BaseLoader):
    """Reads every value as a text: to YAML, 10:00 is the number 600."""

    def compose_node(self, parent: Any, index: Any) -> Any:  # noqa: ANN401  untyped
        """Refuse aliases, which can make a small file huge, and a key that comes twice."""
        problem = "aliases are not allowed" if self.check_event(yaml.AliasEvent) else ""
        node = None if problem else super().compose_node(parent, index)
        if isinstance(node, yaml.MappingNode):
            keys = Counter(str(key.value) for key, _ in node.value)
            problem = next((f"{key!r} comes twice" for key in keys if keys[key] > 1), "")
        if problem:
            raise yaml.composer.ComposerError(None, None, problem, self.get_mark())
        return node


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _PhaseSection(_Section):
    seconds: _Duration = Field(alias="for")
    rate: _Rate
    to: _Rate | None = None


class _ClientSection(_Section):
    ips: Annotated[_Number, Field(ge=1, le=100_000)] = 1
    at: _Duration = 0.0
    method: _Method = METHODS[0]

    def source(self, client: Client | None, sections: Sequence[_PhaseSection]) -> Source:
        """Return the requests of `client` in phases that follow each other."""
        phases: list[Phase] = []
        now = self.at
        for one in sections:
            to = one.rate if one.to is None else one.to
            phases.append(
                Phase(start_seconds=now, seconds=one.seconds, from_rps=one.rate, to_rps=to)
            )
            now = phases[-1].end_seconds
        return Source(client=client, method=self.method, addresses=self.ips, phases=tuple(phases))


class _ClientText(_ClientSection, _PhaseSection):
    seconds: _Duration = Field(60.0, alias="for")


class _ClientPhases(_ClientSection):
    phases: list[_PhaseSection] = Field(min_length=1)


class _ProfileSection(_Section):
    description: str = ""
    arrivals: Arrivals = Arrivals.POISSON
    seed: _Number = 0
    start: _Start = DEFAULT_START
    bytes: list[Annotated[_Number, Field(ge=1, le=1_000_000)]] = Field([SMALL_BODY], min_length=1)
    clients: dict[Annotated[Client | None, BeforeValidator(_parse_name)], _ClientPhases] = Field(
        min_length=1
    )
