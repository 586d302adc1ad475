"""What an operator does to accounts: create them with their first credential and provider, change, list, delete."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from backing.admin.configs import checked_config
from backing.admin.credentials import Credentials, IssuedCredential, NewCredential
from backing.admin.desk import AdminError, Conflict, Desk, NotFound, account_id, no_account, row
from backing.admin.domains import sender_domains
from backing.admin.parts import WHOLE, Part
from backing.admin.providers import NewProvider, sealed
from backing.ids import new_id
from backing.postgres.accounts import SQL
from backing.postgres.pool import Connection
from backing.secrets import Vault
from mail.accounts import Network, Quota, Unit, Window
from mail.delivery import OnUnknown


@dataclass(frozen=True, slots=True)
class Options:
    """What is to be changed about an account; None leaves it as it is.

    Attributes:
        no_max_sessions: take the limit of sessions away.
        quotas: to be set.
        no_quotas: windows and units to have no quota.
        delivery: columns that say how its mail is delivered; None is the worker's own.
    """

    allowed_domains: tuple[str, ...] | None = None
    on_unknown: OnUnknown | None = None
    check_from: bool | None = None
    repair_line_ends: bool | None = None
    max_sessions: int | None = None
    no_max_sessions: bool = False
    quotas: tuple[Quota, ...] = ()
    no_quotas: tuple[tuple[Window, Unit], ...] = ()
    delivery: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NewAccount:
    """An account to be made; `provider` is one to make with it, or the name of one that is shared."""

    name: str
    options: Options
    provider: NewProvider | str
    username: str | None = None


class Accounts:
    """An operator's changes to accounts, each in one transaction."""

    def __init__(self, desk: Desk, vault: Vault, credentials: Credentials, networks: Sequence[Network]) -> None:
        self._networks = networks
        self._desk = desk
        self._vault = vault
        self._credentials = credentials

    async def create(self, new: NewAccount) -> IssuedCredential:
        """Make an account, its default provider and its first credential.

        Raises:
            AdminError: a name is taken or malformed, or the provider does not exist.
        """
        made = new_id()
        async with self._desk.transaction() as connection:
            await connection.execute(SQL["create_account"], {"id": made, "name": new.name})
            await _set(connection, made, {}, new.options)
            await self._set_provider(connection, made, new.provider)
            return await self._credentials.issue(connection, made, new.name, NewCredential(new.username))

    async def change(self, name: str, options: Options) -> None:
        """Change what an account may do.

        Raises:
            AdminError: there is no such account, or a domain is none.
        """
        async with self._desk.transaction() as connection:
            found, quotas = await row(connection, "lock_account", {"name": name}) or no_account(name)
            await _set(connection, found, quotas, options)
        self._desk.changed("account", found)

    async def set_provider(self, account: str, provider: NewProvider | str) -> None:
        """Give an account another default provider, or its provider other settings.

        Raises:
            AdminError: there is no such account or provider.
        """
        async with self._desk.transaction() as connection:
            found = await account_id(connection, account)
            await self._set_provider(connection, found, provider)
        self._desk.changed("routing", found)

    async def all(self, name: str | None = None, part: Part = WHOLE) -> list[dict[str, Any]]:
        """All accounts, by name, or a part of them; or the one of a name."""
        async with self._desk.transaction() as connection, connection.cursor(row_factory=dict_row) as cursor:
            return await (await cursor.execute(SQL["list_accounts"], {"name": name} | part.values("after"))).fetchall()

    async def show(self, name: str) -> dict[str, Any]:
        """All about one account but its credentials and mail.

        Raises:
            AdminError: there is no such account.
        """
        async with self._desk.transaction() as connection, connection.cursor(row_factory=dict_row) as cursor:
            shown = await (await cursor.execute(SQL["show_account"], {"name": name})).fetchone()
        return shown or no_account(name)

    async def disable(self, name: str) -> None:
        """Let an account sign in no more; its accepted mail is still delivered."""
        await self._switch("disable_account", name, f"there is no enabled account {name!r}")

    async def enable(self, name: str) -> None:
        """Let a disabled account sign in again."""
        await self._switch("enable_account", name, f"there is no disabled account {name!r}")

    async def delete(self, name: str) -> dict[str, int]:
        """Delete a disabled account with all it has; give the counts of what went. Its mail stays on record.

        Raises:
            AdminError: there is no such account, it is enabled, or mail of it is not delivered yet.
        """
        async with self._desk.transaction() as connection:
            await row(connection, "lock_account", {"name": name}) or no_account(name)
            shown = await self._goods(connection, name)
            if not shown.pop("disabled"):
                raise Conflict(f"account {name!r} is enabled", f"`account disable {name}` first")
            if shown.pop("undelivered"):
                raise Conflict(f"mail of account {name!r} is not delivered yet; try again when it is")
            gone: UUID = shown.pop("id")
            await connection.execute(SQL["delete_account"], {"id": gone})
            self._desk.concerns(gone)  # by its name it is not found any more
        self._desk.changed("account", gone)
        return shown

    async def _goods(self, connection: Connection, name: str) -> dict[str, Any]:
        async with connection.cursor(row_factory=dict_row) as cursor:
            return await (await cursor.execute(SQL["account_goods"], {"name": name})).fetchone() or {}

    async def _switch(self, statement: str, name: str, otherwise: str) -> None:
        async with self._desk.transaction() as connection:
            changed = await row(connection, statement, {"name": name})
            if changed is None:
                raise NotFound(otherwise, "`account list` shows those there are")
        self._desk.changed("account", changed[0])

    async def _set_provider(self, connection: Connection, account_id: UUID, provider: NewProvider | str) -> None:
        name = provider if isinstance(provider, str) else provider.name
        wanted = {"account_id": account_id, "name": name}
        found = await row(connection, "find_provider" if isinstance(provider, str) else "own_provider", wanted)
        if isinstance(provider, NewProvider):
            config = checked_config(provider.kind, provider.config, self._networks)
            found = found or (new_id(),)
            # Sealed under its final id: a secret opens for its own provider only.
            values = {"id": found[0], "kind": provider.kind, "config": Jsonb(config)}
            values |= await sealed(self._vault, found[0], provider.secret)
            await connection.execute(SQL["put_provider"], wanted | values)
        if found is None:
            raise AdminError(f"there is no provider {name!r} that this account may use")
        await connection.execute(SQL["set_default_provider"], {"account_id": account_id, "provider_id": found[0]})


async def _set(
    connection: Connection, account_id: UUID, quotas: Mapping[Window, Mapping[Unit, int]], options: Options
) -> None:
    limits = {(window, unit): limit for window, units in quotas.items() for unit, limit in units.items()}
    limits |= {(quota.window, quota.unit): quota.limit for quota in options.quotas}
    kept: dict[str, dict[str, int]] = {}
    for (window, unit), limit in limits.items():
        if (window, unit) not in options.no_quotas:
            kept.setdefault(window, {})[unit] = limit
    domains = options.allowed_domains
    values = {
        "id": account_id,
        "allowed_domains": sender_domains(domains) if domains is not None else None,
        "on_unknown": options.on_unknown,
        "check_from": options.check_from,
        "repair_line_ends": options.repair_line_ends,
        "max_sessions": options.max_sessions,
        "no_max_sessions": options.no_max_sessions,
        "quotas": Jsonb(kept),
        "delivery": Jsonb(dict(options.delivery)),
    }
    await connection.execute(SQL["set_account"], values)
