"""Security groups let no traffic in, and none out to the internet."""

from collections.abc import Callable, Iterator
from ipaddress import ip_network
from typing import Any, Final

from .model import Each, Resource, Rule, at, listed

_REFERENCE: Final = "https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html"
_GROUPS: Final = {
    "aws:ec2/securityGroup:SecurityGroup",
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
}
_EITHER: Final = "aws:ec2/securityGroupRule:SecurityGroupRule"
_INGRESS: Final = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
_EGRESS: Final = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
_INTERNET_PREFIX: Final = {4: 7, 6: 6}
"""Longest prefix, by IP version, of a network that counts as the internet.

One more is the widest private network: 10.0.0.0/8 and fc00::/7.
"""


def _internet(rule: Any) -> Iterator[str]:  # noqa: ANN401  JSON
    """Return the networks of a rule that are as wide as the internet."""
    for key in ("cidrIpv4", "cidrIpv6", "cidrBlocks", "ipv6CidrBlocks"):
        for cidr in listed(at(rule, key)):
            if isinstance(cidr, str):
                network = ip_network(cidr, strict=False)
                if network.prefixlen <= _INTERNET_PREFIX[network.version]:
                    yield cidr


def _open(direction: str, preposition: str, token: str) -> Callable[[Resource], Iterator[str]]:
    def check(resource: Resource) -> Iterator[str]:
        if resource.type in _GROUPS:
            rules = resource.items(direction)
        elif resource.type == token or resource.get("type") == direction:
            rules = [resource.properties]
        else:
            rules = []
        return (f"{direction} {preposition} {cidr}" for rule in rules for cidr in _internet(rule))

    return check


RULES: Final = (
    Rule(
        name="no-open-ingress",
        why="Nothing in this VPC takes connections: the function is called through Lambda, not "
        "over the network.",
        reference=_REFERENCE,
        fix="Remove the ingress rule in components/network.py.",
        check=Each(_GROUPS | {_EITHER, _INGRESS}, _open("ingress", "from", _INGRESS)),
    ),
    Rule(
        name="no-egress-to-everywhere",
        why="A function that can reach the internet can send every record anywhere.",
        reference=_REFERENCE,
        fix="Name the endpoint's prefix list (prefix_list_id) instead of a network, as "
        "components/network.py does for DynamoDB.",
        check=Each(_GROUPS | {_EITHER, _EGRESS}, _open("egress", "to", _EGRESS)),
    ),
)
