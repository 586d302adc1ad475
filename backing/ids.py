"""Where time and chance come in."""

import secrets
import time
from datetime import UTC, datetime
from uuid import UUID

from mail.ids import uuid7

SECRET_BYTES = 32


def now() -> datetime:
    """The current time, in UTC."""
    return datetime.now(UTC)


def new_id() -> UUID:
    """A new identifier that sorts after the ones made before it."""
    return uuid7(time.time_ns() // 1_000_000, secrets.token_bytes(10))


def new_secret() -> str:
    """A new credential secret: 256 random bits in URL-safe letters."""
    return secrets.token_urlsafe(SECRET_BYTES)
