"""How often a key may be used, and an address may be wrong: counted with all tasks together, through the cache.

While the cache is away, each task goes by its own counts. A wrong key costs its address, never another key: a good one
is answered whatever else comes from there.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from backing.cache import Cache, add
from mail.errors import Unavailable
from mail.keys import ApiKey
from mail.throttle import FAILURE_WINDOW, Window, source

RATE_WINDOW: Final = 60
MAX_FAILURES: Final = 30
_MAX_NAMES: Final = 50_000
# A key that is used much counts requests ahead of their coming: at most one for so many that it had here, and at most
# one for so many that all tasks have left of its rate. So one with a rate of a hundred or less never does.
_OWN_SHARE: Final = 8
_LEFT_SHARE: Final = 100


@dataclass(frozen=True, slots=True)
class Standing:
    """How a key stands in the window that lasts.

    Attributes:
        used: requests so far, with this one.
        reset: whole seconds until the window ends.
    """

    limit: int
    used: int
    reset: int

    @property
    def over(self) -> bool:
        """Whether this request is one too many."""
        return self.used > self.limit

    def headers(self) -> dict[str, str]:
        """Tell it as the drafts of the HTTPAPI group have it: up to 07 in three fields, since 08 in two."""
        left = max(self.limit - self.used, 0)
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(left),
            "RateLimit-Reset": str(self.reset),
            "RateLimit-Policy": f'"key";q={self.limit};w={RATE_WINDOW}',
            "RateLimit": f'"key";r={left};t={self.reset}',
        }


@dataclass(slots=True)
class _Count:
    """What is counted under one name in one window.

    Attributes:
        own: requests to this task.
        known: of all tasks, as far as is known here, with what they count ahead and what the cache is being told.
        asked: what the cache is being asked to count ahead.
        ahead: counted here for requests to come.
        top: the number of the last of these.
    """

    own: int = 0
    known: int = 0
    asked: int = 0
    ahead: int = 0
    top: int = 0

    def more_ahead(self, limit: int) -> int:
        """How many to count ahead with the next one; none where the limit is near."""
        return max(min(self.own // _OWN_SHARE, (limit - self.known) // _LEFT_SHARE) - self.asked, 0)


class Rates:
    """Counts requests by key, and failures by address.

    Never more requests are let in than the rate says. A key of more than a hundred a minute may be refused early: by
    what other tasks count ahead for it, each less than an eighth of its requests there and a hundredth of its rate.

    Args:
        cache: where the tasks meet.
        per_minute: of keys that have no rate of their own.
        clock: Unix time.

    Attributes:
        per_minute: as above; may be replaced at any time.
    """

    def __init__(self, cache: Cache, per_minute: int, clock: Callable[[], float] = time.time) -> None:
        self._cache = cache
        self.per_minute = per_minute
        self._clock = clock
        self._counts: dict[int, tuple[int, dict[str, _Count]]] = {}

    async def take(self, key: ApiKey) -> Standing:
        """Count a request of a key."""
        now = self._clock()
        window = Window.at(now, RATE_WINDOW)
        limit = key.per_minute or self.per_minute
        used = await self._add(window, f"api-rate:{key.id}", limit)
        return Standing(limit, used, window.wait(now))

    async def failed(self, peer: str) -> int | None:
        """Count a wrong key; give the seconds to wait where there were too many from its address."""
        now = self._clock()
        window = Window.at(now, FAILURE_WINDOW)
        count = await self._add(window, f"api-failures:{source(peer)}")
        return window.wait(now) if count > MAX_FAILURES else None

    def suspect(self, peer: str) -> bool:
        """Whether too many wrong keys came from an address, as far as is known here."""
        window = Window.at(self._clock(), FAILURE_WINDOW)
        start, counts = self._counts.get(window.seconds, (-1, {}))
        count = counts.get(f"api-failures:{source(peer)}")
        return start == window.start and count is not None and count.known > MAX_FAILURES

    async def _add(self, window: Window, name: str, limit: int = 0) -> int:
        """Give a request its number among those of all tasks."""
        count = self._count(window, name)
        count.own += 1
        if count.ahead:
            count.ahead -= 1
            return count.top - count.ahead
        ahead = count.more_ahead(limit)
        count.asked += ahead
        count.known += 1 + ahead
        top = count.known
        try:
            (total,) = await self._cache.ask([add(f"{name}:{window.start}", 1 + ahead, window.seconds)])
            # It may have forgotten what it counted.
            top = max(top, int(total))
        except Unavailable:
            pass
        finally:
            count.asked -= ahead
        count.known, count.top = max(count.known, top), max(count.top, top)
        count.ahead += ahead
        return top - ahead

    def _count(self, window: Window, name: str) -> _Count:
        start, counts = self._counts.get(window.seconds, (-1, {}))
        if start != window.start or len(counts) > _MAX_NAMES:
            counts = {}
            self._counts[window.seconds] = (window.start, counts)
        count = counts.get(name)
        if count is None:
            count = counts[name] = _Count()
        return count
