"""The kinds of value a config may hold, each saying what it allows and what would fix a misfit.

`pulumi config set --path` stores integers and booleans typed and every other value as a string; a
hand-edited file may hold either form. Each kind takes both forms of its value and nothing looser.
Used as pydantic annotations: `Annotated[int, Whole(1, 29)]`.
"""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


class Kind(ABC):
    """A kind of config value."""

    @property
    @abstractmethod
    def allowed(self) -> str:
        """What the value may be, in words."""

    @property
    @abstractmethod
    def example(self) -> str:
        """A value that fits, as one types it."""

    @abstractmethod
    def parse(self, value: object) -> object:
        """The typed value; raises a `misfit` when it does not fit."""

    def misfit(self, problem: str, fix: object = None) -> PydanticCustomError:
        """A refusal: what is wrong with a value, and the nearest value that fits.

        Its type is "misfit", and its context has `allowed` and `fix`.
        """
        nearest = self.example if fix is None else str(fix)
        context = {"problem": problem, "allowed": self.allowed, "fix": nearest}
        return PydanticCustomError("misfit", "{problem}", context)

    def __get_pydantic_core_schema__(
        self, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.parse, handler(source))


@dataclass(frozen=True)
class Whole(Kind):
    """A whole number from `low` to `high`; with `optional`, also `none`."""

    low: int
    high: int
    suggest: int | None = None
    optional: bool = False

    @property
    def allowed(self) -> str:
        return f"a whole number from {self.low:,} to {self.high:,}" + (
            ", or none" if self.optional else ""
        )

    @property
    def example(self) -> str:
        return str(self.low if self.suggest is None else self.suggest)

    def parse(self, value: object) -> int | None:
        if self.optional and (value is None or value == "none"):
            return None
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.misfit("is not a whole number")
        if not self.low <= value <= self.high:
            raise self.misfit(
                f"is {'below' if value < self.low else 'above'} what is allowed",
                fix=min(max(value, self.low), self.high),
            )
        return value


@dataclass(frozen=True)
class Rate(Kind):
    """Requests per second. None at all is a way to close an API, not to limit it.

    The bounds are far outside of what anybody wants, so that what follows from a rate (how long a
    caller has to wait, how many executions it keeps busy) stays a number of sensible size.
    """

    low: float = 0.001
    high: float = 1_000_000

    @property
    def allowed(self) -> str:
        return f"a number of requests per second from {self.low:g} to {self.high:,.0f}"

    @property
    def example(self) -> str:
        return "10"

    def parse(self, value: object) -> float:
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", value):
            value = float(value)
        if not isinstance(value, int | float) or isinstance(value, bool) or math.isnan(value):
            raise self.misfit("is not a number")
        if value > self.high:
            raise self.misfit("is above what is allowed", fix=int(self.high))
        if value <= 0:
            raise self.misfit("is not above 0")
        if value < self.low:
            raise self.misfit("is below what is allowed", fix=f"{self.low:g}")
        return float(value)


@dataclass(frozen=True)
class Switch(Kind):
    """True or false."""

    @property
    def allowed(self) -> str:
        return "true or false"

    @property
    def example(self) -> str:
        return "true"

    def parse(self, value: object) -> bool:
        if value in ("true", "false"):
            return value == "true"
        if not isinstance(value, bool):
            raise self.misfit("is neither true nor false")
        return value


@dataclass(frozen=True)
class Text(Kind):
    """A text that matches `pattern`, which `words` says to people."""

    pattern: str
    words: str
    sample: str

    @property
    def allowed(self) -> str:
        return self.words

    @property
    def example(self) -> str:
        return self.sample

    def parse(self, value: object) -> str:
        # A name such as 2024 is stored as a number.
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            raise self.misfit("is not text")
        if not re.fullmatch(self.pattern, value):
            raise self.misfit("does not fit")
        return value


@dataclass(frozen=True)
class OneOf(Kind):
    """One of these words or numbers."""

    choices: Collection[str] | Collection[int]
    otherwise: str = ""

    @property
    def allowed(self) -> str:
        words = "one of " + ", ".join(str(choice) for choice in self.choices)
        return f"{words}, {self.otherwise}" if self.otherwise else words

    @property
    def example(self) -> str:
        return str(next(iter(self.choices)))

    def parse(self, value: object) -> object:
        for choice in self.choices:
            if value == str(choice) or (value == choice and not isinstance(value, bool)):
                return choice
        numbers = [c for c in self.choices if isinstance(c, int)]
        if numbers and isinstance(value, int) and not isinstance(value, bool):
            raise self.misfit(
                "is not among what is allowed",
                fix=min(numbers, key=lambda number: abs(number - value)),
            )
        raise self.misfit("is not among what is allowed")


@dataclass(frozen=True)
class Network(Kind):
    """An IPv4 network whose prefix is from `low` to `high` bits long."""

    low: int
    high: int
    reason: str

    @property
    def allowed(self) -> str:
        return f"an IPv4 network from /{self.low} to /{self.high}, {self.reason}"

    @property
    def example(self) -> str:
        return f"10.1.0.0/{self.low}"

    def parse(self, value: object) -> IPv4Network:
        if isinstance(value, IPv4Network):
            return value
        try:
            network = IPv4Network(value, strict=False) if isinstance(value, str) else None
        except ValueError:
            network = None
        if network is None or "/" not in str(value):
            raise self.misfit("is not an IPv4 network")
        prefix = min(max(network.prefixlen, self.low), self.high)
        nearest = IPv4Network((network.network_address, prefix), strict=False)
        if network.prefixlen > self.high:
            raise self.misfit("is too small for its subnets", fix=nearest)
        if network.prefixlen < self.low:
            raise self.misfit("is larger than AWS allows", fix=nearest)
        if str(network) != value:
            raise self.misfit("has bits set behind its prefix", fix=network)
        return network
