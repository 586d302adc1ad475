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
from backing.postgres.claims import Claimed, Duplicate, Finished, Leased, Ordered, Result, Waiting
from backing.sqs import MAX_BATCH, Received
from backing.stop import Stop
from mail.errors import MalformedJob, Unavailable, UnknownJobVersion
from mail.job import Job, decode
from mail.markers import markers
from worker.courier import Courier
from worker.decide import must_be_stored
from worker.errand import Errand, LeaseLost
from worker.inbox import Inbox
from worker.leases import Leases
from worker.ledger import Ledger
from worker.slots import Slots

NEWER_VERSION_SECONDS = 60.0  # till a newer worker may have come
TROUBLE_SECONDS = 2.0  # nothing is received before the database answers again


@dataclass(frozen=True, slots=True)
class Pace:
    """How much at a time, and how long: messages in hand, seconds of a lease, seconds of a drain."""

    concurrency: int
    lease_seconds: float
    drain_seconds: float


class Consumer:
    """Works off the queue until it is asked to stop."""

    def __init__(self, inbox: Inbox, ledger: Ledger, courier: Courier, metrics: WorkerMetrics, pace: Pace) -> None:
        self._inbox = inbox
        self._ledger = ledger
        self._courier = courier
        self._metrics = metrics
        self._pace = pace
        self._leases = Leases(ledger, inbox, pace.lease_seconds)
        self._slots = Slots(pace.concurrency)
        self._tasks: set[asyncio.Task[None]] = set()
        self._working = asyncio.TaskGroup()
        self._settling = asyncio.TaskGroup()
        self._trouble = False
        self._stopping = False
        self._polling = False
        self._log = structlog.get_logger()
        metrics.sending.set_function(lambda: len(self._tasks))

    async def run(self, stop: Stop) -> None:
        """Work until asked to stop, then drain (SC-10.3)."""
        async with self._leases.running(), self._settling, self._working:
            receiving = self._working.create_task(self._receive())
            await stop.soon.wait()
            self._stopping = True
            # What a poll that nobody waits for is given stays hidden for a lease: one that is under way may end.
            if not self._polling:
                receiving.cancel()
            in_hand = len(self._tasks)
            await self._drain(stop)
            receiving.cancel()
            self._ledger.hurry()
            cut_off = len(self._tasks)
            for task in tuple(self._tasks):
                task.cancel()
        self._log.info("drained", in_hand=in_hand, cut_off=cut_off)

    def resize(self, concurrency: int) -> None:
        """Have so many messages in hand at a time from now on."""
        self._slots.resize(concurrency)

    async def _drain(self, stop: Stop) -> None:
        waits = [self._working.create_task(self._slots.all_free()), self._working.create_task(stop.now.wait())]
        await asyncio.wait(waits, timeout=self._pace.drain_seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def _receive(self) -> None:
        pause = 0.0
        while not self._stopping:
            slots = await self._slots.take(MAX_BATCH)
            messages: list[Received] = []
            asked = asyncio.get_running_loop().time()
            self._polling = True
            try:
                messages = await self._inbox.receive(slots)
                asked = asyncio.get_running_loop().time()
                pause = 0.0
            except Unavailable as fault:
                pause = min(pause * 2 or 0.5, 30.0)
                self._log.warning("queue away", reason=str(fault))
            finally:
                self._polling = False
                self._slots.give(slots - len(messages))
            if messages:
                self._start(self._take(messages, asked + self._pace.lease_seconds))
            await asyncio.sleep(pause)
            if self._trouble:
                await self._ledger.recovered()
                self._trouble = False

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._working.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _take(self, messages: Sequence[Received], lease_end: float) -> None:
        errands: list[Errand] = []
        try:
            errands = await self._claim(messages, lease_end)
        except Unavailable as fault:
            self._trouble = True
            self._count("unavailable", len(messages))
            self._log.warning("messages given back", count=len(messages), reason=str(fault))
            await self._inbox.later(messages, TROUBLE_SECONDS)
        except Exception:  # noqa: BLE001 - the loop's edge: one batch must not end all others
            self._log.exception("batch failed", count=len(messages))
        finally:
            self._slots.give(len(messages) - len(errands))
        for errand in errands:
            self._start(self._deliver(errand))

    async def _claim(self, messages: Sequence[Received], lease_end: float) -> list[Errand]:
        if self._stopping:
            await self._inbox.later(messages)
            return []
        readable = await self._readable(messages)
        if not readable:
            return []
        claims = await self._ledger.claim([(job, message.queued_at) for message, job in readable])
        errands = []
        for message, job in readable:
            match claims.get(job.id):
                case Claimed() as claim:
                    self._count("claimed")
                    errands.append(Errand(message, job, claim, lease_end))
                case other:
                    await self._dismiss(message, job, other)
        return await self._unless_stopping(errands)

    async def _readable(self, messages: Sequence[Received]) -> list[tuple[Received, Job]]:
        readable: dict[object, tuple[Received, Job]] = {}
        for message in messages:
            try:
                job = _marked(decode(message.text))
            except UnknownJobVersion as newer:
                self._refused(message, "unknown_version", str(newer))
                await self._inbox.put_off(message, NEWER_VERSION_SECONDS)
            except MalformedJob as malformed:
                self._refused(message, "malformed", str(malformed))
                await self._inbox.set_aside(message, str(malformed))
            else:
                if job.id in readable:
                    # The same message twice at a time. Deleting this copy might delete the other with it.
                    await self._dismiss(message, job, Leased(self._pace.lease_seconds))
                else:
                    readable[job.id] = (message, job)
        return list(readable.values())

    def _refused(self, message: Received, what: str, reason: str) -> None:
        self._count(what)
        self._log.error("job refused", kind=what, reason=reason, receives=message.receives)

    async def _dismiss(self, message: Received, job: Job, claim: object) -> None:
        """Deal with a message of which there is nothing to do now."""
        match claim:
            case MalformedJob():
                self._refused(message, "malformed", f"{job.id}: {claim}")
                await self._inbox.set_aside(message, str(claim))
            case Leased(seconds):
                self._count("leased")
                await self._inbox.later([message], seconds + 1)
            case Waiting(seconds, stored=False):
                self._count("waiting")
                await self._put_by(message, job, seconds)
            case Ordered():
                # Another copy of it was in hand at that moment, and the order waits for its end.
                self._count("waiting")
                await self._inbox.later([message], TROUBLE_SECONDS)
            case Duplicate(of):
                self._count("duplicate")
                self._log.info("duplicate submission", message=str(job.id), session=job.session, of=str(of))
                await self._inbox.done(message)
            case Finished() | Waiting():
                self._count("finished" if isinstance(claim, Finished) else "waiting")
                await self._inbox.done(message)
            case _:
                self._log.error("claim without an answer", message=str(job.id), session=job.session)

    async def _put_by(self, message: Received, job: Job, seconds: float) -> None:
        """Store what waits on the queue with its body, which S3 did not take before; on the queue it grows old."""
        try:
            if await self._ledger.stored(job, await self._courier.store(job)):
                await self._inbox.done(message)
                return
        except Unavailable as fault:
            self._log.warning("body not stored", message=str(job.id), session=job.session, reason=str(fault))
        await self._inbox.put_off(message, seconds + 1)

    async def _unless_stopping(self, errands: list[Errand]) -> list[Errand]:
        if self._stopping and errands:
            await self._give_back(errands)
            return []
        return errands

    async def _deliver(self, errand: Errand) -> None:
        job = errand.job
        try:
            with self._leases.holding(errand):
                result = await self._courier.deliver(errand)
                # Once there is a result, not even a second SIGTERM may keep it from the database.
                await asyncio.shield(self._settling.create_task(self._settle(errand, result)))
        except asyncio.CancelledError:
            self._cut_off(errand)
            raise
        except LeaseLost:
            self._log.error("lease lost", message=str(job.id), session=job.session, token=errand.claim.token)
        except Exception:  # noqa: BLE001 - the loop's edge: its lease will end, and the account's policy decides
            self._log.exception("delivery failed", message=str(job.id), session=job.session)
        finally:
            self._slots.give(1)

    def _cut_off(self, errand: Errand) -> None:
        """Save what can be known of an errand that has no more time."""
        if errand.concluded:
            return  # its result is being written down
        self._log.warning("cut off", message=str(errand.job.id), session=errand.job.session, begun=errand.begun)
        if errand.begun:
            self._settling.create_task(self._settle_cut_off(errand))
        else:
            self._settling.create_task(self._give_back([errand]))

    async def _settle_cut_off(self, errand: Errand) -> None:
        await self._settle(errand, await self._courier.given_up(errand))

    async def _give_back(self, errands: Sequence[Errand]) -> None:
        """Undo claims under which nothing was sent."""
        await self._ledger.unclaim([errand.claim for errand in errands])
        await self._inbox.later([errand.message for errand in errands])

    async def _settle(self, errand: Errand, result: Result) -> None:
        job, errand.concluded = errand.job, True
        try:
            result = await self._courier.park(errand, result)
        except Unavailable as fault:
            # The body stays on the queue instead, and comes back with it.
            self._log.warning("body not stored", message=str(job.id), session=job.session, reason=str(fault))
        try:
            ours = await self._ledger.finish(result)
        except Unavailable as fault:
            self._log.error("result not recorded", message=str(job.id), session=job.session, reason=str(fault))
            return
        if not ours:
            self._log.error("lease lost", message=str(job.id), session=job.session, token=result.token)
        elif must_be_stored(result):
            await self._inbox.put_off(errand.message, result.wait or TROUBLE_SECONDS)
        else:
            await self._inbox.done(errand.message)

    def _count(self, what: str, count: int = 1) -> None:
        self._metrics.received.labels(what).inc(count)


def _marked(job: Job) -> Job:
    """Note what a message that rides in its job says of itself; of a stored one the relay has said it."""
    if not isinstance(job.body, bytes):
        return job
    stream, tags = markers(job.body)
    return job._replace(stream=stream or "", tags=tags) if stream or tags else job
