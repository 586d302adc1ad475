"""Bringing back what waits: due mail goes from PostgreSQL to the queue again.

Waiting costs a row and an object in S3, and no place among the queue's in-flight messages.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from backing.batch import Batcher, Limits
from backing.postgres.deliveries import Deliveries
from backing.sqs import MAX_BATCH, MAX_BATCH_TEXT, Outgoing, Queue
from mail.errors import Unavailable
from mail.job import Job, encode

# A round holds its rows locked while it sends; claims of the same rows wait for it.
_ROUND = 100
_SUBMISSIONS = 1000
# Messages on the queue beyond which no more are put there: they would wait no shorter, and the relay turns clients
# away from a long queue.
_MOST_QUEUED = 5000
# Leases after which a message that was put on the queue, and never claimed, is put there again.
_AGAIN_LEASES = 5


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Seconds between rounds, and seconds after which what nobody claimed is sent again."""

    every: float
    again: float

    @classmethod
    def of(cls, dispatch_seconds: float, lease_seconds: float) -> "Rhythm":
        """The rhythm that fits a lease."""
        return cls(dispatch_seconds, lease_seconds * _AGAIN_LEASES)


class Dispatcher:
    """Puts due mail back on the queue; any number of workers may do so at a time."""

    def __init__(self, deliveries: Deliveries, queue: Queue, rhythm: Rhythm) -> None:
        self._deliveries = deliveries
        self._queue = queue
        self._rhythm = rhythm
        self._log = structlog.get_logger()

    async def run(self) -> None:
        """Do rounds until cancelled."""
        while True:
            try:
                await self.round()
            except Unavailable as fault:
                self._log.warning("dispatch put off", reason=str(fault))
            except Exception:  # noqa: BLE001 - the loop's edge: waiting mail must not wait for a restart
                self._log.exception("dispatch failed")
            await asyncio.sleep(self._rhythm.every)

    async def round(self) -> int:
        """Dispatch all that is due now; gives how much that was."""
        total = 0
        while count := await self._deliveries.dispatch(self._send, _ROUND, self._rhythm.again):
            total += count
            if count < _ROUND or await self._queue.depth() > _MOST_QUEUED:
                break
        if total:
            self._log.info("dispatched", messages=total)
        if reports := await self._deliveries.report(self._send, _ROUND):
            self._log.info("reports sent", messages=reports)
        await self._deliveries.forget_submissions(_SUBMISSIONS)
        return total

    async def _send(self, jobs: Sequence[Job]) -> list[bool]:
        """Send jobs, as full batches as may be; says of each whether the queue has it."""
        limits = Limits(items=MAX_BATCH, size=MAX_BATCH_TEXT)
        batcher: Batcher[Outgoing, str | None] = Batcher(self._queue.send, limits, size=lambda message: message.size)
        async with batcher.running(), asyncio.TaskGroup() as sends:
            tasks = [sends.create_task(self._send_one(batcher, job)) for job in jobs]
        return [task.result() for task in tasks]

    async def _send_one(self, batcher: Batcher[Outgoing, str | None], job: Job) -> bool:
        try:
            refusal = await batcher.submit(Outgoing(encode(job), str(job.account_id)))
        except Unavailable as fault:
            refusal = str(fault)
        if refusal:
            self._log.warning("not dispatched", message=str(job.id), session=job.session, reason=refusal)
        return refusal is None
