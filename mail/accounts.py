"""Who may send: accounts, their SMTP credentials, and whom they may not send to."""

import hashlib
import hmac
import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, get_args
from uuid import UUID

MIN_KEY_BYTES = 32

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Window = Literal["hour", "day", "month"]
Unit = Literal["messages", "recipients"]
WINDOWS: Final[tuple[Window, ...]] = get_args(Window)
UNITS: Final[tuple[Unit, ...]] = get_args(Unit)


@dataclass(frozen=True, slots=True)
class Quota:
    """How much an account may send in a window of the calendar (UTC)."""

    window: Window
    unit: Unit
    limit: int


@dataclass(frozen=True, slots=True)
class Account:
    """A tenant, as the accept path knows it.

    Attributes:
        allowed_domains: what it may send from; `*.example.com` is every name below example.com.
        check_from: whether the addresses of the From header must be in those domains, too.
        repair_line_ends: whether bare CR, bare LF and NUL in its messages are repaired instead of refused.
        max_sessions: most sessions at a time, or None for the relay's own limit.
        quotas: what it may send in an hour, a day, a month.
    """

    id: UUID
    name: str
    allowed_domains: frozenset[str]
    check_from: bool = False
    repair_line_ends: bool = False
    max_sessions: int | None = None
    quotas: tuple[Quota, ...] = ()


@dataclass(frozen=True, slots=True)
class GeneratedSecret:
    """A secret of 256 random bits, known only by its digest."""

    digest: bytes = field(repr=False)

    def admits(self, key: bytes, username: str, secret: str) -> bool:
        """Whether `secret` is the one; takes the same time for any answer."""
        return hmac.compare_digest(self.digest, secret_digest(key, username, secret))


@dataclass(frozen=True, slots=True)
class ChosenSecret:
    """A password that somebody chose, known only by its slow hash: argon2id in PHC text form (RFC 9106)."""

    phc: str = field(repr=False)


Secret = GeneratedSecret | ChosenSecret


@dataclass(frozen=True, slots=True)
class Former:
    """A secret that was exchanged for another one, and is good beside that until then."""

    secret: Secret
    until: datetime


@dataclass(frozen=True, slots=True)
class Credential:
    """One SMTP user of an account.

    Attributes:
        secret: what its password is checked against; None where only a client certificate signs in.
        networks: where it may be used from; empty is anywhere.
        certificate_name: the name in a client certificate that signs in as this user (AUTH EXTERNAL).
        expires_at: when it signs in no more; None is never.
        former: secrets before this one, also such as are over.
    """

    id: UUID
    username: str
    secret: Secret | None
    account: Account
    networks: tuple[Network, ...] = ()
    certificate_name: str | None = None
    expires_at: datetime | None = None
    former: tuple[Former, ...] = ()

    def secrets(self, now: datetime) -> Iterator[Secret]:
        """What signs in as this user at a time, the newest first."""
        if self.secret:
            yield self.secret
        for each in self.former:
            if now < each.until:
                yield each.secret

    def ended(self, now: datetime) -> bool:
        """Whether it signs in no more."""
        return self.expires_at is not None and self.expires_at <= now

    def continues(self, earlier: "Credential") -> bool:
        """Whether a session that signed in with `earlier` may go on: its secret is this one's, or was."""
        known = (self.secret, *(each.secret for each in self.former))
        return self.id == earlier.id and self.certificate_name == earlier.certificate_name and earlier.secret in known

    def from_here(self, peer: str) -> bool:
        """Whether it may be used from an IP address; text that is none is nowhere."""
        if not self.networks:
            return True
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        # An IPv6 listener shows the IPv4 peer 192.0.2.1 as ::ffff:192.0.2.1.
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self.networks)


@dataclass(frozen=True, slots=True)
class Suppression:
    """An address that an account does not send to.

    Attributes:
        reason: bounce, complaint, unsubscribe or manual.
        source: what told us: the operator, a key of the account, or a provider.
        stream: the only one that it does not send to it, or empty for all.
    """

    address: str
    reason: str
    source: str
    since: datetime
    until: datetime | None = None
    stream: str = ""


def secret_digest(key: bytes, username: str, secret: str) -> bytes:
    """Digest of a generated secret: HMAC-SHA256, since 256 random bits need no slow hash."""
    if len(key) < MIN_KEY_BYTES:
        raise ValueError(f"the credential key has {len(key)} bytes; it needs {MIN_KEY_BYTES} or more")
    return hmac.digest(key, f"{username}\0{secret}".encode(), hashlib.sha256)


def address_key(address: str) -> str:
    """Form under which a suppressed address is kept: ASCII letters small, others as written."""
    return address.encode().lower().decode()


def address_hash(key: str) -> int:
    """First 8 octets of the SHA-256 of an address key as a signed number; PostgreSQL's address_hash gives the same."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big", signed=True)


def quotas_of(limits: Mapping[str, Mapping[str, int]]) -> tuple[Quota, ...]:
    """Read the quotas of an account as PostgreSQL keeps them: `{"day": {"messages": 10000}}`.

    Raises:
        ValueError: naming the window, the unit or the limit that is none.
    """
    for window, units in limits.items():
        for unit, limit in units.items():
            if window not in WINDOWS or unit not in UNITS:
                raise ValueError(f"{window}:{unit} is no quota; windows are {WINDOWS}, units are {UNITS}")
            if type(limit) is not int or limit < 1:
                raise ValueError(f"the quota {window}:{unit} is {limit!r}; it needs to be a whole number above 0")
    return tuple(
        Quota(window, unit, limits[window][unit])
        for window in WINDOWS
        for unit in UNITS
        if unit in limits.get(window, {})
    )
