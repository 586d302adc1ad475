"""What an operator does to providers: make them, change them, look, delete them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from backing.admin.desk import AdminError, Conflict, Desk, NotFound, account_id
from backing.admin.domains import sender_domains
from backing.ids import new_id
from backing.notices import ALL_ACCOUNTS
from backing.postgres.pool import Connection
from backing.postgres.routing import SQL
from backing.secrets import Vault

KINDS: Final = ("smtp", "ses", "mailgun", "sendgrid", "postmark", "sandbox")
MAX_CONFIG: Final = 16_384
# Limits that are numbers; a worker knows what others mean.
_NUMBERS: Final = ("rate", "concurrency", "daily")
_SECRETS: Final = frozenset({"password", "secret", "api_key", "apikey", "token"})


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

    def __init__(self, desk: Desk, vault: Vault) -> None:
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
                "config": Jsonb(_config(new.config)),
                # Sealed under its final id: a secret opens for its own provider only.
                "secret": await self._vault.seal(made, new.secret) if new.secret is not None else None,
                "limits": Jsonb(_limits(new.limits)),
                "allowed_domains": _domains(new.allowed_domains),
            }
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
            config = found["config"] if change.whole_config is None else change.whole_config
            values = {
                "id": found["id"],
                "account_id": owner,
                "config": Jsonb(_config(_merged(config, change.config))),
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
            sealed = await self._vault.seal(found["id"], secret) if secret is not None else None
            await connection.execute(SQL["set_secret"], {"id": found["id"], "account_id": owner, "secret": sealed})
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

    async def all(self, account: str | None) -> list[dict[str, Any]]:
        """All providers, or those that an account may use.

        Raises:
            AdminError: there is no such account.
        """
        async with self._desk.transaction() as connection, connection.cursor(row_factory=dict_row) as cursor:
            values = {"account_id": await _owner(connection, account)}
            return await (await cursor.execute(SQL["list_providers"], values)).fetchall()

    async def show(self, account: str | None, name: str) -> dict[str, Any]:
        """All about one provider but its secret.

        Raises:
            AdminError: there is no such account or provider.
        """
        async with self._desk.transaction() as connection, connection.cursor(row_factory=dict_row) as cursor:
            values = {"account_id": await _owner(connection, account), "name": name}
            return await (await cursor.execute(SQL["show_provider"], values)).fetchone() or _none(account, name)

    async def _own(self, connection: Connection, account: str | None, name: str) -> tuple[UUID | None, dict[str, Any]]:
        owner = await _owner(connection, account)
        async with connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(SQL["own_provider"], {"account_id": owner, "name": name})
            return owner, await cursor.fetchone() or _none(account, name)

    def _changed(self, owner: UUID | None) -> None:
        self._desk.changed("routing", owner or ALL_ACCOUNTS)


async def _owner(connection: Connection, account: str | None) -> UUID | None:
    return await account_id(connection, account) if account is not None else None


def _none(account: str | None, name: str) -> Any:
    whose = "shared by all accounts; --account NAME means one of an account" if account is None else f"of {account}"
    raise NotFound(f"there is no provider {name!r} {whose}", "`provider list` shows those there are")


def _merged(old: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in {**old, **changes}.items() if value is not None}


def _config(config: Mapping[str, Any]) -> dict[str, Any]:
    for key in config:
        if key.lower() in _SECRETS:
            raise AdminError(f"config key {key!r}: secrets are kept apart and sealed", "use `provider secret`")
    return _bounded("config", config)


def _limits(limits: Mapping[str, Any]) -> dict[str, Any]:
    for key in _NUMBERS:
        value = limits.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value <= 0):
            raise AdminError(f"limit {key!r} is {value!r}; expected a number above 0")
    return _bounded("limits", limits)


def _bounded(what: str, values: Mapping[str, Any]) -> dict[str, Any]:
    try:
        text = json.dumps(dict(values), ensure_ascii=False, allow_nan=False)
        size = len(text.encode())
    except ValueError:
        raise AdminError(f"the {what} has NaN, Infinity or half a character, which PostgreSQL cannot keep") from None
    if "\\u0000" in text:
        raise AdminError(f"the {what} has U+0000, which PostgreSQL cannot keep")
    if size > MAX_CONFIG:
        raise AdminError(f"the {what} has {size} octets as JSON; {MAX_CONFIG} at most")
    return dict(values)


def _domains(domains: tuple[str, ...] | None) -> list[str] | None:
    return sender_domains(domains) if domains is not None else None


def _some(names: list[str]) -> str:
    shown = 5
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
