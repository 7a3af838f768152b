"""Rules on the properties of single resources."""

from typing import Any

import pytest

from policy.rules import RULES
from policy.rules.model import UNKNOWN, Each
from tests.policy.resources import made, violations

LOGS = "accessLogSettings"
REDACTED = "redactedFields"
OFF = "its actions are switched off"
FOR_EVER = "no retention: it keeps everything forever"
NOT_REDACTED = "the header x-api-key is not redacted"
NO_KEY = "no encryption with a key of the account"
CASES: list[tuple[str, dict[str, Any], str | None]] = [
    ("stage-logs-access", {LOGS: {"destinationArn": UNKNOWN, "format": "{}"}}, None),
    ("stage-logs-access", {LOGS: UNKNOWN}, None),
    ("stage-logs-access", {LOGS: {"format": "{}"}}, "no destination for an access log"),
    ("stage-logs-access", {LOGS: {"destinationArn": "a"}}, "no format for an access log"),
    ("stage-traces", {"xrayTracingEnabled": True}, None),
    ("stage-traces", {"xrayTracingEnabled": UNKNOWN}, None),
    ("stage-traces", {"xrayTracingEnabled": False}, "no X-Ray tracing"),
    ("no-other-way-in", {}, "its requests pass no API key, no usage plan and no stage throttle"),
    ("plan-throttles", {"throttleSettings": {"rateLimit": 1.0, "burstLimit": UNKNOWN}}, None),
    ("plan-throttles", {"throttleSettings": {"rateLimit": 1.0}}, "no throttleSettings.burstLimit"),
    ("plan-throttles", {"throttleSettings": {"burstLimit": 1.0}}, "no throttleSettings.rateLimit"),
    ("plan-has-quota", {"quotaSettings": {"limit": 1.0, "period": "DAY"}}, None),
    ("plan-has-quota", {"quotaSettings": UNKNOWN}, None),
    ("plan-has-quota", {"quotaSettings": {"limit": 0.0}}, "no quotaSettings.limit"),
    ("function-traces", {"tracingConfig": {"mode": "Active"}}, None),
    ("function-traces", {"tracingConfig": {"mode": UNKNOWN}}, None),
    ("function-traces", {"tracingConfig": {"mode": "PassThrough"}}, "no active tracing"),
    ("table-recovers", {"pointInTimeRecovery": {"enabled": True}}, None),
    ("table-recovers", {"pointInTimeRecovery": UNKNOWN}, None),
    ("table-recovers", {"pointInTimeRecovery": {"enabled": False}}, "no point-in-time recovery"),
    ("table-encrypted", {"serverSideEncryption": {"enabled": True}}, None),
    ("table-encrypted", {}, NO_KEY),
    ("log-groups-have-retention", {"retentionInDays": 14.0}, None),
    ("log-groups-have-retention", {"retentionInDays": UNKNOWN}, None),
    # 0 is AWS's own value for keeping logs forever.
    ("log-groups-have-retention", {"retentionInDays": 0.0}, FOR_EVER),
    ("log-groups-have-retention", {}, FOR_EVER),
    ("alarms-have-actions", {"alarmActions": [UNKNOWN]}, None),
    ("alarms-have-actions", {"alarmActions": []}, "no alarm action"),
    ("alarms-have-actions", {"alarmActions": ["a"], "actionsEnabled": False}, OFF),
    ("waf-logs-redact-api-key", {REDACTED: [{"singleHeader": {"name": "X-API-Key"}}]}, None),
    ("waf-logs-redact-api-key", {REDACTED: [{"singleHeader": UNKNOWN}]}, None),
    ("waf-logs-redact-api-key", {REDACTED: [{"singleHeader": {"name": "cookie"}}]}, NOT_REDACTED),
    ("waf-logs-redact-api-key", {}, NOT_REDACTED),
]
TYPES = {rule.name: rule.check.types for rule in RULES if isinstance(rule.check, Each)}


@pytest.mark.parametrize(("rule", "properties", "what"), CASES)
def test_properties_that_break_a_rule_are_found(
    rule: str, properties: dict[str, Any], what: str | None
) -> None:
    for token in TYPES[rule]:
        found = violations(rule, made(token.removeprefix("aws:"), **properties))
        assert found == ([f"it: {what}"] if what else [])


@pytest.mark.parametrize("stack", ["prod", "production", "prod-eu", "prod.us", "prod_us"])
def test_a_table_of_production_needs_deletion_protection(stack: str) -> None:
    def found(stack: str, value: object) -> list[str]:
        table = made("dynamodb/table:Table", stack=stack, deletionProtectionEnabled=value)
        return violations("table-protected-in-production", table)

    assert found(stack, None) == ["it: no deletion protection, in a stack of production"]
    assert found(stack, True) == found(stack, UNKNOWN) == []
    assert found("dev", False) == found("product-test", False) == []


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
    kind = f"ecurityGroup{direction.capitalize()}Rule"
    group: dict[str, Any] = {direction: [inline]}
    alone: dict[str, Any] = {f"cidrIpv{version}": cidr}

    for resource in (
        made("ec2/securityGroup:SecurityGroup", **group),
        made("ec2/defaultSecurityGroup:DefaultSecurityGroup", **group),
        made("ec2/securityGroupRule:SecurityGroupRule", type=direction, **inline),
        made(f"vpc/s{kind}:S{kind}", **alone),
    ):
        assert violations(rule, resource) == [f"it: {what} {cidr}"]


def test_a_security_group_may_name_a_private_network_or_a_prefix_list() -> None:
    rule, token = "no-egress-to-everywhere", "vpc/securityGroupEgressRule:SecurityGroupEgressRule"
    for properties in (
        {"cidrIpv4": "10.0.0.0/8"},
        {"cidrIpv6": "fc00::/7"},
        {"cidrIpv4": UNKNOWN},
        {"cidrIpv4": "x"},
    ):
        assert violations(rule, made(token, **properties)) == []
    assert violations(rule, made("ec2/securityGroup:SecurityGroup", egress=UNKNOWN)) == []
    assert violations("no-open-ingress", made(token, cidrIpv4="0.0.0.0/0")) == []
