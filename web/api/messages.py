"""Messages: search, story, raw octets, and what is ordered of them."""

from dataclasses import fields
from typing import Annotated, Literal
from uuid import UUID

from fastapi import FastAPI, Query
from pydantic import Field
from starlette.responses import Response

from backing.postgres.early import REROUTE, Wish
from backing.postgres.stories import Facts, Search, Story, ended_at
from backing.s3 import BodyMissing
from mail.keys import Scope
from mail.states import Order, State
from web.api.caller import Caller, Calling
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
)
from web.api.operations import Operation, add
from web.cursors import cursor_of, place_of
from web.house import House
from web.problems import Problem

_TOLD = [each.name for each in fields(Facts) if each.name in MessageDetail.model_fields]
_RAW = {"responses": {"200": {"description": "The message.", "content": {"message/rfc822": {}}}}}
Number = Annotated[int | None, Query(ge=0, le=2**31 - 1, description="Of one recipient; null is all that it is for.")]
_NOTED = {
    "responses": {
        "202": {
            "description": "No worker has the message yet; the order is noted, and obeyed before it is sent.",
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{Ordered.__name__}"}}},
        }
    }
}


class MessageSearch(Paged):
    """What is searched for; what is not named is anything."""

    recipient: str | None = Field(None, max_length=320)
    message_id: str | None = Field(None, max_length=998, description="Message-ID header, with or without its brackets.")
    provider_message_id: str | None = Field(
        None, min_length=1, max_length=998, description="Id that a provider gave it when it took it; brackets as above."
    )
    state: State | None = Field(None, description="How one of its recipients stands.")
    since: Moment | None = Field(None, description="Accepted then or later.")
    until: Moment | None = Field(None, description="Accepted before.")


class Through(Body):
    """Through which provider what is left of a message is to go."""

    provider: AccountName = Field(description="Name of one that the account may use; its own before a shared one.")


class ByRules(Body):
    """That rules are to say anew where what is left of a message goes."""

    rules: Literal[True] = Field(description="By the account's rules as they stand then, whatever was ordered before.")


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
                        method="POST",
                        path=f"{one}/{word}",
                        scope=manage,
                        does=does,
                        summary=summary,
                        faults=faults,
                        extra={} if word == "retry" else _NOTED,
                    )
                    for word, does, summary in (
                        ("cancel", self.cancel, "Send it no more"),
                        ("hold", self.hold, "Hold what waits"),
                        ("release", self.release, "Let go what is held"),
                        ("reroute", self.reroute, "Send it another way"),
                        ("retry", self.retry, "Send at once, or once more"),
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
            provider_message_id=query.provider_message_id,
            state=query.state,
            since=query.since,
            before=place_of(query.cursor) or ended_at(query.until),
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
        told = {name: getattr(story.facts, name) for name in _TOLD}
        told |= {"state": story.state, "recipients": story.recipients, "timeline": story.moments, "cut": story.cut}
        return MessageDetail.model_validate(told)

    async def raw(self, caller: Calling, id: UUID) -> Response:  # noqa: A002 - the name in the path
        """The octets of a message as they are delivered, where its body is stored: while its mail waits."""
        async with self._house.office() as office:
            place = await office.messages.body(id, caller.owner)
            # It changes nothing, and who has read mail is asked all the same.
            await office.audit.note(caller.deed("message.raw", id), await office.messages.owner(id))
        try:
            body = await self._house.bodies.get(place)
        except BodyMissing:
            raise Problem(404, f"the body of message {id} is no longer stored") from None
        headers = {"Content-Disposition": f'attachment; filename="{id}.eml"'}
        return Response(body, headers=headers, media_type="message/rfc822")

    async def cancel(
        self,
        caller: Calling,
        answer: Response,
        id: UUID,  # noqa: A002 - as above
        recipient: Number = None,
    ) -> Ordered:
        """Send to recipients no more that wait or are held; to all of them, or to the one with a number.

        Of a message that no worker has taken from the queue yet the order is noted: `202`, and `noted`. By SMTP it has
        its id from the `250` on, which nobody here knows yet; so any id of the last 14 days is taken for one.
        """
        return await self._order(caller, answer, Wish(Order.CANCEL, id, recipient))

    async def hold(
        self,
        caller: Calling,
        answer: Response,
        id: UUID,  # noqa: A002 - as above
        recipient: Number = None,
    ) -> Ordered:
        """Hold recipients that wait, until they are let go or cancelled.

        Before a worker has taken the message from the queue, as for `cancel`.
        """
        return await self._order(caller, answer, Wish(Order.HOLD, id, recipient))

    async def release(
        self,
        caller: Calling,
        answer: Response,
        id: UUID,  # noqa: A002 - as above
        recipient: Number = None,
    ) -> Ordered:
        """Let recipients go that are held; by the account's rules, but held by none of them again.

        Before a worker has taken the message from the queue, as for `cancel`, if it is ordered to be held.
        """
        return await self._order(caller, answer, Wish(Order.RELEASE, id, recipient))

    async def retry(
        self,
        caller: Calling,
        answer: Response,
        id: UUID,  # noqa: A002 - as above
        recipient: Number = None,
    ) -> Ordered:
        """Send at once to recipients that are deferred, and once more to those that failed or expired.

        Where the body is still stored; their schedule begins anew.
        """
        return await self._order(caller, answer, Wish(Order.RETRY, id, recipient))

    async def reroute(
        self,
        caller: Calling,
        answer: Response,
        id: UUID,  # noqa: A002 - as above
        body: Through | ByRules,
        recipient: Number = None,
    ) -> Ordered:
        """Send to recipients that wait or are held another way, now: through a provider, or by the rules.

        Through a provider: from then on, and held by no rule. What else rules say is still done: they may reject,
        discard or redirect. Where they would send it, it goes through this provider alone, while that is there and
        enabled. By the rules: as they stand now, as if nothing had been ordered before; they may hold it again.
        Before a worker has taken the message from the queue, as for `cancel`.
        """
        provider = body.provider if isinstance(body, Through) else None
        return await self._order(caller, answer, Wish(REROUTE, id, recipient, provider))

    async def _order(self, caller: Caller, answer: Response, wish: Wish) -> Ordered:
        async with self._house.office(caller.deed(f"message.{wish.what}", wish.message_id)) as office:
            changed = await office.messages.direct(wish, caller.owner)
        if changed is None:
            answer.status_code = 202
        return Ordered(id=wish.message_id, recipients=changed or [], noted=changed is None)
