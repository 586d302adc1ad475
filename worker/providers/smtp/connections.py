"""The connections to one provider, kept for the next message."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from worker.providers.smtp.connection import Connection


class Connections:
    """Lends connections to one provider, at most so many at a time, and keeps them for a while.

    Args:
        opening: opens a connection.
        most: how many may be lent at a time.
        max_idle: seconds after which a kept one is closed.
        max_messages: how many messages one may carry.
        check_after: seconds after which a kept one is asked whether it still lives, which costs less than to find out
            with a message.
    """

    def __init__(
        self,
        opening: Callable[[], Awaitable[Connection]],
        most: int,
        max_idle: float,
        max_messages: int,
        check_after: float = 5.0,
    ) -> None:
        self._opening = opening
        self._slots = asyncio.Semaphore(most)
        self._max_idle = max_idle
        self._max_messages = max_messages
        self._check_after = check_after
        self._idle: list[Connection] = []
        self._reaper: asyncio.TimerHandle | None = None
        self._closed = False

    @asynccontextmanager
    async def lent(self, *, fresh: bool = False) -> AsyncIterator[Connection]:
        """Lend a kept connection, or a new one; it is kept again unless the block raises."""
        async with self._slots:
            connection = (None if fresh else await self._kept()) or await self._opening()
            try:
                yield connection
            except BaseException:
                connection.abort()
                raise
            self._keep(connection)

    def close(self) -> None:
        """Close the kept connections now, the lent ones when they come back."""
        self._closed = True
        if self._reaper:
            self._reaper.cancel()
        while self._idle:
            self._idle.pop().close()

    async def _kept(self) -> Connection | None:
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            idle = now - connection.idle_since
            if connection.alive and (idle < self._check_after or await connection.check()):
                return connection
            connection.abort()
        return None

    def _keep(self, connection: Connection) -> None:
        most = min(self._max_messages, connection.limit("MAILMAX") or self._max_messages)
        if self._closed or not connection.alive or connection.messages >= most:
            connection.close()
            return
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        self._idle.append(connection)
        if self._reaper is None:
            self._reaper = loop.call_later(self._max_idle, self._reap)

    def _reap(self) -> None:
        loop = asyncio.get_running_loop()
        oldest_kept = loop.time() - self._max_idle
        for connection in [kept for kept in self._idle if kept.idle_since <= oldest_kept or not kept.alive]:
            self._idle.remove(connection)
            connection.close()
        self._reaper = loop.call_later(self._max_idle, self._reap) if self._idle else None
