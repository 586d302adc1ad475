"""What an operator does with mail: look for it, read its story, let it go, send it once more, cancel it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from uuid import UUID

from backing.admin import ahead
from backing.admin.desk import Conflict, Desk, NotFound
from backing.admin.desk import account_id as id_of
from backing.postgres import early, orders, overview, statistics, stories, submissions
from backing.postgres.early import REROUTE, Wish
from backing.postgres.orders import NotPossible, UnknownMessage, UnknownRecipient
from backing.postgres.statistics import Statistics
from backing.postgres.stories import Page, Search, Story
from backing.postgres.submissions import Waiting
from mail.job import StoredBody
from mail.states import Order, State


class Messages:
    """The mail of all accounts."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def show(self, message_id: UUID, account_id: UUID | None = None) -> Story:
        """Tell the story of a message; given an account, of one of its own.

        Raises:
            AdminError: there is no such message.
        """
        found = await self.find(message_id, account_id)
        if not isinstance(found, Story):
            raise _none(message_id)
        return found

    async def find(self, message_id: UUID, account_id: UUID | None = None) -> Story | Waiting:
        """Tell the story of a message, or that the HTTP API accepted it and no worker has taken it yet.

        Raises:
            AdminError: there is no such message.
        """
        async with self._desk.question() as connection:
            found = await stories.tell(connection, message_id, account_id) or await submissions.waiting(
                connection, message_id, account_id
            )
        if found is None:
            raise _none(message_id)
        return found

    async def body(self, message_id: UUID, account_id: UUID | None = None) -> StoredBody:
        """Say where the body of a message lies; given an account, of one of its own.

        Raises:
            AdminError: there is no such message, or its body is not stored: it is only while its mail waits.
        """
        async with self._desk.transaction() as connection:
            place = await stories.body_of(connection, message_id, account_id)
        if place is None:
            raise NotFound(f"the body of message {message_id} is not stored, or there is no such message")
        return place

    async def owner(self, message_id: UUID) -> UUID | None:
        """Say whose a message is, as an operator may ask; None where there is none."""
        async with self._desk.transaction() as connection:
            return await orders.owner(connection, message_id)

    async def search(self, account: str, wanted: Search) -> Page:
        """Search for messages of an account.

        Raises:
            AdminError: there is no such account.
        """
        async with self._desk.question() as connection:
            return await stories.search(connection, await id_of(connection, account), wanted)

    async def counted(self, account: str, since: datetime) -> dict[State, int]:
        """Count recipients of what an account sent since, by how they stand.

        Raises:
            AdminError: there is no such account.
        """
        async with self._desk.transaction() as connection:
            return await overview.counted(connection, await id_of(connection, account), since)

    async def statistics(self, account: str, since: datetime, until: datetime) -> Statistics:
        """Count what an account sent in a time: by state, provider and domain, and how fast providers took it.

        Raises:
            AdminError: there is no such account.
        """
        async with self._desk.transaction() as connection:
            await statistics.as_one(connection)
            return await statistics.counted(connection, await id_of(connection, account), since, until)

    async def order(
        self, order: Order, message_id: UUID, n: int | None = None, account_id: UUID | None = None
    ) -> list[int]:
        """Release, cancel, hold or send once more what is left of a message; gives the recipients that were changed.

        Given an account, of one of its own.

        Raises:
            AdminError: it cannot be done, or not now; then nothing is changed.
        """
        with _told():
            return await self._fulfil(Wish(order, message_id, n), account_id)

    async def reroute(
        self, provider: str | None, message_id: UUID, n: int | None = None, account_id: UUID | None = None
    ) -> list[int]:
        """Send what is left of a message through another provider, or by the rules; as `order`.

        Raises:
            AdminError: it cannot be done, or not now; then nothing is changed.
        """
        with _told():
            return await self._fulfil(Wish(REROUTE, message_id, n, provider), account_id)

    async def direct(self, wish: Wish, account_id: UUID | None = None) -> list[int] | None:
        """Do the same, or send what is left of a message another way, as soon as its id is known.

        Given an account, of one of its own.

        Returns:
            The recipients that were changed, or None: no worker has written the message down, and the order is noted
            for when one has.

        Raises:
            AdminError: it cannot be done, or not now; then nothing is changed.
        """
        with _told():
            try:
                return await self._fulfil(wish, account_id)
            except UnknownMessage:
                if self._desk.deed is None:
                    raise
            async with self._desk.transaction() as connection:
                await early.alone(connection, wish.message_id)
                try:
                    changed: list[int] | None = await orders.fulfil(connection, wish, account_id)
                except UnknownMessage:
                    changed = None
                    self._desk.concerns(await ahead.note(connection, wish, account_id, self._desk.deed))
                else:
                    self._desk.concerns(account_id or await orders.owner(connection, wish.message_id))
                return changed

    async def _fulfil(self, wish: Wish, account_id: UUID | None) -> list[int]:
        async with self._desk.transaction() as connection:
            changed = await orders.fulfil(connection, wish, account_id)
            self._desk.concerns(account_id or await orders.owner(connection, wish.message_id))
            return changed


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (UnknownMessage, UnknownRecipient) as why:
        raise NotFound(str(why)) from None
    except NotPossible as why:
        raise Conflict(str(why)) from None


def _none(message_id: UUID) -> NotFound:
    return NotFound(
        f"there is no message {message_id}; a worker writes messages down when it takes them from the queue,"
        " and forgets them when they are as old as the account's retention says"
    )
