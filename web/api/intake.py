"""From a submitted message to a job that SQS has confirmed, under the same rules as the relay's."""

import asyncio
import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from backing.ids import now
from backing.postgres.submissions import Claimed, Submissions
from backing.sqs import MAX_BATCH_TEXT, Outgoing
from mail.accounts import Account
from mail.addresses import Address, parse_mailbox
from mail.dedupe import IDEMPOTENCY_HEADER, Marks, dedupe_key
from mail.errors import Unavailable
from mail.headers import Hop, find_headers, header_block, received
from mail.job import MAX_INLINE_BODY, Job, Recipient, StoredBody, encode
from mail.markers import markers
from mail.senders import check_from_header, check_sender
from web.api.caller import Caller
from web.api.models import Accepted
from web.house import House
from web.problems import Problem

_CONFIRM_SECONDS: Final = 10.0
_MAX_MESSAGE_ID: Final = 998
_BARE: Final = re.compile(rb"(?<!\r)\n|\r(?!\n)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A message as it is submitted.

    Attributes:
        id: that it has, unless it was submitted before.
        mail_from: the reverse path, empty for the null sender.
        content: its octets, lines ending in CRLF.
        key: what its client calls it, or None.
        fingerprint: of all that was submitted.
    """

    id: UUID
    mail_from: str
    recipients: tuple[str, ...]
    content: bytes = field(repr=False)
    key: str | None
    fingerprint: bytes


class Intake:
    """Takes messages; a success means that the queue has the job, as the relay's 250 does.

    Args:
        house: what it leans on.
    """

    def __init__(self, house: House) -> None:
        self._house = house
        self._submissions = Submissions(house.database)

    async def take(self, caller: Caller, account: Account, submission: Submission) -> Accepted:
        """Take a message.

        Raises:
            Problem: it may not be sent, or its key stands for another one.
            Refused: its sender is not the account's.
            Unavailable: nothing confirmed it; it may be on the queue all the same, so repeat it with its key.
        """
        if account.check_from:
            check_from_header(account, header_block(submission.content))
        claimed = await self._claim(account, submission)
        if claimed.confirmed:
            return Accepted(id=claimed.message_id, replayed=True)
        refusal = self._house.quotas.take(account, len(submission.recipients))
        if refusal:
            raise Problem(429, refusal.text, {"Retry-After": "60"})
        try:
            async with asyncio.timeout(_CONFIRM_SECONDS):
                await self._send(self._job(caller, account, submission, claimed.message_id))
        except BaseException:
            self._house.quotas.give_back(account, len(submission.recipients))
            raise
        await self._note(account, submission, claimed.message_id)
        return Accepted(id=claimed.message_id, replayed=False)

    async def _note(self, account: Account, submission: Submission, message_id: UUID) -> None:
        if submission.key is not None:
            await self._submissions.confirm(account.id, submission.key, message_id)
            return
        # The queue has it, and nothing repeats it: it is only known by its id a little later.
        with suppress(Unavailable):
            await self._submissions.note(account.id, submission.fingerprint, message_id)

    async def _claim(self, account: Account, submission: Submission) -> Claimed:
        if submission.key is None:
            return Claimed(submission.fingerprint, submission.id, confirmed=False)
        claimed = await self._submissions.claim(account.id, submission.key, submission.fingerprint, submission.id)
        if claimed.fingerprint != submission.fingerprint:
            raise Problem(422, f"this Idempotency-Key stands for another message, {claimed.message_id}")
        return claimed

    def _job(self, caller: Caller, account: Account, submission: Submission, message_id: UUID) -> Job:
        at, block = now(), header_block(submission.content)
        hop = Hop("", caller.peer, self._house.settings.web_hostname, "HTTP", "")
        head = received(hop, str(message_id), caller.request, at)
        header_id, chosen = find_headers(block, "Message-ID", IDEMPOTENCY_HEADER)
        if header_id and len(header_id) > _MAX_MESSAGE_ID:
            header_id = None
        digest = hashlib.sha256(submission.content).digest()
        addresses = submission.recipients
        marks = Marks(chosen, header_id, digest)
        return Job(
            id=message_id,
            account_id=account.id,
            credential_id=None,
            session=caller.request,
            mail_from=submission.mail_from,
            recipients=tuple(map(Recipient, addresses)),
            accepted_at=at,
            # Whose jobs may be the same one: those of one key.
            dedupe=dedupe_key(caller.key.id, submission.mail_from, addresses, marks) if not submission.key else None,
            header_message_id=header_id,
            sha256=digest,
            size=len(head) + len(submission.content),
            body=head + submission.content,
            head=len(head),
            smtputf8=_needs_smtputf8(submission, block),
            eight_bit=not submission.content.isascii(),
        )

    async def _send(self, job: Job) -> None:
        text = encode(job) if job.size <= MAX_INLINE_BODY else ""
        if (not text or len(text) > MAX_BATCH_TEXT) and isinstance(job.body, bytes):
            stored: StoredBody = await self._house.bodies.put(job.id, job.body)
            found = markers(job.body[job.head :])
            text = encode(job._replace(body=stored, stream=found.stream or "", tags=found.tags))
        if len(text) > MAX_BATCH_TEXT:
            raise Problem(422, "the envelope is too large; send to fewer recipients at a time")
        (refusal,) = await self._house.queue.send([Outgoing(text, str(job.account_id))])
        if refusal:
            raise Unavailable(f"SQS refused the message: {refusal}")


def envelope(account: Account, mail_from: str, recipients: list[str], most: int) -> tuple[str, tuple[str, ...]]:
    """Check who sends and who gets a message; gives both as they travel.

    Raises:
        Refused: an address is none, or the sender is not the account's.
        Problem: there are too many recipients.
    """
    sender: Address | None = parse_mailbox(mail_from) if mail_from else None
    check_sender(account, sender)
    if len(recipients) > most:
        raise Problem(422, f"a message may have {most} recipients; this one has {len(recipients)}")
    found = dict.fromkeys(str(parse_mailbox(text)) for text in recipients)
    return str(sender) if sender else "", tuple(found)


def lines_ended(content: bytes, *, repair: bool) -> bytes:
    """Give a message with CRLF at the end of every line.

    A file of a system whose lines end in LF is taken for what it is. Where both kinds meet, it may be meant to be read
    in two ways (SMTP smuggling), and is refused, unless the account has such repaired.

    Raises:
        Problem: there are bare CR or LF among lines that end in CRLF, or there is a NUL.
    """
    if b"\r" not in content:
        content = content.replace(b"\n", b"\r\n")
    elif _BARE.search(content):
        if not repair:
            raise Problem(422, "the message has a bare CR or LF among lines that end in CRLF")
        content = _BARE.sub(b"\r\n", content)
    if b"\0" in content:
        if not repair:
            raise Problem(422, "the message has a NUL octet")
        content = content.replace(b"\0", b"")
    return content if content.endswith(b"\r\n") else content + b"\r\n"


def _needs_smtputf8(submission: Submission, block: bytes) -> bool:
    """Whether only a peer with SMTPUTF8 can carry it (RFC 6531)."""
    return not (submission.mail_from + "".join(submission.recipients)).isascii() or not block.isascii()
