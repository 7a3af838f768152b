"""`python -m tools.policy.check`: the policy pack's rules on every stack, without the Pulumi CLI.

Each stack's program runs here twice: with all outputs known, as after an update, and with none of
them, as in a first preview. Exit status: 0, 1 after a mandatory violation, 2 when a program or its
config is broken.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from json import JSONDecodeError, loads
from typing import Any

from pulumi.output import Unknown

from settings.files import (
    StackFileError,
    project_name,
    read_stack,
    secret_keys,
    stack_names,
)
from policy.rules import RULES
from policy.rules.model import UNKNOWN, Level, Resource, Rule, Stack, Violation
from tools.recorder.program import ROOT, ProgramError, run_program
from tools.recorder.resources import Resources


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the stacks, and print each violation once."""
    parser = argparse.ArgumentParser(prog="python -m tools.policy.check", description=__doc__)
    parser.add_argument("--stack", help="the stack to check (default: all)")
    args = parser.parse_args(arguments)
    try:
        names = [args.stack] if args.stack else stack_names(ROOT)
        found = {name: violations_of(name) for name in names}
    except (StackFileError, ProgramError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name, violations in found.items():
        for rule, violation in violations:
            print(block(name, rule, violation))
    levels = [rule.level for violations in found.values() for rule, _ in violations]
    print(
        f"{len(RULES)} rules on {', '.join(found)}: {levels.count(Level.MANDATORY)} mandatory, "
        f"{levels.count(Level.ADVISORY)} advisory violations."
    )
    return 1 if Level.MANDATORY in levels else 0


def violations_of(stack: str) -> list[tuple[Rule, Violation]]:
    """The violations in one stack, known and as a preview, each once.

    Raises:
        StackFileError: when there is no such stack.
        ProgramError: when its program does not run to its end.
    """
    seen: dict[tuple[str, str, str], tuple[Rule, Violation]] = {}
    for preview in (False, True):
        for rule, violation in violations_in(recorded(stack, preview=preview)):
            resource = violation.resource.urn if violation.resource else ""
            seen.setdefault((rule.name, resource, violation.what), (rule, violation))
    return list(seen.values())


def violations_in(stack: Stack) -> Iterator[tuple[Rule, Violation]]:
    """What breaks which rule."""
    for rule in RULES:
        for violation in rule.violations(stack):
            yield rule, violation


def recorded(stack: str, *, preview: bool) -> Stack:
    """A stack as the rules see it, from the resources that its program registers."""
    project = project_name(ROOT)
    config = read_stack(ROOT, stack)
    program = run_program(
        config,
        project=project,
        stack=stack,
        preview=preview,
        secret_keys=secret_keys(ROOT, stack),
    )
    prefix = f"{project}:"
    settings = {k.removeprefix(prefix): v for k, v in config.items() if k.startswith(prefix)}
    return as_stack(stack, program.resources, settings)


def as_stack(name: str, resources: Resources, settings: Mapping[str, str]) -> Stack:
    """Recorded resources as the rules see them."""
    return Stack(
        name=name,
        resources=[
            Resource(
                type=resource.type,
                name=resource.name,
                urn=resource.urn,
                properties=_known({**resource.outputs, "id": resource.id or UNKNOWN}),
                dependencies=frozenset(resource.depends_on),
            )
            for resource in resources.items
        ],
        settings={key: _typed(value) for key, value in settings.items()},
    )


def _known(value: Any) -> Any:  # noqa: ANN401  JSON
    if isinstance(value, Unknown):
        return UNKNOWN
    if isinstance(value, dict):
        return {key: _known(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_known(item) for item in value]
    return value


def _typed(value: str) -> Any:  # noqa: ANN401  JSON
    try:
        return loads(value)
    except JSONDecodeError:
        return value


def block(stack: str, rule: Rule, violation: Violation) -> str:
    """A violation as a person reads it."""
    resource = violation.resource
    where = f"{resource.name} ({resource.type})" if resource else "the stack as a whole"
    return (
        f"{rule.level.upper()} {rule.name}, stack {stack}\n"
        f"  resource: {where}\n"
        f"  what: {violation.what}\n"
        f"  why:  {rule.why}\n"
        f"  see:  {rule.reference}\n"
        f"  fix:  {rule.fix}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
