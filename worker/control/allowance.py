"""A worker's part of what a provider may have in a day."""

import secrets
from typing import Final

from backing.cache import Cache
from backing.shares import draw
from mail.errors import Unavailable
from mail.limits import day_of, next_day

# Recipients drawn ahead: at most so many, and a small part of what is left, so that little lies unused at the end.
_CHUNK: Final = 100
_CHUNK_PART: Final = 20
# Others may give back what they drew.
_DRY_SECONDS: Final = 30.0
# Clocks differ a little.
_GRACE_SECONDS: Final = 3600


class Allowance:
    """Recipients that may still be sent to today: chunks of an allowance that all workers share.

    What was drawn in all is told each time, so a cache that forgot learns it again. While the cache is away, a worker
    draws at most a share of what the others had left.

    Args:
        cache: where the day is counted.
        key: its name, but for the day.
        share: of what is left, without the cache.

    Attributes:
        left: what may be spent.
    """

    def __init__(self, cache: Cache, key: str, share: float) -> None:
        self._cache = cache
        self._key = key
        self._share = share
        self._source = secrets.token_hex(8)
        self._ends = 0.0
        self._drawn = 0
        self._others = 0
        self._dry_until = 0.0
        self.left = 0

    @property
    def used(self) -> int:
        """What all workers together have drawn today, as far as is known."""
        return self._drawn + self._others

    def enough(self, recipients: int, now: float) -> bool:
        """Whether so many may be sent to."""
        if now >= self._ends:
            self._begin(now)
        return self.left >= recipients

    def dry(self, now: float) -> bool:
        """Whether there was too little when it was last asked for, a moment ago."""
        return now < self._dry_until

    def wait(self, now: float) -> float:
        """Seconds until there may be more."""
        return max(self._ends - now, 0.0)

    async def fill(self, cap: int, needed: int, now: float) -> None:
        """Get more, for what is needed and a little beyond.

        Args:
            cap: recipients of the day, of all workers.
            needed: by the one that is next.
            now: Unix time.
        """
        if self.enough(needed, now):
            return
        ahead = min(_CHUNK, max(cap - self.used, 0) // _CHUNK_PART)
        await self._draw(cap, max(needed - self.left, ahead), now)
        if self.left < needed:
            self._dry_until = min(now + _DRY_SECONDS, self._ends)

    def refund(self, recipients: int) -> None:
        """Count some that were not sent to after all; not those of yesterday."""
        self.left = min(self.left + recipients, self._drawn)

    def moisten(self) -> None:
        """Ask again: the cap may be another one."""
        self._dry_until = 0.0

    async def put_back(self, now: float) -> None:
        """Let others have what is left, and learn what all have drawn."""
        if now >= self._ends:
            self._begin(now)
        self._drawn -= self.left
        self.left = 0
        await self._draw(0, 0, now)

    def _begin(self, now: float) -> None:
        self._ends = next_day(now)
        self._drawn = self._others = self.left = 0
        self._dry_until = 0.0

    async def _draw(self, cap: int, wanted: int, now: float) -> None:
        ends, mine = self._ends, self._drawn
        key = f"{self._key}:{day_of(now):%Y%m%d}"
        try:
            command = draw(key, self._source, mine, wanted, cap, int(ends) + _GRACE_SECONDS)
            [[given, total]] = await self._cache.ask([command])
        except Unavailable:
            given = max(min(wanted, int(max(cap - self._others, 0) * self._share) - mine), 0)
            total = self._others + mine + given
        if ends == self._ends:  # else the day has ended meanwhile
            self._drawn += given
            self.left += given
            self._others = max(total - mine - given, 0)
