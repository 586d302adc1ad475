"""What an operator does to credentials: make them, list them, revoke them."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from psycopg.rows import dict_row

from backing.admin.desk import Desk, NotFound, account_id
from backing.ids import new_id, new_secret
from backing.passwords import password_hash
from backing.postgres.accounts import SQL
from backing.postgres.pool import Connection
from mail.accounts import Network, secret_digest


@dataclass(frozen=True, slots=True)
class NewCredential:
    """A credential to be made.

    Attributes:
        username: None for one made from the account's name.
        password: one that somebody chose; None for a generated one.
        networks: where it may be used from; empty is anywhere.
        certificate_name: name in the client certificate that may sign in as it.
        certificate_only: whether it has no password at all.
    """

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    networks: tuple[Network, ...] = ()
    certificate_name: str | None = None
    certificate_only: bool = False


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
            return await self.issue(connection, await account_id(connection, account), account, new)

    async def issue(
        self, connection: Connection, account_id: UUID, account: str, new: NewCredential
    ) -> IssuedCredential:
        """Make a credential inside a transaction."""
        name = new.username or f"{account}-{new_id().hex[-8:]}"
        values: dict[str, Any] = {
            "id": new_id(),
            "account_id": account_id,
            "username": name,
            "digest": None,
            "password_hash": None,
            "networks": [str(network) for network in new.networks],
            "certificate_name": new.certificate_name.lower() if new.certificate_name else None,
        }
        secret = None
        if new.password is not None:
            values["password_hash"] = password_hash(new.password)
        elif not new.certificate_only:
            secret = new_secret()
            values["digest"] = secret_digest(self._key, name, secret)
        await connection.execute(SQL["create_credential"], values)
        return IssuedCredential(account, name, secret)

    async def of(self, account: str) -> list[dict[str, Any]]:
        """All credentials of an account, by name, without their secrets.

        Raises:
            AdminError: there is no such account.
        """
        async with self._desk.transaction() as connection, connection.cursor(row_factory=dict_row) as cursor:
            values = {"account_id": await account_id(connection, account)}
            return await (await cursor.execute(SQL["list_credentials"], values)).fetchall()

    async def revoke(self, username: str, account: str | None = None) -> None:
        """Let a credential sign in no more; given an account, one of its own.

        Raises:
            AdminError: there is no valid one of this name.
        """
        async with self._desk.transaction() as connection:
            owner = await account_id(connection, account) if account is not None else None
            values = {"username": username, "account_id": owner}
            if (await connection.execute(SQL["revoke_credential"], values)).rowcount == 0:
                raise NotFound(f"there is no valid credential {username!r}", "`credential list` shows those there are")
        self._desk.changed("credential", username)
