"""Security groups let nobody in, and nothing out to just anywhere."""

from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from typing import Any, Final

from .model import Resource, ResourceRule

_REFERENCE: Final = "https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html"
_GROUPS: Final = frozenset(
    {
        "aws:ec2/securityGroup:SecurityGroup",
        "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
    }
)
_EITHER: Final = "aws:ec2/securityGroupRule:SecurityGroupRule"
_INGRESS: Final = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
_EGRESS: Final = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
# What is wider than the widest private networks, 10.0.0.0/8 and fc00::/7, is the internet.
_NARROWEST_INTERNET: Final = {4: 7, 6: 6}


def _networks(rule: Mapping[str, Any]) -> Iterator[str]:
    """The networks that a rule names, in any of the forms that its type has."""
    for single in ("cidrIpv4", "cidrIpv6"):
        if isinstance(rule.get(single), str):
            yield rule[single]
    for several in ("cidrBlocks", "ipv6CidrBlocks"):
        if isinstance(rule.get(several), list | tuple):
            yield from (cidr for cidr in rule[several] if isinstance(cidr, str))


def _internet(rule: Any) -> Iterator[str]:  # noqa: ANN401  JSON
    for cidr in _networks(rule) if isinstance(rule, Mapping) else ():
        network = ip_network(cidr, strict=False)
        if network.prefixlen <= _NARROWEST_INTERNET[network.version]:
            yield cidr


def _wide(resource: Resource, direction: str, token: str) -> Iterator[str]:
    rules: list[Any] = []
    if resource.type in _GROUPS:
        rules = list(resource.items(direction))
    elif resource.type == token or resource.get("type") == direction:
        rules = [resource.properties]
    for rule in rules:
        for cidr in _internet(rule):
            yield f"{direction} {'from' if direction == 'ingress' else 'to'} {cidr}"


def _open_ingress(resource: Resource) -> Iterator[str]:
    return _wide(resource, "ingress", _INGRESS)


def _open_egress(resource: Resource) -> Iterator[str]:
    return _wide(resource, "egress", _EGRESS)


NO_OPEN_INGRESS: Final = ResourceRule(
    name="no-open-ingress",
    why="Nothing in this VPC answers anybody: the function is called through Lambda, not over the "
    "network.",
    reference=_REFERENCE,
    fix="Remove the ingress rule in Network of components/network.py.",
    types=_GROUPS | {_EITHER, _INGRESS},
    check=_open_ingress,
)

NO_EGRESS_TO_EVERYWHERE: Final = ResourceRule(
    name="no-egress-to-everywhere",
    why="A function that may reach everywhere can carry every record anywhere.",
    reference=_REFERENCE,
    fix="Name the endpoint's prefix list (prefix_list_id) instead of a network, as Network of "
    "components/network.py does for DynamoDB.",
    types=_GROUPS | {_EITHER, _EGRESS},
    check=_open_egress,
)

RULES: Final = (NO_OPEN_INGRESS, NO_EGRESS_TO_EVERYWHERE)
