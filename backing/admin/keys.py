"""What is done to keys of the HTTP API: make them, list them, exchange them, revoke them."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from psycopg.rows import dict_row

from backing.admin.desk import AdminError, Desk, NotFound, account_id
from backing.admin.parts import WHOLE, Part
from backing.ids import new_id, new_octets, new_secret
from backing.postgres.keys import SQL
from backing.postgres.pool import Connection
from mail.keys import PREFIX_LETTERS, key_digest, scopes_of, token_text

OVERLAP: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to be made.

    Attributes:
        scopes: what it may do; none is all that it can.
        rate_per_minute: None is the API's own limit.
    """

    name: str
    scopes: Sequence[str] = ()
    rate_per_minute: int | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A key as it is shown, once; only its digest is kept."""

    id: UUID
    prefix: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a key may do, and until when; None is for ever."""

    scopes: frozenset[str]
    expires_at: datetime | None


class ApiKeys:
    """Changes to the keys of accounts, and to those of operators, which have no account."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def create(self, account: str | None, new: NewKey) -> IssuedKey:
        """Make a key.

        Raises:
            AdminError: there is no such account, or a scope is none for it.
        """
        try:
            scopes = scopes_of(tuple(new.scopes), of_operator=account is None)
        except ValueError as fault:
            raise AdminError(str(fault)) from None
        async with self._desk.transaction() as connection:
            issued = await _issue(connection, await _owner(connection, account), new, scopes)
            self._desk.about(f"{issued.prefix} {new.name}")
        return issued

    async def of(self, account: str | None, part: Part = WHOLE) -> list[dict[str, Any]]:
        """All keys of an account or of operators, or a part of them, the oldest first, without their secrets.

        Raises:
            AdminError: there is no such account.
        """
        async with self._desk.transaction() as connection, connection.cursor(row_factory=dict_row) as cursor:
            values = {"account_id": await _owner(connection, account)} | part.values("after")
            return await (await cursor.execute(SQL["list_keys"], values)).fetchall()

    async def terms(self, account: str | None, prefix: str) -> Terms:
        """What a valid key may do, and until when.

        Raises:
            AdminError: as `rotate`.
        """
        async with self._desk.transaction() as connection:
            found = await _valid(connection, await _owner(connection, account), prefix)
        return Terms(frozenset(found["scopes"]), found["expires_at"])

    async def rotate(self, account: str | None, prefix: str, overlap: timedelta = OVERLAP) -> IssuedKey:
        """Make a key that takes the place of another, and ends when that would have; both work for a while.

        Raises:
            AdminError: there is no such account or valid key.
        """
        async with self._desk.transaction() as connection:
            owner = await _owner(connection, account)
            old = await _valid(connection, owner, prefix)
            new = NewKey(old["name"], (), old["rate_per_minute"], old["expires_at"])
            await connection.execute(SQL["expire_key"], {"id": old["id"], "overlap": overlap.total_seconds()})
            issued = await _issue(connection, owner, new, old["scopes"])
            self._desk.about(f"{prefix} to {issued.prefix} {new.name}")
        return issued

    async def revoke(self, account: str | None, prefix: str) -> None:
        """Let a key be used no more.

        Raises:
            AdminError: as `rotate`.
        """
        async with self._desk.transaction() as connection:
            values = {"account_id": await _owner(connection, account), "prefix": prefix}
            if (await connection.execute(SQL["revoke_key"], values)).rowcount == 0:
                raise _no_key(prefix)


async def _valid(connection: Connection, owner: UUID | None, prefix: str) -> dict[str, Any]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(SQL["lock_key"], {"account_id": owner, "prefix": prefix})
        found = await cursor.fetchone()
    if found is None:
        raise _no_key(prefix)
    return found


async def _issue(connection: Connection, owner: UUID | None, new: NewKey, scopes: Sequence[str]) -> IssuedKey:
    made, secret = new_id(), new_secret()
    prefix = base64.b32encode(new_octets(PREFIX_LETTERS)).decode().lower()[:PREFIX_LETTERS]
    values = {
        "id": made,
        "account_id": owner,
        "name": new.name,
        "prefix": prefix,
        "digest": key_digest(secret),
        "scopes": list(scopes),
        "rate_per_minute": new.rate_per_minute,
        "expires_at": new.expires_at,
    }
    await connection.execute(SQL["create_key"], values)
    return IssuedKey(made, prefix, token_text(prefix, secret))


async def _owner(connection: Connection, account: str | None) -> UUID | None:
    return await account_id(connection, account) if account is not None else None


def _no_key(prefix: str) -> NotFound:
    return NotFound(f"there is no valid key {prefix!r}", "`key list` shows those there are")
