"""Where questions are asked that may be answered a moment late: at a replica, if there is one and it answers."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import structlog

from backing.postgres.pool import Connection, Database
from mail.errors import Unavailable

# A replica that does not answer costs one question in so many seconds its wait for a connection.
PAUSE_SECONDS: Final = 30.0


class Reads:
    """Lends transactions to read in.

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

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection for one transaction.

        Raises:
            Unavailable: neither had a connection in time, or it broke.
        """
        async with AsyncExitStack() as stack:
            yield await self._connection(stack)

    async def _connection(self, stack: AsyncExitStack) -> Connection:
        if self._replica and self._clock() >= self._resting_until:
            try:
                return await stack.enter_async_context(self._replica.transaction())
            except Unavailable as fault:
                self._resting_until = self._clock() + PAUSE_SECONDS
                structlog.get_logger().warning("the replica does not answer", reason=str(fault))
        return await stack.enter_async_context(self._primary.transaction())
