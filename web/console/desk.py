"""What one does at the console: sign in, look how it stands, search, read a story, give an order."""

from datetime import timedelta
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from backing.ids import now
from backing.postgres.stories import Search
from backing.sqs import Queue
from mail.errors import Unavailable
from mail.keys import Scope
from mail.states import Order, State
from web.console.pages import Pages
from web.console.visitor import Visitor, Visitors, fields_of, peer_of
from web.cursors import cursor_of, place_of
from web.house import House

_DAY: Final = timedelta(days=1)
_PAGE: Final = 50
_SEE_OTHER: Final = 303


class Desk:
    """The pages, each behind a key.

    Args:
        house: what they are made from.
        visitors: knows who looks.
        pages: makes them.
    """

    def __init__(self, house: House, visitors: Visitors, pages: Pages) -> None:
        self._house = house
        self._visitors = visitors
        self._pages = pages

    def add_to(self, app: FastAPI) -> None:
        """Add the pages to the console."""
        for method, path, does in (
            ("GET", "/", self.overview),
            ("GET", "/sign-in", self.door),
            ("POST", "/sign-in", self.sign_in),
            ("POST", "/sign-out", self.sign_out),
            ("GET", "/messages", self.messages),
            ("GET", "/messages/{id}", self.message),
            ("POST", "/messages/{id}/{order}", self.order),
        ):
            app.add_api_route(path, does, methods=[method])

    async def door(self) -> Response:
        """Where one signs in."""
        return self._pages.page("sign-in", None, {"fault": ""})

    async def sign_in(self, request: Request) -> Response:
        """Begin a session for who shows a good key."""
        suspect = self._house.rates.suspect(peer_of(request))
        shown = (await fields_of(request)).get("key", "").strip()
        key = await self._house.doorkeeper.check(shown, suspect=suspect)
        self._house.metrics.sign_ins.labels("good" if key else "bad").inc()
        if key is None:
            wait = await self._house.rates.failed(peer_of(request))
            words = "The key is unknown, revoked or expired."
            values = {"fault": words if wait is None else f"{words} Wait {wait} s before you try again."}
            return self._pages.page("sign-in", None, values, 401 if wait is None else 429)
        response = RedirectResponse("/", _SEE_OTHER)
        self._visitors.sign_in(key, response)
        return response

    async def sign_out(self, request: Request) -> Response:
        """End a session."""
        await self._visitors.form(request)
        response = RedirectResponse("/sign-in", _SEE_OTHER)
        self._visitors.sign_out(response)
        return response

    async def overview(self, request: Request, account: str = "") -> Response:
        """How the queues stand, for operators, and how an account's mail of the last day does."""
        visitor = await self._reader(request)
        chosen = visitor.account(account)
        async with self._house.office() as office:
            counts = await office.messages.counted(chosen, now() - _DAY) if chosen else {}
        values = {"depths": await self._depths(visitor), "counts": counts, "account": chosen}
        return self._pages.page("overview", visitor, values | {"accounts": await self._accounts(visitor)})

    async def messages(
        self,
        request: Request,
        account: str = "",
        recipient: str = "",
        message_id: str = "",
        state: str = "",
        cursor: str = "",
    ) -> Response:
        """Search for messages."""
        visitor = await self._reader(request)
        chosen, found, following = visitor.account(account), None, ""
        wanted = {"recipient": recipient, "message_id": message_id, "state": state}
        if chosen:
            search = Search(
                recipient=recipient.strip() or None,
                header_message_id=message_id.strip() or None,
                state=State(state) if state in set(State) else None,
                before=place_of(cursor or None),
                most=_PAGE,
            )
            async with self._house.office() as office:
                found = await office.messages.search(chosen, search)
            place = cursor_of(found.following)
            query = {"account": chosen, **wanted, "cursor": place}
            following = urlencode({name: value for name, value in query.items() if value}) if place else ""
        values = {"page": found, "wanted": wanted, "following": following, "account": chosen, "states": list(State)}
        return self._pages.page("messages", visitor, values | {"accounts": await self._accounts(visitor)})

    async def message(self, request: Request, id: UUID) -> Response:  # noqa: A002 - the name in the path
        """The story of a message."""
        visitor = await self._reader(request)
        async with self._house.office() as office:
            story = await office.messages.show(id, visitor.key.account_id)
        orders = list(Order) if Scope.MESSAGES_MANAGE in visitor.key.scopes else []
        return self._pages.page("message", visitor, {"story": story, "orders": orders})

    async def order(self, request: Request, id: UUID, order: Order) -> Response:  # noqa: A002 - the name in the path
        """Carry out an order for a message."""
        visitor, _ = await self._visitors.form(request)
        visitor.needs(Scope.MESSAGES_MANAGE)
        async with self._house.office(visitor.deed(request, f"message.{order}", id)) as office:
            await office.messages.order(order, id, None, visitor.key.account_id)
        return RedirectResponse(f"/messages/{id}", _SEE_OTHER)

    async def _reader(self, request: Request) -> Visitor:
        visitor = await self._visitors.of(request)
        visitor.needs(Scope.MESSAGES_READ)
        return visitor

    async def _accounts(self, visitor: Visitor) -> list[str] | None:
        """The accounts that there are to choose from; None where there is no choice."""
        if visitor.key.account is not None:
            return None
        async with self._house.office() as office:
            return [row["name"] for row in await office.accounts.all()]

    async def _depths(self, visitor: Visitor) -> dict[str, int | None]:
        if visitor.key.account is not None:
            return {}
        queues = {"delivery": self._house.queue, "dead letters": self._house.dead}
        return {name: await _depth(queue) for name, queue in queues.items() if queue}


async def _depth(queue: Queue) -> int | None:
    try:
        return await queue.depth()
    except Unavailable:
        return None
