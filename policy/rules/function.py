"""Functions end in time, are traced, log where logs expire, and have bounded concurrency."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from .model import UNKNOWN, Rule, Stack, Violation, at, needs

_GUIDE: Final = "https://docs.aws.amazon.com/lambda/latest/dg"
_FUNCTION: Final = "aws:lambda/function:Function"
_FILE: Final = "components/compute.py"
_GATEWAY_TIMEOUT_SECONDS: Final = 29
"""https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html"""


def _outlasts_gateway(stack: Stack) -> Iterator[Violation]:
    behind_api = {
        function.urn
        for permission in stack.of_type("aws:lambda/permission:Permission")
        if permission.get("principal") in ("apigateway.amazonaws.com", UNKNOWN)
        for attribute in ("name", "arn")
        for function in stack.referred(permission, permission.get("function"), _FUNCTION, attribute)
    }
    for function in stack.of_type(_FUNCTION):
        timeout = function.get("timeout")  # without one, Lambda's default is 3 s
        too_long = isinstance(timeout, int | float) and timeout > _GATEWAY_TIMEOUT_SECONDS
        if too_long and function.urn in behind_api:
            yield Violation(
                function, f"a timeout of {timeout:g} s, above {_GATEWAY_TIMEOUT_SECONDS} s"
            )


def _without_log_group(stack: Stack) -> Iterator[Violation]:
    for function in stack.of_type(_FUNCTION):
        group = function.get("loggingConfig.logGroup")
        if not stack.referred(function, group, "aws:cloudwatch/logGroup:LogGroup", "name"):
            yield Violation(function, "it does not log to a log group of this stack")


def _turned_off(stack: Stack) -> bool:
    """Return whether the config asks for no reservation, as accounts of low concurrency must."""
    settings = at(stack.settings, "function") or {}
    return settings.get("reservedConcurrency", "default") in (None, "none")


def _unreserved(stack: Stack, *, by_choice: bool) -> Iterator[Violation]:
    for function in stack.of_type(_FUNCTION) if _turned_off(stack) is by_choice else ():
        reserved = function.get("reservedConcurrentExecutions")
        # The provider writes -1 for no reservation; 0 switches the function off.
        if reserved is None or (isinstance(reserved, int | float) and reserved < 0):
            yield Violation(function, "no reserved concurrency")


_RESERVED: Final = Rule(
    name="function-reserves-concurrency",
    why="Without a reservation, a flood on this API takes the executions of all other functions "
    "in the account, and theirs take this one's.",
    reference=f"{_GUIDE}/configuration-concurrency.html",
    fix=f"Set reserved_concurrent_executions on the Function in {_FILE}. In an account that cannot "
    "reserve any, set the config's function.reservedConcurrency to none.",
    check=lambda stack: _unreserved(stack, by_choice=False),
)

RULES: Final = (
    Rule(
        name="function-timeout-within-gateways",
        why=f"API Gateway waits {_GATEWAY_TIMEOUT_SECONDS} s for a function, then answers 504. "
        "After that, the function keeps one of its few executions busy for nothing.",
        reference=f"{_GUIDE}/configuration-timeout.html",
        fix=f"Set the config's function.timeoutSeconds to at most {_GATEWAY_TIMEOUT_SECONDS}, and "
        f"the timeout of the Function in {_FILE} from it.",
        check=_outlasts_gateway,
    ),
    Rule(
        name="function-traces",
        why="Only a trace shows whether a slow answer waits for the function or for the table.",
        reference=f"{_GUIDE}/services-xray.html",
        fix=f'Set tracing_config={{"mode": "Active"}} on the Function in {_FILE}.',
        check=needs(
            (_FUNCTION,),
            ("tracingConfig.mode", lambda mode: mode in ("Active", UNKNOWN), "no active tracing"),
        ),
    ),
    Rule(
        name="function-has-log-group",
        why="Lambda makes a log group for a function that has none, and keeps its logs forever.",
        reference=f"{_GUIDE}/monitoring-cloudwatchlogs-loggroups.html",
        fix=f"Set log_group in the logging_config of the Function in {_FILE} to a LogGroup with "
        "retention_in_days.",
        check=_without_log_group,
    ),
    _RESERVED,
    replace(
        _RESERVED,
        name="function-reservation-turned-off",
        level="advisory",
        fix="When the account's concurrency is at least 100 above it, set the config's "
        "function.reservedConcurrency to a number.",
        check=lambda stack: _unreserved(stack, by_choice=True),
    ),
)
