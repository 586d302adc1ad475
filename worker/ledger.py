"""The worker's side of PostgreSQL: claims in batches as they come, results in batches as they gather."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

import structlog

from backing.batch import Batcher, Limits
from backing.postgres.claims import Begin, Claim, Claimed, Ordered, Result
from backing.postgres.deliveries import Deliveries
from mail.errors import MalformedJob, Unavailable
from mail.job import Job, StoredBody

_BATCH = Limits(items=50, size=50, flushes=2)
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 5.0


class Ledger:
    """What is claimed, and what became of it."""

    def __init__(self, deliveries: Deliveries) -> None:
        self._deliveries = deliveries
        self._results: Batcher[Result, bool] = Batcher(deliveries.finish, _BATCH)
        self._begins: Batcher[Begin, bool] = Batcher(deliveries.begin, _BATCH)
        self._hurry = asyncio.Event()
        self._log = structlog.get_logger()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Ledger"]:
        """Take attempts and results until the block ends."""
        async with self._begins.running(), self._results.running():
            yield self

    def hurry(self) -> None:
        """Wait for the database no longer; what cannot be written down now is left to its lease."""
        self._hurry.set()

    async def claim(self, jobs: Sequence[tuple[Job, datetime]]) -> dict[UUID, Claim | MalformedJob]:
        """Claim a batch; a job that PostgreSQL cannot take is told apart from the others.

        Raises:
            Unavailable: the database did not answer.
        """
        try:
            return await self._claimed(jobs)
        except MalformedJob as malformed:
            if len(jobs) == 1:
                return {jobs[0][0].id: malformed}
        singly = [await self.claim([job]) for job in jobs]
        return {message_id: claim for claims in singly for message_id, claim in claims.items()}

    async def _claimed(self, jobs: Sequence[tuple[Job, datetime]]) -> dict[UUID, Claim | MalformedJob]:
        """Claim jobs, of which something may have been ordered before they came."""
        claims = dict[UUID, Claim | MalformedJob](await self._deliveries.claim(jobs))
        ordered = [each for each in jobs if isinstance(claims.get(each[0].id), Ordered)]
        for job, _ in ordered:
            for why in await self._deliveries.obey(job):
                self._log.warning("order not carried out", message=str(job.id), session=job.session, reason=why)
        if ordered:
            claims |= await self._deliveries.claim(ordered)
        return claims

    async def begin(self, begin: Begin) -> bool:
        """Write down that an attempt is made; False if the lease went to another, and it must not be made.

        Raises:
            Unavailable: the database did not answer.
        """
        return await self._begins.submit(begin)

    async def extend(self, claims: Sequence[Claimed]) -> list[bool]:
        """Let leases begin anew; False for each that went to another.

        Raises:
            Unavailable: the database did not answer; they may have been extended.
        """
        return await self._deliveries.extend(claims)

    async def stored(self, job: Job, place: StoredBody) -> bool:
        """Say where the body lies of mail that waits; whether the dispatcher brings it back from now on.

        Raises:
            Unavailable: the database did not answer.
        """
        return await self._deliveries.stored(job, place)

    async def finish(self, result: Result) -> bool:
        """Write down a result, however long the database is away: it cannot be had again.

        Returns:
            False if the lease went to another meanwhile.

        Raises:
            Unavailable: the database did not answer, and there is no time left.
        """
        wait = _FIRST_WAIT
        while True:
            try:
                return await self._results.submit(result)
            except Unavailable as fault:
                if self._hurry.is_set():
                    raise
                self._log.warning("result waits for the database", delivery=str(result.delivery_id), reason=str(fault))
            await self._pause(wait)
            wait = min(wait * 2, _LONGEST_WAIT)

    async def unclaim(self, claims: Sequence[Claimed]) -> None:
        """Give back claims of which nothing was sent; those that cannot be are left to their lease."""
        try:
            await self._deliveries.unclaim(claims)
        except Unavailable as fault:
            self._log.warning("claims left to their lease", count=len(claims), reason=str(fault))

    async def recovered(self) -> None:
        """Wait until the database answers, so that no message is received in vain meanwhile."""
        wait = _FIRST_WAIT
        while True:
            await asyncio.sleep(wait)
            try:
                await self._deliveries.ping()
            except Unavailable as fault:
                self._log.warning("database away", reason=str(fault))
                wait = min(wait * 2, _LONGEST_WAIT)
            else:
                return

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._hurry.wait()
        except TimeoutError:
            return
