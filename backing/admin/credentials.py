"""What an operator does to credentials: make them, list them, revoke them."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from psycopg.rows import dict_row

from backing.admin.desk import AdminError, Conflict, Desk, NotFound, account_id, row
from backing.admin.parts import WHOLE, Part
from backing.ids import new_id, new_secret, now
from backing.passwords import password_hash
from backing.postgres.accounts import SQL
from backing.postgres.pool import Connection
from mail.accounts import Network, secret_digest

OVERLAP: Final = timedelta(days=1)
# Each that somebody chose costs a slow hash of every wrong guess; with these, a refusal takes no longer than others.
MOST_FORMER: Final = 2


@dataclass(frozen=True, slots=True)
class NewCredential:
    """A credential to be made.

    Attributes:
        username: None for one made from the account's name.
        password: one that somebody chose; None for a generated one.
        networks: where it may be used from; empty is anywhere.
        certificate_name: name in the client certificate that may sign in as it.
        certificate_only: whether it has no password at all.
        expires_at: when it signs in no more; None is never.
    """

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    networks: tuple[Network, ...] = ()
    certificate_name: str | None = None
    certificate_only: bool = False
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class IssuedCredential:
    """A credential as it is shown, once; only its digest is kept. `secret` is None where we did not make it."""

    account: str
    username: str
    secret: str | None = field(repr=False)


class Credentials:
    """An operator's changes to credentials."""

    def __init__(self, desk: Desk, credential_key: bytes) -> None:
        self._desk = desk
        self._key = credential_key

    async def create(self, account: str, new: NewCredential) -> IssuedCredential:
        """Give an account another credential.

        Raises:
            AdminError: there is no such account, or a name is taken.
        """
        async with self._desk.transaction() as connection:
            issued = await self.issue(connection, await account_id(connection, account), account, new)
            self._desk.about(issued.username)
        return issued

    async def issue(
        self, connection: Connection, account_id: UUID, account: str, new: NewCredential
    ) -> IssuedCredential:
        """Make a credential inside a transaction."""
        if new.expires_at is not None and new.expires_at <= now():
            raise AdminError(f"{new.expires_at.isoformat()} is over; a credential ends in the future")
        name = new.username or f"{account}-{new_id().hex[-8:]}"
        secret = None if new.certificate_only or new.password is not None else new_secret()
        values: dict[str, Any] = {
            "id": new_id(),
            "account_id": account_id,
            "username": name,
            "networks": [str(network) for network in new.networks],
            "certificate_name": new.certificate_name.lower() if new.certificate_name else None,
            "ends_at": new.expires_at,
        }
        await connection.execute(SQL["create_credential"], values | self._kept(name, secret, new.password))
        return IssuedCredential(account, name, secret)

    async def rotate(
        self, username: str, account: str | None = None, overlap: timedelta = OVERLAP, password: str | None = None
    ) -> IssuedCredential:
        """Give a credential another password; for a while the one before is good as well.

        Args:
            username: whose.
            account: one of its own, if given.
            overlap: how long all passwords of before stay good, at most; none of it ends the sessions that they have.
            password: one that somebody chose; None for a generated one.

        Raises:
            AdminError: there is no valid one of this name, it has no password, or too many of before are good still.
        """
        seconds = overlap.total_seconds()
        async with self._desk.transaction() as connection:
            owner = await account_id(connection, account) if account is not None else None
            found = await row(connection, "lock_credential", {"username": username, "account_id": owner})
            if found is None:
                raise _no_credential(username)
            made, owner, has_password, former, name = found
            if not has_password:
                raise Conflict(f"{username!r} has no password, only a certificate signs in as it")
            if former >= MOST_FORMER and seconds > 0:
                raise Conflict(f"{former} passwords of before are good still; wait, or rotate without an overlap")
            secret = new_secret() if password is None else None
            values = {"id": made, "account_id": owner, "overlap": seconds, **self._kept(username, secret, password)}
            for statement in ("end_formers", "shorten_formers", "keep_former", "change_password"):
                await connection.execute(SQL[statement], values)
        self._desk.changed("credential", username)
        return IssuedCredential(name, username, secret)

    def _kept(self, username: str, secret: str | None, password: str | None) -> dict[str, Any]:
        """What is kept of a password, generated or chosen."""
        return {
            "digest": secret_digest(self._key, username, secret) if secret is not None else None,
            "password_hash": password_hash(password) if password is not None else None,
        }

    async def of(self, account: str, part: Part = WHOLE) -> list[dict[str, Any]]:
        """All credentials of an account, or a part of them, by name, without their secrets.

        Raises:
            AdminError: there is no such account.
        """
        async with self._desk.transaction() as connection, connection.cursor(row_factory=dict_row) as cursor:
            values = {"account_id": await account_id(connection, account)} | part.values("after")
            return await (await cursor.execute(SQL["list_credentials"], values)).fetchall()

    async def revoke(self, username: str, account: str | None = None) -> None:
        """Let a credential sign in no more; given an account, one of its own.

        Raises:
            AdminError: there is no valid one of this name.
        """
        async with self._desk.transaction() as connection:
            owner = await account_id(connection, account) if account is not None else None
            values = {"username": username, "account_id": owner}
            found = await (await connection.execute(SQL["revoke_credential"], values)).fetchone()
            if found is None:
                raise _no_credential(username)
            self._desk.concerns(found[0])
        self._desk.changed("credential", username)


def _no_credential(username: str) -> NotFound:
    return NotFound(f"there is no valid credential {username!r}", "`credential list` shows those there are")
