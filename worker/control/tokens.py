"""A worker's part of a provider's rate."""

from typing import Final

from backing.cache import Cache
from backing.shares import lease
from mail.errors import Unavailable

# What is leased beyond what is waited for, and the most that is leased at once, in seconds of the rate.
_SLICE_SECONDS: Final = 0.25
_LONGEST_SECONDS: Final = 1.0


class Tokens:
    """Recipients that may be sent to now: slices of a bucket that all workers share.

    While the cache is away, a worker gives itself a share of the rate.

    Args:
        cache: where the bucket is.
        key: its name.
        share: of the rate, without the cache.

    Attributes:
        left: what may be spent. A message may cost more than the bucket holds; then it is below 0 for a while.
    """

    def __init__(self, cache: Cache, key: str, share: float) -> None:
        self._cache = cache
        self._key = key
        self._share = share
        # The time up to which a rate of our own has been spent.
        self._own_at: float | None = None
        self.left = 0.0

    async def fill(self, rate: float, burst: float, needed: float, now: float) -> None:
        """Get more, for what is needed and a little beyond.

        Args:
            rate: recipients per second, of all workers.
            burst: most recipients at once.
            needed: by all that wait.
            now: Unix time.
        """
        wanted = min(max(needed, rate * _SLICE_SECONDS) - self.left, max(rate * _LONGEST_SECONDS, 1.0))
        if wanted <= 0:
            return
        try:
            [given] = await self._cache.ask([lease(self._key, rate, burst, wanted, now)])
        except Unavailable:
            self.left += self._own(rate * self._share, max(burst * self._share, 1.0), wanted, now)
        else:
            self.left += float(given)
            self._own_at = now

    async def put_back(self, rate: float, burst: float, now: float) -> None:
        """Let others have what is left."""
        if self.left <= 0:
            return
        surplus, self.left = self.left, 0.0
        try:
            await self._cache.ask([lease(self._key, rate, burst, -surplus, now)])
        except Unavailable:
            self.left += surplus

    def _own(self, rate: float, burst: float, wanted: float, now: float) -> float:
        """Take tokens of a bucket of this worker's own, which is full at first."""
        full_at = now - burst / rate
        spent_until = full_at if self._own_at is None else max(self._own_at, full_at)
        given = max(min(wanted, (now - spent_until) * rate), 0.0)
        self._own_at = spent_until + given / rate
        return given
