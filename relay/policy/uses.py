"""When credentials were used last: kept in memory, and written down for all of them together, seldom."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

import structlog

from backing.ids import now
from mail.accounts import Credential
from mail.errors import Unavailable

# A credential is written at most this often by each relay.
EVERY_SECONDS: Final = 60.0
# Most that is kept while the database is away.
MOST: Final = 10_000
# What the last write may take when the relay ends.
_LAST_SECONDS: Final = 1.0


class Store(Protocol):
    """Where it is written: `backing.postgres.accounts.Accounts`."""

    async def note_uses(self, used: Mapping[UUID, datetime], /) -> None:
        """Note when credentials were used last. Raises `Unavailable`."""


class Uses:
    """Keeps when credentials were used; to lose some of it does no harm.

    Args:
        store: where it is written.
        every: seconds between writes.
        today: the time.
    """

    def __init__(self, store: Store, every: float = EVERY_SECONDS, today: Callable[[], datetime] = now) -> None:
        self._store = store
        self._every = every
        self._today = today
        self._used: dict[UUID, datetime] = {}

    def note(self, credential: Credential) -> None:
        """Note that a credential is used now."""
        if len(self._used) < MOST or credential.id in self._used:
            self._used[credential.id] = self._today()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Uses"]:
        """Write now and then until the block ends, and once more then."""
        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(self._write_always())
            try:
                yield self
            finally:
                writing.cancel()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LAST_SECONDS):
                        await self._try()

    async def write(self) -> None:
        """Write what was noted since the last time.

        Raises:
            Unavailable: the database did not answer; it is kept for the next time.
        """
        if not self._used:
            return
        used, self._used = self._used, {}
        try:
            await self._store.note_uses(used)
        except Unavailable:
            self._used = used | self._used
            raise

    async def _write_always(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            await self._try()

    async def _try(self) -> None:
        try:
            await self.write()
        except Unavailable as fault:
            structlog.get_logger().warning("use of credentials not noted", reason=str(fault))
        except Exception:  # noqa: BLE001 - logged: an account that is deleted just now, for instance; nobody's sign-in depends on it
            structlog.get_logger().exception("use of credentials not noted")
