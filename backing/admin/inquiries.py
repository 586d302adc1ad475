"""What workers are asked about providers: whether mail would go through one, and to seal secrets anew."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from backing.admin.desk import AdminError, Desk, NotFound, TooOften, account_id, no_provider
from backing.ids import new_id
from backing.notices import ALL_ACCOUNTS
from backing.postgres.inquiries import SQL
from backing.postgres.pool import Connection
from mail.addresses import domain_allowed, parse_mailbox
from mail.errors import Refused
from mail.inquiries import MOST_TESTS, TESTS_SECONDS
from mail.routing.domains import Domains, domain_of


class Inquiries:
    """Questions to workers, each asked in one transaction; a provider without an account is shared by all."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def test(self, account: str | None, name: str, asked_by: str, mail: Mapping[str, str]) -> UUID:
        """Have a provider tested, enabled or not; gives the id of the test.

        Args:
            account: whose provider.
            name: of the provider.
            asked_by: who wants to know.
            mail: empty, or `from` and `to` of a mail that is to be sent.

        Raises:
            AdminError: there is no such provider, or it may not send for this sender, or an address is none.
            TooOften: it was tested `MOST_TESTS` times within `TESTS_SECONDS`.
        """
        asked, arguments = new_id(), _addresses(mail)
        async with self._desk.transaction() as connection:
            owner = await _owner(connection, account)
            provider, domains, owners = await self._provider(connection, account, owner, name)
            if arguments:
                _check_sender(name, domains, owners, arguments["from"])
            values: dict[str, Any] = {"provider_id": provider, "account_id": owner, "seconds": TESTS_SECONDS}
            count, over = await (await connection.execute(SQL["recent_tests"], values)).fetchone() or (0, None)
            if count >= MOST_TESTS:
                why = f"provider {name!r} was tested {count} times in {TESTS_SECONDS:.0f} seconds"
                raise TooOften(why, f"try again in {over:.0f} seconds", over)
            values |= {"id": asked, "arguments": Jsonb(arguments), "asked_by": asked_by}
            await connection.execute(SQL["ask_test"], values)
        self._asked(owner)
        return asked

    async def show_test(self, account: str | None, name: str, test: UUID) -> dict[str, Any]:
        """Tell of a test, and what came of it.

        Raises:
            AdminError: there is no such account, provider or test.
        """
        values = {"id": test, "name": name}
        none = f"provider {name!r} has no test {test}"
        return await self._one("show_test", account, values, none)

    async def reseal(self, account: str | None, name: str, asked_by: str) -> bool:
        """Have a provider's secret sealed anew; False where that is asked for already, or it has none.

        Raises:
            AdminError: there is no such provider.
        """
        async with self._desk.transaction() as connection:
            owner = await _owner(connection, account)
            provider, *_ = await self._provider(connection, account, owner, name)
            values = {"provider_id": provider, "account_id": owner, "asked_by": asked_by}
            count = (await connection.execute(SQL["reseal_one"], values)).rowcount
        self._asked(owner)
        return count > 0

    async def reseal_providers(self, account: str | None, asked_by: str) -> int:
        """Have the secrets of all providers sealed anew, or of those of an account; gives how many are to be.

        Raises:
            AdminError: there is no such account.
        """
        return await self._reseal("reseal_providers", account, asked_by)

    async def reseal_endpoints(self, account: str | None, asked_by: str) -> int:
        """The same for the signing secrets of webhook endpoints."""
        return await self._reseal("reseal_endpoints", account, asked_by)

    async def secret(self, account: str | None, name: str) -> dict[str, Any]:
        """Tell how a provider's secret is kept, and what came of the latest wish to seal it anew.

        Raises:
            AdminError: there is no such account or provider.
        """
        return await self._one("show_secret", account, {"name": name})

    async def _reseal(self, statement: str, account: str | None, asked_by: str) -> int:
        async with self._desk.transaction() as connection:
            owner = await _owner(connection, account)
            values = {"account_id": owner, "asked_by": asked_by}
            count = (await connection.execute(SQL[statement], values)).rowcount
        self._asked(owner)
        return count

    async def _one(
        self, statement: str, account: str | None, values: dict[str, Any], none: str | None = None
    ) -> dict[str, Any]:
        async with self._desk.transaction() as connection, connection.cursor(row_factory=dict_row) as cursor:
            values |= {"account_id": await _owner(connection, account)}
            found = await (await cursor.execute(SQL[statement], values)).fetchone()
        if found is None and none:
            raise NotFound(none)
        return found or no_provider(account, str(values["name"]))

    async def _provider(
        self, connection: Connection, account: str | None, owner: UUID | None, name: str
    ) -> tuple[UUID, list[str] | None, list[str] | None]:
        values = {"account_id": owner, "name": name}
        row = await (await connection.execute(SQL["find_provider"], values)).fetchone()
        found: tuple[UUID, list[str] | None, list[str] | None] = row or no_provider(account, name)
        return found

    def _asked(self, owner: UUID | None) -> None:
        self._desk.changed("inquiry", owner or ALL_ACCOUNTS)


async def _owner(connection: Connection, account: str | None) -> UUID | None:
    return await account_id(connection, account) if account is not None else None


def _addresses(mail: Mapping[str, str]) -> dict[str, str]:
    """Read the addresses of a test mail, which goes in ASCII to one recipient."""
    found: dict[str, str] = {}
    for key, text in mail.items():
        try:
            found[key] = str(parse_mailbox(text))
        except Refused as fault:
            raise AdminError(f"{key}: {fault.reply.text}") from None
        if not found[key].isascii():
            raise AdminError(f"{key}: a test mail goes to and from addresses of ASCII only")
    return found


def _check_sender(name: str, domains: list[str] | None, owners: list[str] | None, sender: str) -> None:
    """Refuse a sender that neither rules nor a submission would let pass."""
    domain = domain_of(sender)
    if owners is not None and not domain_allowed(domain, frozenset(owners)):
        raise AdminError(f"from: the account may not send from {domain}; allowed: {', '.join(owners) or 'none'}")
    if domains is not None and domain not in (allowed := Domains.of(domains)):
        raise AdminError(f"provider {name!r} does not send for this sender: {allowed.lacks('from', domain)}")
