"""Where an operator's changes are made: one transaction each, and afterwards the notices that relays wait for."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
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
    "api_key_expires_at_check": "a key ends between the years 1970 and 9000",
    "suppression_expires_at_check": "a suppression ends between the years 1970 and 9000",
}
# What psycopg says of a text that it does not send; all else without a state of SQL is what it cannot read.
_NOT_SENT: Final = "cannot contain NUL"
_NO_TEXT: Final = "PostgreSQL cannot keep it: a text has U+0000, or a number is too large"


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


class TooOften(AdminError):  # noqa: N818 - as above
    """It was done too often of late.

    Attributes:
        seconds: after which it can be done again.
    """

    def __init__(self, why: str, hint: str, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(why, hint)


class Lender(Protocol):
    """Lends transactions: `backing.postgres.pool.Database`, or what chooses among several."""

    def transaction(self) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection for one. Raises `Unavailable`."""

    def statement(self) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection for statements that are each for itself. Raises `Unavailable`."""


class Desk:
    """Lends transactions, and keeps what relays need to know of them.

    Args:
        database: where they are made.
        deed: what is noted in the audit log, in each transaction that changes something.

    Attributes:
        deed: the same.
        notices: what has changed.
    """

    def __init__(self, database: Lender, deed: Deed | None = None) -> None:
        self._database = database
        self.deed = deed
        self._owner: UUID | None = None
        self._joined: Connection | None = None
        self.notices: list[Notice] = []

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection for one transaction, or for a part of the one that a block `together` is.

        Raises:
            AdminError: the schema refuses what was written, for a name that is taken or malformed.
            psycopg.DataError: what was read cannot be; whoever asked can do nothing about it.
        """
        if self._joined:
            yield self._joined
            return
        try:
            async with self._database.transaction() as connection:
                yield connection
                if self.deed:
                    await audit.note(connection, self.deed, self._owner)
        except sql_errors.IntegrityError as error:
            name = error.diag.constraint_name or ""
            words = _CONSTRAINTS.get(name, f"PostgreSQL refuses it: {error.diag.message_primary}")
            kind = Conflict if isinstance(error, sql_errors.UniqueViolation) else AdminError
            raise kind(*words.split("; ", 1)) from None
        except sql_errors.DataError as error:
            raise _told(error) from None

    @asynccontextmanager
    async def question(self) -> AsyncIterator[Connection]:
        """Lend a connection to read, each statement as of its own moment; without the round trips of a transaction.

        Raises:
            AdminError: what is asked with is nothing that PostgreSQL knows.
            psycopg.DataError: as `transaction`.
        """
        if self._joined:
            yield self._joined
            return
        try:
            async with self._database.statement() as connection:
                yield connection
        except sql_errors.DataError as error:
            raise _told(error) from None

    @asynccontextmanager
    async def together(self, *, steady: bool = True) -> AsyncIterator[None]:
        """Let all that is done in a block be one transaction.

        Args:
            steady: of one moment, too: what was read there is so when it writes.

        Raises:
            AdminError: as `transaction`; or what is to be changed was changed by somebody else meanwhile.
        """
        async with self.transaction() as connection:
            if steady:
                await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            self._joined = connection
            try:
                yield
            except sql_errors.SerializationFailure:
                raise Conflict("somebody else changed it at this moment; read it again") from None
            finally:
                self._joined = None

    def about(self, subject: str) -> None:
        """Say what the deed was done to, where that has a name only since it is made."""
        if self.deed:
            self.deed = replace(self.deed, subject=subject)

    def concerns(self, owner: UUID | None) -> None:
        """Say whose things are changed, where the deed cannot name the account: an operator names a message alone."""
        self._owner = owner

    def changed(self, kind: Kind, subject: object) -> None:
        """Note what relays need to know once it is committed."""
        self.notices.append(Notice(kind, str(subject)))


def _told(error: sql_errors.DataError) -> Exception:
    """Give what is said of a value that PostgreSQL cannot keep; what it cannot read is nobody's fault who asks."""
    return error if error.sqlstate is None and _NOT_SENT not in str(error) else AdminError(_NO_TEXT)


async def account_id(connection: Connection, name: str) -> UUID:
    """Find an account by its name.

    Raises:
        AdminError: there is none.
    """
    found: UUID = (await row(connection, "find_account", {"name": name}) or no_account(name))[0]
    return found


def no_provider(account: str | None, name: str) -> Any:
    """Say that there is no such provider."""
    whose = "shared by all accounts; --account NAME means one of an account" if account is None else f"of {account}"
    raise NotFound(f"there is no provider {name!r} {whose}", "`provider list` shows those there are")


def no_account(name: str) -> Any:
    """Say that there is no such account."""
    raise NotFound(f"there is no account {name!r}", "`account list` shows those there are")


async def row(connection: Connection, statement: str, values: dict[str, Any]) -> Any:
    """Give the first row of a statement, or None."""
    return await (await connection.execute(SQL[statement], values)).fetchone()
