"""Orders for many messages at once: those that a filter finds, a page of them for each call."""

from typing import Annotated, Final, Literal, Self
from uuid import UUID

from fastapi import FastAPI, Query
from pydantic import Field, model_validator

from backing.admin.desk import Conflict, NotFound
from backing.postgres.stories import Page, Search, ended_at
from mail.keys import Scope
from mail.states import ORDERS, REROUTED, Order, State
from web.api.caller import Caller, Calling
from web.api.models import AccountName, Body, Given, Moment, Of
from web.api.operations import Operation, Row, add
from web.cursors import cursor_of, place_of
from web.house import House

_MOST: Final = 100
_REROUTE: Final = "reroute"


class Filter(Body):
    """Which messages are meant; what is not named is anything."""

    state: Annotated[State, Field(strict=False)] = Field(
        description="How one of its recipients stands; one that the order is for."
    )
    recipient: str | None = Field(None, max_length=320)
    message_id: str | None = Field(None, max_length=998, description="Message-ID header, with or without its brackets.")
    provider_message_id: str | None = Field(
        None, min_length=1, max_length=998, description="Id that a provider gave it when it took it; brackets as above."
    )
    since: Moment | None = Field(None, description="Accepted then or later.")
    until: Moment | None = Field(None, description="Accepted before.")


class Orders(Body):
    """What is to be done with which messages."""

    order: Annotated[Order, Field(strict=False)] | Literal["reroute"]
    filter: Filter
    provider: AccountName | None = Field(
        None, description="Of `reroute`: one that the account may use; without, rules say it."
    )
    dry_run: bool = Field(True, description="Only say which messages it would be.")
    cursor: str | None = Field(None, max_length=200, description="`next` of the call before.")
    limit: int = Field(_MOST, ge=1, le=_MOST, description="Most messages of a call.")

    @property
    def fitting(self) -> frozenset[State]:
        """How recipients stand that the order is for."""
        return REROUTED if self.order == _REROUTE else ORDERS[self.order][0]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.provider is not None and self.order != _REROUTE:
            raise ValueError(f"a provider goes with {_REROUTE} only")
        if self.filter.state not in self.fitting:
            raise ValueError(f"{self.order} is for what is {', '.join(sorted(self.fitting))}")
        return self


class RefusedOrder(Given):
    """A message that was left as it is."""

    id: UUID
    why: str


class Carried(Given):
    """What was done with a page of messages, or would be."""

    dry_run: bool
    count: int = Field(description="Messages that the filter has found, on this page.")
    ids: list[UUID] = Field(description="Those that the order was carried out for, or would be; the newest first.")
    recipients: int = Field(description="Recipients that were changed, or would be.")
    refused: list[RefusedOrder] = Field(description="Found, and left as they are: being sent just now, for instance.")
    next: str | None = Field(
        description="Where to go on; null at the end. A page may be short, or empty, and there is more all the same."
    )


class BulkOrders:
    """Carries out orders for the messages of an account that a filter finds."""

    def __init__(self, house: House) -> None:
        self._house = house

    def add_to(self, app: FastAPI) -> None:
        """Add this operation to the API."""
        row: Row = ("POST", "/message-orders", Scope.MESSAGES_MANAGE, self.carry_out, "Order many", 200, (404,))
        add(app, "messages", (Operation.of(row),))

    async def carry_out(self, caller: Calling, query: Annotated[Of, Query()], body: Orders) -> Carried:
        """Hold, release, cancel, retry or reroute messages that a filter finds, a page for each call, the newest first.

        Without `"dry_run": false` nothing is done, and the answer says which it would be. An order is for all
        recipients of a message that it fits. Each message is a change of its own: a call that was cut off may be
        repeated as it is, and does what it had left.
        """
        account = caller.account(query.account)
        wanted = _search(body)
        async with self._house.office() as office:
            found = await office.messages.search(account, wanted)
            if not body.dry_run:
                await office.audit.note(caller.deed(f"message.{body.order}.many", _words(body.filter), account))
        ids = [each.id for each in found.messages]
        if body.dry_run:
            recipients = sum(each.states.get(state, 0) for each in found.messages for state in body.fitting)
            return _carried(body, found, ids, recipients, [])
        return await self._each(caller, account, body, found)

    async def _each(self, caller: Caller, account: str, body: Orders, found: Page) -> Carried:
        done: list[UUID] = []
        refused: list[RefusedOrder] = []
        recipients = 0
        for each in found.messages:
            try:
                recipients += await self._one(caller, account, body, each.id)
            except (NotFound, Conflict) as why:
                refused.append(RefusedOrder(id=each.id, why=why.why))
            else:
                done.append(each.id)
        return _carried(body, found, done, recipients, refused)

    async def _one(self, caller: Caller, account: str, body: Orders, message: UUID) -> int:
        async with self._house.office(caller.deed(f"message.{body.order}", message, account)) as office:
            if body.order == _REROUTE:
                changed = await office.messages.reroute(body.provider, message, None, caller.owner)
            else:
                changed = await office.messages.order(body.order, message, None, caller.owner)
        return len(changed)


def _carried(body: Orders, found: Page, ids: list[UUID], recipients: int, refused: list[RefusedOrder]) -> Carried:
    return Carried(
        dry_run=body.dry_run,
        count=len(found.messages),
        ids=ids,
        recipients=recipients,
        refused=refused,
        next=cursor_of(found.following),
    )


def _search(body: Orders) -> Search:
    asked = body.filter
    return Search(
        recipient=asked.recipient,
        header_message_id=asked.message_id,
        provider_message_id=asked.provider_message_id,
        state=asked.state,
        since=asked.since,
        before=place_of(body.cursor) or ended_at(asked.until),
        most=body.limit,
    )


def _words(asked: Filter) -> str:
    return asked.model_dump_json(exclude_none=True)
