"""What the worker knows of where accounts' mail goes: read once, kept for a while, and for as long as it must."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog

from backing.notices import ALL_ACCOUNTS, Notice
from backing.postgres.routing import ProviderRow, Routing
from mail.errors import Unavailable
from mail.routing.table import Table

MAX_ACCOUNTS: Final = 1000


@dataclass(slots=True)
class _Known:
    """What an account had when it was last asked for.

    Attributes:
        fresh_until: loop time until which nobody asks.
        outdated: whether it is known to have changed, so that the next one who asks waits for what it is now.
    """

    routing: Routing
    fresh_until: float
    outdated: bool = False


class Routes:
    """Gives the routing of an account without asking the database for each message.

    What is older than `fresh_seconds` is given as it is and read again behind the caller's back. After a change notice
    the next caller waits for what is new. While the database is away, what was known last goes on.

    Args:
        load: reads what an account has now.
        fresh_seconds: age below which nothing is asked.
        most: accounts that are kept; the one that was not needed for the longest time goes first.
    """

    def __init__(
        self, load: Callable[[UUID], Awaitable[Routing]], fresh_seconds: float = 5.0, most: int = MAX_ACCOUNTS
    ) -> None:
        self._load = load
        self._fresh_seconds = fresh_seconds
        self._most = most
        self._known: dict[UUID, _Known] = {}
        self._loading: dict[UUID, asyncio.Task[Routing | Exception]] = {}
        self._notices = 0
        self._tasks = asyncio.TaskGroup()
        self._log = structlog.get_logger()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Routes"]:
        """Read in the background until the block ends."""
        async with self._tasks:
            try:
                yield self
            finally:
                for task in self._loading.values():
                    task.cancel()

    async def of(self, account_id: UUID) -> Table:
        """Give the rules of an account.

        Raises:
            Unavailable: the database did not answer, and this account was not asked for before.
        """
        return (await self._routing(account_id)).table

    async def provider(self, account_id: UUID, provider_id: UUID) -> ProviderRow | None:
        """Give a provider that an account may use, or None where there is none.

        Raises:
            Unavailable: as above.
        """
        return (await self._routing(account_id)).providers.get(provider_id)

    def forget(self, notice: Notice) -> None:
        """Hear that something has changed; whoever asks next waits for what is new.

        Raises:
            ValueError: the subject is not the id of an account.
        """
        if notice.kind not in {"routing", "account"}:
            return
        if notice.subject == ALL_ACCOUNTS:
            self.forget_all()
            return
        # What is being read now may be older than the change.
        self._notices += 1
        if known := self._known.get(UUID(notice.subject)):
            known.outdated = True

    def forget_all(self) -> None:
        """Let everything be read again when it is needed next: notices may have been missed."""
        self._notices += 1
        for known in self._known.values():
            known.outdated = True

    async def _routing(self, account_id: UUID) -> Routing:
        known = self._known.pop(account_id, None)
        if known is None:
            return await self._read(account_id)
        # The last one in is the last one out.
        self._known[account_id] = known
        if known.outdated:
            try:
                return await self._read(account_id)
            except Unavailable:
                return known.routing
        if known.fresh_until <= asyncio.get_running_loop().time():
            self._begin(account_id)
        return known.routing

    async def _read(self, account_id: UUID) -> Routing:
        # A caller that goes away leaves the others their answer.
        answer = await asyncio.shield(self._begin(account_id))
        if isinstance(answer, Exception):
            raise Unavailable(str(answer)) from answer
        return answer

    def _begin(self, account_id: UUID) -> "asyncio.Task[Routing | Exception]":
        """Read what an account has, unless that is under way."""
        task = self._loading.get(account_id)
        if task is None:
            task = self._loading[account_id] = self._tasks.create_task(self._renew(account_id))
        return task

    async def _renew(self, account_id: UUID) -> Routing | Exception:
        try:
            notices = self._notices
            routing = await self._load(account_id)
            if notices != self._notices:
                # It may be older than the change; who came after the notice gets what is read after it.
                notices = self._notices
                routing = await self._load(account_id)
        except Exception as fault:  # noqa: BLE001 - the task's edge: each caller gets it, and none ends the others
            return self._failed(account_id, fault)
        finally:
            del self._loading[account_id]
        self._put(account_id, routing, outdated=notices != self._notices)
        return routing

    def _failed(self, account_id: UUID, fault: Exception) -> Exception:
        self._log.warning("routing not read", account=str(account_id), reason=f"{type(fault).__name__}: {fault}")
        if known := self._known.get(account_id):
            # It is left alone for as long as a fresh one.
            known.fresh_until = asyncio.get_running_loop().time() + self._fresh_seconds
            known.outdated = False
        return fault

    def _put(self, account_id: UUID, routing: Routing, *, outdated: bool) -> None:
        if account_id not in self._known and len(self._known) >= self._most:
            del self._known[next(iter(self._known))]
        fresh_until = asyncio.get_running_loop().time() + self._fresh_seconds
        self._known[account_id] = _Known(routing, fresh_until, outdated)
