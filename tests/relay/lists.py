"""Suppression lists, as PostgreSQL would keep them; can be down."""

import asyncio
from array import array
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from backing.postgres.suppressions import Hashes
from mail.accounts import Suppression, address_hash, address_key
from mail.errors import Unavailable

SINCE = datetime(2026, 11, 1, 23, 30, tzinfo=UTC)


@dataclass
class Lists:
    """Keeps lists of the form {account: [address, ...]}; the place in a list is when it was added."""

    addresses: dict[UUID, list[str]] = field(default_factory=dict)
    down: bool = False
    silent: bool = False
    asked: list[str] = field(default_factory=list)

    async def hashes(self, account_id: UUID, most: int) -> Hashes:
        return await self._after("hashes", account_id, 0, most)

    async def later_hashes(self, account_id: UUID, since: str, most: int) -> Hashes | None:
        found = await self._after("later", account_id, int(since), most)
        return found if len(found.values) < most else None

    async def find(self, account_id: UUID, address: str) -> Suppression | None:
        self._ask("find")
        if self.silent:
            await asyncio.Event().wait()
        listed = address_key(address) in self.addresses.get(account_id, [])
        return Suppression(address, "bounce", "ses", SINCE) if listed else None

    async def _after(self, what: str, account_id: UUID, since: int, most: int) -> Hashes:
        self._ask(what)
        if self.silent:
            await asyncio.Event().wait()
        listed = self.addresses.get(account_id, [])
        values = sorted(address_hash(address_key(address)) for address in listed[since:])[:most]
        return Hashes(array("q", values), str(len(listed)))

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.down:
            raise Unavailable("PostgreSQL: connection refused")
