"""How often a key may be used, and an address may be wrong: counted with all tasks together, through the cache.

While the cache is away, each task goes by its own counts. A wrong key costs its address, never another key: a good one
is answered whatever else comes from there.
"""

import time
from collections import Counter
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


class Rates:
    """Counts requests by key, and failures by address.

    Args:
        cache: where the tasks meet.
        per_minute: of keys that have no rate of their own.
        clock: Unix time.
    """

    def __init__(self, cache: Cache, per_minute: int, clock: Callable[[], float] = time.time) -> None:
        self._cache = cache
        self._per_minute = per_minute
        self._clock = clock
        self._counts: dict[int, tuple[int, Counter[str]]] = {}

    async def take(self, key: ApiKey) -> Standing:
        """Count a request of a key."""
        now = self._clock()
        window = Window.at(now, RATE_WINDOW)
        used = await self._add(window, f"api-rate:{key.id}")
        return Standing(key.per_minute or self._per_minute, used, window.wait(now))

    async def failed(self, peer: str) -> int | None:
        """Count a wrong key; give the seconds to wait where there were too many from its address."""
        now = self._clock()
        window = Window.at(now, FAILURE_WINDOW)
        count = await self._add(window, f"api-failures:{source(peer)}")
        return window.wait(now) if count > MAX_FAILURES else None

    async def _add(self, window: Window, name: str) -> int:
        start, counts = self._counts.get(window.seconds, (0, Counter()))
        if start != window.start or len(counts) > _MAX_NAMES:
            counts = Counter()
            self._counts[window.seconds] = (window.start, counts)
        counts[name] += 1
        try:
            (total,) = await self._cache.ask([add(f"{name}:{window.start}", 1, window.seconds)])
        except Unavailable:
            return counts[name]
        counts[name] = max(counts[name], int(total))
        return counts[name]
