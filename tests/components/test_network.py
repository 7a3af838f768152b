"""How the VPC's addresses are shared out, and over how many zones."""

from ipaddress import IPv4Network
from itertools import pairwise

import pulumi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.network import enough_zones, subnet_cidrs

# What settings allow.
vpcs = st.builds(
    lambda address, prefix: IPv4Network((address, prefix), strict=False),
    st.integers(0, 2**32 - 1),
    st.integers(16, 25),
)
zone_counts = st.integers(1, 6)


def test_each_zone_gets_an_eighth_of_the_vpc() -> None:
    assert [str(cidr) for cidr in subnet_cidrs(IPv4Network("10.1.0.0/16"), 3)] == [
        "10.1.0.0/19",
        "10.1.32.0/19",
        "10.1.64.0/19",
    ]


@given(vpc=vpcs, zones=zone_counts)
def test_subnets_lie_side_by_side_in_the_vpc_and_are_large_enough_for_aws(
    vpc: IPv4Network, zones: int
) -> None:
    subnets = subnet_cidrs(vpc, zones)
    assert len(subnets) == zones
    assert all(subnet.subnet_of(vpc) for subnet in subnets)
    assert all(subnet.prefixlen <= 28 for subnet in subnets)
    assert all(a.broadcast_address < b.network_address for a, b in pairwise(subnets))


@given(vpc=vpcs, zones=st.integers(1, 5))
def test_another_zone_leaves_the_subnets_of_the_others_alone(vpc: IPv4Network, zones: int) -> None:
    assert subnet_cidrs(vpc, zones + 1)[:zones] == subnet_cidrs(vpc, zones), (
        "a subnet whose network changes is replaced, and with it the function's interfaces"
    )


def test_the_first_zones_are_used() -> None:
    assert enough_zones(["a", "b", "c"], 2) == ["a", "b"]
    assert enough_zones(["a", "b"], 2) == ["a", "b"]


def test_too_few_zones_are_told_with_what_the_region_has() -> None:
    with pytest.raises(pulumi.RunError) as refused:
        enough_zones(["xx-a", "xx-b"], 3)
    assert str(refused.value) == (
        "network.availabilityZones: 3 is more than this Region has (xx-a, xx-b). "
        "Set it to at most 2."
    )
