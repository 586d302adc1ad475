"""From a received message to a job that SQS has confirmed (CORE-SMTP-004). Nothing else makes a 250."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final, NamedTuple, Protocol
from uuid import UUID

import structlog
from typing_extensions import override

from backing import ids
from backing.batch import Batcher, Limits
from backing.sqs import MAX_BATCH, MAX_BATCH_TEXT, Outgoing
from mail.accounts import Credential
from mail.dedupe import IDEMPOTENCY_HEADER, Marks, dedupe_key
from mail.errors import Refused, Unavailable
from mail.headers import Hop, find_headers, received
from mail.ids import text_of
from mail.job import Job, Recipient, StoredBody, encode
from relay.intake.budget import Budget, Share
from relay.intake.content import BodyUpload, Content, Shelf
from relay.intake.data import Repaired, Strict
from relay.intake.deadlines import Deadlines

# Two calls on the way let a third batch fill meanwhile; more would make smaller batches, and each call costs 2 ms.
_CALLS_AT_A_TIME: Final = 4


class Sender(Protocol):
    """What takes jobs: `backing.sqs.Queue`."""

    async def send(self, batch: Sequence[Outgoing]) -> list[str | None]:
        """Send a batch; per message None, or why it was refused. Raises `Unavailable`."""


class BodyStore(Protocol):
    """What takes bodies too large for the queue: `backing.s3.Bodies`."""

    async def put(self, message_id: UUID, body: bytes) -> StoredBody:
        """Store a body. Raises `Unavailable`."""

    def upload(self, message_id: UUID, tasks: asyncio.TaskGroup) -> BodyUpload:
        """Begin to store a body of which the end is not known."""


class Submission(NamedTuple):
    """One message as a client submits it, but for its content.

    Attributes:
        credential: who submits.
        session: correlation id of the SMTP session.
        hop: how it comes in.
        mail_from: the reverse path, empty for the null sender.
        eight_bit: whether BODY=8BITMIME was declared.
        require_tls: whether REQUIRETLS was asked for (RFC 8689).
    """

    credential: Credential
    session: str
    hop: Hop
    mail_from: str
    recipients: tuple[Recipient, ...]
    smtputf8: bool
    eight_bit: bool
    ret: str | None
    envid: str | None
    require_tls: bool = False


class Arrival(NamedTuple):
    """A message on its way in: its id and time are made when its content begins."""

    id: UUID
    at: datetime
    submission: Submission
    content: Content


def job_of(arrival: Arrival, body: bytes | StoredBody) -> Job:
    """Make the job of a message that is complete."""
    submission, content = arrival.submission, arrival.content
    message_id, chosen = find_headers(content.headers, "Message-ID", IDEMPOTENCY_HEADER)
    marks = Marks(chosen, message_id, content.sha256_as_sent)
    addresses = [recipient.address for recipient in submission.recipients]
    return Job(
        id=arrival.id,
        account_id=submission.credential.account.id,
        credential_id=submission.credential.id,
        session=submission.session,
        mail_from=submission.mail_from,
        recipients=submission.recipients,
        accepted_at=arrival.at,
        dedupe=dedupe_key(submission.credential.id, submission.mail_from, addresses, marks),
        header_message_id=message_id,
        sha256=content.sha256,
        size=content.size,
        smtputf8=submission.smtputf8,
        eight_bit=submission.eight_bit or content.eight_bit,
        ret=submission.ret,
        envid=submission.envid,
        require_tls=submission.require_tls,
        body=body,
    )


class _Shelf(Shelf):
    """The place of one message's body in the bucket.

    Args:
        bodies: the bucket.
        message_id: names the body.
        tasks: whose tasks uploads and aborts are; the session may be gone by then.
    """

    def __init__(self, bodies: BodyStore, message_id: UUID, tasks: asyncio.TaskGroup) -> None:
        self._bodies = bodies
        self._message_id = message_id
        self._tasks = tasks

    @override
    def upload(self) -> BodyUpload:
        return self._bodies.upload(self._message_id, self._tasks)

    @override
    def give_up(self, upload: BodyUpload) -> None:
        self._tasks.create_task(self._abort(upload))

    async def _abort(self, upload: BodyUpload) -> None:
        try:
            await upload.abort()
        except Exception as fault:  # noqa: BLE001 - the edge of a task: the bucket forgets what is left behind
            structlog.get_logger().warning("upload not aborted", message=str(self._message_id), reason=str(fault))


class _Parcel:
    """A job's text on its way into a batch; whoever gives up waiting takes it back, unless it is on its way already."""

    __slots__ = ("outgoing", "size")

    def __init__(self, outgoing: Outgoing) -> None:
        self.outgoing: Outgoing | None = outgoing
        self.size = outgoing.size


class Intake:
    """Turns submissions into confirmed jobs; those of concurrent sessions go to SQS together.

    Args:
        queue: what takes jobs.
        bodies: what takes bodies too large for the queue.
        budget: what all messages on their way may hold in memory.
        timeout_seconds: longest wait for the queue and the bucket once a message is complete.
    """

    def __init__(self, queue: Sender, bodies: BodyStore, budget: Budget, timeout_seconds: float) -> None:
        self._queue = queue
        self._bodies = bodies
        self._budget = budget
        self._timeout_seconds = timeout_seconds
        self._tasks = asyncio.TaskGroup()
        self._deadlines = Deadlines()
        self._batcher: Batcher[_Parcel, str | None] = Batcher(
            self._send, Limits(MAX_BATCH, MAX_BATCH_TEXT, _CALLS_AT_A_TIME), lambda parcel: parcel.size
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Intake"]:
        """Take submissions until the block ends; what was taken by then is still sent, what was given up is removed."""
        try:
            async with self._tasks, self._batcher.running():
                yield self
        finally:
            self._deadlines.stop()

    @property
    def full(self) -> bool:
        """Whether there is no room for another message now."""
        return self._budget.full

    def begin(self, submission: Submission, max_octets: int) -> Arrival:
        """Begin to take a message; its content must be discarded in the end, whatever became of it."""
        message_id, at = ids.new_id(), ids.now()
        line_ends = Repaired() if submission.credential.account.repair_line_ends else Strict()
        head = received(submission.hop, text_of(message_id), submission.session, at)
        shelf = _Shelf(self._bodies, message_id, self._tasks)
        return Arrival(message_id, at, submission, Content(head, max_octets, line_ends, Share(self._budget), shelf))

    async def accept(self, arrival: Arrival) -> Job:
        """Make a job of a message that is complete and wait until SQS has it.

        Raises:
            Refused: the message cannot be taken, or its envelope is too large for the queue.
            Unavailable: SQS or S3 did not confirm in time; the message may be on the queue all the same.
        """
        deadline = asyncio.get_running_loop().time() + self._timeout_seconds
        try:
            job = job_of(arrival, await self._body(arrival.content, deadline))
            text = encode(job)
            if len(text) > MAX_BATCH_TEXT:
                text = await self._short(job, deadline)
            await self._enqueue(Outgoing(text, text_of(job.account_id)), deadline)
        except TimeoutError:
            raise Unavailable(f"no confirmation within {self._timeout_seconds:g} s") from None
        return job

    async def _body(self, content: Content, deadline: float) -> bytes | StoredBody:
        if content.inline:
            return await content.finish()
        async with asyncio.timeout_at(deadline):
            return await content.finish()

    async def _short(self, job: Job, deadline: float) -> str:
        """Give the text of a job that is too long with its body in it."""
        if isinstance(job.body, bytes):
            async with asyncio.timeout_at(deadline):
                job = job._replace(body=await self._bodies.put(job.id, job.body))
        text = encode(job)
        if len(text) > MAX_BATCH_TEXT:
            raise Refused(552, "5.3.4", "Envelope too large; send to fewer recipients at a time")
        return text

    async def _enqueue(self, outgoing: Outgoing, deadline: float) -> None:
        parcel = _Parcel(outgoing)
        answer = self._batcher.put(parcel)
        self._deadlines.add(answer, deadline)
        try:
            refusal = await answer
        except (asyncio.CancelledError, TimeoutError):
            parcel.outgoing = None
            raise
        finally:
            self._deadlines.remove(answer)
        if refusal is not None:
            raise Unavailable(f"SQS refused the message: {refusal}")

    async def _send(self, parcels: Sequence[_Parcel]) -> list[str | None]:
        batch = {n: parcel.outgoing for n, parcel in enumerate(parcels) if parcel.outgoing}
        answers = await self._queue.send(list(batch.values())) if batch else []
        by_number = dict(zip(batch, answers, strict=True))
        return [by_number.get(n, "taken back") for n in range(len(parcels))]
