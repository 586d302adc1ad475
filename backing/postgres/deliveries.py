"""Deliveries in PostgreSQL: recording messages, claiming them under a lease, writing down what became of them."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from backing.postgres.pool import Database
from backing.postgres.sql import statements
from mail.dedupe import WINDOW_SECONDS
from mail.delivery import State
from mail.errors import MalformedJob
from mail.job import Job, Recipient, StoredBody

SQL = statements(__file__)

Send = Callable[[Sequence[Job]], Awaitable[Sequence[bool]]]


class Action(StrEnum):
    """What a claim is for."""

    SEND = "send"
    HOLD = "hold"  # its outcome stayed unknown, and the account wants it kept
    DROP = "drop"  # the same, and the account wants it failed
    EXPIRE = "expire"


@dataclass(frozen=True, slots=True)
class ProviderRow:
    """A provider as its account configured it; the secret is sealed."""

    id: UUID
    name: str
    kind: str
    config: dict[str, Any]
    secret: bytes | None
    version: int
    enabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """The lease is ours.

    Attributes:
        token: what a result must carry; a later claim has a higher one.
        lost: whether an earlier worker's lease ran out, so that nobody knows what it did.
        pending: the recipients that have no fate yet, by number, and how they stand.
        attempts: number of this attempt.
        tries: those before it that count against the retry schedule.
        stored: where the body lies, or None while it rides on the queue.
        provider: the one to ask, or None when the account has none.
    """

    delivery_id: UUID
    token: int
    action: Action
    lost: bool
    pending: tuple[tuple[int, State], ...]
    attempts: int
    tries: int
    expires_at: datetime
    stored: StoredBody | None
    provider: ProviderRow | None


@dataclass(frozen=True, slots=True)
class Finished:
    """Nothing is left to do."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The message was submitted before, as `of`."""

    of: UUID


@dataclass(frozen=True, slots=True)
class Leased:
    """Another worker has it for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """It is not due for so many seconds; when its body is stored, the dispatcher brings it back."""

    seconds: float
    stored: bool


Claim = Claimed | Finished | Duplicate | Leased | Waiting


@dataclass(frozen=True, slots=True)
class Fate:
    """How a recipient stands after a claim."""

    n: int
    state: State
    code: int | None
    enhanced: str | None
    reply: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of a claim.

    Attributes:
        state: of the delivery.
        wait: seconds until it is due again, or None when it is not.
        body: where the body lies, or None.
        outcome: of the attempt, with the reply that shows it best; None when no provider was asked.
    """

    delivery_id: UUID
    token: int
    state: str
    wait: float | None
    tries: int
    fates: tuple[Fate, ...]
    body: StoredBody | None = None
    outcome: str | None = None
    code: int | None = None
    enhanced: str | None = None
    reply: str | None = None


class Deliveries:
    """The deliveries that one worker claims.

    Every method raises `Unavailable` when the database does not answer; every one may be repeated.

    Args:
        database: where they are.
        owner: names this worker in the lease.
        lease_seconds: how long a claim holds.
        expiry_seconds: age at which a message expires.
    """

    def __init__(self, database: Database, owner: str, lease_seconds: float, expiry_seconds: float) -> None:
        self._database = database
        self._constants = {
            "owner": owner,
            "lease": lease_seconds,
            "expiry": expiry_seconds,
            "window": WINDOW_SECONDS,
        }

    async def claim(self, jobs: Sequence[tuple[Job, datetime]]) -> dict[UUID, Claim]:
        """Record jobs, each with the time it was queued, and claim those that are due; a job's id must occur once.

        Raises:
            MalformedJob: PostgreSQL refuses a value of one of them; nothing was done.
        """
        ids = sorted(job.id for job, _ in jobs)
        values = self._constants | {"ids": ids, "jobs": Jsonb([_job_row(job, queued_at) for job, queued_at in jobs])}
        try:
            async with self._database.transaction() as connection, connection.pipeline():
                if any(job.dedupe for job, _ in jobs):
                    await connection.execute(SQL["submit"], values)
                await connection.execute(SQL["record"], values)
                cursor = await connection.execute(SQL["claim"], values)
                rows = await cursor.fetchall()
        except psycopg.DataError as fault:
            # Only its first line: the others quote the row.
            raise MalformedJob(f"PostgreSQL refuses a value: {fault.diag.message_primary}") from None
        return {row[0]: _claim(row) for row in rows}

    async def finish(self, results: Sequence[Result]) -> list[bool]:
        """Write down results; False for each whose lease was lost, which changed nothing."""
        return await self._settle("finish", "results", results, [_result_row(result) for result in results])

    async def unclaim(self, claims: Sequence[Claimed]) -> list[bool]:
        """Give back claims of which nothing was sent; False for each that was not ours any more."""
        rows = [{"delivery_id": str(claim.delivery_id), "token": claim.token} for claim in claims]
        return await self._settle("unclaim", "claims", claims, rows)

    async def dispatch(self, send: Send, most: int, again_seconds: float) -> int:
        """Put what is due on the queue, then mark it; gives how many.

        A worker that dies between leaves it due, and a second copy on the queue is harmless.

        Args:
            send: sends jobs, and says of each whether the queue has it.
            most: how many at a time.
            again_seconds: when to send one again that nobody claimed.
        """
        async with self._database.transaction() as connection:
            cursor = await connection.execute(SQL["due"], {"most": most})
            jobs = [_job(row) for row in await cursor.fetchall()]
            if not jobs:
                return 0
            sent = [job.id for job, done in zip(jobs, await send(jobs), strict=True) if done]
            await connection.execute(SQL["dispatched"], {"ids": sent, "again": again_seconds})
        return len(sent)

    async def forget_submissions(self, most: int) -> int:
        """Remove submission keys whose window is long over; gives how many."""
        async with self._database.transaction() as connection:
            return (await connection.execute(SQL["forget_submissions"], {"most": most})).rowcount

    async def ping(self) -> None:
        """Ask for nothing; raises `Unavailable` while the database does not answer."""
        async with self._database.transaction() as connection:
            await connection.execute(SQL["ping"])

    async def _settle(
        self, statement: str, name: str, items: Sequence[Result] | Sequence[Claimed], rows: list[dict[str, Any]]
    ) -> list[bool]:
        async with self._database.transaction() as connection:
            cursor = await connection.execute(SQL[statement], {name: Jsonb(rows)})
            done = set(await cursor.fetchall())
        return [(item.delivery_id, item.token) in done for item in items]


def _job_row(job: Job, queued_at: datetime) -> dict[str, Any]:
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
        "recipients": [{"address": r.address, "notify": r.notify, "orcpt": r.orcpt} for r in job.recipients],
    }


def _job(row: tuple[Any, ...]) -> Job:
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
        recipients=tuple(Recipient(*recipient) for recipient in row[17]),
    )


def _claim(row: tuple[Any, ...]) -> Claim:
    _, duplicate_of, state, lease_left, wait_left, bucket, key = row[:7]
    action = row[9]
    if duplicate_of is not None:
        return Duplicate(duplicate_of)
    if action is not None:
        return _claimed(row, StoredBody(bucket, key) if key else None)
    if state == "sending":
        return Leased(max(lease_left, 0.0))
    if state in {"deferred", "unknown"}:
        return Waiting(max(wait_left, 0.0), stored=key is not None)
    return Finished()


def _claimed(row: tuple[Any, ...], stored: StoredBody | None) -> Claimed:
    expires_at, delivery_id, action, lost, token, attempts, tries, ns, states = row[7:16]
    provider = row[16:]
    return Claimed(
        delivery_id=delivery_id,
        token=token,
        action=Action(action),
        lost=lost,
        pending=tuple(zip(ns or (), map(State, states or ()), strict=True)),
        attempts=attempts,
        tries=tries,
        expires_at=expires_at,
        stored=stored,
        provider=ProviderRow(*provider) if provider[0] else None,
    )


def _result_row(result: Result) -> dict[str, Any]:
    return {
        "delivery_id": str(result.delivery_id),
        "token": result.token,
        "state": result.state,
        "wait": result.wait,
        "tries": result.tries,
        "body_bucket": result.body.bucket if result.body else None,
        "body_key": result.body.key if result.body else None,
        "outcome": result.outcome,
        "code": result.code,
        "enhanced": result.enhanced,
        "reply": result.reply,
        "recipients": [asdict(fate) for fate in result.fates],
    }
