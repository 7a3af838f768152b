"""The rules as policies of a Pulumi policy pack."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi_policy.policy
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
from pulumi_policy.policy import _PolicyAnalyzerServicer
from pulumi_policy.proxy import UnknownValueError

from .model import UNKNOWN, Each, Resource, Rule, Stack, settings_of

_config: dict[str, str] = {}
"""The stack's config, as the engine hands it over."""


class _Servicer(_PolicyAnalyzerServicer):
    """The pack's side of the engine's protocol. Pulumi's own ignores the stack's config."""

    def ConfigureStack(self, request: Any, context: Any) -> Any:  # noqa: ANN401
        _config.update(request.config)
        return super().ConfigureStack(request, context)


pulumi_policy.policy._PolicyAnalyzerServicer = _Servicer  # type: ignore[misc]


def policy(rule: Rule) -> Policy:
    """Return a rule as a policy of Pulumi's."""

    def check(resources: list[Resource], report: ReportViolation) -> None:
        if not resources:
            return
        project = resources[0].urn.split("::")[1]
        settings = settings_of(project, _config)
        stack = Stack(name=resources[0].stack, resources=resources, settings=settings)
        for resource, what in rule.check(stack):
            report(f"What: {what}.\nSee: {rule.reference}\nFix: {rule.fix}", resource.urn)

    def check_resource(args: ResourceValidationArgs, report: ReportViolation) -> None:
        one = Resource(
            type=args.resource_type, name=args.name, urn=args.urn, properties=_plain(args.props)
        )
        check([one], report)

    def check_stack(args: StackValidationArgs, report: ReportViolation) -> None:
        check([_resource(resource) for resource in args.resources], report)

    level = EnforcementLevel(rule.level)
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
