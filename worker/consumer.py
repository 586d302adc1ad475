"""The loop: receive, claim, hand to the courier, write down, take off the queue. It knows no provider.

A message leaves the queue only when the database says that it needs no more of it. Whatever else happens, a crash
included, it comes back by itself when its lease ends.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from backing.metrics import WorkerMetrics
from backing.postgres.deliveries import Action, Claimed, Duplicate, Finished, Leased, Result, Waiting
from backing.sqs import MAX_BATCH, Received
from mail.errors import MalformedJob, Unavailable, UnknownJobVersion
from mail.job import Job, decode
from worker.decide import must_be_stored
from worker.deliver import Courier, Letter
from worker.inbox import Inbox
from worker.ledger import Ledger
from worker.slots import Slots
from worker.stop import Stop

NEWER_VERSION_SECONDS = 60.0  # till a newer worker may have come
MALFORMED_SECONDS = 1.0  # on its way to the dead-letter queue
TROUBLE_SECONDS = 2.0  # nothing is received before the database answers again
_LEASE_MARGIN = 1 / 8


@dataclass(frozen=True, slots=True)
class Pace:
    """How much at a time, and how long: messages in hand, seconds of a lease, seconds of a drain."""

    concurrency: int
    lease_seconds: float
    drain_seconds: float


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message of which we have the claim, and the event loop time by which its attempt must have ended."""

    message: Received
    job: Job
    claim: Claimed
    deadline: float


class Consumer:
    """Works off the queue until it is asked to stop."""

    def __init__(self, inbox: Inbox, ledger: Ledger, courier: Courier, metrics: WorkerMetrics, pace: Pace) -> None:
        self._inbox = inbox
        self._ledger = ledger
        self._courier = courier
        self._metrics = metrics
        self._pace = pace
        self._slots = Slots(pace.concurrency)
        self._tasks: set[asyncio.Task[None]] = set()
        self._working = asyncio.TaskGroup()
        self._settling = asyncio.TaskGroup()
        self._trouble = False
        self._stopping = False
        self._log = structlog.get_logger()
        metrics.sending.set_function(lambda: len(self._tasks))

    async def run(self, stop: Stop) -> None:
        """Work until asked to stop, then drain (SC-10.3)."""
        async with self._settling, self._working:
            receiving = self._working.create_task(self._receive())
            await stop.soon.wait()
            self._stopping = True
            receiving.cancel()
            in_hand = len(self._tasks)
            await self._drain(stop)
            self._ledger.hurry()
            cut_off = len(self._tasks)
            for task in tuple(self._tasks):
                task.cancel()
        self._log.info("drained", in_hand=in_hand, cut_off=cut_off)

    async def _drain(self, stop: Stop) -> None:
        waits = [self._working.create_task(self._slots.all_free()), self._working.create_task(stop.now.wait())]
        await asyncio.wait(waits, timeout=self._pace.drain_seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def _receive(self) -> None:
        pause = 0.0
        while True:
            slots = await self._slots.take(MAX_BATCH)
            messages: list[Received] = []
            try:
                messages = await self._inbox.receive(slots)
                pause = 0.0
            except Unavailable as fault:
                pause = min(pause * 2 or 0.5, 30.0)
                self._log.warning("queue away", reason=str(fault))
            finally:
                self._slots.give(slots - len(messages))
            if messages:
                self._start(self._take(messages, self._deadline()))
            await asyncio.sleep(pause)
            if self._trouble:
                await self._ledger.recovered()
                self._trouble = False

    def _deadline(self) -> float:
        """Loop time at which an attempt must have ended, so that its result is written down under the lease."""
        return asyncio.get_running_loop().time() + self._pace.lease_seconds * (1 - _LEASE_MARGIN)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._working.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _take(self, messages: Sequence[Received], deadline: float) -> None:
        parcels: list[Parcel] = []
        try:
            parcels = await self._claim(messages, deadline)
        except Unavailable as fault:
            self._trouble = True
            self._count("unavailable", len(messages))
            self._log.warning("messages given back", count=len(messages), reason=str(fault))
            await self._inbox.later(messages, TROUBLE_SECONDS)
        except Exception:  # noqa: BLE001 - the loop's edge: one batch must not end all others
            self._log.exception("batch failed", count=len(messages))
        finally:
            self._slots.give(len(messages) - len(parcels))
        for parcel in parcels:
            self._start(self._deliver(parcel))

    async def _claim(self, messages: Sequence[Received], deadline: float) -> list[Parcel]:
        if self._stopping:
            await self._inbox.later(messages)
            return []
        readable = await self._readable(messages)
        if not readable:
            return []
        claims = await self._ledger.claim([(job, message.queued_at) for message, job in readable])
        parcels = []
        for message, job in readable:
            match claims.get(job.id):
                case Claimed() as claim:
                    self._count("claimed")
                    parcels.append(Parcel(message, job, claim, deadline))
                case other:
                    await self._dismiss(message, job, other)
        return await self._unless_stopping(parcels)

    async def _readable(self, messages: Sequence[Received]) -> list[tuple[Received, Job]]:
        readable: dict[object, tuple[Received, Job]] = {}
        for message in messages:
            try:
                job = decode(message.text)
            except UnknownJobVersion as newer:
                await self._refuse(message, "unknown_version", str(newer), NEWER_VERSION_SECONDS)
            except MalformedJob as malformed:
                await self._refuse(message, "malformed", str(malformed), MALFORMED_SECONDS)
            else:
                if job.id in readable:
                    # The same message twice at a time. Deleting this copy might delete the other with it.
                    await self._dismiss(message, job, Leased(self._pace.lease_seconds))
                else:
                    readable[job.id] = (message, job)
        return list(readable.values())

    async def _refuse(self, message: Received, what: str, reason: str, seconds: float) -> None:
        """Leave a message that cannot be read to the queue, which moves it aside after a few times."""
        self._count(what)
        self._log.error("job refused", kind=what, reason=reason, receives=message.receives)
        await self._inbox.later([message], seconds)

    async def _dismiss(self, message: Received, job: Job, claim: object) -> None:
        """Deal with a message of which there is nothing to do now."""
        match claim:
            case MalformedJob():
                await self._refuse(message, "malformed", f"{job.id}: {claim}", MALFORMED_SECONDS)
            case Leased(seconds):
                self._count("leased")
                await self._inbox.later([message], seconds + 1)
            case Waiting(seconds, stored=False):
                self._count("waiting")
                await self._inbox.later([message], seconds + 1)
            case Duplicate(of):
                self._count("duplicate")
                self._log.info("duplicate submission", message=str(job.id), session=job.session, of=str(of))
                await self._inbox.done(message)
            case Finished() | Waiting():
                self._count("finished" if isinstance(claim, Finished) else "waiting")
                await self._inbox.done(message)
            case _:
                self._log.error("claim without an answer", message=str(job.id), session=job.session)

    async def _unless_stopping(self, parcels: list[Parcel]) -> list[Parcel]:
        if self._stopping and parcels:
            await self._give_back(parcels)
            return []
        return parcels

    async def _deliver(self, parcel: Parcel) -> None:
        job = parcel.job
        try:
            letter = await self._prepare(parcel)
            result = await self._courier.send(letter, parcel.deadline)
            # Once there is a result, not even a second SIGTERM may keep it from the database.
            await asyncio.shield(self._settling.create_task(self._settle(parcel, result)))
        except asyncio.CancelledError:
            self._log.warning("cut off", message=str(job.id), session=job.session)
            raise
        except Exception:  # noqa: BLE001 - the loop's edge: its lease will end, and the account's policy decides
            self._log.exception("delivery failed", message=str(job.id), session=job.session)
        finally:
            self._slots.give(1)

    async def _prepare(self, parcel: Parcel) -> Letter:
        try:
            return await self._courier.prepare(parcel.job, parcel.claim)
        except asyncio.CancelledError:
            self._settling.create_task(self._give_back([parcel]))
            raise

    async def _give_back(self, parcels: Sequence[Parcel]) -> None:
        """Undo claims of which nothing was sent; what is to be settled without sending keeps its lease."""
        unsent = [parcel for parcel in parcels if parcel.claim.action is Action.SEND]
        if unsent:
            await self._ledger.unclaim([parcel.claim for parcel in unsent])
        await self._inbox.later([parcel.message for parcel in parcels])

    async def _settle(self, parcel: Parcel, result: Result) -> None:
        job = parcel.job
        try:
            result = await self._courier.park(job, result)
        except Unavailable as fault:
            # The body stays on the queue instead, and comes back with it.
            self._log.warning("body not stored", message=str(job.id), session=job.session, reason=str(fault))
            if result.wait is None:
                return
        try:
            ours = await self._ledger.finish(result)
        except Unavailable as fault:
            self._log.error("result not recorded", message=str(job.id), session=job.session, reason=str(fault))
            return
        if not ours:
            self._log.error("lease lost", message=str(job.id), session=job.session, token=result.token)
        elif must_be_stored(result):
            await self._inbox.later([parcel.message], result.wait or TROUBLE_SECONDS)
        else:
            await self._inbox.done(parcel.message)

    def _count(self, what: str, count: int = 1) -> None:
        self._metrics.received.labels(what).inc(count)
