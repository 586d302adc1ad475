"""Where time and chance come in."""

import os
import secrets
import time
from datetime import UTC, datetime
from uuid import UUID

from mail.ids import uuid7

SECRET_BYTES = 32
_ENTROPY_BYTES = 10
_AT_A_TIME = 400


def now() -> datetime:
    """The current time, in UTC."""
    return datetime.now(UTC)


def new_id() -> UUID:
    """A new identifier that sorts after the ones made before it."""
    return uuid7(time.time_ns() // 1_000_000, os.urandom(_ENTROPY_BYTES))


class Ids:
    """Makes identifiers for one process in great numbers, and asks the system for chance once for hundreds of them."""

    __slots__ = ("_entropy", "_used")

    def __init__(self) -> None:
        self._entropy = b""
        self._used = 0

    def new(self) -> UUID:
        """A new identifier that sorts after the ones made before it."""
        if self._used == len(self._entropy):
            self._entropy, self._used = os.urandom(_AT_A_TIME * _ENTROPY_BYTES), 0
        start = self._used
        self._used = start + _ENTROPY_BYTES
        return uuid7(time.time_ns() // 1_000_000, self._entropy[start : self._used])


def new_secret() -> str:
    """A new credential secret: 256 random bits in URL-safe letters."""
    return secrets.token_urlsafe(SECRET_BYTES)


def new_octets(count: int) -> bytes:
    """Octets that nobody can guess."""
    return secrets.token_bytes(count)
