"""A message on its way in: what its client submits, when it came, and the job that it becomes."""

from datetime import datetime
from operator import attrgetter
from typing import Final, NamedTuple
from uuid import UUID

from mail.accounts import Credential
from mail.dedupe import IDEMPOTENCY_HEADER, Marks, dedupe_key
from mail.headers import Hop, find_headers
from mail.job import Job, Recipient, StoredBody
from mail.markers import Markers, markers
from relay.intake.content import Content

_ADDRESS: Final = attrgetter("address")
# RFC 5322, 2.1.1: a line has 998 octets at most. What is longer identifies nothing.
_MAX_MESSAGE_ID: Final = 998
_UNMARKED: Final = Markers()


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
    """A message on its way in: its id and time are made when its content begins.

    Attributes:
        name: the id as it is told.
    """

    id: UUID
    name: str
    at: datetime
    submission: Submission
    content: Content


def job_of(arrival: Arrival, body: bytes | StoredBody) -> Job:
    """Make the job of a message that is complete."""
    submission, content = arrival.submission, arrival.content
    message_id, chosen = find_headers(content.headers, "Message-ID", IDEMPOTENCY_HEADER)
    if message_id and len(message_id) > _MAX_MESSAGE_ID:
        message_id = None
    digest = content.sha256
    addresses = map(_ADDRESS, submission.recipients)
    # Of a body that rides in the job, the worker reads them.
    stream, tags = markers(content.headers) if isinstance(body, StoredBody) else _UNMARKED
    return Job(
        id=arrival.id,
        account_id=submission.credential.account.id,
        credential_id=submission.credential.id,
        session=submission.session,
        mail_from=submission.mail_from,
        recipients=submission.recipients,
        accepted_at=arrival.at,
        dedupe=dedupe_key(submission.credential.id, submission.mail_from, addresses, Marks(chosen, message_id, digest)),
        header_message_id=message_id,
        sha256=digest,
        size=content.size,
        head=content.head,
        smtputf8=submission.smtputf8,
        eight_bit=submission.eight_bit or content.eight_bit,
        ret=submission.ret,
        envid=submission.envid,
        require_tls=submission.require_tls,
        stream=stream or "",
        tags=tags,
        body=body,
    )
