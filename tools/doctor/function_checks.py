"""Whether the account has the executions that the function is to have."""

import math
from collections.abc import Iterator
from typing import Final

from settings.errors import fix_command
from settings.schema import Settings
from tools.doctor.account import Account
from tools.doctor.finding import Finding, ok, problem, warning

CONCURRENCY: Final = "function concurrency"
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
UNRESERVED_MINIMUM: Final = 100
"""Executions that AWS keeps for functions without a reservation."""
_INCREASE: Final = (
    "aws service-quotas request-service-quota-increase --service-code lambda "
    "--quota-code L-B99A9384 --desired-value {wanted} --region {region}"
)


def concurrency(account: Account, settings: Settings) -> Iterator[Finding]:
    """The reservation fits, or without one the account has enough for the stage's rate."""
    limits = account.ask("lambda", "get_account_settings")["AccountLimit"]
    total = int(limits["ConcurrentExecutions"])
    reserved = settings.function.reserved_concurrency
    seconds = settings.function.expected_duration_ms / 1000
    # Little's law: executions at once = requests per second x seconds each takes.
    needed = math.ceil(settings.throttle.rate_limit * seconds)
    if reserved is not None:
        unreserved = int(limits["UnreservedConcurrentExecutions"]) + _own_reservation(account)
        yield _reservation(account, settings, reserved, total, unreserved)
        return
    if total < needed:
        yield warning(
            CONCURRENCY,
            f"Nothing is reserved, and all functions of the account together run at most {total:,} "
            f"executions at once: about {total / seconds:,.0f} requests per second of "
            f"{settings.function.expected_duration_ms:,} ms. The stage lets "
            f"{settings.throttle.rate_limit:,g} through; the rest get 503.",
            "Ask AWS for more: "
            + _INCREASE.format(wanted=max(1000, needed), region=account.region)
            + "\nor let the stage admit less: "
            + fix_command(
                settings.project,
                settings.stack,
                ("throttle", "rateLimit"),
                f"{total / seconds:g}",
            ),
        )
        return
    yield ok(
        CONCURRENCY,
        f"Nothing is reserved; the account's {total:,} executions are enough for the stage's "
        f"{settings.throttle.rate_limit:,g} requests per second, if no other function needs them.",
    )


def _reservation(
    account: Account, settings: Settings, reserved: int, total: int, unreserved: int
) -> Finding:
    free = unreserved - UNRESERVED_MINIMUM
    if reserved <= free:
        return ok(
            CONCURRENCY,
            f"{reserved:,} executions can be reserved: {unreserved:,} of the account's {total:,} "
            f"are unreserved, and {UNRESERVED_MINIMUM} must remain so.",
        )
    path = ("function", "reservedConcurrency")
    increase = _INCREASE.format(wanted=max(1000, total + reserved - free), region=account.region)
    if total <= UNRESERVED_MINIMUM:
        seconds = settings.function.expected_duration_ms / 1000
        return problem(
            CONCURRENCY,
            f"This account runs at most {total:,} executions at once, as new accounts do, and AWS "
            f"keeps {UNRESERVED_MINIMUM} unreserved: not even one can be reserved. Stack "
            f"{settings.stack} reserves {reserved:,}, so pulumi up would fail at the function.",
            f"{fix_command(settings.project, settings.stack, path, 'none')}\n"
            f"deploys it without a reservation, for about {total / seconds:,.0f} requests per "
            f"second until AWS raises the account's limit: {increase}",
        )
    fix = str(free) if free >= 1 else "none"
    return problem(
        CONCURRENCY,
        f"Stack {settings.stack} reserves {reserved:,} executions, and {max(free, 0):,} can be: "
        f"{unreserved:,} of the account's {total:,} are unreserved, of which AWS keeps "
        f"{UNRESERVED_MINIMUM}. pulumi up would fail at the function.",
        f"{fix_command(settings.project, settings.stack, path, fix)}\nor ask AWS for more: "
        f"{increase}",
    )


def _own_reservation(account: Account) -> int:
    """What this stack's deployed function has reserved already."""
    return sum(
        int(
            account.ask("lambda", "get_function_concurrency", FunctionName=arn).get(
                "ReservedConcurrentExecutions", 0
            )
        )
        for arn in account.own_of("lambda", "function:")
    )
