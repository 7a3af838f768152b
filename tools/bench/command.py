"""`python -m tools bench`: measure what should be fast."""

from importlib import import_module
from typing import Final

import click

from tools.bench.figures import machine, table
from tools.cli import Exit, console, format_option, print_json

PARTS: Final = {
    "handler": "The function",
    "program": "The program",
    "sandbox": "The sandbox",
    "simulator": "The simulator",
    "setup": "A fresh clone",
}


@click.command(epilog="Example: python -m tools bench handler simulator")
@click.argument("parts", nargs=-1, type=click.Choice([*PARTS]), metavar="[PART]...")
@format_option
def bench(parts: tuple[str, ...], output_format: str) -> int:
    """Measure what should be fast, and compare it with its targets.

    PART is handler, program, sandbox, simulator or setup; without one, all are measured, which
    takes nine minutes. Let nothing else run meanwhile. Exit status 1 means that a target is missed.
    """
    out, progress = console(), console(stderr=True)
    as_json = output_format == "json"
    if not as_json:
        out.print(machine(), "")
    found = {}
    for part in parts or PARTS:
        with progress.status(f"measuring: {PARTS[part].lower()} ..."):
            found[part] = list(import_module(f"tools.bench.{part}").figures())
        if not as_json:
            out.print(table(PARTS[part], found[part]), "")
    if as_json:
        shown = {part: [one.as_json() for one in figures] for part, figures in found.items()}
        print_json({"machine": machine(), "parts": shown})
    else:
        out.print("What bounds a figure: tools/bench/README.md.")
    met = all(one.met for figures in found.values() for one in figures)
    return Exit.OK if met else Exit.FINDINGS
