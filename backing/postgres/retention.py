"""Finished mail and old events in PostgreSQL: finding them, telling their story, forgetting them."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from backing.postgres.pool import Database
from backing.postgres.sql import statements
from mail.ids import uuid7
from mail.job import StoredBody
from mail.states import SETTLED

SQL = statements(__file__)

_SETTLED: Final = sorted(SETTLED)

Remove = Callable[[Sequence[StoredBody]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Owner:
    """An account that has mail on record; None for the days that the worker keeps."""

    account_id: UUID
    days: int | None
    archive: bool


@dataclass(frozen=True, slots=True)
class Old:
    """A message that may be forgotten, and when it was accepted."""

    id: UUID
    accepted_at: datetime


START: Final = Old(UUID(int=0), datetime.min.replace(tzinfo=UTC) + timedelta(days=1))


@dataclass(frozen=True, slots=True)
class Story:
    """All that is on record of a message, as it was at `read_at`: rows by their kind, in order."""

    id: UUID
    read_at: datetime
    rows: tuple[tuple[str, dict[str, Any]], ...]


class Records:
    """What is kept of mail and events.

    Every method raises `Unavailable` when the database does not answer; every one may be repeated.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def owners(self) -> list[Owner]:
        """All accounts that have mail on record, deleted ones, too."""
        return [Owner(*row) for row in await self._rows("owners", {})]

    async def due(self, account_id: UUID, days: int, after: Old, most: int) -> list[Old]:
        """A page of an account's finished mail that is older than so many days; `after` is the end of the last page."""
        values = {
            "account_id": account_id,
            "days": days,
            "since": after.accepted_at,
            "after": after.id,
            "most": most,
            "settled": _SETTLED,
        }
        return [Old(*row) for row in await self._rows("due", values)]

    async def stories(self, account_id: UUID, ids: Sequence[UUID]) -> list[Story]:
        """All that is on record of some messages."""
        rows = await self._rows("stories", {"account_id": account_id, "ids": list(ids)})
        return [_story(*row) for row in rows]

    async def forget(self, account_id: UUID, ids: Sequence[UUID], read_at: datetime | None, remove: Remove) -> int:
        """Forget messages that are still finished; gives how many.

        Args:
            account_id: whose messages.
            ids: their ids.
            read_at: when their stories were read, or None; what changed since then is not forgotten.
            remove: removes stored bodies; when it raises, nothing is forgotten.
        """
        values = {
            "account_id": account_id,
            "ids": list(ids),
            "settled": _SETTLED,
            "read_at": read_at or datetime.max.replace(tzinfo=UTC) - timedelta(days=1),
        }
        async with self._database.transaction() as connection:
            rows = await (await connection.execute(SQL["lock"], values)).fetchall()
            await remove([StoredBody(bucket, key) for _, bucket, key in rows if key is not None])
            found = [row[0] for row in rows]
            return (await connection.execute(SQL["forget"], {"account_id": account_id, "ids": found})).rowcount

    async def forget_events(self, before: datetime, most: int) -> int:
        """Forget events of before a time, and what became of their posts; gives how many events."""
        values = {"before": uuid7(int(before.timestamp() * 1000), bytes(10)), "most": most}
        async with self._database.statement() as connection:
            return (await connection.execute(SQL["forget_events"], values)).rowcount

    async def forget_changes(self, before: datetime, most: int) -> int:
        """Forget what the audit log says of before a time; gives how many changes."""
        values = {"before": uuid7(int(before.timestamp() * 1000), bytes(10)), "most": most}
        async with self._database.statement() as connection:
            return (await connection.execute(SQL["forget_changes"], values)).rowcount

    async def forget_submissions(self, most: int) -> int:
        """Forget what was submitted under keys that are over; gives how many."""
        async with self._database.statement() as connection:
            return (await connection.execute(SQL["forget_submissions"], {"most": most})).rowcount

    async def forget_requests(self, most: int) -> int:
        """Forget how requests were answered that are over; gives how many."""
        async with self._database.statement() as connection:
            return (await connection.execute(SQL["forget_requests"], {"most": most})).rowcount

    async def forget_orders(self, most: int) -> int:
        """Forget orders for mail that never came; gives how many."""
        async with self._database.statement() as connection:
            return (await connection.execute(SQL["forget_orders"], {"most": most})).rowcount

    async def forget_inquiries(self, before: datetime, most: int) -> int:
        """Forget questions to workers of before a time, with their answers; gives how many."""
        values = {"before": uuid7(int(before.timestamp() * 1000), bytes(10)), "most": most}
        async with self._database.statement() as connection:
            return (await connection.execute(SQL["forget_inquiries"], values)).rowcount

    async def _rows(self, statement: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        async with self._database.statement() as connection:
            return await (await connection.execute(SQL[statement], values)).fetchall()


def _story(message_id: UUID, read_at: datetime, message: dict[str, Any], *rest: list[dict[str, Any]]) -> Story:
    kinds = zip(("recipient", "attempt", "event"), rest, strict=True)
    rows = [("message", message), *((kind, row) for kind, rows in kinds for row in rows)]
    return Story(message_id, read_at, tuple(rows))
