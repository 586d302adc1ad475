"""Where an operator's changes are made: one transaction each, and afterwards the notices that relays wait for."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Protocol
from uuid import UUID

from psycopg import errors as sql_errors

from backing.notices import Kind, Notice
from backing.postgres import audit
from backing.postgres.accounts import SQL
from backing.postgres.audit import Deed
from backing.postgres.pool import Connection

# Why, and what to do at the operator's command.
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
    """What was asked for cannot be done; says why and what to do.

    Attributes:
        why: the same without what to do at the operator's command, for those who use another door.
    """

    def __init__(self, why: str, hint: str = "") -> None:
        self.why = why
        super().__init__(f"{why}; {hint}" if hint else why)


class NotFound(AdminError):  # noqa: N818 - reads as a sentence where it is raised
    """What is to be changed or shown is not there, or is another account's."""


class Conflict(AdminError):  # noqa: N818 - reads as a sentence where it is raised
    """It cannot be done as things stand; it is refused by what is there, not by what was asked for."""


class Lender(Protocol):
    """Lends transactions: `backing.postgres.pool.Database`, or what chooses among several."""

    def transaction(self) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection for one. Raises `Unavailable`."""


class Desk:
    """Lends transactions, and keeps what relays need to know of them.

    Args:
        database: where they are made.
        deed: what is noted in the audit log, in each transaction that changes something.

    Attributes:
        notices: what has changed.
    """

    def __init__(self, database: Lender, deed: Deed | None = None) -> None:
        self._database = database
        self._deed = deed
        self._joined: Connection | None = None
        self.notices: list[Notice] = []

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection for one transaction, or for a part of the one that a block `together` is.

        Raises:
            AdminError: the schema refuses what was written, for a name that is taken or malformed.
        """
        if self._joined:
            yield self._joined
            return
        try:
            async with self._database.transaction() as connection:
                yield connection
                if self._deed:
                    await audit.note(connection, self._deed)
        except sql_errors.IntegrityError as error:
            name = error.diag.constraint_name or ""
            words = _CONSTRAINTS.get(name, f"PostgreSQL refuses it: {error.diag.message_primary}")
            kind = Conflict if isinstance(error, sql_errors.UniqueViolation) else AdminError
            raise kind(*words.split("; ", 1)) from None
        except sql_errors.DataError:
            raise AdminError("PostgreSQL cannot keep it: a text has U+0000, or a number is too large") from None

    @asynccontextmanager
    async def together(self) -> AsyncIterator[None]:
        """Let all that is done in a block be one transaction, of one moment: what was read there is so when it writes.

        Raises:
            AdminError: as `transaction`; or what is to be changed was changed by somebody else meanwhile.
        """
        async with self.transaction() as connection:
            await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            self._joined = connection
            try:
                yield
            except sql_errors.SerializationFailure:
                raise Conflict("somebody else changed it at this moment; read it again") from None
            finally:
                self._joined = None

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
    raise NotFound(f"there is no account {name!r}", "`account list` shows those there are")


async def row(connection: Connection, statement: str, values: dict[str, Any]) -> Any:
    """Give the first row of a statement, or None."""
    return await (await connection.execute(SQL[statement], values)).fetchone()
