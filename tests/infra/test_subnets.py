from ipaddress import IPv4Network
from itertools import combinations

import pytest

from infra.subnets import Subnet, layout


def test_two_zones_of_a_large_network() -> None:
    assert layout("10.40.0.0/16", ["a", "b"]) == (
        Subnet(tier="public", letter="a", cidr="10.40.16.0/21"),
        Subnet(tier="public", letter="b", cidr="10.40.48.0/21"),
        Subnet(tier="private", letter="a", cidr="10.40.0.0/20"),
        Subnet(tier="private", letter="b", cidr="10.40.32.0/20"),
        Subnet(tier="isolated", letter="a", cidr="10.40.24.0/22"),
        Subnet(tier="isolated", letter="b", cidr="10.40.56.0/22"),
    )


def test_the_smallest_network_has_room_for_every_tier() -> None:
    assert [(subnet.tier, subnet.cidr) for subnet in layout("172.20.16.0/20", "f")] == [
        ("public", "172.20.27.0/25"),
        ("private", "172.20.26.0/24"),
        ("isolated", "172.20.27.128/26"),
    ]


@pytest.mark.parametrize("zones", ["ab", "bdf", "abcd", "abcdef"])
@pytest.mark.parametrize("cidr", ["10.0.0.0/16", "10.0.0.0/17", "192.168.0.0/18", "10.9.32.0/19", "10.9.16.0/20"])
def test_subnets_lie_in_the_network_and_beside_each_other(cidr: str, zones: str) -> None:
    found = [IPv4Network(subnet.cidr) for subnet in layout(cidr, zones)]
    assert len(found) == 3 * len(zones)
    assert [one for one in found if not one.subnet_of(IPv4Network(cidr))] == []
    assert [(one, other) for one, other in combinations(found, 2) if one.overlaps(other)] == []


def test_another_zone_moves_no_subnet() -> None:
    assert set(layout("10.40.0.0/16", "bd")) < set(layout("10.40.0.0/16", "abcdef"))
