"""How every command of this project ends, whatever it does."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Final

BAD_INPUT: Final = 2
"""Exit status of a command that could not be begun."""


def run_command(
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
    *refusals: type[Exception],
) -> int:
    """Run the command that was typed; its exit status.

    Args:
        parser: sets `run`, which takes the arguments and gives the exit status.
        arguments: what was typed; None for the process's own.
        refusals: exceptions whose text tells the user what is wrong.
    """
    args = parser.parse_args(arguments)
    try:
        status: int = args.run(args)
        sys.stdout.flush()
    except refusals as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read the output has had enough; Python would complain again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status
