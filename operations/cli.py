"""The command line of `python -m operations`: what may be typed, and where it goes."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Final

from operations.doctor.command import add_doctor
from operations.errors import OperationsError
from operations.keys import add_keys
from operations.load.command import add_load

_COMMANDS: Final = (add_load, add_doctor, add_keys)
"""Each adds one subcommand, whose `run` takes the arguments and gives the exit status."""

BAD_INPUT: Final = 2
"""Exit status of a command that could not be begun."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    args = _parser().parse_args(arguments)
    try:
        status: int = args.run(args)
        sys.stdout.flush()
    except OperationsError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read the output has had enough; Python would complain again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


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
