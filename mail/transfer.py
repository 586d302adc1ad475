"""Content transfer encodings (RFC 2045, section 6): content as lines of at most 76 octets of ASCII."""

import binascii
from typing import Final

import pybase64

_LINE: Final = 76
# So many fit on a line with its soft line break, each as three.
_OCTETS: Final = 25
_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_OTHERS: Final = bytes(set(range(256)) - set(_ALPHABET))


def quoted_printable(content: bytes) -> bytes:
    """Write content as quoted-printable; each CRLF of it stays a line's end, a CR or LF alone is an octet like others.

    The function of `binascii` takes every CR and LF for a line end, and makes lines that end in a space too long; where
    there are such it is asked line by line.
    """
    ends = content.count(b"\r\n")
    odd = content.count(b"\r") != ends or content.count(b"\n") != ends or b" \r\n" in content or b"\t\r\n" in content
    if ends and not odd:
        return binascii.b2a_qp(content)
    return b"\r\n".join(map(_quoted_line, content.split(b"\r\n")))


def _quoted_line(line: bytes) -> bytes:
    if b"\r" in line or b"\n" in line:
        pieces = (line[at : at + _OCTETS] for at in range(0, len(line), _OCTETS))
        return b"=\r\n".join(b"=" + piece.hex("=").upper().encode() for piece in pieces)
    return binascii.b2a_qp(line).replace(b"\n", b"\r\n")


def again_quoted_printable(encoded: bytes) -> bytes:
    """Write quoted-printable again that has lines too long or octets that do not belong there."""
    return quoted_printable(binascii.a2b_qp(encoded))


def base64_lines(content: bytes) -> bytes:
    """Write content as base64, without a line end after the last line."""
    return pybase64.encodebytes(content).replace(b"\n", b"\r\n").removesuffix(b"\r\n")


def again_base64(encoded: bytes) -> bytes:
    """Break base64 into lines anew, without what no decoder looks at (RFC 2045, section 6.8)."""
    letters = encoded.translate(None, _OTHERS)
    return b"\r\n".join(letters[at : at + _LINE] for at in range(0, len(letters), _LINE))
