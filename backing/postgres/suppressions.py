"""The suppression lists in PostgreSQL."""

import sys
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from backing.postgres.pool import Connection, Database
from backing.postgres.sql import statements
from mail.accounts import Suppression, address_key

SQL = statements(__file__)
# Since when, which address, in which stream.
Place = tuple[datetime, str, str]


@dataclass(frozen=True, slots=True)
class Hashes:
    """Address hashes of one account.

    Attributes:
        values: signed 64-bit numbers; a whole list has them in order.
        since: the snapshot they were read in; gives what came later.
    """

    values: "array[int]"
    since: str


class Suppressions:
    """Reads suppression lists."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def hashes(self, account_id: UUID, most: int) -> Hashes:
        """Give the hashes of an account's list, in order, at most so many.

        Raises:
            Unavailable: the database did not answer.
        """
        async with self._database.statement() as connection:
            cursor = connection.cursor(binary=True)
            await cursor.execute(SQL["hashes"], {"account_id": account_id, "most": most})
            row = await cursor.fetchone()
        assert row  # noqa: S101 - an aggregate gives one row
        return Hashes(_numbers(row[0]), row[1])

    async def later_hashes(self, account_id: UUID, since: str, most: int) -> Hashes | None:
        """Give the hashes that came after `since`; None where the whole list needs to be read again.

        Raises:
            Unavailable: the database did not answer.
        """
        async with self._database.statement() as connection:
            cursor = connection.cursor(binary=True)
            values = {"account_id": account_id, "since": since, "most": most}
            await cursor.execute(SQL["later_hashes"], values)
            row = await cursor.fetchone()
        if row is None or row[0] is None:
            return None
        found = _numbers(row[0])
        return Hashes(found, row[1]) if len(found) < most else None

    async def find(self, account_id: UUID, address: str) -> Suppression | None:
        """Give what is known about an address that is suppressed now, for every stream, or None.

        Raises:
            Unavailable: the database did not answer.
        """
        async with self._database.statement() as connection:
            cursor = connection.cursor(row_factory=class_row(Suppression))
            values = {"account_id": account_id, "address": address_key(address)}
            return await (await cursor.execute(SQL["find"], values)).fetchone()

    async def suppressed(self, account_id: UUID, stream: str, addresses: Sequence[str]) -> dict[str, Suppression]:
        """Give those of some addresses that are suppressed now, for one stream or for all, by the address as given.

        Raises:
            Unavailable: the database did not answer.
        """
        keys = {address: address_key(address) for address in addresses}
        async with self._database.statement() as connection:
            cursor = connection.cursor(row_factory=class_row(Suppression))
            values = {"account_id": account_id, "stream": stream, "addresses": sorted(set(keys.values()))}
            found = {one.address: one for one in await (await cursor.execute(SQL["suppressed"], values)).fetchall()}
        return {address: found[key] for address, key in keys.items() if key in found}


async def add(connection: Connection, account_id: UUID, several: Iterable[Suppression]) -> None:
    """Suppress addresses; what is said last about one counts."""
    await add_all(connection, [(account_id, suppression) for suppression in several])


async def add_all(connection: Connection, several: Iterable[tuple[UUID, Suppression]]) -> None:
    """Suppress addresses of accounts; what is said last about one counts, and an account that is no more has no list.

    A hard bounce is not taken back by mail that gets through later: the operator takes an address off the list.
    """
    rows = {
        (account_id, address_key(suppression.address), suppression.stream): {
            "account_id": str(account_id),
            "address": address_key(suppression.address),
            "stream": suppression.stream,
            "reason": suppression.reason,
            "source": suppression.source,
            "until": suppression.until.isoformat() if suppression.until else None,
        }
        for account_id, suppression in several
    }
    if rows:
        await connection.execute(SQL["add"], {"several": Jsonb(list(rows.values()))})


async def remove(connection: Connection, account_id: UUID, address: str, stream: str | None = None) -> bool:
    """Suppress an address no more, in one stream or, for None, altogether; whether it was."""
    values = {"account_id": account_id, "address": address_key(address), "stream": stream}
    return (await connection.execute(SQL["remove"], values)).rowcount > 0


async def newest(connection: Connection, account_id: UUID, most: int, before: Place | None = None) -> list[Suppression]:
    """Give an account's list, the newest first, at most so many, from behind a place in it."""
    at, address, stream = before or (None, "", "")
    place = {"before": at, "before_address": address, "before_stream": stream}
    cursor = connection.cursor(row_factory=class_row(Suppression))
    return await (await cursor.execute(SQL["list"], {"account_id": account_id, "most": most} | place)).fetchall()


async def by_address(
    connection: Connection, account_id: UUID, most: int, after: Suppression | None = None
) -> list[Suppression]:
    """Give an account's list in the order of addresses, at most so many, from behind one of them."""
    place = {"after_address": after.address if after else "", "after_stream": after.stream if after else ""}
    cursor = connection.cursor(row_factory=class_row(Suppression))
    return await (await cursor.execute(SQL["export"], {"account_id": account_id, "most": most} | place)).fetchall()


def _numbers(octets: bytes) -> "array[int]":
    values = array("q", octets)
    if sys.byteorder == "little":
        values.byteswap()
    return values
