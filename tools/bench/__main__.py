"""`make bench`: measures what is said to be fast, prints it, and keeps it in results.json.

python -m benchmarks [handler] [program] [sandbox] [simulator] [setup]
"""

import argparse
import importlib
from datetime import UTC, datetime
from typing import Final

from rich.console import Console

from tools.bench.figures import RESULTS, Figure, keep, machine, show

PARTS: Final = {
    "handler": "The function",
    "program": "The program",
    "sandbox": "The sandbox",
    "simulator": "The simulator",
    "setup": "Set-up and tests",
}


def main() -> None:
    """Measure the parts that are asked for: all of them without a word."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What is fast.")
    parser.add_argument("parts", nargs="*", metavar="part", help=f"one of {', '.join(PARTS)}")
    names = parser.parse_args().parts or [*PARTS]
    if unknown := set(names) - set(PARTS):
        parser.error(f"there is no {', '.join(sorted(unknown))}; parts are {', '.join(PARTS)}")
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 200
    here = machine()
    console.print(f"{here['processor']}, {here['cores']} cores, Python {here['python']}\n")
    parts: dict[str, list[Figure]] = {}
    for name in names:
        with console.status(f"measuring: {PARTS[name].lower()} ..."):
            parts[name] = list(importlib.import_module(f"benchmarks.{name}").figures())
        show(console, PARTS[name], parts[name])
        # After each part, so that nothing is lost when a later one fails.
        keep({name: parts[name]}, datetime.now(UTC).date().isoformat())
    console.print(f"Kept in {RESULTS.name}. What bounds a figure: benchmarks/README.md.")


if __name__ == "__main__":
    main()
