"""`python -m tools doctor`: whether an AWS account can carry a stack."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

import click
from rich.text import Text

from settings import Settings, load_stack
from tools.aws import Account, CallError, endpoint_option
from tools.cli import Exit, console, format_option, print_json
from tools.doctor import checks
from tools.doctor.checks import Answer

_STYLES: Final = {"ok": "green", "warning": "yellow", "problem": "bold red"}


CHECKS: Final[dict[str, Callable[[Account], Answer]]] = {
    "deployed already": checks.deployed,
    "function concurrency": checks.concurrency,
    "API Gateway throttle": checks.throttle,
    "usage plans": checks.usage_plans,
    "API keys": checks.api_keys,
    "API Gateway logging role": checks.logging_role,
    "web ACL capacity": checks.web_acl_capacity,
    "web ACL association": checks.web_acl_association,
    "VPCs": checks.vpcs,
    "network overlap": checks.overlap,
    "Availability Zones": checks.zones,
    "alarm e-mails": checks.recipients,
}
"""The checks by their subject, in the order of the report."""


@click.command(epilog="Example: python -m tools doctor --stack prod")
@click.option("--stack", default="prod", show_default=True, help="The stack to check.")
@format_option
@endpoint_option
def doctor(stack: str, output_format: str, endpoint_url: str | None) -> Exit:
    """Check whether an AWS account can carry a stack, before an update fails half way.

    No call changes anything.

    Exit status: 1 with problems, 2 when the account cannot be asked.
    """
    found = dict(examine(load_stack(stack), endpoint_url))
    counts = Counter(str(answer.severity) for answer in found.values())
    if output_format == "json":
        findings = [
            {"check": subject, "level": answer[0], "meaning": answer[1], "action": answer[2]}
            for subject, answer in found.items()
        ]
        print_json({"stack": stack, "deployable": not counts["problem"], "findings": findings})
    else:
        out = console()
        for subject, answer in found.items():
            level = (f"{answer.severity:>7}", _STYLES[answer.severity])
            out.print(Text.assemble(level, (f"  {subject}", "bold"), ": ", answer.meaning))
            for line in answer.action.splitlines():
                out.print(Text(f"         {line}", style="dim"))
        problems, warnings = (
            f"{counts[one] or 'no'} {one}{'' if counts[one] == 1 else 's'}"
            for one in ("problem", "warning")
        )
        out.print(Text(f"\nStack {stack}: {problems}, {warnings}.", style="bold"))
    return Exit.FINDINGS if counts["problem"] else Exit.OK


def examine(settings: Settings, endpoint_url: str | None = None) -> Iterator[tuple[str, Answer]]:
    """Yield each check's subject and answer. A check that fails is reported and stops no other.

    Args:
        settings: of the stack; its Region and profile come before the environment's.
        endpoint_url: an AWS API other than AWS's own.

    Raises:
        UserError: when the account cannot be asked.
    """
    account = Account(settings, endpoint_url)
    yield "credentials", Answer("ok", account.identity())
    for subject, check in CHECKS.items():
        try:
            yield subject, check(account)
        except (CallError, KeyError) as error:
            why = f"the answer has no {error}" if isinstance(error, KeyError) else error
            action = "Allow it (docs/operate.md has a policy), or look in AWS's console."
            yield subject, Answer("warning", f"Not checked: {why}.", action)
