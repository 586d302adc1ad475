"""Where workers leave word for each other: written in the background, and read once a second."""

import asyncio
import secrets
from collections.abc import Callable
from typing import Final
from uuid import UUID

from backing.cache import Cache, Command
from backing.metrics import WorkerControlMetrics
from backing.shares import note, notes, provider_record, release
from mail.errors import Unavailable

# A breaker may be open for a day.
_KEEP_SECONDS: Final = 90_000
_BATCH: Final = 100
# While the cache is away, the latest word on each of so many matters waits for it.
_MOST_WAITING: Final = 1000


class Board:
    """The words of one worker.

    Args:
        cache: where they are left.
        metrics: what the control counts.
        clock: Unix time.

    Attributes:
        owner: names this worker.
        news: set when there is something to write.
    """

    def __init__(self, cache: Cache, metrics: WorkerControlMetrics, clock: Callable[[], float]) -> None:
        self.cache = cache
        self.metrics = metrics
        self.clock = clock
        self.owner = secrets.token_hex(8)
        self.news = asyncio.Event()
        self._waiting: dict[tuple[str, str], Command] = {}
        self._writing = asyncio.Lock()

    def note(self, provider_id: UUID, field: str, value: bytes) -> None:
        """Leave word about a provider; a later one on the same matter takes its place."""
        key = provider_record(provider_id)
        self._put((key, field), note(key, field, value, _KEEP_SECONDS))

    def release(self, key: str) -> None:
        """End a claim of this worker."""
        self._put((key, ""), release(key, self.owner))

    async def write(self) -> None:
        """Write what waits, and wait for what is being written.

        Raises:
            Unavailable: the cache is away; it goes on waiting.
        """
        async with self._writing:
            self.news.clear()
            while self._waiting:
                chosen = list(self._waiting.items())[:_BATCH]
                await self.cache.ask([command for _, command in chosen])
                for matter, command in chosen:
                    if self._waiting.get(matter) is command:  # else there is a later word by now
                        del self._waiting[matter]

    async def read(self, provider_ids: list[UUID]) -> dict[UUID, dict[bytes, bytes]]:
        """Read what was left about some providers; nothing while the cache is away."""
        found: dict[UUID, dict[bytes, bytes]] = {}
        try:
            for start in range(0, len(provider_ids), _BATCH):
                some = provider_ids[start : start + _BATCH]
                answers = await self.cache.ask([notes(provider_record(provider_id)) for provider_id in some])
                found.update(zip(some, answers, strict=True))
        except Unavailable:
            pass
        return found

    def _put(self, matter: tuple[str, str], command: Command) -> None:
        if len(self._waiting) < _MOST_WAITING or matter in self._waiting:
            self._waiting[matter] = command
        self.news.set()
