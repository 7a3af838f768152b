"""Functions, their table, their network and their logs."""

from typing import Any

import pytest

from policy.rules import function, logs, network, table
from policy.rules.model import UNKNOWN, Resource
from tests.policy.resources import fits, made, violations

FUNCTION = "aws:lambda/function:Function"
GROUP = made("aws:cloudwatch/logGroup:LogGroup", "logs", name="function-logs", retentionInDays=14.0)
NONE_RESERVED = {"function": {"reservedConcurrency": "none"}}


def behind_api(**given: Any) -> tuple[Resource, Resource]:  # noqa: ANN401  JSON
    """A function that API Gateway may invoke, and the permission."""
    made_function = made(FUNCTION, "function", name=UNKNOWN, **given)
    return made_function, made(
        "aws:lambda/permission:Permission",
        on=[made_function],
        principal="apigateway.amazonaws.com",
        function=UNKNOWN,
    )


def test_a_function_that_ends_before_api_gateway_stops_waiting_is_fine() -> None:
    rule = function.TIMEOUT_WITHIN_GATEWAYS

    assert not violations(rule, *behind_api(timeout=29.0))
    assert not violations(rule, *behind_api(timeout=UNKNOWN))
    assert not violations(rule, *behind_api())


def test_a_function_that_outlasts_api_gateway_is_found() -> None:
    assert violations(function.TIMEOUT_WITHIN_GATEWAYS, *behind_api(timeout=30.0)) == [
        "function: a timeout of 30 s, above 29 s"
    ]


def test_a_function_that_no_api_invokes_may_take_its_time() -> None:
    made_function, _ = behind_api(timeout=900.0)

    assert not violations(function.TIMEOUT_WITHIN_GATEWAYS, made_function)


def test_a_function_needs_active_tracing() -> None:
    assert fits(function.FUNCTION_TRACES, tracingConfig={"mode": "Active"})
    assert fits(function.FUNCTION_TRACES, tracingConfig={"mode": UNKNOWN})
    assert not fits(function.FUNCTION_TRACES, tracingConfig={"mode": "PassThrough"})
    assert not fits(function.FUNCTION_TRACES)


def test_a_function_with_a_log_group_of_the_stack_is_fine() -> None:
    known = made(FUNCTION, loggingConfig={"logGroup": "function-logs"})
    planned = made(FUNCTION, on=[GROUP], loggingConfig={"logGroup": UNKNOWN})
    group = made("aws:cloudwatch/logGroup:LogGroup", "logs", retentionInDays=14.0)

    assert not violations(function.FUNCTION_HAS_LOG_GROUP, known, GROUP)
    assert not violations(function.FUNCTION_HAS_LOG_GROUP, planned, group)


def test_a_function_without_a_log_group_of_the_stack_is_found() -> None:
    found = ["it: it does not log to a log group of this stack"]
    elsewhere = made(FUNCTION, loggingConfig={"logGroup": "other"})
    planned = made(FUNCTION, loggingConfig={"logGroup": UNKNOWN})

    assert violations(function.FUNCTION_HAS_LOG_GROUP, made(FUNCTION), GROUP) == found
    assert violations(function.FUNCTION_HAS_LOG_GROUP, elsewhere, GROUP) == found
    assert violations(function.FUNCTION_HAS_LOG_GROUP, planned, GROUP) == found


def test_a_function_reserves_concurrency() -> None:
    rule = function.FUNCTION_RESERVES_CONCURRENCY

    assert not violations(rule, made(FUNCTION, reservedConcurrentExecutions=25.0))
    assert not violations(rule, made(FUNCTION, reservedConcurrentExecutions=UNKNOWN))
    assert violations(rule, made(FUNCTION)) == ["it: no reserved concurrency"]
    assert violations(rule, made(FUNCTION, reservedConcurrentExecutions=-1.0))


def test_a_reservation_that_settings_turn_off_is_only_advised() -> None:
    mandatory, advisory = function.FUNCTION_RESERVES_CONCURRENCY, function.RESERVATION_TURNED_OFF

    assert not violations(mandatory, made(FUNCTION), settings=NONE_RESERVED)
    assert violations(advisory, made(FUNCTION), settings=NONE_RESERVED) == [
        "it: no reserved concurrency"
    ]
    assert not violations(advisory, made(FUNCTION))


def test_a_table_needs_point_in_time_recovery() -> None:
    assert fits(table.TABLE_RECOVERS, pointInTimeRecovery={"enabled": True})
    assert fits(table.TABLE_RECOVERS, pointInTimeRecovery=UNKNOWN)
    assert not fits(table.TABLE_RECOVERS, pointInTimeRecovery={"enabled": False})
    assert not fits(table.TABLE_RECOVERS)


def test_a_table_needs_encryption() -> None:
    assert fits(table.TABLE_ENCRYPTED, serverSideEncryption={"enabled": True})
    assert not fits(table.TABLE_ENCRYPTED, serverSideEncryption={"enabled": False})
    assert not fits(table.TABLE_ENCRYPTED)


def test_a_table_of_production_needs_deletion_protection() -> None:
    rule, token = table.TABLE_PROTECTED, "aws:dynamodb/table:Table"

    assert not violations(rule, made(token, stack="prod", deletionProtectionEnabled=True))
    assert not violations(rule, made(token, stack="dev", deletionProtectionEnabled=False))
    assert not violations(rule, made(token, stack="product-test"))
    for stack in ("prod", "production", "prod-eu", "prod.us"):
        assert violations(rule, made(token, stack=stack, deletionProtectionEnabled=False))
        assert violations(rule, made(token, stack=stack))


def test_a_log_group_needs_retention() -> None:
    assert fits(logs.LOG_GROUPS_HAVE_RETENTION, retentionInDays=14.0)
    assert fits(logs.LOG_GROUPS_HAVE_RETENTION, retentionInDays=UNKNOWN)
    assert not fits(logs.LOG_GROUPS_HAVE_RETENTION)
    # AWS's own word for keeping for ever.
    assert not fits(logs.LOG_GROUPS_HAVE_RETENTION, retentionInDays=0.0)


@pytest.mark.parametrize("cidr", ["0.0.0.0/0", "::/0", "0.0.0.0/1", "128.0.0.0/1"])
def test_rules_that_name_the_internet_are_found(cidr: str) -> None:
    family = "ipv6CidrBlocks" if ":" in cidr else "cidrBlocks"
    single = "cidrIpv6" if ":" in cidr else "cidrIpv4"
    inline: dict[str, Any] = {family: [cidr]}
    for rule, direction, word, kind in (
        (network.NO_OPEN_INGRESS, "ingress", "from", "Ingress"),
        (network.NO_EGRESS_TO_EVERYWHERE, "egress", "to", "Egress"),
    ):
        token = f"aws:vpc/securityGroup{kind}Rule:SecurityGroup{kind}Rule"
        within: dict[str, Any] = {direction: [inline]}
        alone: dict[str, Any] = {single: cidr}
        either = made("aws:ec2/securityGroupRule:SecurityGroupRule", type=direction, **inline)
        group = made("aws:ec2/securityGroup:SecurityGroup", **within)
        default = made("aws:ec2/defaultSecurityGroup:DefaultSecurityGroup", **within)
        for resource in (made(token, **alone), either, group, default):
            assert violations(rule, resource) == [f"it: {direction} {word} {cidr}"]


def test_rules_that_name_a_network_or_a_prefix_list_are_fine() -> None:
    token = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
    rule = network.NO_EGRESS_TO_EVERYWHERE

    assert not violations(rule, made(token, prefixListId=UNKNOWN))
    assert not violations(rule, made(token, cidrIpv4="10.0.0.0/8"))
    assert not violations(rule, made(token, cidrIpv4=UNKNOWN))
    assert not violations(rule, made("aws:ec2/securityGroup:SecurityGroup", egress=UNKNOWN))
    assert not violations(network.NO_OPEN_INGRESS, made(token, cidrIpv4="0.0.0.0/0"))
