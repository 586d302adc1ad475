"""What an operator does to webhook endpoints: make them, list them, change their secrets, switch, delete, replay."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from psycopg.rows import dict_row

from backing.admin.desk import AdminError, Conflict, Desk, NotFound, account_id
from backing.admin.parts import WHOLE, Part
from backing.ids import new_id, new_octets
from backing.postgres import outbox
from backing.postgres.outbox import SQL
from backing.secrets import Sealed, Vault
from mail.account_events import check_types
from mail.endpoints import SECRET_OCTETS, Network, check_url, secret_text

OVERLAP: Final = timedelta(days=1)
_NEWEST: Final = Part(100)
_BY_OPERATOR: Final = "an operator disabled it"


@dataclass(frozen=True, slots=True)
class IssuedEndpoint:
    """An endpoint as it is shown, once; only the sealed secret is kept."""

    id: UUID
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A new secret, shown and sealed."""

    issued: IssuedEndpoint
    sealed: Sealed = field(repr=False)

    def kept(self) -> dict[str, Any]:
        """What the row of its endpoint is to keep."""
        return {"secret": self.sealed.octets, "secret_key": self.sealed.key}


class Webhooks:
    """An operator's changes to the endpoints of accounts.

    Args:
        desk: where changes are made.
        vault: seals their secrets.
        allowed: networks that workers may post to beside the public internet.
    """

    def __init__(self, desk: Desk, vault: Vault, allowed: Sequence[Network] = ()) -> None:
        self._desk = desk
        self._vault = vault
        self._allowed = allowed

    async def sealed(self, endpoint: UUID | None = None) -> NewSecret:
        """Make a secret for an endpoint, or for a new one; nobody needs to wait for KMS in a transaction."""
        secret, id_ = secret_text(new_octets(SECRET_OCTETS)), endpoint or new_id()
        return NewSecret(IssuedEndpoint(id_, secret), await self._vault.seal(id_, secret))

    async def create(
        self, account: str, url: str, types: Sequence[str] = (), sealed: NewSecret | None = None
    ) -> IssuedEndpoint:
        """Give an account another endpoint.

        Args:
            account: its name.
            url: what is posted to.
            types: of the events that it wants; none is all.
            sealed: its secret; None is one that is made now.

        Raises:
            AdminError: there is no such account, the URL cannot be posted to, or a type is none.
        """
        values = self._checked(url, types)
        values["types"] = values["types"] or None
        made = sealed or await self.sealed()
        async with self._desk.transaction() as connection:
            values |= {"id": made.issued.id, "account_id": await account_id(connection, account), **made.kept()}
            await connection.execute(SQL["create_endpoint"], values)
            self._desk.about(f"{made.issued.id} {url}")
        return made.issued

    async def of(self, account: str, part: Part = WHOLE) -> list[dict[str, Any]]:
        """All endpoints of an account, or a part of them, the oldest first, without their secrets.

        Raises:
            AdminError: there is no such account.
        """
        return await self._rows("list_endpoints", account, part.values("after"))

    async def show(self, account: str, endpoint: UUID) -> dict[str, Any]:
        """All about one endpoint but its secret.

        Raises:
            AdminError: as `rotate`.
        """
        rows = {row["id"]: row for row in await self.of(account)}
        found: dict[str, Any] = rows.get(str(endpoint)) or _no_endpoint(endpoint, account)
        return found

    async def deliveries(self, account: str, endpoint: UUID, part: Part = _NEWEST) -> list[dict[str, Any]]:
        """What became of the newest events that went to an endpoint, or of those before one.

        Raises:
            AdminError: there is no such account.
        """
        return await self._rows("list_deliveries", account, {"endpoint_id": endpoint} | part.values("after"))

    async def rotate(
        self, account: str, endpoint: UUID, overlap: timedelta = OVERLAP, sealed: NewSecret | None = None
    ) -> IssuedEndpoint:
        """Give an endpoint a new secret; for a while the old one signs as well.

        Raises:
            AdminError: there is no such account or endpoint.
        """
        made = sealed or await self.sealed(endpoint)
        values = {**made.kept(), "overlap": overlap.total_seconds()}
        await self._change("rotate_secret", account, endpoint, values)
        return made.issued

    async def lock(self, account: str, endpoint: UUID) -> dict[str, Any]:
        """Show an endpoint, and let nobody else change it in this transaction.

        Raises:
            AdminError: as `rotate`.
        """
        await self._change("lock_endpoint", account, endpoint, {})
        return await self.show(account, endpoint)

    async def change(self, account: str, endpoint: UUID, url: str | None, types: Sequence[str] | None) -> None:
        """Change where an account is told, or of what; what waits for the endpoint goes to the new URL.

        Args:
            account: its name.
            endpoint: which one.
            url: what is posted to; None leaves it.
            types: of the events that it wants from now on; none is all, None leaves them.

        Raises:
            AdminError: as `rotate`; or the URL cannot be posted to, or a type is none.
        """
        await self._change("change_endpoint", account, endpoint, self._checked(url, types))

    async def enable(self, account: str, endpoint: UUID) -> None:
        """Post to an endpoint again; what waits for it goes out, and the rest can be replayed.

        Raises:
            AdminError: as `rotate`.
        """
        await self._change("enable_endpoint", account, endpoint, {})

    async def disable(self, account: str, endpoint: UUID, reason: str = _BY_OPERATOR) -> None:
        """Post to an endpoint no more; the account's events are still kept.

        Raises:
            AdminError: as `rotate`.
        """
        await self._change("disable_endpoint", account, endpoint, {"reason": reason})

    async def delete(self, account: str, endpoint: UUID) -> None:
        """Remove an endpoint; after an account's last one, no more events are kept.

        Raises:
            AdminError: as `rotate`.
        """
        await self._change("delete_endpoint", account, endpoint, {})

    async def replay(self, account: str, endpoint: UUID, since: datetime, until: datetime) -> int:
        """Let the account's events of a time go to an endpoint once more; gives how many.

        Raises:
            AdminError: as `rotate`.
        """
        await self.show(account, endpoint)
        async with self._desk.transaction() as connection:
            found = await account_id(connection, account)
        return await outbox.replay(self._desk.transaction, found, endpoint, since, until)

    async def test(self, account: str, endpoint: UUID) -> UUID:
        """Let an event of no message go to an endpoint; gives its id.

        Raises:
            AdminError: as `rotate`, or the endpoint is disabled.
        """
        async with self._desk.transaction() as connection:
            sent = await outbox.test(connection, await account_id(connection, account), endpoint)
        if sent is None:
            await self.show(account, endpoint)
            raise Conflict(f"endpoint {endpoint} is disabled, so that nothing is posted to it", "`webhook enable` it")
        return sent

    def _checked(self, url: str | None, types: Sequence[str] | None) -> dict[str, Any]:
        try:
            return {
                "url": None if url is None else check_url(url, self._allowed),
                "types": None if types is None else check_types(types),
            }
        except ValueError as fault:
            raise AdminError(str(fault)) from None

    async def _rows(self, statement: str, account: str, values: dict[str, Any]) -> list[dict[str, Any]]:
        async with self._desk.transaction() as connection, connection.cursor(row_factory=dict_row) as cursor:
            values |= {"account_id": await account_id(connection, account)}
            return await (await cursor.execute(SQL[statement], values)).fetchall()

    async def _change(self, statement: str, account: str, endpoint: UUID, values: dict[str, Any]) -> None:
        async with self._desk.transaction() as connection:
            values |= {"account_id": await account_id(connection, account), "id": endpoint}
            if (await connection.execute(SQL[statement], values)).rowcount == 0:
                _no_endpoint(endpoint, account)


def _no_endpoint(endpoint: UUID, account: str) -> Any:
    raise NotFound(f"account {account!r} has no endpoint {endpoint}", "`webhook list` shows those there are")
