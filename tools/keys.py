"""`python -m tools keys`: the API keys of a deployed stack, by plan and client.

They are read from AWS alone, by the tags that the program gives its keys and plans. The value of a
key is read only when that key is asked for.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

import click
from botocore.exceptions import BotoCoreError, ClientError
from rich.table import Table
from rich.text import Text

from settings import Settings, UserError, load_stack
from settings.schema import api_key_holder
from throttling.limiters import period_start
from throttling.limits import Period
from tools.aws import connect, endpoint_option
from tools.cli import console, format_option, print_json

_DAY_SECONDS: Final = 86_400


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """One key as AWS has it."""

    name: str
    """Plan and client, as `--show` takes them: `basic/default`, `basic/default.2`."""
    plan: str
    client: str
    number: int
    id: str
    enabled: bool
    age_days: int
    used: int
    """Requests in the quota period so far."""
    left: int | None
    """Requests left in it; None without a quota."""
    period: str


@click.command(epilog="Example: python -m tools keys --stack prod --show basic/default.2")
@click.option("--stack", default="prod", show_default=True, help="The stack that has the keys.")
@click.option("--show", metavar="PLAN/CLIENT", help="Print the value of this key, nothing else.")
@format_option
@endpoint_option
def keys(stack: str, show: str | None, output_format: str, endpoint_url: str | None) -> None:
    """List the API keys of a deployed stack with their age and use.

    No call changes anything. The README describes how to replace a key without a gap.
    """
    settings = load_stack(stack)
    try:
        api_gateway = connect(settings).client("apigateway", endpoint_url=endpoint_url)
        found = sorted(read_keys(api_gateway, settings, time.time()), key=lambda key: key.name)
        if show:
            click.echo(_value_of(api_gateway, found, show, stack))
            return
    except (BotoCoreError, ClientError, ValueError) as error:
        # ValueError: an invalid AWS_ENDPOINT_URL
        raise UserError(f"Could not read the API keys from AWS: {error}") from None
    if output_format == "json":
        print_json([asdict(key) for key in found])
    else:
        _print(found, stack)


def read_keys(api_gateway: Any, settings: Settings, now: float) -> Iterator[ApiKey]:  # noqa: ANN401  boto3's clients have no types
    """Yield the keys of a stack with their use of their quotas.

    Args:
        api_gateway: a boto3 client.
        settings: of the stack.
        now: POSIX seconds.
    """
    mine = {"project": settings.project, "stack": settings.stack}.items()
    described = {
        key["id"]: key
        for key in _all(api_gateway, "get_api_keys")
        if mine <= key.get("tags", {}).items()
    }
    for plan in _all(api_gateway, "get_usage_plans"):
        if not mine <= plan.get("tags", {}).items():
            continue
        quota = plan.get("quota", {})
        period = Period(quota.get("period", Period.DAY))
        usage = _usage(api_gateway, plan["id"], period, now)
        for member in _all(api_gateway, "get_usage_plan_keys", usagePlanId=plan["id"]):
            key = described.get(member["id"])
            if key is None:  # a key of another owner, added by hand
                continue
            # Tags may have been edited by hand; names of resources are always there.
            tags = key["tags"]
            plan_name = tags.get("plan", plan["name"])
            client = tags.get("client", key["name"])
            number = int(tags["key"]) if tags.get("key", "").isdecimal() else 1
            days = usage.get(key["id"], [])
            yield ApiKey(
                name=f"{plan_name}/{api_key_holder(client, number)}",
                plan=plan_name,
                client=client,
                number=number,
                id=key["id"],
                enabled=key["enabled"],
                age_days=int((now - key["createdDate"].timestamp()) // _DAY_SECONDS),
                used=sum(used for used, _ in days),
                left=days[-1][1] if days else quota.get("limit"),
                period=period.value.lower(),
            )


def _value_of(api_gateway: Any, found: list[ApiKey], name: str, stack: str) -> str:  # noqa: ANN401
    for key in found:
        if key.name == name:
            return str(api_gateway.get_api_key(apiKey=key.id, includeValue=True)["value"])
    known = ", ".join(key.name for key in found) or "none"
    raise UserError(f"Stack {stack} has no key {name}. Its keys: {known}.")


def _usage(api_gateway: Any, plan_id: str, period: Period, now: float) -> dict[str, Any]:  # noqa: ANN401
    """Return by key the requests used and left, day by day since the quota period began.

    https://docs.aws.amazon.com/apigateway/latest/api/API_GetUsage.html
    """
    usage: dict[str, list[list[int]]] = {}
    pages = api_gateway.get_paginator("get_usage").paginate(
        usagePlanId=plan_id,
        startDate=f"{period_start(period, now):%Y-%m-%d}",
        endDate=f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d}",
    )
    for page in pages:
        for key_id, days in page.get("items", {}).items():
            usage.setdefault(key_id, []).extend(days)
    return usage


def _all(api_gateway: Any, operation: str, **parameters: object) -> Iterator[dict[str, Any]]:  # noqa: ANN401
    for page in api_gateway.get_paginator(operation).paginate(**parameters):
        yield from page.get("items", [])


def _print(found: list[ApiKey], stack: str) -> None:
    out = console()
    if not found:
        out.print(Text(f"Stack {stack} has no API keys in this account and Region."))
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("key", "id", "age", "used", "left", "per"):
        right = heading in ("age", "used", "left")
        table.add_column(heading, justify="right" if right else "left")
    for key in found:
        left = "unlimited" if key.left is None else f"{key.left:,}"
        name = Text(_printable(key.name))
        if not key.enabled:
            name.append(" (disabled)", "yellow")
        table.add_row(name, key.id, f"{key.age_days} d", f"{key.used:,}", left, key.period)
    out.print(table)
    out.print(Text(f"--show {_printable(found[0].name)} prints that key's value.", "dim"))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
