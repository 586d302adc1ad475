"""Header fields cut out of a message, and put before it; every other octet stays as it is.

A line ends in LF here, with or without a CR: a reader that takes a bare LF for an end must not see a field that we did
not. The header ends at the first empty line, however long it is.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

# What no recipient may see, and what would steer SES: the client's account decides about that, not its mail.
_PRIVATE: Final = ("bcc", "resent-bcc", "x-ses-*")
# A line and its continuation lines. No part of it gives back what it took, so hostile fields take linear time.
_FIELD: Final = re.compile(rb"[^\n]++(?:\n[ \t][^\n]*+)*+\n?")
_NAME: Final = re.compile(rb"([!-9;-~]++)[ \t]*+:")


class Field(NamedTuple):
    """One header field as it stands: its name in small letters (empty where the line is no field), and all of it."""

    name: bytes
    raw: bytes

    @property
    def value(self) -> bytes:
        """What follows the colon, folds and line end included."""
        return self.raw.partition(b":")[2]


def header_end(message: bytes, start: int = 0) -> int:
    """Where the empty line after the header is that begins at `start`; the message's end where there is none."""
    if message.startswith((b"\r\n", b"\n"), start):
        return start
    after = message.find(b"\n\r\n", start)
    sooner = message.find(b"\n\n", start, after) if after >= 0 else message.find(b"\n\n", start)
    end = sooner if sooner >= 0 else after
    return end + 1 if end >= 0 else len(message)


def body_start(message: bytes, end: int) -> int:
    """Where the body begins after a header with this end."""
    if message.startswith(b"\r\n", end):
        return end + 2
    return min(end + 1, len(message))


def fields_of(block: bytes) -> Iterator[Field]:
    """The fields of a header in order, lines that are none included; together they are the block."""
    for match in _FIELD.finditer(block):
        raw = match[0]
        name = _NAME.match(raw)
        yield Field(name[1].lower() if name else b"", raw)


def without(message: bytes, names: Sequence[str]) -> bytes:
    """Cut header fields out, with their continuation lines.

    Args:
        message: which comes back itself if it has none of them.
        names: of the fields, in small letters; `x-ses-*` stands for all that begin with `x-ses-`.
    """
    starts, pattern = _pattern(tuple(names))
    end = header_end(message)
    block = message[:end]
    lines = b"\n" + block.lower()
    # Three times as fast as the pattern, and nearly no message has any.
    if not any(start in lines for start in starts):
        return message
    kept = pattern.sub(b"", block)
    return message if len(kept) == end else kept + message[end:]


def with_fields_before(message: bytes, fields: bytes) -> bytes:
    """Put header fields before all others.

    Args:
        message: the message.
        fields: whole fields, each with its CRLF.
    """
    return fields + message


def outgoing(message: bytes) -> bytes:
    """What a provider gets: the message without Bcc, Resent-Bcc and X-SES-*; itself where it has none of them."""
    return without(message, _PRIVATE)


@lru_cache(maxsize=16)
def _pattern(names: tuple[str, ...]) -> tuple[list[bytes], re.Pattern[bytes]]:
    """What the line of a field begins with, for each name, and a pattern for the whole of any."""
    starts = [b"\n" + name.removesuffix("*").encode() for name in names]
    words = [re.escape(name.removesuffix("*")) + ("[!-9;-~]*+" if name.endswith("*") else "") for name in names]
    pattern = rf"^(?:{'|'.join(words)})[ \t]*+:[^\n]*+(?:\n[ \t][^\n]*+)*+\n?"
    return starts, re.compile(pattern.encode(), re.IGNORECASE | re.MULTILINE)
