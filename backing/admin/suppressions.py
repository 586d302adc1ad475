"""What an operator does to suppression lists: add addresses, take them off, look."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from backing.admin.desk import AdminError, Desk, NotFound, account_id
from backing.ids import now
from backing.postgres import suppressions
from backing.postgres.suppressions import Place
from mail.accounts import Suppression
from mail.addresses import parse_mailbox
from mail.errors import Refused

SOURCE = "operator"


class SuppressionLists:
    """An operator's changes to suppression lists."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def add(
        self, account: str, addresses: Sequence[str], reason: str, until: datetime | None, stream: str = ""
    ) -> int:
        """Suppress addresses, in one stream or, for an empty one, in all; give how many.

        Raises:
            AdminError: there is no such account, or a text is no address.
        """
        return await self.put(account, [Suppression(text, reason, SOURCE, now(), until, stream) for text in addresses])

    async def put(self, account: str, several: Sequence[Suppression]) -> int:
        """Suppress addresses, each in its own way; give how many. What is over already is left out.

        Raises:
            AdminError: as `add`.
        """
        moment = now()
        listed = [
            replace(each, address=_address(each.address))
            for each in several
            if each.until is None or each.until > moment
        ]
        async with self._desk.transaction() as connection:
            found = await account_id(connection, account)
            await suppressions.add(connection, found, listed)
        self._desk.changed("suppression", found)
        return len(listed)

    async def remove(self, account: str, addresses: Sequence[str], stream: str | None = None) -> None:
        """Suppress addresses no more, in one stream or, for None, altogether.

        Raises:
            AdminError: there is no such account, or one of them is not on its list; then none is removed.
        """
        async with self._desk.transaction() as connection:
            found = await account_id(connection, account)
            for address in map(_address, addresses):
                if not await suppressions.remove(connection, found, address, stream):
                    where = f" in stream {stream}" if stream else ""
                    raise NotFound(
                        f"{address} is not suppressed for {account}{where}", "`suppression list` shows what is"
                    )
        self._desk.changed("suppression", found)

    async def newest(self, account: str, most: int, before: Place | None = None) -> list[Suppression]:
        """Give an account's list, the newest first, at most so many, from behind a place in it.

        Raises:
            AdminError: there is no such account.
        """
        async with self._desk.transaction() as connection:
            return await suppressions.newest(connection, await account_id(connection, account), most, before)

    async def by_address(self, account: str, most: int, after: Suppression | None = None) -> list[Suppression]:
        """Give an account's list in the order of addresses, at most so many, from behind one of them.

        Raises:
            AdminError: there is no such account.
        """
        async with self._desk.transaction() as connection:
            return await suppressions.by_address(connection, await account_id(connection, account), most, after)


def _address(text: str) -> str:
    try:
        return str(parse_mailbox(text.strip()))
    except Refused as refused:
        raise AdminError(f"{text!r} is not an address: {refused.reply.text}") from None
