"""The audit log: who changed what, written in the transaction of the change."""

from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from backing.ids import new_id
from backing.postgres.pool import Connection
from backing.postgres.sql import statements

SQL = statements(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """A change as it is noted.

    Attributes:
        account: name of the account whose things are changed, or None.
        actor: who does it.
        action: as in message.cancel.
        subject: the id or name of what is changed.
        request: correlation id.
        peer: address that it comes from.
    """

    account: str | None
    actor: str
    action: str
    subject: str
    request: str
    peer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """A change as it was noted."""

    id: UUID
    at: datetime
    account: str | None
    actor: str
    action: str
    subject: str
    request: str
    peer: str


async def note(connection: Connection, deed: Deed, account_id: UUID | None = None) -> None:
    """Note a change at the end of its transaction; one that changed nothing is none.

    Args:
        connection: in that transaction.
        deed: what was done.
        account_id: whose things were changed, where the deed names no account, or one that is gone by now.
    """
    row = await (await connection.execute(SQL["changed"])).fetchone()
    if row and row[0]:
        await connection.execute(SQL["note"], asdict(deed) | {"id": new_id(), "account_id": account_id})


async def newest(connection: Connection, account_id: UUID | None, before: UUID | None, most: int) -> list[Noted]:
    """Give what was noted of an account, or of all, the newest first; from before one on."""
    async with connection.cursor(row_factory=class_row(Noted)) as cursor:
        values = {"account_id": account_id, "before": before, "most": most}
        return await (await cursor.execute(SQL["list"], values)).fetchall()
