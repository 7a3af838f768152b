"""`python -m throttling review`: the findings on one stack's limits, or on all of them."""

import argparse
import json
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from settings.stacks import Stack, all_stacks, load_stack
from throttling.review import Finding, Level, review


def run(args: argparse.Namespace) -> int:
    """Print the findings; 1 when they are to be none, and there are warnings."""
    stacks = [load_stack(name) for name in ([args.stack] if args.stack else all_stacks())]
    found = [(stack, review(stack.limits, stack.expectations)) for stack in stacks]
    if args.format == "json":
        json.dump([findings_json(*one) for one in found], sys.stdout, indent=2)
        print()
    else:
        console = Console(highlight=False)
        for stack, findings in found:
            _print(console, stack, findings)
    warned = any(f.level is Level.WARNING for _, findings in found for f in findings)
    return 1 if args.strict and warned else 0


def command(stack: Stack, finding: Finding) -> str:
    """What to type for a finding's fix."""
    from settings.errors import fix_command

    return fix_command(stack.project, stack.name, finding.path, finding.fix)


def findings_json(stack: Stack, findings: list[Finding]) -> dict[str, Any]:
    """The findings on one stack as plain values."""
    return {
        "stack": stack.name,
        "findings": [
            {
                "level": str(finding.level),
                "key": f"{stack.project}:{finding.key}",
                "message": finding.message,
                "fix": finding.fix,
                "command": command(stack, finding),
            }
            for finding in findings
        ],
    }


def _print(console: Console, stack: Stack, findings: list[Finding]) -> None:
    number = f"{len(findings)} finding{'' if len(findings) == 1 else 's'}" if findings else "fine"
    console.print(Text(f"Stack {stack.name}: {number}", style="bold"))
    for finding in findings:
        style = "yellow" if finding.level is Level.WARNING else "cyan"
        console.print(
            Text.assemble(
                (f"{finding.level}: {stack.project}:{finding.key}\n", style),
                f"  {finding.message}\n",
                (f"  {command(stack, finding)}", "dim"),
            ),
            # A command that is broken over lines cannot be copied.
            soft_wrap=True,
        )
