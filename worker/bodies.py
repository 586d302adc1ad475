"""The bodies of messages in hand: fetched, checked against their digest, stored when they have to wait."""

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from backing.s3 import Bodies, BodyMissing
from mail.job import Job, StoredBody

# Below this a digest takes less time than handing it to a thread.
_HASH_INLINE: Final = 1_000_000


class Baggage:
    """Bodies of the messages in hand, no more than so many octets of stored ones at a time.

    Args:
        bodies: where they are that do not ride on the queue.
        most: octets; a larger body goes alone.
    """

    def __init__(self, bodies: Bodies, most: int) -> None:
        self._bodies = bodies
        self._most = most
        self._held = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def room(self, job: Job) -> AsyncIterator[None]:
        """Wait until there is room for a stored body, and keep it till the block ends."""
        if job.inline:
            yield
            return
        await self._take(job.size)
        try:
            yield
        finally:
            self._give(job.size)

    async def fetch(self, job: Job) -> bytes:
        """Give a body as it was accepted.

        Raises:
            BodyMissing: there is none, or another one.
            Unavailable: it cannot be had now.
        """
        body = job.body if isinstance(job.body, bytes) else await self._bodies.get(job.body)
        content = memoryview(body)[job.head :]
        digest = (
            hashlib.sha256(content) if len(body) < _HASH_INLINE else await asyncio.to_thread(hashlib.sha256, content)
        )
        if digest.digest() != job.sha256:
            where = job.body.key if isinstance(job.body, StoredBody) else "the queue"
            raise BodyMissing(f"what lies in {where} is not what was accepted")
        return body

    async def store(self, job: Job) -> StoredBody:
        """Store a body that rides on the queue; gives where it lies.

        Raises:
            Unavailable: S3 did not take it.
        """
        return await self._bodies.put(job.id, job.body) if isinstance(job.body, bytes) else job.body

    async def _take(self, size: int) -> None:
        if not self._waiting and (self._held == 0 or self._held + size <= self._most):
            self._held += size
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, place))
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._give(size)
            raise

    def _give(self, size: int) -> None:
        self._held -= size
        while self._waiting and (self._held == 0 or self._held + self._waiting[0][0] <= self._most):
            size, place = self._waiting.popleft()
            if not place.done():
                self._held += size
                place.set_result(None)
