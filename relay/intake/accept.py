"""From a received message to a job that SQS has confirmed (CORE-SMTP-004). Nothing else makes a 250."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol

from backing import ids
from backing.batch import Batcher, Limits
from backing.sqs import MAX_BATCH, MAX_BATCH_TEXT, Outgoing
from mail.errors import Refused, Unavailable
from mail.headers import received
from mail.job import StoredBody, encode
from relay.intake.arrival import Arrival, Submission, job_of
from relay.intake.budget import Budget
from relay.intake.content import Content
from relay.intake.data import Repaired, Strict
from relay.intake.deadlines import Deadlines
from relay.intake.parcel import Parcel, Told, parts_of
from relay.intake.shelf import BodyStore, Place

# What a job's text may have beside its body, and for each recipient: 500 letters of ORCPT are written with 12 each, if
# none of them is ASCII. Most have 600 and 60.
_MOST_BESIDE: Final = 16_384
_MOST_PER_RECIPIENT: Final = 7168
_USUAL_BESIDE: Final = 1024
# Two calls on the way let a third batch fill meanwhile; more would make smaller batches, and each call costs 2 ms.
_CALLS_AT_A_TIME: Final = 4


class Sender(Protocol):
    """What takes jobs: `backing.sqs.Queue`."""

    async def send(self, batch: Sequence[Outgoing]) -> list[str | None]:
        """Send a batch; per message None, or why it was refused. Raises `Unavailable`."""


class Intake:
    """Turns submissions into confirmed jobs; those of concurrent sessions go to SQS together.

    Args:
        queue: what takes jobs.
        bodies: what takes bodies too large for the queue.
        budget: what all messages on their way may hold in memory.
        timeout_seconds: longest wait for the queue and the bucket once a message is complete.

    Attributes:
        budget: the same, for whoever would begin a message.
    """

    def __init__(self, queue: Sender, bodies: BodyStore, budget: Budget, timeout_seconds: float) -> None:
        self._queue = queue
        self._bodies = bodies
        self.budget = budget
        self._timeout_seconds = timeout_seconds
        self._ids = ids.Ids()
        self._tasks = asyncio.TaskGroup()
        self._deadlines: Deadlines[Parcel] = Deadlines(self._overdue)
        self._batcher: Batcher[Parcel, str | None] = Batcher(
            self._send, Limits(MAX_BATCH, MAX_BATCH_TEXT, _CALLS_AT_A_TIME), _weight
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Intake"]:
        """Take submissions until the block ends; what was taken by then is still sent, what was given up is removed."""
        try:
            async with self._tasks, self._batcher.running():
                yield self
        finally:
            self._deadlines.stop()

    def begin(self, submission: Submission, max_octets: int) -> Arrival:
        """Begin to take a message; its content must be discarded in the end, whatever became of it."""
        message_id, at = self._ids.new(), ids.now()
        line_ends = Repaired() if submission.credential.account.repair_line_ends else Strict()
        name = str(message_id)
        head = received(submission.hop, name, submission.session, at)
        shelf = Place(self._bodies, message_id, self._tasks)
        return Arrival(message_id, name, at, submission, Content(head, max_octets, line_ends, self.budget, shelf))

    def fits(self, arrival: Arrival) -> bool:
        """Whether a message is all in memory, and small enough for the queue whatever is in its envelope."""
        content, recipients = arrival.content, len(arrival.submission.recipients)
        most = content.size * 4 // 3 + _MOST_BESIDE + _MOST_PER_RECIPIENT * recipients
        return content.inline and most <= MAX_BATCH_TEXT

    def offer(self, arrival: Arrival, told: Told) -> Parcel:
        """Send a message on its way that fits, and whose content has been ended.

        Args:
            arrival: the message.
            told: is called once SQS has the job, or with `Unavailable`: it was not confirmed in time, and the message
                may be on the queue all the same.
        """
        return self._put(Parcel(arrival, None, told, self._deadlines.remove), self._deadline())

    async def accept(self, arrival: Arrival) -> None:
        """Store what of a message is too large for the queue, and wait until SQS has its job.

        Raises:
            Refused: the message cannot be taken, or its envelope is too large for the queue.
            Unavailable: SQS or S3 did not confirm in time; the message may be on the queue all the same.
        """
        deadline = self._deadline()
        try:
            async with asyncio.timeout_at(deadline):
                body = await self._stored(arrival)
        except TimeoutError:
            raise self._too_late() from None
        answer: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

        def told(fault: Exception | None) -> None:
            if not answer.done():
                answer.set_result(fault)

        parcel = self._put(Parcel(arrival, body, told, self._deadlines.remove), deadline)
        try:
            fault = await answer
        except asyncio.CancelledError:
            parcel.wanted = False
            raise
        if fault:
            raise fault

    async def _stored(self, arrival: Arrival) -> StoredBody | None:
        """End a message; give where its body lies, or None where the job has room for it."""
        body = await arrival.content.finish()
        if body is None:
            content = arrival.content.body
            if len(encode(job_of(arrival, content))) <= MAX_BATCH_TEXT:
                return None
            body = await self._bodies.put(arrival.id, content)
        if len(encode(job_of(arrival, body))) > MAX_BATCH_TEXT:
            raise Refused(552, "5.3.4", "Envelope too large; send to fewer recipients at a time")
        return body

    def _put(self, parcel: Parcel, deadline: float) -> Parcel:
        self._deadlines.add(parcel, deadline)
        self._batcher.put(parcel, parcel.settle)
        return parcel

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._timeout_seconds

    def _overdue(self, parcel: Parcel) -> None:
        parcel.wanted = False
        parcel.settle(self._too_late())

    def _too_late(self) -> Unavailable:
        return Unavailable(f"no confirmation within {self._timeout_seconds:g} s")

    async def _send(self, parcels: Sequence[Parcel]) -> list[str | None]:
        """Send a batch; what is not sent has been told why by then."""
        parts = list(parts_of([parcel for parcel in parcels if parcel.write()]))
        if parts == [parcels]:
            return await self._queue.send(parcels)
        answers: dict[Parcel, str | None] = {}
        for part in parts:
            answers.update(zip(part, await self._queue.send(part), strict=True))
        return [answers.get(parcel) for parcel in parcels]


def _weight(parcel: Parcel) -> int:
    """About how many octets its text will have."""
    return _USUAL_BESIDE + (0 if parcel.body else parcel.arrival.content.size * 4 // 3)
