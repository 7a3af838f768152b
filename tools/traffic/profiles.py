"""Traffic as people write it: `premium/default=600rps,ips=3,for=10m`, or a YAML profile.

Both forms have the same parts. docs/simulate.md describes them.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from routes import METHODS
from settings import Settings, UserError
from throttling import Client
from throttling.simulation.traffic import (
    DEFAULT_START,
    NO_KEY,
    Arrivals,
    Phase,
    Source,
    Traffic,
)
from tools.traffic.derived import ALL_SIZES, PROFILES, SMALL_BODY, derive

_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_PER_SECOND: Final = {"rps": 1, "rpm": 1 / 60}
_MAX_SECONDS: Final = 366 * 86_400
_MAX_RPS: Final = 1_000_000
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
    arrivals: Arrivals | None = None,
    seed: int | None = None,
    start: datetime | None = None,
) -> Profile:
    """Return the traffic that the command line asks for.

    Args:
        name: one of `derived.PROFILES`, or the path of a YAML file, or None for `clients` alone.
        settings: of the stack.
        waf_lag_seconds: how far the WAF's view is behind the requests.
        clients: sources in addition to those of the profile.
        arrivals, seed, start: in place of those of the profile.

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
    given = profile.traffic
    traffic = Traffic(
        sources=(*given.sources, *clients),
        arrivals=arrivals or given.arrivals,
        seed=given.seed if seed is None else seed,
        start=start or given.start,
    )
    _check(traffic, settings)
    return Profile(name=profile.name, traffic=traffic, body_bytes=profile.body_bytes)


def parse_duration(text: str) -> float:
    """Return the seconds of `90s` or `1.5h`."""
    return _quantity(text, _SECONDS, "duration", "30s", _MAX_SECONDS, "366d")


def parse_rate(text: str) -> float:
    """Return the requests per second of `600rps` or `30rpm`."""
    return _quantity(text, _PER_SECOND, "rate", "600rps", _MAX_RPS, f"{_MAX_RPS}rps")


def parse_start(text: str) -> datetime:
    """Return the moment (UTC) of `2026-03-02T08:00`, or of `08:00` on the default day.

    Like the others here, it raises a ValueError for any other text.
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
    """Return the requests of `premium/default=600rps,ips=3,for=10m,at=5m,method=POST /data`."""
    name, _, rest = text.partition("=")
    rate, *options = rest.split(",")
    if not rate:
        raise ValueError(f"{text!r} has no rate; write {name or 'CLIENT'}=600rps,ips=3,for=10m")
    values: dict[str, str] = {}
    for option in options:
        key, _, value = option.partition("=")
        if key not in ("ips", "for", "at", "method") or key in values:
            raise ValueError(
                f"{option!r} in {text!r} is {'there twice' if key in values else 'unknown'}; "
                "allowed, once each: ips=, for=, at=, method="
            )
        values[key] = value
    phase = {"rate": rate, "for": values.pop("for", "1m")}
    return checked(_ClientSection, {**values, "phases": [phase]}).source(_parse_name(name))


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
        sources=tuple(section.source(client) for client, section in file.clients.items()),
        arrivals=file.arrivals,
        seed=file.seed,
        start=file.start,
    )
    return Profile(name=name, traffic=traffic, body_bytes=file.bytes)


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


def _quantity(
    text: str, units: Mapping[str, float], kind: str, example: str, maximum: float, most: str
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


def _parse_name(name: str) -> Client | None:
    plan, slash, client = name.partition("/")
    if name != NO_KEY and not (plan and slash and client):
        raise ValueError(
            f"{name!r} is not a client; allowed is PLAN/CLIENT, such as premium/default, or "
            f"{NO_KEY}"
        )
    return None if name == NO_KEY else Client(plan, client)


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


def _method(text: str) -> str:
    if text not in METHODS:
        raise ValueError(f"{text!r} is not a route; allowed: {', '.join(METHODS)}")
    return text


def _text(value: object) -> str:
    """Return a text as it is. Anything else may be huge, so that no message shows it."""
    if not isinstance(value, str):
        raise ValueError("a text is expected")
    return value


_Duration = Annotated[float, BeforeValidator(parse_duration), BeforeValidator(_text)]
_Rate = Annotated[float, BeforeValidator(parse_rate), BeforeValidator(_text)]
_Method = Annotated[str, AfterValidator(_method), BeforeValidator(_text)]
_Start = Annotated[datetime, BeforeValidator(parse_start), BeforeValidator(_text)]


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
    ips: int = Field(1, ge=1, le=100_000)
    at: _Duration = 0.0
    method: _Method = METHODS[0]
    phases: list[_PhaseSection] = Field(min_length=1)

    def source(self, client: Client | None) -> Source:
        """Return the requests of `client`: phases that follow each other."""
        phases: list[Phase] = []
        now = self.at
        for phase in self.phases:
            to = phase.rate if phase.to is None else phase.to
            phases.append(
                Phase(start_seconds=now, seconds=phase.seconds, from_rps=phase.rate, to_rps=to)
            )
            now = phases[-1].end_seconds
        return Source(client=client, method=self.method, addresses=self.ips, phases=tuple(phases))


class _ProfileSection(_Section):
    description: str = ""
    arrivals: Arrivals = Arrivals.POISSON
    seed: int = Field(0, ge=0)
    start: _Start = DEFAULT_START
    bytes: list[Annotated[int, Field(ge=1, le=1_000_000)]] = Field([SMALL_BODY], min_length=1)
    clients: dict[Annotated[Client | None, BeforeValidator(_parse_name)], _ClientSection] = Field(
        min_length=1
    )
