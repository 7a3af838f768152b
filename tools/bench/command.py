"""`python -m tools bench`: measure what should be fast, and keep the figures in results.json."""

from importlib import import_module
from typing import Final

import click

from tools.bench.figures import RESULTS, keep, machine, table
from tools.cli import Exit, console

PARTS: Final = {
    "handler": "The function",
    "program": "The program",
    "sandbox": "The sandbox",
    "simulator": "The simulator",
    "setup": "Set-up and tests",
}


@click.command(epilog="Example: python -m tools bench handler simulator")
@click.argument("parts", nargs=-1, type=click.Choice([*PARTS]), metavar="[PART]...")
def bench(parts: tuple[str, ...]) -> int:
    """Measure what should be fast, and compare it with its targets.

    PART is handler, program, sandbox, simulator or setup; without one, all are measured, which
    takes ten minutes. Let nothing else run meanwhile. Exit status 1 means that a target is missed.
    """
    out = console()
    here = machine()
    out.print(f"{here['processor']}, {here['cores']} cores, Python {here['python']}\n")
    missed = False
    for part in parts or PARTS:
        with out.status(f"measuring: {PARTS[part].lower()} ..."):
            figures = list(import_module(f"tools.bench.{part}").figures())
        out.print(table(PARTS[part], figures), "")
        # After each part, so that nothing is lost when a later one fails.
        keep(part, figures)
        missed |= any(figure.met is False for figure in figures)
    out.print(f"Kept in {RESULTS.name}. What bounds a figure: tools/bench/README.md.")
    return Exit.FINDINGS if missed else Exit.OK
