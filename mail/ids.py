"""Identifiers that sort by time."""

from uuid import UUID

_VERSION_7 = 0x7 << 76
_VARIANT = 0b10 << 62


def uuid7(milliseconds: int, entropy: bytes) -> UUID:
    """Build a version 7 UUID (RFC 9562, section 5.7).

    Args:
        milliseconds: Unix time, 48 bits.
        entropy: ten random bytes, of which 74 bits are used.
    """
    random = int.from_bytes(entropy[:10], "big")
    high = (random >> 64) & 0xFFF
    low = random & 0x3FFF_FFFF_FFFF_FFFF
    return UUID(int=(milliseconds & 0xFFFF_FFFF_FFFF) << 80 | _VERSION_7 | high << 64 | _VARIANT | low)
