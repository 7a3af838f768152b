"""Resources as the rules see them, made by hand."""

from collections.abc import Iterable
from typing import Any

from policy.rules import RULES
from policy.rules.model import Resource, Stack

_BY_NAME = {rule.name: rule for rule in RULES}


def made(
    token: str,
    name: str = "it",
    /,
    *,
    on: Iterable[Resource] = (),
    stack: str = "dev",
    **properties: Any,  # noqa: ANN401  JSON
) -> Resource:
    """Return a resource with these properties, which depends on others."""
    return Resource(
        type=f"aws:{token}",
        name=name,
        urn=f"urn:pulumi:{stack}::any-project::aws:{token}::{name}",
        properties=properties,
        dependencies=frozenset(other.urn for other in on),
    )


def violations(
    rule: str, *resources: Resource, stack: str = "dev", settings: dict[str, Any] | None = None
) -> list[str]:
    """Return what a rule finds in a stack of these resources, each with the resource's name."""
    found = _BY_NAME[rule].check(Stack(name=stack, resources=resources, settings=settings or {}))
    return [f"{resource.name}: {what}" for resource, what in found]
