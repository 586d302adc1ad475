"""From a received message to a job that SQS has confirmed (CORE-SMTP-004). Nothing else makes a 250."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

from backing import ids
from backing.batch import Batcher, Limits
from backing.sqs import MAX_BATCH, MAX_BATCH_TEXT, Outgoing
from mail.accounts import Credential
from mail.dedupe import dedupe_key
from mail.errors import Refused, Unavailable
from mail.headers import Hop, find_header, received
from mail.job import MAX_INLINE_BODY, Job, Recipient, StoredBody, encode

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One message as a client submitted it.

    Attributes:
        credential: who submits.
        session: correlation id of the SMTP session.
        hop: how it came in.
        mail_from: the reverse path, empty for the null sender.
        content: the message, exactly as the client sent it.
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
    content: bytes


def job_of(submission: Submission, message_id: UUID, at: datetime) -> Job:
    """Make the job of a submission: its content with our Received header before it, and nothing else changed."""
    content = submission.content
    body = received(submission.hop, str(message_id), submission.session, at) + content
    addresses = [recipient.address for recipient in submission.recipients]
    return Job(
        id=message_id,
        account_id=submission.credential.account.id,
        credential_id=submission.credential.id,
        session=submission.session,
        mail_from=submission.mail_from,
        recipients=submission.recipients,
        accepted_at=at,
        dedupe=dedupe_key(submission.credential.id, submission.mail_from, addresses, content),
        header_message_id=find_header(content, "Message-ID"),
        sha256=hashlib.sha256(body).digest(),
        size=len(body),
        smtputf8=submission.smtputf8,
        eight_bit=submission.eight_bit or not content.isascii(),
        ret=submission.ret,
        envid=submission.envid,
        body=body,
    )


class _Parcel:
    """A job's text on its way into a batch; whoever gives up waiting takes it back, unless it is on its way already."""

    __slots__ = ("outgoing",)

    def __init__(self, outgoing: Outgoing) -> None:
        self.outgoing: Outgoing | None = outgoing

    @property
    def size(self) -> int:
        return self.outgoing.size if self.outgoing else 0


class Intake:
    """Turns submissions into confirmed jobs; those of concurrent sessions go to SQS together.

    Args:
        queue: what takes jobs.
        bodies: what takes bodies too large for the queue.
        timeout_seconds: longest wait for both.
    """

    def __init__(self, queue: Sender, bodies: BodyStore, timeout_seconds: float) -> None:
        self._queue = queue
        self._bodies = bodies
        self._timeout_seconds = timeout_seconds
        self._batcher: Batcher[_Parcel, str | None] = Batcher(
            self._send, Limits(MAX_BATCH, MAX_BATCH_TEXT, _CALLS_AT_A_TIME), lambda parcel: parcel.size
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Intake"]:
        """Take submissions until the block ends; what was taken by then is still sent."""
        async with self._batcher.running():
            yield self

    async def accept(self, submission: Submission) -> Job:
        """Make a job of a submission and wait until SQS has it.

        Raises:
            Refused: the envelope is too large for the queue.
            Unavailable: SQS or S3 did not confirm in time; the message may be on the queue all the same.
        """
        job = job_of(submission, ids.new_id(), ids.now())
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._enqueue(await self._text(job), str(job.account_id))
        except TimeoutError:
            raise Unavailable(f"no confirmation within {self._timeout_seconds:g} s") from None
        return job

    async def _text(self, job: Job) -> str:
        if job.size <= MAX_INLINE_BODY and len(text := encode(job)) <= MAX_BATCH_TEXT:
            return text
        assert isinstance(job.body, bytes)  # noqa: S101 - job_of makes no other
        text = encode(replace(job, body=await self._bodies.put(job.id, job.body)))
        if len(text) > MAX_BATCH_TEXT:
            raise Refused(552, "5.3.4", "Envelope too large; send to fewer recipients at a time")
        return text

    async def _enqueue(self, text: str, group: str) -> None:
        parcel = _Parcel(Outgoing(text, group))
        try:
            refusal = await self._batcher.submit(parcel)
        except asyncio.CancelledError:
            parcel.outgoing = None
            raise
        if refusal is not None:
            raise Unavailable(f"SQS refused the message: {refusal}")

    async def _send(self, parcels: Sequence[_Parcel]) -> list[str | None]:
        batch = {n: parcel.outgoing for n, parcel in enumerate(parcels) if parcel.outgoing}
        answers = await self._queue.send(list(batch.values())) if batch else []
        by_number = dict(zip(batch, answers, strict=True))
        return [by_number.get(n, "taken back") for n in range(len(parcels))]
