"""Whose key a request shows: found by its prefix, checked in constant time, remembered for seconds."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

from backing.ids import now
from mail.keys import ApiKey, parse_token

MAX_REMEMBERED: Final = 10_000
# Prefixes that were never good here may take so many connections of the pool at a time, however many are shown.
STRANGERS_AT_ONCE: Final = 2
# So many of those of suspects are looked up at once, and so many a second after that.
SUSPECTS: Final = 5
SUSPECTS_PER_SECOND: Final = 1.0


class KeyStore(Protocol):
    """Where keys are: `backing.postgres.keys.Keys`."""

    async def find(self, prefix: str) -> ApiKey | None:
        """Give the valid key with a prefix, or None. Raises `Unavailable`."""

    async def used(self, key: ApiKey) -> None:
        """Note that a key was used. Raises `Unavailable`."""


class Share:
    """What suspects may take of the database together: a little at once, and then a little every second."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._left, self._at = float(SUSPECTS), clock()

    def take(self) -> bool:
        """Whether there is one more look-up for them now."""
        now = self._clock()
        self._left = min(SUSPECTS, self._left + (now - self._at) * SUSPECTS_PER_SECOND)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Doorkeeper:
    """Checks keys.

    A prefix that leads to none is remembered as well, so that whoever sends the same wrong key over and over costs the
    database nothing; in a store of its own, so that a flood of them pushes out no good key.

    Args:
        keys: where they are.
        seconds: how long it is remembered what was found; a revoked key is good for that long.
        clock: seconds that only grow.
    """

    def __init__(self, keys: KeyStore, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._keys = keys
        self._seconds = seconds
        self._clock = clock
        self._found: OrderedDict[str, tuple[float, ApiKey]] = OrderedDict()
        self._wrong: OrderedDict[str, float] = OrderedDict()
        self._strangers = asyncio.Semaphore(STRANGERS_AT_ONCE)
        self._share = Share(clock)

    async def check(self, text: str, *, suspect: bool = False) -> ApiKey | None:
        """Give the key that a text is, or None where it is no good one.

        Args:
            text: what was shown.
            suspect: whether too many wrong ones came from where it comes from. Then the database is asked for prefixes
                that were good here before, and for a few others; the rest are taken for wrong.

        Raises:
            Unavailable: nothing is known about it.
        """
        token = parse_token(text)
        if token is None:
            return None
        known = self._remembered(token.prefix)
        if suspect and not known and token.prefix not in self._found and not self._share.take():
            return None
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
            return self._found[prefix][1] if prefix in self._found else None
        if prefix in self._found:
            return self._note(prefix, await self._keys.find(prefix))
        async with self._strangers:
            # Another request with it may have been answered while this one waited.
            if self._remembered(prefix):
                return self._found[prefix][1] if prefix in self._found else None
            return self._note(prefix, await self._keys.find(prefix))

    def _remembered(self, prefix: str) -> bool:
        until = self._found[prefix][0] if prefix in self._found else self._wrong.get(prefix, 0.0)
        return self._clock() < until

    def _note(self, prefix: str, key: ApiKey | None) -> ApiKey | None:
        until = self._clock() + self._seconds
        if key is None:
            self._found.pop(prefix, None)
            self._wrong[prefix] = until
            self._wrong.move_to_end(prefix)
        else:
            self._wrong.pop(prefix, None)
            self._found[prefix] = (until, key)
            self._found.move_to_end(prefix)
        for store in (self._found, self._wrong):
            if len(store) > MAX_REMEMBERED:
                store.popitem(last=False)
        return key
