"""The header block of a raw message, read and extended without ever re-serialising it.

Python's email package refolds what it parses; a relay hands on the client's bytes, so it only slices and prepends.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache

_END = re.compile(rb"\r\n\r\n")
_FOLD = re.compile(rb"\r\n(?=[ \t])")
MAX_HEADER_BLOCK = 262_144


def header_block(raw: bytes) -> bytes:
    """Give the header lines of a message, at most `MAX_HEADER_BLOCK` octets, without the empty line after them."""
    if raw.startswith(b"\r\n"):
        return b""
    end = _END.search(raw, 0, MAX_HEADER_BLOCK)
    return raw[: end.start()] if end else raw[:MAX_HEADER_BLOCK]


def find_header(raw: bytes, name: str) -> str | None:
    """Give the unfolded value of the first header with this name, or None; undecodable octets become U+FFFD."""
    block = header_block(raw)
    match = _field(name).search(block)
    if match is None:
        return None
    return _FOLD.sub(b"", match.group(1)).decode("utf-8", "replace").strip()


@lru_cache(maxsize=16)
def _field(name: str) -> re.Pattern[bytes]:
    return re.compile(rb"(?im)^" + re.escape(name.encode()) + rb"[ \t]*:((?:[^\r\n]|\r\n[ \t])*)")


@lru_cache(maxsize=4)
def _date(second: datetime) -> str:
    return format_datetime(second)


@dataclass(frozen=True, slots=True)
class Hop:
    """What the Received header tells about how a message came in (RFC 5321, section 4.4).

    Attributes:
        helo: the name the client gave, or an empty string.
        peer: the client's IP address.
        by: our host name.
        protocol: ESMTPSA and its kin (RFC 3848; UTF8SMTPSA of RFC 6531).
        tls: the TLS version and cipher, or an empty string.
    """

    helo: str
    peer: str
    by: str
    protocol: str
    tls: str


_UNSAFE = re.compile(r"[^A-Za-z0-9.:_\-\[\]]")


def received(hop: Hop, message_id: str, session: str, at: datetime) -> bytes:
    """Build the one header we prepend; it names the message and the session (CORE-SMTP-008)."""
    helo = _UNSAFE.sub("?", hop.helo)[:255] or "unknown"
    address = f"IPv6:{hop.peer}" if ":" in hop.peer else hop.peer
    tls = f"\r\n\t({hop.tls})" if hop.tls else ""
    return (
        f"Received: from {helo} ([{address}]){tls}\r\n"
        f"\tby {hop.by} with {hop.protocol} id {message_id}\r\n"
        f"\t(session {session});\r\n"
        f"\t{_date(at.replace(microsecond=0))}\r\n"
    ).encode("ascii")
