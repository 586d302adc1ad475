"""Who tries too often: failed sign-ins and connections, counted in fixed windows.

Guessing is held back without letting a stranger lock a tenant out:

- failures from one address, from one address for one username, and for one username from anywhere are counted apart;
- a username's own count holds back only passwords that people chose: generated secrets cannot be guessed, so there is
  nothing to protect, and the count would only be a way to lock somebody out;
- a username that signed in well from an address lately is held back there by nothing but its failures from there.
  Neither strangers elsewhere nor a wrong password in a neighbour's printer behind the same address stop it;
- an attempt over a limit is not checked and not counted, so a device with an old password ends its wait by itself.
"""

import hashlib
import math
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, Literal

from mail.errors import Reply

# Windows begin at multiples of their length since 1970, so that all relays mean the same one.
FAILURE_WINDOW: Final = 600
CONNECTION_WINDOW: Final = 60

MAX_FAILURES_OF_ADDRESS: Final = 30
MAX_FAILURES_OF_PAIR: Final = 10
MAX_FAILURES_OF_USERNAME: Final = 100

# How long a good sign-in speaks for an address and its username, and for the address.
PAIR_GOOD_SECONDS: Final = 30 * 24 * 3600
ADDRESS_GOOD_SECONDS: Final = 3600

# A customer has a /64 at least, and 2 ** 64 addresses in it.
_IPV6_PREFIX: Final = 64
_DIGEST_OCTETS: Final = 12

Scope = Literal["address", "pair", "username"]


@dataclass(frozen=True, slots=True)
class Window:
    """One of the windows that time is cut into.

    Attributes:
        start: Unix time at which it began; its name.
        seconds: how long it is.
    """

    start: int
    seconds: int

    @classmethod
    def at(cls, now: float, seconds: int) -> "Window":
        """Give the window that a moment is in."""
        return cls(math.floor(now) // seconds * seconds, seconds)

    def wait(self, now: float) -> int:
        """Whole seconds until it ends, at least one."""
        return max(math.ceil(self.start + self.seconds - now), 1)


@dataclass(frozen=True, slots=True)
class Attempt:
    """Who tries to sign in from where, as it is counted.

    Attributes:
        address: the address, as `source` gives it.
        username: a digest: what people type as a username may be anything, a password too.
    """

    address: str
    username: str

    @classmethod
    def of(cls, peer: str, username: str) -> "Attempt":
        """Read what a client said, and where it said it; a name in other letters is the same name."""
        digest = hashlib.blake2b(username.casefold().encode("utf-8", "replace"), digest_size=_DIGEST_OCTETS)
        return cls(source(peer), digest.hexdigest())

    @property
    def pair(self) -> str:
        """The address and the username."""
        return f"{self.address} {self.username}"

    def key(self, scope: Scope) -> str:
        """Name what is counted."""
        return f"{scope}:{getattr(self, scope)}"


@dataclass(frozen=True, slots=True)
class Failures:
    """How often an attempt failed before, in this window."""

    address: int = 0
    pair: int = 0
    username: int = 0


def source(peer: str) -> str:
    """Give what counts as one address: an IPv4 address, or the /64 of an IPv6 address."""
    address = parse_address(peer)
    if isinstance(address, IPv6Address):
        host_bits = address.max_prefixlen - _IPV6_PREFIX
        return f"{IPv6Address(int(address) >> host_bits << host_bits)}/{_IPV6_PREFIX}"
    return str(address) if address else peer


def parse_address(peer: str) -> IPv4Address | IPv6Address | None:
    """Read an address; an IPv4 address in IPv6 clothes is one of IPv4, and a word is none."""
    try:
        address = ip_address(peer)
    except ValueError:
        return None
    return (address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address


def address_holds(failures: Failures, *, pair_good: bool, address_exempt: bool) -> bool:
    """Whether an attempt is held back for where it comes from.

    Args:
        failures: how often it failed before.
        pair_good: whether this username signed in well from this address lately.
        address_exempt: whether the address is one of many users, such as a web mailer's.
    """
    if failures.pair >= MAX_FAILURES_OF_PAIR:
        return True
    return failures.address >= MAX_FAILURES_OF_ADDRESS and not pair_good and not address_exempt


def username_holds(failures: Failures, *, pair_good: bool) -> bool:
    """Whether an attempt with a chosen password is held back for its username."""
    return failures.username >= MAX_FAILURES_OF_USERNAME and not pair_good


def too_many_failures(wait: int) -> Reply:
    """Answer an attempt that is held back (RFC 4954, section 6: 454 4.7.0 is temporary)."""
    return Reply(454, "4.7.0", f"Too many failed sign-ins, try again in {wait} s")


def too_many_connections(wait: int) -> Reply:
    """Answer a connection over the limit (CORE-SMTP-006)."""
    return Reply(421, "4.7.0", f"Too many connections, try again in {wait} s")
