"""Resources as the rules see them, made by hand."""

from collections.abc import Iterable
from typing import Any

from policy.rules.model import Resource, ResourceRule, Rule, Stack

STACK = "dev"


def made(
    token: str,
    name: str = "it",
    /,
    *,
    on: Iterable[Resource] = (),
    stack: str = STACK,
    **given: Any,  # noqa: ANN401  JSON
) -> Resource:
    """A resource with these properties, which depends on others."""
    return Resource(
        type=token,
        name=name,
        urn=f"urn:pulumi:{stack}::throttled-api::{token}::{name}",
        properties=given,
        dependencies=frozenset(other.urn for other in on),
    )


def violations(
    rule: Rule, *resources: Resource, stack: str = STACK, settings: dict[str, Any] | None = None
) -> list[str]:
    """What is wrong with these resources, by a rule, each with the name of the resource."""
    found = rule.violations(Stack(name=stack, resources=resources, settings=settings or {}))
    return [f"{v.resource.name}: {v.what}" if v.resource else v.what for v in found]


def fits(rule: ResourceRule, **given: Any) -> bool:  # noqa: ANN401  JSON
    """Whether each type of resource that a rule is about may have these properties."""
    return not any(violations(rule, made(token, **given)) for token in rule.types)
