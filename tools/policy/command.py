"""`python -m tools policy`: the policy pack's rules on every stack, without the Pulumi CLI."""

from typing import Any, Final

import click
from pulumi.output import Unknown

from policy.rules import RULES
from policy.rules.model import UNKNOWN, Resource, Rule, Stack, Violation, settings_of
from settings import StackConfig, UserError, read_stack, stack_names
from tools.cli import Exit, console, format_option, print_json
from tools.recorder.program import run_program

_TEXT: Final = """\
{level} {rule}, stack {stack}
  resource: {resource} ({type})
  what: {what}
  why:  {why}
  see:  {reference}
  fix:  {fix}
"""


@click.command(epilog="Example: python -m tools policy --stack dev")
@click.option("--stack", help="The stack to check; without it, all stacks.")
@format_option
def policy(stack: str | None, output_format: str) -> Exit:
    """Check stacks against the policy pack, and print each violation once.

    The program of each stack runs twice: with all outputs known, as after an update, and with
    none of them, as in a first preview.

    Exit status: 1 after a mandatory violation, 2 when there is nothing to check.
    """
    names = [stack] if stack else stack_names()
    if not names:
        raise UserError("There is no stack to check: no Pulumi.<stack>.yaml here.")
    found = [_entry(name, *one) for name in names for one in violations_of(read_stack(name))]
    levels = [entry["level"] for entry in found]
    if output_format == "json":
        print_json(found)
    else:
        out = console()
        for entry in found:
            text = _TEXT.format_map(entry | {"level": entry["level"].upper()})
            out.print(text, markup=False)
        out.print(
            f"{len(RULES)} rules on {', '.join(names)}: {levels.count('mandatory')} mandatory, "
            f"{levels.count('advisory')} advisory violations."
        )
    return Exit.FINDINGS if "mandatory" in levels else Exit.OK


def violations_of(config: StackConfig) -> list[tuple[Rule, Violation]]:
    """Return the violations in a stack, with outputs known and in a preview, each once.

    Raises:
        ProgramError: when the stack's program does not run to its end.
    """
    seen: dict[tuple[str, str, str], tuple[Rule, Violation]] = {}
    for preview in (False, True):
        stack = recorded(config, preview=preview)
        for rule in RULES:
            for violation in rule.check(stack):
                key = (rule.name, violation.resource.urn, violation.what)
                seen.setdefault(key, (rule, violation))
    return list(seen.values())


def recorded(config: StackConfig, *, preview: bool) -> Stack:
    """Return a stack as the rules see it: the resources that its program registers."""
    program = run_program(config, preview=preview)
    return Stack(
        name=config.stack,
        resources=[
            Resource(
                type=resource.type,
                name=resource.name,
                urn=resource.urn,
                properties=_known({**resource.outputs, "id": resource.id or UNKNOWN}),
                dependencies=frozenset(resource.depends_on),
            )
            for resource in program.resources.items
        ],
        settings=settings_of(config.project, config.values),
    )


def _known(value: Any) -> Any:  # noqa: ANN401  JSON
    """Return a value with the rules' `UNKNOWN` in place of Pulumi's."""
    if isinstance(value, Unknown):
        return UNKNOWN
    if isinstance(value, dict):
        return {key: _known(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_known(item) for item in value]
    return value


def _entry(stack: str, rule: Rule, violation: Violation) -> dict[str, str]:
    return {
        "level": rule.level,
        "rule": rule.name,
        "stack": stack,
        "resource": violation.resource.name,
        "type": violation.resource.type,
        "what": violation.what,
        "why": rule.why,
        "reference": rule.reference,
        "fix": rule.fix,
    }
