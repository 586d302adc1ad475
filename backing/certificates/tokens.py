"""Answers to HTTP-01 challenges (RFC 8555, 8.3), put into the cache by the renewer and given by any relay (TLS-018)."""

import re
from typing import Final

from backing.cache import Cache, get, put

# Longer than any order takes.
TOKEN_SECONDS: Final = 1800
# base64url (RFC 8555, 8.3); the bound is ours.
TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")


async def offer(cache: Cache, token: str, answer: str) -> None:
    """Have the relays give an answer.

    Raises:
        Unavailable: the cache does not take it.
    """
    await cache.ask([put(f"acme:{token}", answer.encode("ascii"), TOKEN_SECONDS)])


async def answer_to(cache: Cache, token: str) -> bytes | None:
    """Give the answer to a token, or None where there is none.

    Raises:
        Unavailable: the cache is away.
    """
    if not TOKEN.fullmatch(token):
        return None
    (found,) = await cache.ask([get(f"acme:{token}")])
    return bytes(found) if found else None
