"""`python -m tools bench`: measure what should be fast."""

from importlib import import_module
from typing import Final

import click

from tools.bench.figures import machine, table
from tools.cli import Exit, console

PARTS: Final = {
    "handler": "The function",
    "program": "The program",
    "sandbox": "The sandbox",
    "simulator": "The simulator",
    "replay": "Replay and fit",
    "setup": "A fresh clone",
}


@click.command(epilog="Example: python -m tools bench handler simulator")
@click.argument("parts", nargs=-1, type=click.Choice([*PARTS]), metavar="[PART]...")
def bench(parts: tuple[str, ...]) -> int:
    """Measure what should be fast, and compare it with its targets.

    PART is handler, program, sandbox, simulator, replay or setup; without one, all are measured,
    which takes ten minutes. Let nothing else run meanwhile. Exit status 1 means that a target is
    missed.
    """
    out = console()
    out.print(machine(), "")
    missed = False
    for part in parts or PARTS:
        with out.status(f"measuring: {PARTS[part].lower()} ..."):
            figures = list(import_module(f"tools.bench.{part}").figures())
        out.print(table(PARTS[part], figures), "")
        missed |= any(figure.met is False for figure in figures)
    out.print("What bounds a figure: tools/bench/README.md.")
    return Exit.FINDINGS if missed else Exit.OK
