"""Passwords that people choose, hashed to be kept."""

import os
from typing import Final

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

MIN_LETTERS: Final = 12
MAX_LETTERS: Final = 256
# The least that OWASP's Password Storage Cheat Sheet recommends for argon2id: 19 MiB, two passes, one lane.
_MEMORY_KIB: Final = 19_456
_PASSES: Final = 2
_LANES: Final = 1
_SALT: Final = 16
_LENGTH: Final = 32


def password_hash(password: str) -> str:
    """Hash a password with argon2id; gives its PHC text form, salt and parameters included."""
    chosen = Argon2id(salt=os.urandom(_SALT), length=_LENGTH, iterations=_PASSES, lanes=_LANES, memory_cost=_MEMORY_KIB)
    return chosen.derive_phc_encoded(password.encode())


def weakness(password: str) -> str | None:
    """Say why a password is not good enough, or None."""
    if not MIN_LETTERS <= len(password) <= MAX_LETTERS:
        return f"a password has {MIN_LETTERS} to {MAX_LETTERS} characters, this one has {len(password)}"
    if not password.isprintable():
        return "a password has no control characters"
    return None
