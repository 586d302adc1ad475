"""Accounts, credentials and providers in PostgreSQL."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, LiteralString
from uuid import UUID

from psycopg.rows import dict_row

from backing.postgres.pool import Database
from backing.postgres.sql import statements
from mail.accounts import Account, ChosenSecret, Credential, Former, GeneratedSecret, Secret, quotas_of

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

    async def note_uses(self, used: Mapping[UUID, datetime], /) -> None:
        """Note, to the minute, when credentials were used last.

        Raises:
            Unavailable: as above.
        """
        async with self._database.statement() as connection:
            await connection.execute(SQL["note_uses"], {"ids": list(used), "times": list(used.values())})

    async def _find(self, statement: LiteralString, values: Mapping[str, Any]) -> Credential | None:
        async with (
            self._database.statement() as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            row = await (await cursor.execute(statement, values)).fetchone()
        return _credential(row) if row else None


def _credential(row: Mapping[str, Any]) -> Credential:
    ends: datetime | None = row["ends_at"]
    return Credential(
        id=row["id"],
        username=row["username"],
        secret=_secret(row["digest"], row["password_hash"]),
        account=_account(row),
        networks=tuple(row["networks"]),
        certificate_name=row["certificate_name"],
        expires_at=ends.astimezone(UTC) if ends else None,
        former=tuple(_formers(row["former"] or ())),
    )


def _secret(digest: bytes | None, phc: str | None) -> Secret | None:
    if digest is not None:
        return GeneratedSecret(bytes(digest))
    return ChosenSecret(phc) if phc is not None else None


def _formers(rows: Iterable[Mapping[str, Any]]) -> Iterator[Former]:
    for row in rows:
        secret = _secret(bytes.fromhex(row["digest"]) if row["digest"] else None, row["hash"])
        if secret:
            yield Former(secret, datetime.fromisoformat(row["until"]))


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
