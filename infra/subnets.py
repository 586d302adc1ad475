"""Where each subnet lies in the VPC's network: arithmetic, no resources."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Final, Literal

Tier = Literal["public", "private", "isolated"]
ANYWHERE: Final = "0.0.0.0/0"
TIERS: Final[tuple[Tier, ...]] = ("public", "private", "isolated")

# A zone's place follows from its letter, so that a zone more or less moves no subnet of the others.
_LETTERS: Final = "abcdef"
_SLOT_BITS: Final = 3
# Bits below a zone's own network, and the place there: private has the half, public a quarter, isolated an eighth.
# The last eighth of each zone, and the last two of the eight places, are free for what comes later.
_SHARES: Final[dict[Tier, tuple[int, int]]] = {"private": (1, 0), "public": (2, 2), "isolated": (3, 6)}


@dataclass(frozen=True, kw_only=True)
class Subnet:
    """One subnet as it is to be made."""

    tier: Tier
    letter: str
    cidr: str


def layout(cidr: str, letters: Iterable[str]) -> tuple[Subnet, ...]:
    """Returns a public, a private and an isolated subnet for each zone, by tier and then by zone.

    Args:
        cidr: the VPC's network, /16 to /20. A /20 gives private subnets of 256 addresses, public ones of 128 and
            isolated ones of 64; AWS keeps five of each, and a load balancer wants eight free ones.
        letters: of the zones, from a to f.
    """
    zones = tuple(letters)
    slots = tuple(IPv4Network(cidr).subnets(prefixlen_diff=_SLOT_BITS))
    return tuple(
        Subnet(tier=tier, letter=letter, cidr=str(_share(slots[_LETTERS.index(letter)], tier)))
        for tier in TIERS
        for letter in zones
    )


def _share(slot: IPv4Network, tier: Tier) -> IPv4Network:
    bits, place = _SHARES[tier]
    return tuple(slot.subnets(prefixlen_diff=bits))[place]
