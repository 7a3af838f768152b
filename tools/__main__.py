"""`python -m tools COMMAND`: the one door to every command."""

import os
import signal
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Final

if __name__ == "__main__":
    # Until `main` runs, Ctrl-C has nothing to clean up, and would only show a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import click

from settings.errors import UserError
from tools.cli import Exit, console

COMMANDS: Final = {
    "up": ("tools.sandbox.commands", "Run a stack on this machine, or redeploy it."),
    "down": ("tools.sandbox.commands", "Stop what runs on this machine, and delete its items."),
    "status": ("tools.sandbox.commands", "Show what a sandbox holds, and what each layer refused."),
    "review": ("tools.review", "Find limits that contradict each other."),
    "simulate": ("tools.traffic.simulate", "Send traffic through a stack's limits, on paper."),
    "replay": ("tools.traffic.replay", "Send an access log through limits to try."),
    "fit": ("tools.traffic.fit", "Find the smallest limits that an access log passes."),
    "load": ("tools.traffic.load.command", "Send traffic over HTTP, and compare the answers."),
    "diff": ("tools.diff.command", "Show what a change does to limits and callers, as Markdown."),
    "cost": ("tools.cost.command", "Show the most that a month can bill under a stack's limits."),
    "doctor": ("tools.doctor", "Check whether an AWS account can carry a stack."),
    "keys": ("tools.keys", "List the API keys of a deployed stack with their age and use."),
    "policy": ("tools.policy.command", "Check stacks against the policy pack."),
    "roles": ("tools.policy.roles", "Print the IAM policies of the roles that CI assumes."),
    "schema": ("tools.schema", "Write the JSON Schema and the table of the settings."),
    "bench": ("tools.bench.command", "Measure what should be fast."),
}
"""Module and summary of each command. The module has a click command of the same name.

A module is imported when its command runs, so that no command waits for another's libraries.
"""


class _Door(click.Group):
    """The list of commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(COMMANDS[cmd_name][0]), cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            status = super().invoke(ctx)
            print(end="", flush=True)
        except BrokenPipeError:
            # The reader has closed the pipe. Click would end the command with 1.
            _discard_output()
            return Exit.OK
        return status

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


def _discard_output() -> None:
    """Drop output that cannot be written, which Python would report again when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


@click.group(
    cls=_Door,
    context_settings={"max_content_width": 100},
    epilog="Exit status: 0 fine, 1 findings, 2 bad input, 130 interrupted.",
)
def door() -> None:
    """Run, test, tune and operate the API of this project's stacks."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    A command returns its status, or None for 0, and raises `UserError` for what the user can fix.
    """
    try:
        status = door.main(arguments, prog_name="tools", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        console(stderr=True).print(error.format_message(), markup=False)
        return Exit.BAD_INPUT
    except (UserError, click.ClickException, OSError) as error:
        if isinstance(error, OSError):
            _discard_output()
        words = error.format_message() if isinstance(error, click.ClickException) else str(error)
        if isinstance(error, click.UsageError) and error.ctx and "allowed" not in words:
            words = f"{words.removesuffix('.')}. See {error.ctx.command_path} --help."
        console(stderr=True).print(f"error: {words}", markup=False, style="red")
        return Exit.BAD_INPUT
    except (click.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    return int(status or Exit.OK)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Pulumi warns, and leaves sockets open, which PYTHONWARNINGS=error makes a failure.
    warnings.simplefilter("ignore")
    sys.exit(main())
