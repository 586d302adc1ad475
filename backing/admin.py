"""What an operator does to accounts: create them with their first credential and provider, list, disable, revoke."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from psycopg import errors as sql_errors
from psycopg.types.json import Jsonb

from backing.ids import new_id, new_secret
from backing.postgres.accounts import SQL
from backing.postgres.pool import Connection, Database
from backing.secrets import Vault
from mail.accounts import secret_digest
from mail.addresses import parse_domain
from mail.delivery import OnUnknown
from mail.errors import Refused


class AdminError(Exception):
    """What was asked for cannot be done; says why and what to do."""


@dataclass(frozen=True, slots=True)
class NewProvider:
    """A provider to be made: its kind, its settings without secrets, and its secret."""

    name: str
    kind: str
    config: dict[str, Any]
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class NewAccount:
    """An account to be made; `provider` is one to make with it, or the name of one that is shared."""

    name: str
    allowed_domains: tuple[str, ...]
    provider: NewProvider | str
    username: str | None = None
    on_unknown: OnUnknown = OnUnknown.RESEND


@dataclass(frozen=True, slots=True)
class IssuedCredential:
    """A credential as it is shown, once; only its digest is kept."""

    account: str
    username: str
    secret: str = field(repr=False)


def sender_domains(texts: tuple[str, ...]) -> list[str]:
    """Check the domains an account may send from; `*.example.com` stands for every name below example.com.

    Raises:
        AdminError: naming the domain that is none.
    """
    domains: list[str] = []
    for text in texts:
        wildcard, name = ("*.", text[2:]) if text.startswith("*.") else ("", text)
        try:
            domains.append(wildcard + parse_domain(name))
        except Refused as refused:
            raise AdminError(f"{text!r} is not a domain: {refused.reply.text}") from None
    return sorted(set(domains))


class Admin:
    """An operator's changes to accounts, each in one transaction."""

    def __init__(self, database: Database, vault: Vault, credential_key: bytes) -> None:
        self._database = database
        self._vault = vault
        self._key = credential_key

    async def create_account(self, new: NewAccount) -> IssuedCredential:
        """Make an account, its default provider and its first credential.

        Raises:
            AdminError: a name is taken or malformed, or the provider does not exist.
        """
        domains, account_id = sender_domains(new.allowed_domains), new_id()
        row = {"id": account_id, "name": new.name, "allowed_domains": domains, "on_unknown": new.on_unknown}
        try:
            async with self._database.transaction() as connection:
                await connection.execute(SQL["create_account"], row)
                await self._set_provider(connection, account_id, new.provider)
                return await self._credential(connection, account_id, new.name, new.username)
        except sql_errors.IntegrityError as error:
            raise _explained(error) from None

    async def set_provider(self, account: str, provider: NewProvider | str) -> None:
        """Give an account another default provider, or its provider other settings.

        Raises:
            AdminError: there is no such account or provider.
        """
        async with self._database.transaction() as connection:
            await self._set_provider(connection, await self._account(connection, account), provider)

    async def create_credential(self, account: str, username: str | None) -> IssuedCredential:
        """Give an account another credential.

        Raises:
            AdminError: there is no such account, or the name is taken.
        """
        try:
            async with self._database.transaction() as connection:
                account_id = await self._account(connection, account)
                return await self._credential(connection, account_id, account, username)
        except sql_errors.IntegrityError as error:
            raise _explained(error) from None

    async def accounts(self) -> list[dict[str, Any]]:
        """All accounts, by name."""
        async with self._database.transaction() as connection:
            rows = await (await connection.execute(SQL["list_accounts"])).fetchall()
        keys = ("name", "allowed_domains", "provider", "disabled", "credentials")
        return [dict(zip(keys, row, strict=True)) for row in rows]

    async def disable_account(self, name: str) -> None:
        """Let an account sign in no more; its accepted mail is still delivered."""
        await self._change("disable_account", {"name": name}, f"there is no enabled account {name!r}")

    async def revoke_credential(self, username: str) -> None:
        """Let a credential sign in no more."""
        await self._change("revoke_credential", {"username": username}, f"there is no valid credential {username!r}")

    async def _change(self, statement: str, values: dict[str, str], otherwise: str) -> None:
        async with self._database.transaction() as connection:
            if (await connection.execute(SQL[statement], values)).rowcount == 0:
                raise AdminError(otherwise)

    async def _account(self, connection: Connection, name: str) -> UUID:
        row = await (await connection.execute(SQL["find_account"], {"name": name})).fetchone()
        if row is None:
            raise AdminError(f"there is no account {name!r}; `account list` shows those there are")
        account_id: UUID = row[0]
        return account_id

    async def _set_provider(self, connection: Connection, account_id: UUID, provider: NewProvider | str) -> None:
        name = provider if isinstance(provider, str) else provider.name
        wanted = {"account_id": account_id, "name": name}
        statement = SQL["find_provider" if isinstance(provider, str) else "own_provider"]
        row = await (await connection.execute(statement, wanted)).fetchone()
        if isinstance(provider, NewProvider):
            row = row or (new_id(),)
            # Sealed under its final id: a secret opens for its own provider only.
            secret = await self._vault.seal(row[0], provider.secret) if provider.secret is not None else None
            values = {"id": row[0], "kind": provider.kind, "config": Jsonb(provider.config), "secret": secret}
            await connection.execute(SQL["put_provider"], wanted | values)
        if row is None:
            raise AdminError(f"there is no provider {name!r} that this account may use")
        await connection.execute(SQL["set_default_provider"], {"account_id": account_id, "provider_id": row[0]})

    async def _credential(
        self, connection: Connection, account_id: UUID, account: str, username: str | None
    ) -> IssuedCredential:
        name, secret = username or f"{account}-{new_id().hex[-8:]}", new_secret()
        row = {"id": new_id(), "account_id": account_id, "username": name}
        await connection.execute(SQL["create_credential"], row | {"digest": secret_digest(self._key, name, secret)})
        return IssuedCredential(account, name, secret)


_CONSTRAINTS = {
    "account_name_key": "an account of this name exists; choose another, or use `credential create`",
    "credential_username_key": "this user name is taken; user names are unique over all accounts",
    "account_name_check": "an account name has small letters, digits and dashes, 63 at most",
    "provider_name_check": "a provider name has small letters, digits and dashes, 63 at most",
    "credential_username_check": "a user name has letters, digits and @ . _ - and begins with a letter or digit",
}


def _explained(error: sql_errors.IntegrityError) -> AdminError:
    name = error.diag.constraint_name or ""
    return AdminError(_CONSTRAINTS.get(name, f"PostgreSQL refuses it: {error.diag.message_primary}"))
