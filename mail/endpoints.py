"""Where accounts want to be told: which URLs may be posted to, how a post is signed, and what follows an answer.

Signatures follow Standard Webhooks (https://www.standardwebhooks.com): HMAC-SHA256 of `id.timestamp.body`.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from http import HTTPStatus
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import urlsplit

Network = IPv4Network | IPv6Network

MAX_URL: Final = 2000
SECRET_OCTETS: Final = 32
_PREFIX: Final = "whsec_"
# Seconds before the second, third, ... attempt. When they are used up, two days have passed.
WAITS: Final = (5, 30, 120, 600, 1800, 3600, 10_800, 21_600, 43_200, 86_400)
JITTER: Final = 0.2
MAX_RETRY_AFTER: Final = 86_400
FAILING_DAYS: Final = 3

_HOST: Final = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?")
# 2130706433, 0x7f.1 and the like: resolvers read them as addresses (inet_aton).
_NUMBER: Final = re.compile(r"([0-9]+|0x[0-9a-f]*)")
# IANA IPv4 Special-Purpose Address Registry, what is not globally reachable, and multicast.
_SPECIAL_V4: Final = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/3",
        ),
    )
)
# Of IPv6 only this is global unicast; out of it, tunnels (which end at an IPv4 address) and documentation.
_GLOBAL_V6: Final = IPv6Network("2000::/3")
_SPECIAL_V6: Final = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
# An IPv4 address lies in the last octets of these: mapped (RFC 4291), and NAT64 (RFC 6052).
_HOLDS_V4: Final = tuple(map(IPv6Network, ("::ffff:0:0/96", "64:ff9b::/96")))


class Verdict(StrEnum):
    """What an answer means for a post."""

    DELIVERED = "delivered"
    GONE = "gone"  # the endpoint wants nothing any more
    AGAIN = "again"


def may_connect(address: str, allowed: Iterable[Network]) -> bool:
    """Whether an address is on the public internet, or in one of the networks that are allowed besides.

    What an account writes into a URL must not lead into our own network, nor to the metadata of our machines.
    """
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    plain = _plain(found)
    if any(each in network for network in allowed for each in (found, plain) if each.version == network.version):
        return True
    if isinstance(plain, IPv4Address):
        return not any(plain in network for network in _SPECIAL_V4)
    return plain in _GLOBAL_V6 and not any(plain in network for network in _SPECIAL_V6)


def check_host(host: str, allowed: Sequence[Network] = ()) -> None:
    """Look at the host of a server that may have any name: one that is an address, or means the machine itself.

    Where a name leads is known when it is resolved, and not before.

    Raises:
        ValueError: it cannot be connected to; says why.
    """
    try:
        address = str(ip_address(host))
    except ValueError:
        name = host.lower().removesuffix(".")
        if _NUMBER.fullmatch(name.rpartition(".")[2]):
            raise ValueError(f"{host[:100]!r} is no host name, and no address as addresses are written") from None
        # RFC 6761, 6.3: names that mean this machine, whatever the DNS says.
        local = name == "localhost" or name.endswith(".localhost")
        if not local or any(may_connect(each, allowed) for each in ("127.0.0.1", "::1")):
            return
        raise ValueError(f"{host[:100]} is not on the public internet") from None
    if not may_connect(address, allowed):
        raise ValueError(f"{host} is not an address on the public internet")


def check_url(text: str, allowed: Sequence[Network] = ()) -> str:
    """Give the URL of an endpoint as it is kept.

    Raises:
        ValueError: it cannot be posted to; says why.
    """
    if not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        raise ValueError("a URL has printable ASCII without blanks; write other names in their xn-- form")
    if len(text) > MAX_URL:
        raise ValueError(f"a URL has at most {MAX_URL} characters")
    parts = urlsplit(text)
    if parts.scheme != "https":
        raise ValueError("a URL must begin with https://")
    if "@" in parts.netloc or parts.fragment:
        raise ValueError("a URL must have no user name and no fragment; posts are signed instead")
    host, port = parts.hostname or "", parts.port  # a port out of range raises a ValueError that says so
    _check_host(host, in_brackets="[" in parts.netloc, allowed=allowed)
    if port == 0:
        raise ValueError("port 0 cannot be connected to")
    return text


def secret_text(octets: bytes) -> str:
    """Write a signing secret as receivers' libraries take it."""
    return _PREFIX + base64.b64encode(octets).decode()


def signature(secrets: Iterable[str], event_id: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature`: one signature for each secret that is valid now.

    Raises:
        ValueError: one is no secret of `secret_text`; it is not repeated.
    """
    signed = b"%s.%d.%s" % (event_id.encode(), timestamp, body)
    macs = (hmac.digest(_key(secret), signed, "sha256") for secret in secrets)
    return " ".join(f"v1,{base64.b64encode(mac).decode()}" for mac in macs)


def verdict(status: int) -> Verdict:
    """Judge an answer by its HTTP status; redirects are not followed, and are failures."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Verdict.DELIVERED
    return Verdict.GONE if status == HTTPStatus.GONE else Verdict.AGAIN


def next_wait(attempt: int, retry_after: float | None, chance: float) -> float | None:
    """Seconds to wait after a number of failed attempts, or None when there were enough.

    Args:
        attempt: 1 after the first.
        retry_after: what the endpoint asked for, or None; it may lengthen a wait, and shortens none.
        chance: from -1 to 1.
    """
    if attempt > len(WAITS):
        return None
    wait = WAITS[attempt - 1] * (1 + JITTER * chance)
    return max(wait, min(retry_after or 0.0, MAX_RETRY_AFTER))


def read_retry_after(text: str, now: datetime) -> float | None:
    """Read a Retry-After header, seconds or a date (RFC 9110, 10.2.3); None for anything else."""
    stripped = text.strip()
    if stripped.isascii() and stripped.isdigit():
        return float(min(int(stripped[:10]), MAX_RETRY_AFTER))
    try:
        date = parsedate_to_datetime(stripped)
        return max((date - now).total_seconds(), 0.0)
    except (ValueError, TypeError, OverflowError):  # TypeError: a date without a zone
        return None


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 address stands for, or itself."""
    if isinstance(address, IPv6Address) and any(address in network for network in _HOLDS_V4):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _check_host(host: str, *, in_brackets: bool, allowed: Sequence[Network]) -> None:
    try:
        literal = str(ip_address(host))
    except ValueError:
        labels = host.removesuffix(".").split(".")
        if in_brackets or not _HOST.fullmatch(host) or _NUMBER.fullmatch(labels[-1]):
            raise ValueError(f"{host[:100]!r} is no host name and no IP address") from None
        return
    if not may_connect(literal, allowed):
        raise ValueError(f"{literal} is not an address on the public internet")


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("a signing secret is not base64") from None
