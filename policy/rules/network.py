"""Security groups let no traffic in, and none out to the internet."""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from ipaddress import ip_network
from typing import Any, Final

from .model import Each, Resource, Rule, at, listed

_REFERENCE: Final = "https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html"
_TYPES: Final = {
    "aws:ec2/securityGroup:SecurityGroup",
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
    "aws:ec2/securityGroupRule:SecurityGroupRule",
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
}
_INTERNET_PREFIX: Final = {4: 7, 6: 6}
"""Longest prefix, by IP version, of a network that counts as the internet.

One more is the widest private network: 10.0.0.0/8 and fc00::/7.
"""


def _internet(rule: Any) -> Iterator[str]:  # noqa: ANN401  JSON
    """Return the networks of a rule that are as wide as the internet."""
    for key in ("cidrIpv4", "cidrIpv6", "cidrBlocks", "ipv6CidrBlocks"):
        for cidr in listed(at(rule, key)):
            with suppress(ValueError):  # unknown, or AWS refuses it
                network = ip_network(cidr, strict=False)
                if network.prefixlen <= _INTERNET_PREFIX[network.version]:
                    yield cidr


def _open(resource: Resource, direction: str, preposition: str) -> Iterator[str]:
    alone = resource.get("type") == direction or direction in resource.type.lower()
    for rule in [resource.properties] if alone else resource.items(direction):
        for cidr in _internet(rule):
            yield f"{direction} {preposition} {cidr}"


RULES: Final = (
    Rule(
        name="no-open-ingress",
        why="Nothing in this VPC takes connections: the function is called through Lambda, not "
        "over the network.",
        reference=_REFERENCE,
        fix="Remove the ingress rule in components/network.py.",
        check=Each(_TYPES, partial(_open, direction="ingress", preposition="from")),
    ),
    Rule(
        name="no-egress-to-everywhere",
        why="A function that can reach the internet can send every record anywhere.",
        reference=_REFERENCE,
        fix="Name the endpoint's prefix list (prefix_list_id) instead of a network, as "
        "components/network.py does for DynamoDB.",
        check=Each(_TYPES, partial(_open, direction="egress", preposition="to")),
    ),
)
