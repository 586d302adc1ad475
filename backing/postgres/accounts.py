"""Accounts, credentials and providers in PostgreSQL."""

from collections.abc import Mapping, Sequence
from typing import Any, LiteralString

from psycopg.rows import dict_row

from backing.postgres.pool import Database
from backing.postgres.sql import statements
from mail.accounts import Account, ChosenSecret, Credential, GeneratedSecret, quotas_of

SQL = statements(__file__)


class Accounts:
    """Finds credentials; a revoked one, or one of a disabled account, is none."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def __call__(self, username: str, /) -> Credential | None:
        """Give the credential that signs in under a name, or None.

        Raises:
            Unavailable: the database did not answer, so nothing is known about the credential.
        """
        return await self._find(SQL["find_credential"], {"username": username})

    async def certified(self, names: Sequence[str], /) -> Credential | None:
        """Give the credential whose certificate name comes first among these, or None.

        Raises:
            Unavailable: as above.
        """
        return await self._find(SQL["find_certified"], {"names": list(names)})

    async def named(self, name: str, /) -> Account | None:
        """Give the account with a name, or None; a disabled one is none.

        Raises:
            Unavailable: as above.
        """
        async with self._database.transaction() as connection, connection.cursor(row_factory=dict_row) as cursor:
            row = await (await cursor.execute(SQL["account_named"], {"name": name})).fetchone()
        return _account(row) if row else None

    async def _find(self, statement: LiteralString, values: Mapping[str, Any]) -> Credential | None:
        async with (
            self._database.statement() as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            row = await (await cursor.execute(statement, values)).fetchone()
        return _credential(row) if row else None


def _credential(row: Mapping[str, Any]) -> Credential:
    secret: GeneratedSecret | ChosenSecret | None = None
    if row["digest"] is not None:
        secret = GeneratedSecret(bytes(row["digest"]))
    elif row["password_hash"] is not None:
        secret = ChosenSecret(row["password_hash"])
    networks = tuple(row["networks"])
    return Credential(row["id"], row["username"], secret, _account(row), networks, row["certificate_name"])


def _account(row: Mapping[str, Any]) -> Account:
    return Account(
        id=row["account_id"],
        name=row["account_name"],
        allowed_domains=frozenset(row["allowed_domains"]),
        check_from=row["check_from"],
        repair_line_ends=row["repair_line_ends"],
        max_sessions=row["max_sessions"],
        quotas=quotas_of(row["quotas"]),
    )
