"""Functions end in time, can be traced, log where logs end, and have bounded concurrency."""

from collections.abc import Iterator, Mapping
from typing import Final

from .model import UNKNOWN, Level, Resource, ResourceRule, Stack, StackRule, Violation

_GUIDE: Final = "https://docs.aws.amazon.com/lambda/latest/dg"
_FUNCTION: Final = "aws:lambda/function:Function"
_PERMISSION: Final = "aws:lambda/permission:Permission"
_LOG_GROUP: Final = "aws:cloudwatch/logGroup:LogGroup"
_API_GATEWAY: Final = "apigateway.amazonaws.com"
# https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
_API_GATEWAY_WAITS_SECONDS: Final = 29


def _work_for_nobody(stack: Stack) -> Iterator[Violation]:
    behind_api = {
        function.urn
        for permission in stack.of_type(_PERMISSION)
        if permission.get("principal") in (_API_GATEWAY, UNKNOWN)
        for attribute in ("name", "arn")
        for function in stack.referred(permission, permission.get("function"), _FUNCTION, attribute)
    }
    for function in stack.of_type(_FUNCTION):
        timeout = function.get("timeout")
        if function.urn not in behind_api or not isinstance(timeout, int | float):
            continue  # Lambda's own default is 3 s.
        if timeout > _API_GATEWAY_WAITS_SECONDS:
            yield Violation(
                function, f"a timeout of {timeout:g} s, above {_API_GATEWAY_WAITS_SECONDS} s"
            )


TIMEOUT_WITHIN_GATEWAYS: Final = StackRule(
    name="function-timeout-within-gateways",
    why=f"API Gateway waits {_API_GATEWAY_WAITS_SECONDS} s for a function. After that the caller "
    "has its 504, and the function holds one of its few executions for an answer nobody gets.",
    reference=f"{_GUIDE}/configuration-timeout.html",
    fix=f"Set the config's function.timeoutSeconds to at most {_API_GATEWAY_WAITS_SECONDS}, and "
    "timeout=settings.timeout_seconds on the Function in Compute of components/compute.py.",
    check=_work_for_nobody,
)


def _untraced(function: Resource) -> Iterator[str]:
    if function.get("tracingConfig", "mode") not in ("Active", UNKNOWN):
        yield "no active tracing"


FUNCTION_TRACES: Final = ResourceRule(
    name="function-traces",
    why="Without traces nobody can tell whether a slow answer waits for the function or the table.",
    reference=f"{_GUIDE}/services-xray.html",
    fix='Set tracing_config={"mode": "Active"} on the Function in Compute of '
    "components/compute.py.",
    types=frozenset({_FUNCTION}),
    check=_untraced,
)


def _logs_for_ever(stack: Stack) -> Iterator[Violation]:
    for function in stack.of_type(_FUNCTION):
        group = function.get("loggingConfig", "logGroup")
        if not stack.referred(function, group, _LOG_GROUP, "name"):
            yield Violation(function, "it does not log to a log group of this stack")


FUNCTION_HAS_LOG_GROUP: Final = StackRule(
    name="function-has-log-group",
    why="Lambda makes a log group for a function that has none, and that one keeps everything "
    "for ever.",
    reference=f"{_GUIDE}/monitoring-cloudwatchlogs-loggroups.html",
    fix='Set "log_group": log_group.name in the logging_config of the Function in Compute of '
    "components/compute.py, to a LogGroup with retention_in_days.",
    check=_logs_for_ever,
)


def _turned_off(stack: Stack) -> bool:
    """Whether the config asks for no reservation, as accounts of low concurrency must."""
    function = stack.settings.get("function")
    return (
        isinstance(function, Mapping)
        and "reservedConcurrency" in function
        and function["reservedConcurrency"] in (None, "none")
    )


def _unreserved(stack: Stack) -> Iterator[Violation]:
    for function in stack.of_type(_FUNCTION):
        reserved = function.get("reservedConcurrentExecutions")
        # The provider writes -1 for none; 0 is a function that is switched off.
        if reserved is None or (isinstance(reserved, int | float) and reserved < 0):
            yield Violation(function, "no reserved concurrency")


def _unreserved_against_config(stack: Stack) -> Iterator[Violation]:
    return iter(()) if _turned_off(stack) else _unreserved(stack)


def _unreserved_by_choice(stack: Stack) -> Iterator[Violation]:
    return _unreserved(stack) if _turned_off(stack) else iter(())


_WHY_RESERVE: Final = (
    "Without a reservation a flood on this API takes the executions of every other function in "
    "the account, and theirs take this one's."
)

FUNCTION_RESERVES_CONCURRENCY: Final = StackRule(
    name="function-reserves-concurrency",
    why=_WHY_RESERVE,
    reference=f"{_GUIDE}/configuration-concurrency.html",
    fix="Set reserved_concurrent_executions=settings.reserved_concurrency on the Function in "
    "Compute of components/compute.py; an account that cannot reserve any sets the config's "
    "function.reservedConcurrency to none.",
    check=_unreserved_against_config,
)

RESERVATION_TURNED_OFF: Final = StackRule(
    name="function-reservation-turned-off",
    level=Level.ADVISORY,
    why=_WHY_RESERVE,
    reference=f"{_GUIDE}/configuration-concurrency.html",
    fix="Set the config's function.reservedConcurrency to a number once the account's concurrency "
    "is at least 100 above it.",
    check=_unreserved_by_choice,
)

RULES: Final = (
    TIMEOUT_WITHIN_GATEWAYS,
    FUNCTION_TRACES,
    FUNCTION_HAS_LOG_GROUP,
    FUNCTION_RESERVES_CONCURRENCY,
    RESERVATION_TURNED_OFF,
)
