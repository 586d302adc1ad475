"""What is read of the audit log, and noted in it of changes that are made outside of PostgreSQL."""

from uuid import UUID

from backing.admin.desk import Desk, account_id
from backing.postgres import audit
from backing.postgres.audit import Deed, Noted


class Audit:
    """The audit log."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def newest(self, account: str | None, before: UUID | None, most: int) -> list[Noted]:
        """Give what was noted of an account, or of all, the newest first; from before one on.

        Raises:
            AdminError: there is no such account.
        """
        async with self._desk.transaction() as connection:
            owner = await account_id(connection, account) if account is not None else None
            return await audit.newest(connection, owner, before, most)

    async def note(self, deed: Deed, owner: UUID | None = None) -> None:
        """Note a change that is about to be made elsewhere; `owner` is whose, where the deed names no account."""
        async with self._desk.transaction() as connection:
            await connection.execute("SELECT pg_current_xact_id()")
            await audit.note(connection, deed, owner)
