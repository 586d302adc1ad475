"""The header block of a raw message, read and extended without ever re-serialising it.

Python's email package refolds what it parses; a relay hands on the client's bytes, so it only slices and prepends.
"""

import re
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import NamedTuple

_FOLD = re.compile(rb"\r\n(?=[ \t])")
_VALUE = re.compile(rb"[ \t]*:([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)")
_END = b"\r\n\r\n"
MAX_HEADER_BLOCK = 262_144


def header_block(raw: bytes | bytearray, start: int = 0) -> bytes:
    """Give the header lines of a message, at most `MAX_HEADER_BLOCK` octets, without the empty line after them.

    Args:
        raw: the message, as far as it has come.
        start: where in it the header begins.
    """
    if raw.startswith(b"\r\n", start):
        return b""
    most = start + MAX_HEADER_BLOCK
    end = raw.find(_END, start, most)
    return bytes(raw[start : end if end >= 0 else most])


def find_headers(block: bytes, *names: str) -> list[str | None]:
    """Give for each name the unfolded value of the first header with it, or None; undecodable octets become U+FFFD.

    The block is put into small letters once and searched with `find`, a tenth of what a pattern ignoring case takes.
    """
    lines = b"\n" + block.lower()
    return [_value(block, lines, name) for name in names]


def field_values(block: bytes, name: str) -> list[str]:
    """Give the unfolded values of all headers with a name, in order; undecodable octets become U+FFFD."""
    lines, wanted, at = b"\n" + block.lower(), _start(name), -1
    values = []
    while (at := lines.find(wanted, at + 1)) >= 0:
        if match := _VALUE.match(block, at + len(name)):
            values.append(_unfolded(match[1]))
    return values


def _value(block: bytes, lines: bytes, name: str) -> str | None:
    """The value of a header; `lines` is the block in small letters after a line's end."""
    wanted, at = _start(name), -1
    while (at := lines.find(wanted, at + 1)) >= 0:
        if match := _VALUE.match(block, at + len(name)):
            return _unfolded(match[1])
    return None


def _unfolded(value: bytes) -> str:
    return (_FOLD.sub(b"", value) if b"\r\n" in value else value).decode("utf-8", "replace").strip()


@lru_cache(maxsize=16)
def _start(name: str) -> bytes:
    return b"\n" + name.lower().encode()


@lru_cache(maxsize=4)
def _date(second: int) -> str:
    return format_datetime(datetime.fromtimestamp(second, UTC))


class Hop(NamedTuple):
    """What the Received header tells about how a message came in (RFC 5321, section 4.4).

    Made for every message, like those of `relay.intake.accept`: a tuple takes a third of a frozen dataclass's time.

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
    date = _date(int(at.timestamp()))
    return f"{_origin(hop)} id {message_id}\r\n\t(session {session});\r\n\t{date}\r\n".encode("ascii")


@lru_cache(maxsize=1024)
def _origin(hop: Hop) -> str:
    """What is the same for all messages of a session."""
    helo = _UNSAFE.sub("?", hop.helo)[:255] or "unknown"
    address = f"IPv6:{hop.peer}" if ":" in hop.peer else hop.peer
    tls = f"\r\n\t({hop.tls})" if hop.tls else ""
    return f"Received: from {helo} ([{address}]){tls}\r\n\tby {hop.by} with {hop.protocol}"
