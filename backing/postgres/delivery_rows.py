"""Deliveries as the rows of PostgreSQL, and back."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
import pybase64
from psycopg.types.json import Jsonb

from backing.postgres.claims import (
    Claim,
    Claimed,
    Duplicate,
    Finished,
    Leased,
    Ordered,
    Pending,
    Report,
    Result,
    Waiting,
    Wishes,
)
from mail.delivery import OnUnknown
from mail.job import Job, Recipient, StoredBody
from mail.states import State


def job_row(job: Job, queued_at: datetime) -> dict[str, Any]:
    """Write a job as `record` takes it."""
    stored = job.body if isinstance(job.body, StoredBody) else None
    return {
        "id": str(job.id),
        "account_id": str(job.account_id),
        "credential_id": str(job.credential_id) if job.credential_id else None,
        "session": job.session,
        "mail_from": job.mail_from,
        # A header's text is the client's own: PostgreSQL has no U+0000, and it must cost nobody a message.
        "header_message_id": job.header_message_id.replace("\0", "\ufffd") if job.header_message_id else None,
        "size": job.size,
        "sha256": job.sha256.hex(),
        "head": job.head,
        "smtputf8": job.smtputf8,
        "eight_bit": job.eight_bit,
        "ret": job.ret,
        "envid": job.envid,
        "require_tls": job.require_tls,
        "dedupe": job.dedupe.hex() if job.dedupe else None,
        "body_bucket": stored.bucket if stored else None,
        "body_key": stored.key if stored else None,
        "accepted_at": job.accepted_at.isoformat(),
        "queued_at": queued_at.isoformat(),
        "stream": job.stream,
        "tags": job.tags,
        "recipients": [{"address": r.address, "notify": r.notify, "orcpt": r.orcpt} for r in job.recipients],
    }


def job_of(row: tuple[Any, ...]) -> Job:
    """Read a job as `due` gives it."""
    return Job(
        id=row[0],
        account_id=row[1],
        credential_id=row[2],
        session=row[3],
        mail_from=row[4],
        accepted_at=row[5],
        dedupe=None,  # recorded already; the key had its say
        header_message_id=row[6],
        sha256=bytes(row[7]),
        size=row[8],
        smtputf8=row[9],
        eight_bit=row[10],
        ret=row[11],
        envid=row[12],
        require_tls=row[13],
        head=row[14],
        body=StoredBody(row[15], row[16]),
        stream=row[17],
        tags=tuple(row[18]),
        recipients=tuple(Recipient(*recipient) for recipient in row[19]),
    )


def report_job(row: tuple[Any, ...]) -> Job:
    """Make the job of a report as `reports` gives it: from nobody, so that nothing comes back."""
    report_id, account_id, sender, body, created_at, session = row
    body = bytes(body)
    return Job(
        id=report_id,
        account_id=account_id,
        credential_id=None,
        session=session,
        mail_from="",
        recipients=(Recipient(sender, "NEVER"),),
        accepted_at=created_at,
        dedupe=None,
        header_message_id=None,
        sha256=hashlib.sha256(body).digest(),
        size=len(body),
        smtputf8=not sender.isascii(),
        eight_bit=not body.isascii(),
        body=body,
    )


def claim_of(row: tuple[Any, ...]) -> Claim:
    """Read what `claim` says of a message."""
    _, duplicate_of, state, lease_left, wait_left, bucket, key = row[:7]
    if duplicate_of is not None:
        return Duplicate(duplicate_of)
    if row[16] and state in _OBEYS:
        return Ordered()
    if row[8] is not None:
        return _claimed(row, StoredBody(bucket, key) if key else None)
    if state == "sending":
        return Leased(max(lease_left, 0.0))
    # What is held waits for an operator; and its body must not go with the queue's copy.
    if state in {"deferred", "unknown"} or (state == "held" and key is None):
        return Waiting(max(wait_left or 0.0, 0.0), stored=key is not None)
    return Finished()


# Of what is being sent, or is done, nothing can be ordered now.
_OBEYS: Final = frozenset({"queued", "deferred", "unknown", "held"})


def _claimed(row: tuple[Any, ...], stored: StoredBody | None) -> Claimed:
    expires_at, token, attempts = row[7:10]
    on_unknown, retry_seconds, send_dsn, delay_notice_seconds = row[10:14]
    doubted = {n: provider and UUID(provider) for n, provider in row[15] or ()}
    return Claimed(
        delivery_id=row[0],
        token=token,
        attempts=attempts,
        expires_at=expires_at,
        pending=tuple(_pending(each, doubted) for each in row[14] or ()),
        stored=stored,
        wishes=_NO_WISHES
        if on_unknown is None  # the account is deleted
        else Wishes(OnUnknown(on_unknown), tuple(retry_seconds or ()) or None, send_dsn, delay_notice_seconds),
    )


def _pending(row: Sequence[Any], doubted: dict[int, UUID | None]) -> Pending:
    n, state, tries, wait, provider, suppressed, *rest, ordered = row
    rest.append(UUID(ordered) if ordered else None)
    if n in doubted:
        return Pending(n, State.UNKNOWN, tries, 0.0, doubted[n], None, *rest)
    provider_id = UUID(provider) if provider else None
    return Pending(n, State(state), tries, wait, provider_id, suppressed, *rest)


_NO_WISHES = Wishes()


def claim_rows(claims: Sequence[Claimed]) -> list[dict[str, Any]]:
    """Name claims as statements take them."""
    return [{"delivery_id": str(claim.delivery_id), "token": claim.token} for claim in claims]


def result_row(result: Result) -> dict[str, Any]:
    """Write a result as `finish` takes it."""
    return {
        "delivery_id": str(result.delivery_id),
        "token": result.token,
        "state": result.state,
        "wait": result.wait,
        "body_bucket": result.body.bucket if result.body else None,
        "body_key": result.body.key if result.body else None,
        "ended": result.ended,
        "recipients": result.fates,
        "report": _report_row(result.report) if result.report else None,
    }


def _report_row(report: Report) -> dict[str, Any]:
    return {"id": report.id, "sender": report.sender, "body": pybase64.b64encode_as_string(report.body)}


def as_json(rows: Sequence[Any]) -> Jsonb:
    """Write rows as one value; dataclasses are objects."""
    return Jsonb(rows, dumps=orjson.dumps)
