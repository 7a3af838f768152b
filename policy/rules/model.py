"""The parts of a rule, and the stack that it looks at: resources as plain values.

The policy pack and `python -m tools policy` run the same rules. A value that a preview does not
know yet is `UNKNOWN`, and no rule treats that as a violation.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal, NamedTuple

UNKNOWN: Final = object()
"""A value that is known only after deployment."""


def at(value: Any, path: str) -> Any:  # noqa: ANN401  JSON
    """Return the value at a dotted path; None if absent, `UNKNOWN` if it is not known yet."""
    for step in path.split("."):
        if not isinstance(value, Mapping):
            return UNKNOWN if value is UNKNOWN else None
        value = value.get(step)
    return value


def listed(value: Any) -> list[Any]:  # noqa: ANN401  JSON
    """Return a list as it is, a single value as a list of one, and None as an empty list."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return list(value)
    return [] if value is None else [value]


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
        """Name of its stack. URN: `urn:pulumi:<stack>::<project>::<type>::<name>`."""
        return self.urn.split("::")[0].removeprefix("urn:pulumi:")

    def get(self, path: str) -> Any:  # noqa: ANN401  JSON
        """Return the property at a dotted path; see `at`."""
        return at(self.properties, path)

    def items(self, path: str) -> list[Any]:
        """Return the list at a dotted path; one `UNKNOWN` item if the list is not known yet."""
        return listed(self.get(path))


@dataclass(frozen=True, kw_only=True)
class Stack:
    """All resources of a stack."""

    name: str
    resources: Sequence[Resource]
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The stack's config under the project's namespace; see `settings_of`."""

    def of_type(self, token: str) -> list[Resource]:
        """Return all resources of a type."""
        return [resource for resource in self.resources if resource.type == token]

    def referred(
        self, source: Resource, value: object, token: str, attribute: str
    ) -> list[Resource]:
        """Return the resources of a type that `value`, a property of `source`, refers to.

        If both sides are known, `value` is their `attribute`: "arn", "id" or "name". In a preview
        these are unknown; then they are among the dependencies of `source`, which Pulumi knows
        before it knows ids.
        """
        if value is None:
            return []
        if known := self._by_value.get((token, attribute, value)):
            return [known]
        return [
            target
            for urn in source.dependencies
            if (target := self._by_value.get((token, "urn", urn)))
            and (value is UNKNOWN or target.get(attribute) in (None, UNKNOWN))
        ]

    @cached_property
    def _by_value(self) -> dict[tuple[str, str, object], Resource]:
        return {
            (resource.type, attribute, value): resource
            for resource in self.resources
            for attribute, value in {**resource.properties, "urn": resource.urn}.items()
            if attribute in ("arn", "id", "name", "urn") and isinstance(value, str)
        }


def settings_of(project: str, config: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings in the project's namespace; mappings, lists and numbers parsed."""
    settings: dict[str, Any] = {}
    for key, value in config.items():
        namespace, _, name = key.partition(":")
        if namespace == project:
            try:
                settings[name] = json.loads(value)
            except ValueError:
                settings[name] = value
    return settings


class Violation(NamedTuple):
    """A resource, and what is wrong with it."""

    resource: Resource
    what: str


Check = Callable[[Stack], Iterator[Violation]]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A property that must hold, and the advice for those who break it."""

    name: str
    why: str
    reference: str
    """The AWS page that explains it."""
    fix: str
    """The change to make, with the config key or the file."""
    check: Check
    """Return all violations in a stack."""
    level: Literal["mandatory", "advisory"] = "mandatory"
    """Whether a violation stops a deployment, or is only reported."""


@dataclass(frozen=True)
class Each:
    """A check of single resources, which Pulumi applies before it makes them."""

    types: Collection[str]
    check: Callable[[Resource], Iterator[str]]
    """Return what is wrong with a resource of one of `types`."""

    def __call__(self, stack: Stack) -> Iterator[Violation]:
        for token in sorted(self.types):
            for resource in stack.of_type(token):
                for what in self.check(resource):
                    yield Violation(resource, what)


def needs(types: Collection[str], *needed: tuple[str, Callable[[object], bool], str]) -> Each:
    """Return a check of properties: dotted path, test, and what is wrong if the test fails."""
    return Each(types, lambda one: (what for path, test, what in needed if not test(one.get(path))))


def positive(value: object) -> bool:
    """Return whether a limit is set, or may be. The provider writes -1 for no limit."""
    return value is UNKNOWN or (isinstance(value, int | float) and value > 0)


def true(value: object) -> bool:
    """Return whether a switch is on, or may be."""
    return value is UNKNOWN or value is True


def given(value: object) -> bool:
    """Return whether a value is there and not empty, or may be."""
    return value is UNKNOWN or bool(value)


def is_production(stack: str) -> bool:
    """Return whether a stack's name says production: prod, production, prod-eu."""
    return stack.replace("_", "-").replace(".", "-").split("-")[0] in ("prod", "production")
