"""`python -m operations doctor`: check an account before an update of a stack."""

import argparse
import json
from collections import Counter
from typing import Final
from urllib.parse import urlsplit

from rich.console import Console
from rich.text import Text

from tools.doctor.finding import Finding, Level
from operations.errors import OperationsError
from operations.stacks import stack_settings

_STYLES: Final = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "bold red"}


def add_doctor(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "doctor",
        help="check whether an account can carry a stack",
        description="Check, with calls that change nothing, whether an AWS account can carry a "
        "stack, before an update fails half way.",
        epilog="Exit status: 0 without problems, 1 with any, 2 when nothing could be checked for "
        "a reason of this command's own.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("--stack", default="prod", help="the stack to check (default: %(default)s)")
    parser.add_argument(
        "--format", choices=["table", "json"], default="table", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--endpoint-url", metavar="URL", help="an AWS API to ask instead of AWS's own"
    )


def run(args: argparse.Namespace) -> int:
    """Check, and print what was found; 1 when there are problems."""
    # boto3 takes half a second to import, which other commands should not wait for.
    from tools.doctor.examine import examine

    if args.endpoint_url and urlsplit(args.endpoint_url).scheme not in ("http", "https"):
        raise OperationsError(f"--endpoint-url {args.endpoint_url}: is no http or https address.")
    findings = examine(stack_settings(args.stack), args.endpoint_url)
    if args.format == "json":
        print(json.dumps(as_json(args.stack, findings), indent=2))
    else:
        show(args.stack, findings)
    return 1 if any(one.level is Level.PROBLEM for one in findings) else 0


def as_json(stack: str, findings: list[Finding]) -> dict[str, object]:
    """The findings as plain values."""
    return {
        "stack": stack,
        "deployable": all(one.level is not Level.PROBLEM for one in findings),
        "findings": [
            {
                "check": one.check,
                "level": str(one.level),
                "meaning": one.meaning,
                "action": one.action,
            }
            for one in findings
        ],
    }


def show(stack: str, findings: list[Finding]) -> None:
    """Print each finding, with what to do below it."""
    out = Console(highlight=False, soft_wrap=True)
    for one in findings:
        out.print(
            Text.assemble(
                (f"{one.level:>7}", _STYLES[one.level]), ("  " + one.check, "bold"), ": "
            ).append(one.meaning)
        )
        for line in one.action.splitlines():
            out.print(Text(f"         {line}", style="dim"))
    counts = Counter(one.level for one in findings)
    problems, warnings = counts[Level.PROBLEM], counts[Level.WARNING]
    out.print(
        Text(
            f"\nStack {stack}: {_counted(problems, 'problem')}, {_counted(warnings, 'warning')}.",
            style="bold",
        )
    )


def _counted(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"
