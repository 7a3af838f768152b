"""Rules on the properties of single resources."""

from typing import Any

import pytest

from policy.rules import RULES
from policy.rules.model import UNKNOWN, Each
from tests.policy.resources import made, violations

FINE: dict[str, list[dict[str, Any]]] = {
    "stage-logs-access": [
        {"accessLogSettings": {"destinationArn": UNKNOWN, "format": "{}"}},
        {"accessLogSettings": UNKNOWN},
    ],
    "stage-traces": [{"xrayTracingEnabled": True}, {"xrayTracingEnabled": UNKNOWN}],
    "plan-throttles": [
        {"throttleSettings": {"rateLimit": 1.0, "burstLimit": 1.0}},
        {"throttleSettings": {"rateLimit": UNKNOWN, "burstLimit": 1.0}},
    ],
    "plan-has-quota": [
        {"quotaSettings": {"limit": 1.0, "period": "DAY"}},
        {"quotaSettings": UNKNOWN},
    ],
    "function-traces": [
        {"tracingConfig": {"mode": "Active"}},
        {"tracingConfig": {"mode": UNKNOWN}},
    ],
    "table-recovers": [
        {"pointInTimeRecovery": {"enabled": True}},
        {"pointInTimeRecovery": UNKNOWN},
    ],
    "table-encrypted": [{"serverSideEncryption": {"enabled": True}}],
    "log-groups-have-retention": [{"retentionInDays": 14.0}, {"retentionInDays": UNKNOWN}],
    "alarms-have-actions": [{"alarmActions": [UNKNOWN]}, {"alarmActions": UNKNOWN}],
    "waf-logs-redact-api-key": [
        {"redactedFields": [{"singleHeader": {"name": "X-API-Key"}}]},
        {"redactedFields": [{"singleHeader": UNKNOWN}]},
        {"redactedFields": UNKNOWN},
    ],
}
FOUND: dict[str, list[tuple[dict[str, Any], str]]] = {
    "stage-logs-access": [
        ({"accessLogSettings": {"format": "{}"}}, "no destination for an access log"),
        (
            {"accessLogSettings": {"destinationArn": "arn", "format": ""}},
            "no format for an access log",
        ),
    ],
    "stage-traces": [
        ({}, "no X-Ray tracing"),
        ({"xrayTracingEnabled": False}, "no X-Ray tracing"),
    ],
    "no-other-way-in": [({}, "its requests pass no API key, no usage plan and no stage throttle")],
    "plan-throttles": [
        ({"throttleSettings": {"rateLimit": 1.0}}, "no throttleSettings.burstLimit"),
        (
            {"throttleSettings": {"rateLimit": 0.0, "burstLimit": 1.0}},
            "no throttleSettings.rateLimit",
        ),
    ],
    "plan-has-quota": [
        ({}, "no quotaSettings.limit"),
        ({"quotaSettings": {"period": "DAY"}}, "no quotaSettings.limit"),
    ],
    "function-traces": [
        ({}, "no active tracing"),
        ({"tracingConfig": {"mode": "PassThrough"}}, "no active tracing"),
    ],
    "table-recovers": [
        ({}, "no point-in-time recovery"),
        ({"pointInTimeRecovery": {"enabled": False}}, "no point-in-time recovery"),
    ],
    "table-encrypted": [
        ({}, "no encryption with a key of the account"),
        ({"serverSideEncryption": {"enabled": False}}, "no encryption with a key of the account"),
    ],
    "log-groups-have-retention": [
        ({}, "no retention: it keeps everything for ever"),
        # 0 is AWS's own value for keeping logs for ever.
        ({"retentionInDays": 0.0}, "no retention: it keeps everything for ever"),
    ],
    "alarms-have-actions": [
        ({}, "no alarm action"),
        ({"alarmActions": []}, "no alarm action"),
        ({"alarmActions": ["arn"], "actionsEnabled": False}, "its actions are switched off"),
    ],
    "waf-logs-redact-api-key": [
        ({}, "the header x-api-key is not redacted"),
        (
            {"redactedFields": [{"singleHeader": {"name": "cookie"}}]},
            "the header x-api-key is not redacted",
        ),
        ({"redactedFields": [{"method": {}}]}, "the header x-api-key is not redacted"),
    ],
}
TYPES = {rule.name: rule.check.types for rule in RULES if isinstance(rule.check, Each)}


@pytest.mark.parametrize(
    ("rule", "properties"), [(rule, one) for rule, every in FINE.items() for one in every]
)
def test_these_properties_are_fine(rule: str, properties: dict[str, Any]) -> None:
    for token in TYPES[rule]:
        assert violations(rule, made(token.removeprefix("aws:"), **properties)) == []


@pytest.mark.parametrize(
    ("rule", "properties", "what"),
    [(rule, *one) for rule, every in FOUND.items() for one in every],
)
def test_these_properties_break_a_rule(rule: str, properties: dict[str, Any], what: str) -> None:
    for token in TYPES[rule]:
        found = violations(rule, made(token.removeprefix("aws:"), **properties))
        assert found == [f"it: {what}"]


def test_every_rule_on_single_resources_is_tested() -> None:
    elsewhere = {
        "methods-need-api-key",
        "no-open-ingress",
        "no-egress-to-everywhere",
        "no-wildcard-actions",
        "no-wildcard-resources",
        "table-protected-in-production",
    }

    assert FOUND.keys() | elsewhere == TYPES.keys()
    assert FINE.keys() | {"no-other-way-in"} == FOUND.keys()


@pytest.mark.parametrize("stack", ["prod", "production", "prod-eu", "prod.us", "prod_us"])
def test_a_table_of_production_needs_deletion_protection(stack: str) -> None:
    missing: list[dict[str, Any]] = [{}, {"deletionProtectionEnabled": False}]
    for properties in missing:
        table = made("dynamodb/table:Table", stack=stack, **properties)
        found = violations("table-protected-in-production", table)
        assert found == ["it: no deletion protection, in a stack of production"]
    for value in (True, UNKNOWN):
        table = made("dynamodb/table:Table", stack=stack, deletionProtectionEnabled=value)
        assert violations("table-protected-in-production", table) == []


@pytest.mark.parametrize("stack", ["dev", "product-test"])
def test_a_table_elsewhere_may_be_deleted(stack: str) -> None:
    table = made("dynamodb/table:Table", stack=stack, deletionProtectionEnabled=False)

    assert violations("table-protected-in-production", table) == []


@pytest.mark.parametrize("cidr", ["0.0.0.0/0", "::/0", "0.0.0.0/1", "128.0.0.0/1", "fc00::/6"])
@pytest.mark.parametrize(
    ("rule", "direction", "what"),
    [
        ("no-open-ingress", "ingress", "ingress from"),
        ("no-egress-to-everywhere", "egress", "egress to"),
    ],
)
def test_a_security_group_must_not_name_the_internet(
    rule: str, direction: str, what: str, cidr: str
) -> None:
    version = "6" if ":" in cidr else "4"
    inline: dict[str, Any] = {"ipv6CidrBlocks" if version == "6" else "cidrBlocks": [cidr]}
    kind = f"securityGroup{direction.capitalize()}Rule"
    group: dict[str, Any] = {direction: [inline]}
    alone: dict[str, Any] = {f"cidrIpv{version}": cidr}

    for resource in (
        made("ec2/securityGroup:SecurityGroup", **group),
        made("ec2/defaultSecurityGroup:DefaultSecurityGroup", **group),
        made("ec2/securityGroupRule:SecurityGroupRule", type=direction, **inline),
        made(f"vpc/{kind}:{kind[0].upper()}{kind[1:]}", **alone),
    ):
        assert violations(rule, resource) == [f"it: {what} {cidr}"]


def test_a_security_group_may_name_a_private_network_or_a_prefix_list() -> None:
    token = "vpc/securityGroupEgressRule:SecurityGroupEgressRule"
    for properties in (
        {"prefixListId": UNKNOWN},
        {"cidrIpv4": "10.0.0.0/8"},
        {"cidrIpv6": "fc00::/7"},
        {"cidrIpv4": UNKNOWN},
    ):
        assert violations("no-egress-to-everywhere", made(token, **properties)) == []
    group = made("ec2/securityGroup:SecurityGroup", egress=UNKNOWN)
    assert violations("no-egress-to-everywhere", group) == []
    assert violations("no-open-ingress", made(token, cidrIpv4="0.0.0.0/0")) == []
