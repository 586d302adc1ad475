"""A message's octets on their way into DATA: what a peer can take of them, and how they are made transparent."""

from typing import Final

# RFC 5321, 4.5.3.1.6: a text line has at most 1000 octets with its CRLF.
_MAX_LINE: Final = 998


def has_bare_line_end(body: bytes) -> bool:
    """Whether a CR or LF stands alone (RFC 5321, 2.3.8).

    To some peers a bare LF ends a line, so that one message could smuggle another.
    """
    line_ends = body.count(b"\r\n")
    return body.count(b"\n") != line_ends or body.count(b"\r") != line_ends


def needs_recoding(body: bytes, *, eight_bit: bool) -> bool:
    """Whether a peer cannot take it as it is, which it says to take octets above 127 or not (RFC 6152)."""
    return not (eight_bit or body.isascii()) or _has_long_line(body)


def stuffed(body: bytes) -> bytes:
    """Make a message transparent (RFC 5321, section 4.5.2) and end its last line, if that has no end."""
    text = body.replace(b"\r\n.", b"\r\n..")
    if text.startswith(b"."):
        text = b"." + text
    return text if text.endswith(b"\r\n") or not text else text + b"\r\n"


def _has_long_line(body: bytes) -> bool:
    # From line end to line end in the longest strides that are legal: ten steps for 10 KB.
    start, stride = 0, _MAX_LINE + 2
    while len(body) - start > stride:
        end = body.rfind(b"\n", start, start + stride)
        if end < 0:
            return True
        start = end + 1
    return len(body) - start > _MAX_LINE and body.find(b"\n", start) < 0
