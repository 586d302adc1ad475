"""Keeps the leases of what is in hand from running out, in PostgreSQL and on the queue alike."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final

import structlog

from mail.errors import Unavailable
from worker.inbox import Inbox
from worker.ledger import Ledger

if TYPE_CHECKING:
    from worker.errand import Errand

# A lease is extended when half of it is over, and looked at four times in that half.
_LOOKS: Final = 8


class Leases:
    """The errands in hand, whose leases are extended while they last.

    Args:
        ledger: extends them in PostgreSQL.
        inbox: extends them on the queue.
        seconds: of a lease.
    """

    def __init__(self, ledger: Ledger, inbox: Inbox, seconds: float) -> None:
        self._ledger = ledger
        self._inbox = inbox
        self._seconds = seconds
        # With the loop time at which the queue shows the message again.
        self._held: dict[Errand, float] = {}
        self._log = structlog.get_logger()

    @contextmanager
    def holding(self, errand: "Errand") -> Iterator[None]:
        """Keep the lease of an errand while the block runs."""
        self._held[errand] = errand.lease_end
        try:
            yield
        finally:
            del self._held[errand]

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Leases"]:
        """Extend leases until the block ends."""
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(self._watch())
            try:
                yield self
            finally:
                task.cancel()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._seconds / _LOOKS)
            try:
                await self.round()
            except Exception:  # noqa: BLE001 - the loop's edge: one bad round must not end the leases of all
                self._log.exception("leases not extended")

    async def round(self) -> None:
        """Extend what has less than half of its lease left."""
        now = asyncio.get_running_loop().time()
        soon = now + self._seconds / 2
        hidden = [errand for errand, until in self._held.items() if until < soon]
        leased = [errand for errand in self._held if errand.lease_end < soon]
        if leased:
            await self._extend(leased, now + self._seconds)
        if hidden:
            await self._inbox.later([errand.message for errand in hidden], self._seconds)
            self._held |= {errand: now + self._seconds for errand in hidden if errand in self._held}

    async def _extend(self, errands: "list[Errand]", until: float) -> None:
        try:
            ours = await self._ledger.extend([errand.claim for errand in errands])
        except Unavailable as fault:
            self._log.warning("leases not extended", count=len(errands), reason=str(fault))
            return
        for errand, still in zip(errands, ours, strict=True):
            if still:
                errand.lease_end = until
            elif errand in self._held:
                self._log.warning("lease lost", message=str(errand.job.id), session=errand.job.session)
