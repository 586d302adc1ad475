"""Where an operator's changes are made: one transaction each, and afterwards the notices that relays wait for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import UUID

from psycopg import errors as sql_errors

from backing.notices import Kind, Notice
from backing.postgres.accounts import SQL
from backing.postgres.pool import Connection, Database

_CONSTRAINTS: Final = {
    "account_name_key": "an account of this name exists; choose another, or use `credential create`",
    "credential_username_key": "this user name is taken; user names are unique over all accounts",
    "credential_certificate": "another credential has this certificate name; revoke that one first",
    "account_name_check": "an account name has small letters, digits and dashes, 63 at most",
    "routing_rule_account_id_name_key": "a rule of this name exists; choose another, or use `rule set`",
    "provider_account_id_name_key": "a provider of this name exists; choose another, or use `provider set`",
    "provider_name_check": "a provider name has small letters, digits and dashes, 63 at most",
    "credential_username_check": "a user name has letters, digits and @ . _ - and begins with a letter or digit",
}


class AdminError(Exception):
    """What was asked for cannot be done; says why and what to do."""


class Desk:
    """Lends transactions, and keeps what relays need to know of them.

    Attributes:
        notices: what has changed.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.notices: list[Notice] = []

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection for one transaction.

        Raises:
            AdminError: the schema refuses what was written, for a name that is taken or malformed.
        """
        try:
            async with self._database.transaction() as connection:
                yield connection
        except sql_errors.IntegrityError as error:
            name = error.diag.constraint_name or ""
            raise AdminError(_CONSTRAINTS.get(name, f"PostgreSQL refuses it: {error.diag.message_primary}")) from None

    def changed(self, kind: Kind, subject: object) -> None:
        """Note what relays need to know once it is committed."""
        self.notices.append(Notice(kind, str(subject)))


async def account_id(connection: Connection, name: str) -> UUID:
    """Find an account by its name.

    Raises:
        AdminError: there is none.
    """
    found: UUID = (await row(connection, "find_account", {"name": name}) or no_account(name))[0]
    return found


def no_account(name: str) -> Any:
    """Say that there is no such account."""
    raise AdminError(f"there is no account {name!r}; `account list` shows those there are")


async def row(connection: Connection, statement: str, values: dict[str, Any]) -> Any:
    """Give the first row of a statement, or None."""
    return await (await connection.execute(SQL[statement], values)).fetchone()
