"""Identifiers that sort by time."""

from functools import lru_cache
from uuid import UUID

_TIMED = 7
_VERSION_7 = _TIMED << 76
_VARIANT = 0b10 << 62
# The last bits of a version 7 UUID are random.
_RANDOM_BITS = 32


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


def made_at(identifier: UUID) -> int | None:
    """When a version 7 identifier was made, in milliseconds of Unix time; None for another kind."""
    return identifier.int >> 80 if identifier.version == _TIMED else None


@lru_cache(maxsize=4096)
def text_of(number: int) -> str:
    """Write the identifier with a number as `str` does, for one that is written often; a UUID takes long to look up."""
    return str(UUID(int=number))


def sampled(identifier: UUID, share: float) -> bool:
    """Whether an identifier belongs to a share of all; every process gives the same answer (CORE-OPS-001).

    Args:
        identifier: a version 7 UUID.
        share: from 0, none, to 1, all.
    """
    return (identifier.int & ((1 << _RANDOM_BITS) - 1)) < share * (1 << _RANDOM_BITS)
