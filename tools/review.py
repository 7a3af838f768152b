"""`python -m tools review`: limits that contradict each other."""

from typing import Any

import click
from rich.text import Text

from settings import Settings, UserError, load_stack, stack_names
from settings.errors import fix_command
from settings.paths import config_key
from throttling.review import LimitFinding
from throttling.review import review as findings_of
from tools.cli import Exit, console, format_option, print_json


@click.command(epilog="Example: python -m tools review --stack prod --strict")
@click.option("--stack", help="The stack to review; without it, all stacks.")
@click.option("--strict", is_flag=True, help="Exit with status 1 when there are warnings.")
@format_option
def review(stack: str | None, strict: bool, output_format: str) -> Exit:
    """Find limits that contradict each other, and print a command that fixes each.

    Exit status: 2 when there is no stack to review.
    """
    names = [stack] if stack else stack_names()
    if not names:
        raise UserError("There is no stack to review: no Pulumi.<stack>.yaml here.")
    stacks = [load_stack(name) for name in names]
    found = [(one, findings_of(one.limits(), one.expectations())) for one in stacks]
    if output_format == "json":
        print_json(
            [
                {"stack": settings.stack, "findings": findings_json(settings, findings)}
                for settings, findings in found
            ]
        )
    else:
        for settings, findings in found:
            _print(settings, findings)
    warned = any(one.level == "warning" for _, findings in found for one in findings)
    return Exit.FINDINGS if strict and warned else Exit.OK


def findings_json(settings: Settings | None, findings: list[LimitFinding]) -> list[dict[str, Any]]:
    """Return the findings on one stack as plain values."""
    if not settings:
        return []
    return [
        {
            "level": str(finding.level),
            "key": config_key(settings.project, finding.path),
            "message": finding.message,
            "fix": finding.fix,
            "command": fix_command(settings.project, settings.stack, finding.path, finding.fix),
        }
        for finding in findings
    ]


def _print(settings: Settings, findings: list[LimitFinding]) -> None:
    number = f"{len(findings)} finding{'' if len(findings) == 1 else 's'}" if findings else "fine"
    out = console()
    out.print(Text(f"Stack {settings.stack}: {number}", style="bold"))
    for finding in findings_json(settings, findings):
        style = "yellow" if finding["level"] == "warning" else "cyan"
        out.print(Text(f"{finding['level']}: {finding['key']}", style=style))
        out.print(Text(f"  {finding['message']}"))
        out.print(Text(f"  {finding['command']}", style="dim"))
