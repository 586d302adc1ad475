"""Whose key a request shows: found by its prefix, checked in constant time, remembered for seconds."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

from backing.ids import now
from mail.keys import ApiKey, parse_token

MAX_REMEMBERED: Final = 10_000


class KeyStore(Protocol):
    """Where keys are: `backing.postgres.keys.Keys`."""

    async def find(self, prefix: str) -> ApiKey | None:
        """Give the valid key with a prefix, or None. Raises `Unavailable`."""

    async def used(self, key: ApiKey) -> None:
        """Note that a key was used. Raises `Unavailable`."""


class Doorkeeper:
    """Checks keys.

    A prefix that leads to none is remembered as well, so that whoever sends the same wrong key over and over costs the
    database nothing.

    Args:
        keys: where they are.
        seconds: how long it is remembered what was found; a revoked key is good for that long.
        clock: seconds that only grow.
    """

    def __init__(self, keys: KeyStore, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._keys = keys
        self._seconds = seconds
        self._clock = clock
        self._found: OrderedDict[str, tuple[float, ApiKey | None]] = OrderedDict()

    async def check(self, text: str) -> ApiKey | None:
        """Give the key that a text is, or None where it is no good one.

        Raises:
            Unavailable: nothing is known about it.
        """
        token = parse_token(text)
        if token is None:
            return None
        known = self._remembered(token.prefix)
        key = await self.of(token.prefix)
        if key is None or not key.admits(token.secret, now()):
            return None
        if not known:
            await self._keys.used(key)
        return key

    async def of(self, prefix: str) -> ApiKey | None:
        """Give the key with a prefix, whose secret was shown before, or None if it is good no more.

        Raises:
            Unavailable: nothing is known about it.
        """
        if self._remembered(prefix):
            return self._found[prefix][1]
        key = await self._keys.find(prefix)
        self._found[prefix] = (self._clock() + self._seconds, key)
        self._found.move_to_end(prefix)
        if len(self._found) > MAX_REMEMBERED:
            self._found.popitem(last=False)
        return key

    def _remembered(self, prefix: str) -> bool:
        return prefix in self._found and self._clock() < self._found[prefix][0]
