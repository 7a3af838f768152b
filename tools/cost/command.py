"""`python -m tools cost`: the most that a month can bill under a stack's limits."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from settings import load_stack
from throttling import Layer
from throttling.simulation.traffic import Source
from tools.cli import console, format_option, print_json
from tools.cost.bill import DAYS, PRICES, Month, bill, not_bounded, read_prices, worst
from tools.traffic.options import parsed
from tools.traffic.profiles import parse_client, read_profile

if TYPE_CHECKING:
    from throttling.simulation.simulator import Result


@click.command(
    epilog="Example: python -m tools cost --stack prod --client basic/default=2rps,for=8h"
)
@click.option("--stack", default="dev", show_default=True, help="The stack whose limits to use.")
@click.option("--profile", metavar="NAME|FILE", help="Expected traffic, as simulate takes it.")
@click.option(
    "--client",
    "clients",
    multiple=True,
    callback=parsed(parse_client),
    metavar="PLAN/CLIENT=2rps,for=8h",
    help="Expected requests of one client, as simulate takes them. May be repeated.",
)
@click.option(
    "--prices",
    "price_file",
    default=PRICES,
    type=click.Path(path_type=Path),
    help="Prices of another Region or date, in the form of tools/cost/prices.yaml.",
)
@format_option
def cost(
    stack: str,
    profile: str | None,
    clients: Sequence[Source],
    price_file: Path,
    output_format: str,
) -> None:
    """Show the most that a month can bill under a stack's limits, and what no limit bounds.

    With --profile or --client, the month that you expect stands beside it: such traffic once a day,
    or all the time if it lasts longer. docs/cost.md says what is counted.
    """
    prices, settings = read_prices(price_file), load_stack(stack)
    months = {"most": worst(settings)}
    if profile or clients:
        # Numba, which the worst month does not need.
        from throttling.simulation.simulator import simulate

        traffic = read_profile(profile, settings, waf_lag_seconds=0, clients=clients).traffic
        seconds = settings.expectations().duration_seconds
        result = simulate(settings.limits(), traffic, duration_seconds=seconds)
        months["expected"] = expected(result)
    lines: list[dict[str, Any]] = []
    for rows in zip(*(bill(settings, month, prices) for month in months.values()), strict=True):
        line: dict[str, Any] = {"what": rows[0][0]}
        for name, (what, count, _) in zip(months, rows, strict=True):
            line[name] = {"count": count, "dollars": round(prices.dollars(what, count), 2)}
        lines.append(line | {"boundedBy": rows[0][2], "page": prices.prices[line["what"]].page})
    found = {
        "stack": stack,
        "notBounded": not_bounded(settings, prices),
        "lines": lines,
        "dollars": {name: round(sum(one[name]["dollars"] for one in lines), 2) for name in months},
        "prices": f"{prices.region}, {prices.date}",
    }
    if output_format == "json":
        print_json(found)
    else:
        _print(found)


def expected(result: "Result") -> Month:
    """Return the month in which such traffic comes once a day, or all the time if it is longer."""
    times = DAYS / max(1, result.seconds / 86_400)
    refused, invoked = result.total.refused, result.total.admitted * times
    return Month(
        seen=(result.total.sent * times, ""),
        blocked=refused.get(Layer.WAF, 0) * times,
        admitted=(invoked + refused.get(Layer.CONCURRENCY, 0) * times, ""),
        invoked=(invoked, ""),
        busy_seconds=(invoked * result.duration_seconds, ""),
    )


def _print(found: dict[str, Any]) -> None:
    out = console()
    out.print(f"[bold]Stack {found['stack']}: what no limit bounds[/]")
    for sentence in found["notBounded"]:
        out.print(f"- {sentence}", markup=False)
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(f"a month of {DAYS} days")
    for name in found["dollars"]:
        table.add_column("at most" if name == "most" else name, justify="right")
        table.add_column("$", justify="right")
    table.add_column("bounded by")
    for line in found["lines"]:
        cells = []
        for name in found["dollars"]:
            count = line[name]["count"]
            cells.append(f"{count:,.0f}" if count >= 100 else f"{count:.3g}")
            cells.append(f"{line[name]['dollars']:,.2f}")
        table.add_row(line["what"], *cells, line["boundedBy"])
    sums = [text for total in found["dollars"].values() for text in ("", f"{total:,.2f}")]
    table.add_row("total", *sums, style="bold")
    out.print()
    out.print(table)
    out.print(f"\nList prices ({found['prices']}), without free tiers:")
    for page in dict.fromkeys(line["page"] for line in found["lines"]):
        out.print(f"  {page}", style="dim")
