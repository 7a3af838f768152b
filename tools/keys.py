"""`python -m tools keys`: the API keys of a deployed stack, by plan and client.

They are read from AWS alone, by the tags that the program gives its keys and plans. The value of a
key is read only when that key is asked for.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import click
from rich.table import Table
from rich.text import Text

from settings import UserError, load_stack
from settings.paths import printable
from settings.schema import api_key_holder
from throttling.limiters import period_start
from throttling.limits import Period
from tools.aws import LOG_IN, Account, CallError, endpoint_option
from tools.cli import console, format_option, print_json

_DAY_SECONDS: Final = 86_400
Key = dict[str, Any]
"""A key as JSON; see `read_keys`."""


@click.command(epilog="Example: python -m tools keys --stack prod --show basic/default.2")
@click.option("--stack", default="prod", show_default=True, help="The stack that has the keys.")
@click.option("--show", metavar="PLAN/CLIENT", help="Print the value of this key, nothing else.")
@format_option
@endpoint_option
def keys(stack: str, show: str | None, output_format: str, endpoint_url: str | None) -> None:
    """List the API keys of a deployed stack with their age and use.

    No call changes anything. The README describes how to replace a key without a gap.
    """
    account = Account(load_stack(stack), endpoint_url)
    try:
        found = {key["name"]: key for key in read_keys(account, time.time())}
        if show in found:
            call = "apigateway:GetApiKey"
            shown = account.ask(call, apiKey=found[show]["id"], includeValue=True)
            click.echo(printable(shown["value"]))
            return
    except CallError as error:
        raise UserError(f"Could not read the API keys from AWS: {error}\n{LOG_IN}") from None
    in_order = [found[name] for name in sorted(found)]
    if show:
        known = ", ".join(sorted(found)) or "none"
        raise UserError(f"Stack {stack} has no key {show}. Its keys: {known}.")
    if output_format == "json":
        print_json(in_order)
    elif found:
        _print(in_order)
    else:
        click.echo(f"Stack {stack} has no API keys in this account and Region.")


def read_keys(account: Account, now: float) -> Iterator[Key]:
    """Yield the keys of a stack, with the requests used and left in the current quota period.

    `name` is plan and client: `basic/default`, `basic/default.2`. Without a quota, `left` is None.
    `now` is in POSIX seconds.
    """
    mine = account.tags.items()
    described = {
        key["id"]: key
        for key in account.ask_all("apigateway:GetApiKeys", "items")
        if mine <= key.get("tags", {}).items()
    }
    for plan in account.ask_all("apigateway:GetUsagePlans", "items"):
        if not mine <= plan.get("tags", {}).items():
            continue
        quota = plan.get("quota", {})
        period = Period(quota.get("period", Period.DAY))
        days_of: dict[str, list[list[int]]] = {}
        # Requests used and left, day by day.
        # https://docs.aws.amazon.com/apigateway/latest/api/API_GetUsage.html
        for key_id, days in account.ask_all(
            "apigateway:GetUsage",
            "items",
            usagePlanId=plan["id"],
            startDate=f"{period_start(period, now):%Y-%m-%d}",
            endDate=f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d}",
        ):
            days_of.setdefault(key_id, []).extend(days)
        members = account.ask_all("apigateway:GetUsagePlanKeys", "items", usagePlanId=plan["id"])
        for member in members:
            key = described.get(member["id"])
            if key is None:  # a key of another owner, added by hand
                continue
            # Tags may have been edited by hand. Plans and keys always have names.
            tags = {"plan": plan["name"], "client": key["name"], "key": "1"} | key["tags"]
            number = int(tags["key"]) if tags["key"].isdecimal() else 1
            days = days_of.get(key["id"], [])
            yield {
                "name": f"{tags['plan']}/{api_key_holder(tags['client'], number)}",
                "plan": tags["plan"],
                "client": tags["client"],
                "number": number,
                "id": key["id"],
                "enabled": key["enabled"],
                "age_days": int((now - key["createdDate"].timestamp()) // _DAY_SECONDS),
                "used": sum(used for used, _ in days),
                "left": days[-1][1] if days else quota.get("limit"),
                "period": period.value.lower(),
            }


def _print(found: list[Key]) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("key", "id", "age", "used", "left", "per"):
        right = heading in ("age", "used", "left")
        table.add_column(heading, justify="right" if right else "left")
    for key in found:
        left = "unlimited" if key["left"] is None else f"{key['left']:,}"
        name = Text(printable(key["name"]))
        if not key["enabled"]:
            name.append(" (disabled)", "yellow")
        age, used = f"{key['age_days']} d", f"{key['used']:,}"
        table.add_row(name, key["id"], age, used, left, key["period"])
    console().print(table)
    console().print(Text(f"--show {printable(found[0]['name'])} prints that key's value.", "dim"))
