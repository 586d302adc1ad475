"""What an operator does with mail: look for it, read its story, let it go, send it once more, cancel it."""

from uuid import UUID

from backing.admin.desk import AdminError, Desk, account_id
from backing.postgres import orders, stories
from backing.postgres.orders import NotPossible
from backing.postgres.stories import Page, Search, Story
from mail.states import Order


class Messages:
    """The mail of all accounts."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def show(self, message_id: UUID) -> Story:
        """Tell the story of a message.

        Raises:
            AdminError: there is no such message.
        """
        async with self._desk.transaction() as connection:
            story = await stories.tell(connection, message_id)
        if story is None:
            raise AdminError(
                f"there is no message {message_id}; a worker writes messages down when it takes them from the queue,"
                " and forgets them when they are as old as the account's retention says"
            )
        return story

    async def search(self, account: str, wanted: Search) -> Page:
        """Search for messages of an account.

        Raises:
            AdminError: there is no such account.
        """
        async with self._desk.transaction() as connection:
            return await stories.search(connection, await account_id(connection, account), wanted)

    async def order(self, order: Order, message_id: UUID, n: int | None = None) -> list[int]:
        """Release, cancel or send once more what is left of a message; gives the recipients that were changed.

        Raises:
            AdminError: it cannot be done, or not now; then nothing is changed.
        """
        try:
            async with self._desk.transaction() as connection:
                return await orders.carry_out(connection, order, message_id, n)
        except NotPossible as why:
            raise AdminError(str(why)) from None
