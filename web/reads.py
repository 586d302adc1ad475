"""Where questions are asked that may be answered a moment late: at a replica, if there is one and it answers."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Final

import structlog

from backing.postgres.pool import Connection, Database
from mail.errors import Unavailable

# A replica that does not answer costs one question in so many seconds its wait for a connection.
PAUSE_SECONDS: Final = 30.0
_Lend = Callable[[Database], AbstractAsyncContextManager[Connection]]


class Reads:
    """Lends connections to read with.

    Args:
        primary: answers where the replica does not, or there is none.
        replica: a copy that is some moments late.
        clock: seconds that only grow.
    """

    def __init__(
        self, primary: Database, replica: Database | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._primary = primary
        self._replica = replica
        self._clock = clock
        self._resting_until = 0.0

    def transaction(self) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection for one transaction.

        Raises:
            Unavailable: neither had a connection in time, or it broke.
        """
        return self._lent(Database.transaction)

    def statement(self) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection for statements that are each for itself.

        Raises:
            Unavailable: as above.
        """
        return self._lent(Database.statement)

    def _lent(self, lend: _Lend) -> AbstractAsyncContextManager[Connection]:
        if self._replica and self._clock() >= self._resting_until:
            return self._first(self._replica, lend)
        return lend(self._primary)

    @asynccontextmanager
    async def _first(self, replica: Database, lend: _Lend) -> AsyncIterator[Connection]:
        async with AsyncExitStack() as stack:
            try:
                connection = await stack.enter_async_context(lend(replica))
            except Unavailable as fault:
                self._resting_until = self._clock() + PAUSE_SECONDS
                structlog.get_logger().warning("the replica does not answer", reason=str(fault))
                connection = await stack.enter_async_context(lend(self._primary))
            yield connection
