"""The command line of `python -m operations`: what may be typed, and where it goes."""

import argparse
from collections.abc import Sequence
from typing import Final

from operations.doctor.command import add_doctor
from operations.errors import OperationsError
from operations.keys import add_keys
from operations.load.command import add_load
from throttling.command_line import run_command

_COMMANDS: Final = (add_load, add_doctor, add_keys)
"""Each adds one subcommand, whose `run` takes the arguments and gives the exit status."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    return run_command(_parser(), arguments, OperationsError)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m operations",
        description="Operate the API: prove its limits under load, check an account before it.",
        epilog="docs/operate.md has the whole story.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in _COMMANDS:
        add(commands)
    return parser
