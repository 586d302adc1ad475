"""What an operator does to providers: make them, change them, look, delete them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from backing.admin.configs import bounded, checked_config
from backing.admin.desk import AdminError, Conflict, Desk, account_id, no_provider
from backing.admin.domains import sender_domains
from backing.admin.parts import WHOLE, Part
from backing.ids import new_id
from backing.notices import ALL_ACCOUNTS
from backing.postgres.pool import Connection
from backing.postgres.routing import SQL
from backing.secrets import Vault
from mail.accounts import Network

KINDS: Final = ("smtp", "ses", "mailgun", "sendgrid", "postmark", "sandbox")
# Limits that are numbers; a worker knows what others mean.
_NUMBERS: Final = ("rate", "concurrency", "daily")


@dataclass(frozen=True, slots=True)
class NewProvider:
    """A provider to be made.

    Attributes:
        config: its settings without secrets.
        limits: how much may be given to it.
        allowed_domains: sender domains it sends for, or None for any.
    """

    name: str
    kind: str
    config: dict[str, Any]
    secret: str | None = field(default=None, repr=False)
    limits: Mapping[str, Any] = field(default_factory=dict)
    allowed_domains: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ProviderChange:
    """What is to be changed about a provider; what is not named stays.

    Attributes:
        whole_config: takes the place of the settings there were.
        config: keys to be set; None takes a key away.
        limits: the same for limits.
        any_domain: let it send for any sender's domain.
    """

    whole_config: Mapping[str, Any] | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, Any] = field(default_factory=dict)
    allowed_domains: tuple[str, ...] | None = None
    any_domain: bool = False


class Providers:
    """An operator's changes to providers, each in one transaction; those without an account are shared by all."""

    def __init__(self, desk: Desk, vault: Vault, networks: Sequence[Network] = ()) -> None:
        self._networks = networks
        self._desk = desk
        self._vault = vault

    async def create(self, account: str | None, new: NewProvider) -> None:
        """Make a provider.

        Raises:
            AdminError: its name is taken or malformed, or what it is to be cannot be.
        """
        made = new_id()
        async with self._desk.transaction() as connection:
            owner = await _owner(connection, account)
            values = {
                "id": made,
                "account_id": owner,
                "name": new.name,
                "kind": new.kind,
                "config": Jsonb(checked_config(new.kind, new.config, self._networks)),
                "limits": Jsonb(_limits(new.limits)),
                "allowed_domains": _domains(new.allowed_domains),
            }
            # Sealed under its final id: a secret opens for its own provider only.
            values |= await sealed(self._vault, made, new.secret)
            await connection.execute(SQL["create_provider"], values)
        self._changed(owner)

    async def change(self, account: str | None, name: str, change: ProviderChange) -> None:
        """Change a provider; workers build it anew.

        Raises:
            AdminError: there is no such provider, or it cannot be so.
        """
        async with self._desk.transaction() as connection:
            owner, found = await self._own(connection, account, name)
            kept = found["allowed_domains"]
            domains = kept if change.allowed_domains is None else _domains(change.allowed_domains)
            config = _merged(found["config"] if change.whole_config is None else change.whole_config, change.config)
            # What stays as it was may be older than the check.
            if change.config or change.whole_config is not None:
                config = checked_config(found["kind"], config, self._networks)
            values = {
                "id": found["id"],
                "account_id": owner,
                "config": Jsonb(config),
                "limits": Jsonb(_limits(_merged(found["limits"], change.limits))),
                "allowed_domains": None if change.any_domain else domains,
            }
            await connection.execute(SQL["change_provider"], values)
        self._changed(owner)

    async def set_secret(self, account: str | None, name: str, secret: str | None) -> None:
        """Give a provider another secret, or none.

        Raises:
            AdminError: there is no such provider.
        """
        async with self._desk.transaction() as connection:
            owner, found = await self._own(connection, account, name)
            values = {"id": found["id"], "account_id": owner, **await sealed(self._vault, found["id"], secret)}
            await connection.execute(SQL["set_secret"], values)
        self._changed(owner)

    async def switch(self, account: str | None, name: str, *, enabled: bool) -> None:
        """Let a provider be used, or not.

        Raises:
            AdminError: there is no such provider.
        """
        async with self._desk.transaction() as connection:
            owner, found = await self._own(connection, account, name)
            values = {"id": found["id"], "account_id": owner, "enabled": enabled}
            await connection.execute(SQL["switch_provider"], values)
        self._changed(owner)

    async def delete(self, account: str | None, name: str) -> None:
        """Delete a provider that nothing needs.

        Raises:
            AdminError: there is no such provider, or accounts, rules or mail on its way need it.
        """
        async with self._desk.transaction() as connection:
            owner, found = await self._own(connection, account, name)
            values = {"id": found["id"], "account_id": owner}
            default_of, rules, is_open = await (await connection.execute(SQL["provider_uses"], values)).fetchone() or ()
            if default_of:
                raise Conflict(f"provider {name!r} is the default of {_some(default_of)}", "`account provider` first")
            if rules:
                raise Conflict(f"provider {name!r} is named by {_some(rules)}", "change or delete these rules first")
            if is_open:
                raise Conflict(f"provider {name!r} has mail on its way", "`provider disable` it and try again later")
            await connection.execute(SQL["delete_provider"], values)
        self._changed(owner)

    async def all(self, account: str | None, part: Part = WHOLE) -> list[dict[str, Any]]:
        """All providers, or those that an account may use, or a part of them: shared ones first, then by name.

        Raises:
            AdminError: there is no such account.
        """
        async with self._desk.transaction() as connection, connection.cursor(row_factory=dict_row) as cursor:
            values = {"account_id": await _owner(connection, account)} | part.values("after", "after_name")
            return await (await cursor.execute(SQL["list_providers"], values)).fetchall()

    async def show(self, account: str | None, name: str) -> dict[str, Any]:
        """All about one provider but its secret.

        Raises:
            AdminError: there is no such account or provider.
        """
        async with self._desk.transaction() as connection, connection.cursor(row_factory=dict_row) as cursor:
            values = {"account_id": await _owner(connection, account), "name": name}
            return await (await cursor.execute(SQL["show_provider"], values)).fetchone() or no_provider(account, name)

    async def _own(self, connection: Connection, account: str | None, name: str) -> tuple[UUID | None, dict[str, Any]]:
        owner = await _owner(connection, account)
        async with connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(SQL["own_provider"], {"account_id": owner, "name": name})
            return owner, await cursor.fetchone() or no_provider(account, name)

    def _changed(self, owner: UUID | None) -> None:
        self._desk.changed("routing", owner or ALL_ACCOUNTS)


async def sealed(vault: Vault, provider: UUID, secret: str | None) -> dict[str, Any]:
    """Seal a provider's secret, if it has one: what its row is to keep.

    Raises:
        Unavailable: KMS did not answer.
    """
    octets, key = (None, None) if secret is None else await vault.seal(provider, secret)
    return {"secret": octets, "secret_key": key}


async def _owner(connection: Connection, account: str | None) -> UUID | None:
    return await account_id(connection, account) if account is not None else None


def _merged(old: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in {**old, **changes}.items() if value is not None}


def _limits(limits: Mapping[str, Any]) -> dict[str, Any]:
    for key in _NUMBERS:
        value = limits.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value <= 0):
            raise AdminError(f"limit {key!r} is {value!r}; expected a number above 0")
    return bounded("limits", limits)


def _domains(domains: tuple[str, ...] | None) -> list[str] | None:
    return sender_domains(domains) if domains is not None else None


def _some(names: list[str]) -> str:
    shown = 5
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
