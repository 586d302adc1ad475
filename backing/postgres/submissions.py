"""Submissions to the HTTP API: what was accepted, and with an Idempotency-Key that it is one message however often.

The id of one with a key is written down before the job is sent, so that a repeated call sends the same job: a worker
takes a job that it has seen for what it is.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from psycopg.rows import class_row

from backing.postgres import early
from backing.postgres.early import Early
from backing.postgres.pool import Connection, Database
from backing.postgres.sql import statements

SQL = statements(__file__)
KEPT_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True)
class Claimed:
    """What stands under a key.

    Attributes:
        fingerprint: of what was submitted first.
        confirmed: whether the queue has it.
    """

    fingerprint: bytes
    message_id: UUID
    confirmed: bool


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that the queue has, whether or not a worker has taken it.

    Attributes:
        account: name of whose it is; None where that is no more.
        orders: what is noted for when a worker has it.
    """

    id: UUID
    account_id: UUID
    account: str | None
    accepted_at: datetime
    orders: tuple[Early, ...] = ()


class Submissions:
    """The keys of the last day, each for itself in its account."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, account_id: UUID, key: str, fingerprint: bytes, message_id: UUID) -> Claimed:
        """Write down a submission under a key, or give the one that stands there.

        Raises:
            Unavailable: the database did not answer.
        """
        values = {"account_id": account_id, "key": _digest(key), "fingerprint": fingerprint, "message_id": message_id}
        async with self._database.transaction() as connection:
            cursor = await connection.execute(SQL["claim"], values | {"seconds": KEPT_SECONDS})
            found, message_id, confirmed = await cursor.fetchone() or (fingerprint, message_id, False)
        return Claimed(bytes(found), message_id, confirmed)

    async def confirm(self, account_id: UUID, key: str, message_id: UUID) -> None:
        """Note that the queue has it.

        Raises:
            Unavailable: the database did not answer; a repeated call then sends the job once more, which does no harm.
        """
        values = {"account_id": account_id, "key": _digest(key), "message_id": message_id}
        async with self._database.transaction() as connection:
            await connection.execute(SQL["confirm"], values)

    async def note(self, account_id: UUID, fingerprint: bytes, message_id: UUID) -> None:
        """Note that the queue has a message that came without a key.

        Raises:
            Unavailable: the database did not answer; until a worker takes it, the message is not known then.
        """
        values = {"account_id": account_id, "fingerprint": fingerprint, "message_id": message_id}
        async with self._database.statement() as connection:
            await connection.execute(SQL["note"], values | {"seconds": KEPT_SECONDS})


async def waiting(connection: Connection, message_id: UUID, account_id: UUID | None) -> Waiting | None:
    """Give a message that the HTTP API has accepted in the last day; given an account, one of its own."""
    values = {"id": message_id, "asked_by": account_id, "seconds": KEPT_SECONDS}
    async with connection.cursor(row_factory=class_row(Waiting)) as cursor:
        found = await (await cursor.execute(SQL["accepted"], values)).fetchone()
    return replace(found, orders=tuple(await early.waiting(connection, message_id, account_id))) if found else None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
