"""Deliveries in PostgreSQL: recording messages, claiming them under a lease, writing down what became of them."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from backing.postgres import orders
from backing.postgres.claims import Begin, Claim, Claimed, Result
from backing.postgres.delivery_rows import as_json, claim_of, claim_rows, job_of, job_row, report_job, result_row
from backing.postgres.orders import NotPossible
from backing.postgres.pool import Database
from backing.postgres.sql import statements
from mail.dedupe import WINDOW_SECONDS
from mail.errors import MalformedJob
from mail.job import Job, StoredBody

SQL = statements(__file__)

Send = Callable[[Sequence[Job]], Awaitable[Sequence[bool]]]


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
        values = self._constants | {"ids": ids, "jobs": as_json([job_row(job, queued_at) for job, queued_at in jobs])}
        try:
            async with self._database.statement() as connection:
                async with connection.pipeline():
                    await connection.execute(SQL["await_orders"], values)
                    if any(job.dedupe for job, _ in jobs):
                        await connection.execute(SQL["submit"], values)
                    await connection.execute(SQL["record"], values)
                    cursor = await connection.execute(SQL["claim"], values)
                rows = await cursor.fetchall()
        except psycopg.DataError as fault:
            # Only its first line: the others quote the row.
            raise MalformedJob(f"PostgreSQL refuses a value: {fault.diag.message_primary}") from None
        return {row[0]: claim_of(row) for row in rows}

    async def obey(self, job: Job) -> list[str]:
        """Carry out what was ordered of a message before it was written down; gives why some of it could not be."""
        async with self._database.transaction() as connection:
            try:
                return await orders.obey(connection, job.id, job.account_id)
            except NotPossible:
                return []  # another copy of it is being sent; then the order comes too late, or waits till that is over

    async def begin(self, begins: Sequence[Begin]) -> list[bool]:
        """Write down attempts that are about to be made; False for each that must not be, since its lease was lost."""
        async with self._database.statement() as connection:
            cursor = await connection.execute(SQL["begin"], self._constants | {"begins": as_json(begins)})
            done = set(await cursor.fetchall())
        return [(begin.delivery_id, begin.n) in done for begin in begins]

    async def extend(self, claims: Sequence[Claimed]) -> list[bool]:
        """Let leases begin anew; False for each that was not ours any more."""
        return await self._settle("extend", "claims", claims, claim_rows(claims))

    async def finish(self, results: Sequence[Result]) -> list[bool]:
        """Write down results; False for each whose lease was lost, which changed nothing."""
        return await self._settle("finish", "results", results, [result_row(result) for result in results])

    async def unclaim(self, claims: Sequence[Claimed]) -> list[bool]:
        """Give back claims of which nothing was sent; False for each that was not ours any more."""
        return await self._settle("unclaim", "claims", claims, claim_rows(claims))

    async def stored(self, job: Job, place: StoredBody) -> bool:
        """Say where the body lies of mail that waited with it on the queue; whether its copy there may go."""
        values = {"id": job.id, "account_id": job.account_id, "bucket": place.bucket, "key": place.key}
        async with self._database.statement() as connection:
            return (await connection.execute(SQL["stored"], values)).rowcount > 0

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
            jobs = [job_of(row) for row in await cursor.fetchall()]
            if not jobs:
                return 0
            sent = [job.id for job, done in zip(jobs, await send(jobs), strict=True) if done]
            await connection.execute(SQL["dispatched"], {"ids": sent, "again": again_seconds})
        return len(sent)

    async def report(self, send: Send, most: int) -> int:
        """Put reports to senders on the queue, then forget them; gives how many.

        A worker that dies between sends them again, and by its id the second copy is the same message.
        """
        async with self._database.transaction() as connection:
            cursor = await connection.execute(SQL["reports"], {"most": most})
            jobs = [report_job(row) for row in await cursor.fetchall()]
            if not jobs:
                return 0
            sent = [job.id for job, done in zip(jobs, await send(jobs), strict=True) if done]
            await connection.execute(SQL["reported"], {"ids": sent})
        return len(sent)

    async def forget_submissions(self, most: int) -> int:
        """Remove submission keys whose window is long over; gives how many."""
        async with self._database.statement() as connection:
            return (await connection.execute(SQL["forget_submissions"], {"most": most})).rowcount

    async def ping(self) -> None:
        """Ask for nothing; raises `Unavailable` while the database does not answer."""
        async with self._database.statement() as connection:
            await connection.execute(SQL["ping"])

    async def _settle(
        self, statement: str, name: str, items: Sequence[Result] | Sequence[Claimed], rows: list[dict[str, Any]]
    ) -> list[bool]:
        async with self._database.statement() as connection:
            cursor = await connection.execute(SQL[statement], self._constants | {name: as_json(rows)})
            done = set(await cursor.fetchall())
        return [(item.delivery_id, item.token) in done for item in items]
