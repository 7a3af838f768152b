"""`python -m operations keys`: the API keys of a deployed stack, by plan and client.

Read from AWS alone, by the tags that the program gives its keys and plans: no Pulumi CLI is needed.
Values of keys are fetched only when one is asked for by name.
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from settings.schema import Settings, api_key_holder
from operations.errors import OperationsError
from operations.stacks import stack_settings
from throttling.limiters import period_start
from throttling.limits import Period

_SECONDS_A_DAY: Final = 86_400


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """One key as AWS has it."""

    plan: str
    client: str
    number: int
    id: str
    enabled: bool
    age_days: int
    used: int
    """Requests in the quota period so far."""
    left: int | None
    """Requests left in it; None when AWS has not counted any yet."""
    period: str

    @property
    def name(self) -> str:
        """What one types to see its value: `basic/default`, `basic/default.2`."""
        return f"{self.plan}/{api_key_holder(self.client, self.number)}"


def add_keys(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "keys",
        help="list the API keys of a deployed stack",
        description="List the API keys of a deployed stack with their age and use, or show the "
        "value of one. Calls that change nothing.",
        epilog="The README tells how to replace a key without a gap.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("--stack", default="prod", help="whose keys (default: %(default)s)")
    parser.add_argument(
        "--show", metavar="PLAN/CLIENT", help="print the value of this key, and nothing else"
    )
    parser.add_argument(
        "--format", choices=["table", "json"], default="table", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--endpoint-url", metavar="URL", help="an AWS API to ask instead of AWS's own"
    )


def run(args: argparse.Namespace) -> int:
    """List the keys, or print the value of one."""
    # boto3 takes a third of a second to import, which other commands should not wait for.
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    settings = stack_settings(args.stack)
    try:
        session = boto3.Session(profile_name=settings.profile, region_name=settings.region)
        api_gateway = session.client("apigateway", endpoint_url=args.endpoint_url)
        keys = sorted(read_keys(api_gateway, settings, time.time()), key=lambda key: key.name)
        if args.show:
            print(value_of(api_gateway, keys, args.show, args.stack))
            return 0
    except (BotoCoreError, ClientError) as error:
        raise OperationsError(f"AWS does not tell about API keys: {error}") from None
    if args.format == "json":
        print(json.dumps([{"name": key.name, **asdict(key)} for key in keys], indent=2))
    else:
        _show(keys, args.stack)
    return 0


def read_keys(api_gateway: Any, settings: Settings, now: float) -> Iterator[ApiKey]:  # noqa: ANN401  boto3's clients have no types
    """The keys of a stack with what they used of their quotas.

    Args:
        api_gateway: a boto3 client.
        settings: of the stack.
        now: POSIX seconds.
    """
    mine = {"project": settings.project, "stack": settings.stack}
    described = {
        key["id"]: key
        for key in _all(api_gateway, "get_api_keys", includeValues=False)
        if mine.items() <= key.get("tags", {}).items()
    }
    for plan in _all(api_gateway, "get_usage_plans"):
        if not mine.items() <= plan.get("tags", {}).items():
            continue
        period = Period(plan.get("quota", {}).get("period", Period.DAY))
        usage = _usage(api_gateway, plan["id"], period, now)
        for member in _all(api_gateway, "get_usage_plan_keys", usagePlanId=plan["id"]):
            key = described.get(member["id"])
            if key is None:  # somebody else's key, added by hand
                continue
            days = usage.get(key["id"], [])
            yield ApiKey(
                plan=key["tags"]["plan"],
                client=key["tags"]["client"],
                number=int(key["tags"]["key"]),
                id=key["id"],
                enabled=key["enabled"],
                age_days=int((now - key["createdDate"].timestamp()) // _SECONDS_A_DAY),
                used=sum(used for used, _ in days),
                left=days[-1][1] if days else plan.get("quota", {}).get("limit"),
                period=period.value.lower(),
            )


def value_of(api_gateway: Any, keys: list[ApiKey], name: str, stack: str) -> str:  # noqa: ANN401
    """The value of the key called `name`.

    Raises:
        OperationsError: when there is no such key, naming those there are.
    """
    for key in keys:
        if key.name == name:
            value: str = api_gateway.get_api_key(apiKey=key.id, includeValue=True)["value"]
            return value
    known = ", ".join(key.name for key in keys) or "none"
    raise OperationsError(f"Stack {stack} has no key {name}. Its keys: {known}.")


def _usage(
    api_gateway: Any,  # noqa: ANN401
    plan_id: str,
    period: Period,
    now: float,
) -> Mapping[str, list[list[int]]]:
    """Requests used and left, by key and day, since the quota period began.

    https://docs.aws.amazon.com/apigateway/latest/api/API_GetUsage.html
    """
    usage: dict[str, list[list[int]]] = {}
    for key_id, days in _all_items(
        api_gateway,
        usagePlanId=plan_id,
        startDate=f"{period_start(period, now):%Y-%m-%d}",
        endDate=f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d}",
    ):
        usage.setdefault(key_id, []).extend(days)
    return usage


def _all_items(api_gateway: Any, **parameters: str) -> Iterator[tuple[str, list[list[int]]]]:  # noqa: ANN401
    for page in api_gateway.get_paginator("get_usage").paginate(**parameters):
        yield from page.get("items", {}).items()


def _all(api_gateway: Any, operation: str, **parameters: object) -> Iterator[dict[str, Any]]:  # noqa: ANN401
    for page in api_gateway.get_paginator(operation).paginate(**parameters):
        yield from page.get("items", [])


def _show(keys: list[ApiKey], stack: str) -> None:
    console = Console(highlight=False, soft_wrap=True)
    if not keys:
        console.print(f"Stack {stack} has no API keys in this account and Region.")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("key", "id", "age", "used", "left", "per"):
        right = heading in ("age", "used", "left")
        table.add_column(heading, justify="right" if right else "left")
    for key in keys:
        left = "unlimited" if key.left is None else f"{key.left:,}"
        name = key.name if key.enabled else f"{key.name} [yellow](disabled)[/]"
        table.add_row(name, key.id, f"{key.age_days} d", f"{key.used:,}", left, key.period)
    console.print(table)
    console.print(f"[dim]--show {keys[0].name} prints that key's value.[/]")
