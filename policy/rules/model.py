"""What rules are made of, and what they see: the stack's resources as plain values.

The same rules run in the policy pack and in `python -m tools.policy.check`. In a preview some values are
not known yet; they are `UNKNOWN`, and no rule takes one for a violation.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from functools import cached_property
from typing import Any, Final, NamedTuple


class _Unknown(Enum):
    UNKNOWN = "known only after deployment"


UNKNOWN: Final = _Unknown.UNKNOWN


class Level(StrEnum):
    """What follows from a violation."""

    MANDATORY = "mandatory"
    """Nothing is deployed or merged."""
    ADVISORY = "advisory"
    """It is said, and nothing else."""


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One resource. Property names are camelCase, as in Pulumi's state."""

    type: str
    """Token such as `aws:dynamodb/table:Table`."""
    name: str
    """Logical name."""
    urn: str
    properties: Mapping[str, Any]
    dependencies: frozenset[str] = frozenset()
    """URNs of the resources whose outputs it takes, or that it waits for."""

    @property
    def stack(self) -> str:
        """Name of its stack: `urn:pulumi:<stack>::<project>::<type>::<name>`."""
        return self.urn.split("::")[0].removeprefix("urn:pulumi:")

    def get(self, *path: str) -> Any:  # noqa: ANN401  JSON
        """The property at `path`; None when it is not there, `UNKNOWN` when nobody knows yet."""
        value: Any = self.properties
        for step in path:
            if not isinstance(value, Mapping):
                return UNKNOWN if value is UNKNOWN else None
            value = value.get(step)
        return value

    def items(self, *path: str) -> Sequence[Any]:
        """The list at `path`; empty when there is none, or when nobody knows yet."""
        value = self.get(*path)
        return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


@dataclass(frozen=True, kw_only=True)
class Stack:
    """All resources of a stack."""

    name: str
    resources: Sequence[Resource]
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The stack's config under the project's namespace, as it is typed."""

    def of_type(self, token: str) -> list[Resource]:
        """All resources of a type."""
        return self._by_type.get(token, [])

    def referred(
        self, source: Resource, value: object, token: str, attribute: str
    ) -> list[Resource]:
        """The resources of a type that `value`, a property of `source`, refers to.

        Known on both sides, `value` is their `attribute`. Otherwise, as ids and ARNs are in a
        preview, they are among what `source` depends on; Pulumi knows that before it knows ids.
        """
        if value is None:
            return []
        if value is not UNKNOWN:
            known = self._by_attribute(token, attribute).get(value)
            if known:
                return [known]
        found = (self._by_urn.get(urn) for urn in source.dependencies)
        return [
            target
            for target in found
            if target is not None
            and target.type == token
            and (value is UNKNOWN or target.get(attribute) in (None, UNKNOWN))
        ]

    @cached_property
    def _by_type(self) -> dict[str, list[Resource]]:
        by_type: dict[str, list[Resource]] = {}
        for resource in self.resources:
            by_type.setdefault(resource.type, []).append(resource)
        return by_type

    @cached_property
    def _by_urn(self) -> dict[str, Resource]:
        return {resource.urn: resource for resource in self.resources}

    @cached_property
    def _indices(self) -> dict[tuple[str, str], dict[object, Resource]]:
        return {}

    def _by_attribute(self, token: str, attribute: str) -> dict[object, Resource]:
        index = self._indices.get((token, attribute))
        if index is None:
            index = {r.get(attribute): r for r in self.of_type(token)}
            index.pop(None, None)
            index.pop(UNKNOWN, None)
            self._indices[token, attribute] = index
        return index


class Violation(NamedTuple):
    """A resource, or None for the stack as a whole, and what is wrong with it."""

    resource: Resource | None
    what: str


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What must hold, and what to tell whoever breaks it."""

    name: str
    why: str
    reference: str
    """The AWS page that says so."""
    fix: str
    """What to do, with the config key or the place in the code."""
    level: Level = Level.MANDATORY

    def violations(self, stack: Stack) -> Iterator[Violation]:
        """All violations in a stack."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class ResourceRule(Rule):
    """A rule on single resources, which Pulumi applies before it makes them."""

    types: frozenset[str]
    check: Callable[[Resource], Iterator[str]]
    """What is wrong with one of them."""

    def violations(self, stack: Stack) -> Iterator[Violation]:
        for token in sorted(self.types):
            for resource in stack.of_type(token):
                for what in self.check(resource):
                    yield Violation(resource, what)


@dataclass(frozen=True, kw_only=True)
class StackRule(Rule):
    """A rule on what resources are to each other."""

    check: Callable[[Stack], Iterator[Violation]]

    def violations(self, stack: Stack) -> Iterator[Violation]:
        return self.check(stack)


def is_production(stack: str) -> bool:
    """Whether a stack's name says production: prod, production, prod-eu."""
    return stack.replace("_", "-").replace(".", "-").split("-")[0] in ("prod", "production")


def positive(value: object) -> bool:
    """Whether a limit is set. The provider writes -1 for none; an unknown one may be."""
    return value is UNKNOWN or (isinstance(value, int | float) and value > 0)


def true(value: object) -> bool:
    """Whether a switch is on, or may be."""
    return value is UNKNOWN or value is True


def given(value: object) -> bool:
    """Whether there is anything, or may be."""
    return value is UNKNOWN or bool(value)
