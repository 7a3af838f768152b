"""`python -m tools cost`: the most that a month can bill under a stack's limits."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from settings import UserError, load_stack
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
    "--log",
    "logs",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE|FOLDER",
    help="Expected traffic from an access log, as replay reads it. May be repeated.",
)
@click.option(
    "--keys",
    "keys_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="JSON with the plan and client of each key ID in the log, as replay takes it.",
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
    logs: Sequence[Path],
    keys_file: Path | None,
    price_file: Path,
    output_format: str,
) -> None:
    """Show the most that a month can bill under a stack's limits, and what no limit bounds.

    With --profile, --client or --log, the month that you expect stands beside it: such traffic once
    a day, or all the time if it lasts longer. docs/cost.md says what is counted.
    """
    if logs and (profile or clients):
        raise UserError("Give a log or a profile, not both.")
    if keys_file and not logs:
        raise UserError("--keys has nothing to name; give a log with --log.")
    prices, settings = read_prices(price_file), load_stack(stack)
    bills = {"most": bill(settings, prices, *worst(settings))}
    notes: Sequence[str] = ()
    if logs:
        # Numba, which the worst month does not need.
        from tools.traffic.logged import limits_of, read_logged

        logged = read_logged(settings, paths=logs, keys_file=keys_file)
        notes = logged.notes
        bills["expected"] = bill(settings, prices, expected(logged.run(limits_of(settings), 0)))
    elif profile or clients:
        # Numba, which the worst month does not need.
        from throttling.simulation.simulator import simulate

        traffic = read_profile(profile, settings, waf_lag_seconds=0, clients=clients).traffic
        seconds = settings.expectations().duration_seconds
        result = simulate(settings.limits(), traffic, duration_seconds=seconds)
        bills["expected"] = bill(settings, prices, expected(result))
    lines: list[dict[str, Any]] = []
    for rows in zip(*bills.values(), strict=True):
        what, _, why = rows[0]
        line: dict[str, Any] = {"what": what}
        for name, (_, count, _) in zip(bills, rows, strict=True):
            line[name] = round(count) if count >= 100 or count == int(count) else round(count, 3)
            line[f"{name}Dollars"] = round(prices.dollars(what, count), 2)
        lines.append(line | {"boundedBy": why, "page": prices.prices[what].page})
    totals = {
        f"{name}Dollars": round(sum(line[f"{name}Dollars"] for line in lines), 2) for name in bills
    }
    sentences, listed = [*not_bounded(settings, prices)], f"{prices.region}, {prices.date}"
    if output_format == "json":
        about = {"stack": stack, "notBounded": sentences, "prices": listed}
        print_json(about | {"lines": lines, "total": totals, "notes": [*notes]})
        return
    table = Table(f"a month of {DAYS} days", box=None, pad_edge=False, header_style="dim")
    for name in bills:
        table.add_column("at most" if name == "most" else name, justify="right")
        table.add_column("$", justify="right")
    table.add_column("bounded by")
    for line in lines:
        numbers = [line[key] for name in bills for key in (name, f"{name}Dollars")]
        cells = (f"{one:,}" if isinstance(one, int) else f"{one:,.2f}" for one in numbers)
        table.add_row(line["what"], *cells, line["boundedBy"])
    table.add_row("total", *(cell for sum_ in totals.values() for cell in ("", f"{sum_:,.2f}")))
    out = console()
    out.print(f"[bold]Stack {stack}: what no limit bounds[/]")
    for sentence in sentences:
        out.print(f"- {sentence}", markup=False)
    out.print("", table, sep="\n")
    for note in notes:
        out.print(note, markup=False)
    out.print(f"\nList prices ({listed}), without free tiers:")
    for page in dict.fromkeys(line["page"] for line in lines):
        out.print(f"  {page}", style="dim")


def expected(result: "Result") -> Month:
    """Return the month in which such traffic comes once a day, or all the time if it is longer."""
    refused, admitted = result.total.refused, result.total.admitted
    times = DAYS / max(1, result.seconds / 86_400)
    return Month(
        seen=times * result.total.sent,
        blocked=times * refused.get(Layer.WAF, 0),
        admitted=times * (admitted + refused.get(Layer.CONCURRENCY, 0)),
        invoked=times * admitted,
        busy_seconds=times * admitted * result.duration_seconds,
    )
