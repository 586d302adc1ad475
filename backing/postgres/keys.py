"""Keys of the HTTP API in PostgreSQL."""

from psycopg.rows import dict_row

from backing.postgres.pool import Database
from backing.postgres.sql import statements
from mail.keys import ApiKey

SQL = statements(__file__)


class Keys:
    """Finds keys; a revoked or expired one, or one of a disabled account, is none."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, prefix: str) -> ApiKey | None:
        """Give the key with a prefix, or None.

        Raises:
            Unavailable: the database did not answer, so nothing is known about the key.
        """
        async with self._database.transaction() as connection, connection.cursor(row_factory=dict_row) as cursor:
            row = await (await cursor.execute(SQL["find_key"], {"prefix": prefix})).fetchone()
        if row is None:
            return None
        return ApiKey(
            id=row["id"],
            prefix=row["prefix"],
            name=row["name"],
            digest=bytes(row["digest"]),
            account_id=row["account_id"],
            account=row["account"],
            scopes=frozenset(row["scopes"]),
            per_minute=row["rate_per_minute"],
            expires_at=row["expires_at"],
        )

    async def used(self, key: ApiKey) -> None:
        """Note, to the minute, that a key was used.

        Raises:
            Unavailable: as `find`.
        """
        async with self._database.transaction() as connection:
            await connection.execute(SQL["use_key"], {"id": key.id})
