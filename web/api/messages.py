"""Messages: search, story, raw octets, and what is ordered of them."""

from typing import Annotated
from uuid import UUID

from fastapi import FastAPI, Query
from pydantic import Field
from starlette.responses import Response

from backing.postgres.stories import Search, Story
from backing.s3 import BodyMissing
from mail.keys import Scope
from mail.states import Order, State
from web.api.caller import Calling
from web.api.models import (
    AccountName,
    Body,
    Listed,
    MessageDetail,
    MessageSummary,
    MessageWaiting,
    Moment,
    Ordered,
    Paged,
    RecipientState,
    TimelineEntry,
)
from web.api.operations import Operation, add
from web.cursors import cursor_of, place_of
from web.house import House
from web.problems import Problem

_RAW = {"responses": {"200": {"description": "The message.", "content": {"message/rfc822": {}}}}}


class MessageSearch(Paged):
    """What is searched for; what is not named is anything."""

    recipient: str | None = Field(None, max_length=320)
    message_id: str | None = Field(None, max_length=998, description="Message-ID header, with or without its brackets.")
    state: State | None = Field(None, description="How one of its recipients stands.")
    since: Moment | None = Field(None, description="Accepted then or later.")


class Through(Body):
    """Where what is left of a message is to go."""

    provider: AccountName = Field(description="Name of one that the account may use; its own before a shared one.")


class Messages:
    """The mail of an account; an operator's key reaches that of all."""

    def __init__(self, house: House) -> None:
        self._house = house

    def add_to(self, app: FastAPI) -> None:
        """Add these operations to the API."""
        read, manage, one = Scope.MESSAGES_READ, Scope.MESSAGES_MANAGE, "/messages/{id}"
        faults = (404, 409)
        add(
            app,
            "messages",
            (
                Operation(
                    method="GET",
                    path="/messages",
                    scope=read,
                    does=self.search,
                    summary="Search messages",
                    faults=(404,),
                ),
                Operation(method="GET", path=one, scope=read, does=self.show, summary="Tell a message", faults=(404,)),
                Operation(
                    method="GET",
                    path=f"{one}/raw",
                    scope=Scope.MESSAGES_RAW,
                    does=self.raw,
                    summary="Download a message",
                    faults=(404,),
                    extra=_RAW,
                ),
                *(
                    Operation(
                        method="POST", path=f"{one}/{word}", scope=manage, does=does, summary=summary, faults=faults
                    )
                    for word, does, summary in (
                        ("cancel", self.cancel, "Send it no more"),
                        ("hold", self.hold, "Hold what waits"),
                        ("release", self.release, "Let go what is held"),
                        ("reroute", self.reroute, "Send it another way"),
                        ("retry", self.retry, "Send once more what failed"),
                    )
                ),
            ),
        )

    async def search(self, caller: Calling, query: Annotated[MessageSearch, Query()]) -> Listed[MessageSummary]:
        """Messages of an account, the newest first.

        A page may be short, or empty, and still have a `next`: a search by state looks at so many messages at a time.
        """
        wanted = Search(
            recipient=query.recipient,
            header_message_id=query.message_id,
            state=query.state,
            since=query.since,
            before=place_of(query.cursor),
            most=query.limit,
        )
        async with self._house.reading() as office:
            page = await office.messages.search(caller.account(query.account), wanted)
        items = [MessageSummary.model_validate(each) for each in page.messages]
        return Listed[MessageSummary](items=items, next=cursor_of(page.following))

    async def show(self, caller: Calling, id: UUID) -> MessageDetail | MessageWaiting:  # noqa: A002 - the name in the path
        """How a message and its recipients stand, and all that happened to it.

        One that was submitted here and that no worker has taken from the queue yet is `queued`, and no more is known of
        it; one that came by SMTP is known as soon as a worker has taken it, well within seconds.
        """
        async with self._house.reading() as office:
            story = await office.messages.find(id, caller.owner)
        if not isinstance(story, Story):
            return MessageWaiting.model_validate(story)
        facts = {name: getattr(story.facts, name) for name in MessageDetail.model_fields if hasattr(story.facts, name)}
        return MessageDetail(
            **facts,
            state=story.state,
            recipients=[RecipientState.model_validate(each) for each in story.recipients],
            timeline=[TimelineEntry.model_validate(each) for each in story.moments],
            cut=story.cut,
        )

    async def raw(self, caller: Calling, id: UUID) -> Response:  # noqa: A002 - the name in the path
        """The octets of a message as they are delivered, where its body is stored: while its mail waits."""
        async with self._house.office() as office:
            place = await office.messages.body(id, caller.owner)
            # It changes nothing, and who has read mail is asked all the same.
            await office.audit.note(caller.deed("message.raw", id))
        try:
            body = await self._house.bodies.get(place)
        except BodyMissing:
            raise Problem(404, f"the body of message {id} is no longer stored") from None
        headers = {"Content-Disposition": f'attachment; filename="{id}.eml"'}
        return Response(body, headers=headers, media_type="message/rfc822")

    async def cancel(self, caller: Calling, id: UUID, recipient: int | None = None) -> Ordered:  # noqa: A002 - as above
        """Send to recipients no more that wait or are held; to all of them, or to the one with a number."""
        return await self._order(caller, Order.CANCEL, id, recipient)

    async def hold(self, caller: Calling, id: UUID, recipient: int | None = None) -> Ordered:  # noqa: A002 - as above
        """Hold recipients that wait, until they are let go or cancelled; where the body is stored."""
        return await self._order(caller, Order.HOLD, id, recipient)

    async def release(self, caller: Calling, id: UUID, recipient: int | None = None) -> Ordered:  # noqa: A002 - as above
        """Let recipients go that are held; by the account's rules, but held by none of them again."""
        return await self._order(caller, Order.RELEASE, id, recipient)

    async def retry(self, caller: Calling, id: UUID, recipient: int | None = None) -> Ordered:  # noqa: A002 - as above
        """Send once more to recipients that failed or expired, where the body is still stored."""
        return await self._order(caller, Order.RETRY, id, recipient)

    async def reroute(
        self,
        caller: Calling,
        id: UUID,  # noqa: A002 - as above
        body: Through,
        recipient: int | None = None,
    ) -> Ordered:
        """Send to recipients that wait or are held through another provider, from now on; held by no rule.

        What else rules say is still done: they may reject, discard or redirect. Where they would send it, it goes
        through this provider alone, while that is there and enabled.
        """
        async with self._house.office(caller.deed("message.reroute", id)) as office:
            changed = await office.messages.reroute(body.provider, id, recipient, caller.owner)
        return Ordered(id=id, recipients=changed)

    async def _order(self, caller: Calling, order: Order, message: UUID, recipient: int | None) -> Ordered:
        async with self._house.office(caller.deed(f"message.{order}", message)) as office:
            changed = await office.messages.order(order, message, recipient, caller.owner)
        return Ordered(id=message, recipients=changed)
