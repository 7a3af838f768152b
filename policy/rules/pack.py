"""The rules as policies of a Pulumi policy pack."""

from collections.abc import Mapping, Sequence
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

from .model import UNKNOWN, Each, Resource, Rule, Stack, settings_of


def policy(rule: Rule) -> Policy:
    """Return a rule as a policy of Pulumi's."""

    def check(stack: Stack, report: ReportViolation) -> None:
        for resource, what in rule.check(stack):
            report(f"What: {what}.\nSee: {rule.reference}\nFix: {rule.fix}", resource.urn)

    def check_resource(args: ResourceValidationArgs, report: ReportViolation) -> None:
        resource = Resource(
            type=args.resource_type, name=args.name, urn=args.urn, properties=_plain(args.props)
        )
        check(Stack(name=pulumi.get_stack(), resources=[resource]), report)

    def check_stack(args: StackValidationArgs, report: ReportViolation) -> None:
        resources = [_resource(resource) for resource in args.resources]
        # Pulumi hands the stack's config to policy packs too.
        settings = settings_of(pulumi.get_project(), pulumi.runtime.get_config_env())
        check(Stack(name=pulumi.get_stack(), resources=resources, settings=settings), report)

    level = EnforcementLevel(rule.level.value)
    common: dict[str, Any] = {"remediation_steps": rule.fix, "url": rule.reference}
    if isinstance(rule.check, Each):
        return ResourceValidationPolicy(rule.name, rule.why, check_resource, level, **common)
    return StackValidationPolicy(rule.name, rule.why, check_stack, level, **common)


def _resource(resource: PolicyResource) -> Resource:
    others = [*resource.dependencies]
    for of_property in resource.property_dependencies.values():
        others += of_property
    return Resource(
        type=resource.resource_type,
        name=resource.name,
        urn=resource.urn,
        properties=_plain(resource.props),
        dependencies=frozenset(other.urn for other in others),
    )


def _plain(value: Any) -> Any:  # noqa: ANN401  JSON
    """Return properties without Pulumi's wrappers, which raise when an unknown value is read."""
    if isinstance(value, Mapping):
        return {key: _at(value, key) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_at(value, index) for index in range(len(value))]
    return value


def _at(container: Any, key: Any) -> Any:  # noqa: ANN401  JSON
    try:
        return _plain(container[key])
    except UnknownValueError:
        return UNKNOWN
