"""The rules as policies of a Pulumi policy pack."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pulumi
from pulumi_policy import (
    EnforcementLevel,
    Policy,
    PolicyResource,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError

from . import RULES
from .model import UNKNOWN, Resource, ResourceRule, Rule, Stack, StackRule


def policies() -> list[Policy]:
    """One policy for each rule."""
    return [_policy(rule) for rule in RULES]


def _policy(rule: Rule) -> Policy:
    level = EnforcementLevel(rule.level.value)
    if isinstance(rule, ResourceRule):
        return ResourceValidationPolicy(
            rule.name,
            rule.why,
            lambda args, report: _validate_resource(rule, args, report),
            level,
            remediation_steps=rule.fix,
            url=rule.reference,
        )
    if isinstance(rule, StackRule):
        return StackValidationPolicy(
            rule.name,
            rule.why,
            lambda args, report: _validate_stack(rule, args, report),
            level,
            remediation_steps=rule.fix,
            url=rule.reference,
        )
    raise TypeError(f"{rule.name} is neither a rule on resources nor on the stack")


def _validate_resource(
    rule: ResourceRule, args: ResourceValidationArgs, report: ReportViolation
) -> None:
    if args.resource_type in rule.types:
        resource = Resource(
            type=args.resource_type,
            name=args.name,
            urn=args.urn,
            properties=plain(args.props),
        )
        for what in rule.check(resource):
            report(_message(rule, what), args.urn)


def _validate_stack(rule: StackRule, args: StackValidationArgs, report: ReportViolation) -> None:
    stack = Stack(
        name=pulumi.get_stack(),
        resources=[_resource(resource) for resource in args.resources],
        settings=_settings(),
    )
    for violation in rule.check(stack):
        urn = violation.resource.urn if violation.resource else None
        report(_message(rule, violation.what), urn)


def _resource(resource: PolicyResource) -> Resource:
    return Resource(
        type=resource.resource_type,
        name=resource.name,
        urn=resource.urn,
        properties=plain(resource.props),
        dependencies=frozenset(_urns(resource)),
    )


def _urns(resource: PolicyResource) -> Iterable[str]:
    for others in (resource.dependencies, *resource.property_dependencies.values()):
        yield from (other.urn for other in others)


def _message(rule: Rule, what: str) -> str:
    return f"What: {what}.\nSee: {rule.reference}\nFix: {rule.fix}"


def _settings() -> dict[str, Any]:
    """The stack's config under the project's namespace; Pulumi hands it to policy packs, too."""
    prefix = f"{pulumi.get_project()}:"
    settings: dict[str, Any] = {}
    for key, value in pulumi.runtime.get_config_env().items():
        if key.startswith(prefix):
            try:
                settings[key.removeprefix(prefix)] = json.loads(value)
            except ValueError:
                settings[key.removeprefix(prefix)] = value
    return settings


def plain(value: Any) -> Any:  # noqa: ANN401  JSON
    """Properties without Pulumi's wrappers, which raise when they are asked for an unknown."""
    if isinstance(value, Mapping):
        return {key: _at(value, key) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_at(value, index) for index in range(len(value))]
    return value


def _at(container: Any, key: Any) -> Any:  # noqa: ANN401  JSON
    try:
        return plain(container[key])
    except UnknownValueError:
        return UNKNOWN
