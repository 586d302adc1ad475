"""Webhook endpoints: where an account is told what becomes of its mail."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import FastAPI, Query
from pydantic import Field
from starlette.responses import Response

from backing.admin.webhooks import IssuedEndpoint
from backing.admin.webhooks import Webhooks as Endpoints
from backing.ids import now
from mail.keys import Scope
from web.api.caller import Caller, Calling
from web.api.etags import IfMatch, expect, tag
from web.api.made import locate
from web.api.models import Body, Given, Listed, Moment, Of, Rotation
from web.api.operations import Operation, Row, add
from web.api.pages import SlicedOf, following, part
from web.api.repeats import Once, OnlyOnce
from web.api.suppressions import Counted
from web.house import House
from web.problems import Problem


class EndpointNew(Body):
    """An endpoint to be made."""

    url: str = Field(max_length=2000, examples=["https://shop.example/mail-events"])
    types: list[Annotated[str, Field(max_length=100)]] = Field(
        default=[], max_length=50, description="Events that it wants; none is all."
    )


class EndpointChange(Body):
    """What is to be changed; what is not named stays."""

    url: str | None = Field(None, max_length=2000, examples=["https://shop.example/mail-events"])
    types: list[str] | None = Field(None, max_length=50, description="Events that it wants; an empty list is all.")
    enabled: bool | None = Field(None, description="Whether it is posted to.")


class EndpointShown(Given):
    """An endpoint, without its secret."""

    counted = frozenset({"disabled_reason", "failing_since", "created", "waiting", "secret_sealed_at", "secret_key"})

    id: str
    url: str
    types: list[str] | None
    enabled: bool
    disabled_reason: str | None
    failing_since: str | None
    rotating_until: str | None
    created: str
    waiting: int
    secret_sealed_at: str | None = Field(description="When its secret was sealed; null: before that was written down.")
    secret_key: str | None = Field(description="KMS key under which it is sealed.")


class EndpointMade(Given):
    """An endpoint that was made, or has another secret."""

    id: UUID
    secret: str = Field(description="Shown only now; posts are signed with it as Standard Webhooks describes.")


class Post(Given):
    """What became of an event that went to an endpoint."""

    event: str
    type: str
    state: str
    attempts: int
    last_status: int | None
    last_text: str | None
    time: str


class Span(Body):
    """A time whose events are posted once more."""

    since: Moment
    until: Moment | None = None


class Sent(Given):
    """An event that is on its way."""

    event: UUID


class Webhooks:
    """The endpoints of an account."""

    def __init__(self, house: House) -> None:
        self._house = house

    def add_to(self, app: FastAPI) -> None:
        """Add these operations to the API."""
        read, write, all_, one = Scope.WEBHOOKS_READ, Scope.WEBHOOKS_WRITE, "/webhooks", "/webhooks/{id}"
        table: tuple[Row, ...] = (
            ("GET", all_, read, self.listed, "List endpoints", 200, (404,)),
            ("POST", all_, write, self.create, "Make an endpoint", 201, (404,)),
            ("GET", one, read, self.show, "Show an endpoint", 200, (404,)),
            ("PATCH", one, write, self.change, "Change an endpoint", 200, (404, 412)),
            ("GET", f"{one}/deliveries", read, self.deliveries, "List what was posted", 200, (404,)),
            ("POST", f"{one}/rotate", write, self.rotate, "Give it another secret", 201, (404, 412)),
            ("POST", f"{one}/enable", write, self.enable, "Post to it again", 204, (404, 412)),
            ("POST", f"{one}/disable", write, self.disable, "Post to it no more", 204, (404, 412)),
            ("POST", f"{one}/replay", write, self.replay, "Post events once more", 200, (404,)),
            ("POST", f"{one}/test", write, self.test, "Post an event of no message", 202, (404, 409)),
            ("DELETE", one, write, self.delete, "Remove an endpoint", 204, (404, 409, 412)),
        )
        add(app, "webhooks", map(Operation.of, table))

    async def listed(self, caller: Calling, query: Annotated[SlicedOf, Query()]) -> Listed[EndpointShown]:
        """The endpoints of an account, the oldest first."""
        async with self._house.office() as office:
            rows = await office.webhooks.of(caller.account(query.account), part(query, UUID))
        items = [EndpointShown.model_validate(row) for row in rows[: query.limit]]
        return Listed[EndpointShown](items=items, next=following(query, rows, "id"))

    async def create(
        self, caller: Calling, once: OnlyOnce, query: Annotated[Of, Query()], body: EndpointNew, response: Response
    ) -> EndpointMade:
        """Give an account another endpoint; it may be on the public internet only, unless networks are set apart."""
        account = caller.account(query.account)
        async with self._house.office() as office:
            sealed = await office.webhooks.sealed()
        async with once.change(self._house, caller.deed("webhook.create", body.url, account)) as office:
            shown = _made(once, await office.webhooks.create(account, body.url, body.types, sealed))
        locate(response, "/webhooks", shown.id, query.account)
        return shown

    async def show(
        self,
        caller: Calling,
        id: UUID,  # noqa: A002 - in the path
        query: Annotated[Of, Query()],
        response: Response,
    ) -> EndpointShown:
        """One endpoint."""
        async with self._house.office() as office:
            shown = EndpointShown.model_validate(await office.webhooks.show(caller.account(query.account), id))
        tag(response, shown)
        return shown

    async def change(
        self,
        caller: Calling,
        id: UUID,  # noqa: A002 - in the path
        query: Annotated[Of, Query()],
        body: EndpointChange,
        response: Response,
        if_match: IfMatch = None,
    ) -> EndpointShown:
        """Change where an account is told, of what, and whether; what waits for it goes to the new URL."""
        account = caller.account(query.account)
        async with self._house.change(caller.deed("webhook.change", id, account), steady=False) as office:
            webhooks = office.webhooks
            expect(if_match, EndpointShown.model_validate(await webhooks.lock(account, id)))
            await webhooks.change(account, id, body.url, body.types)
            if body.enabled is not None:
                await _switch(webhooks, caller, account, id, on=body.enabled)
            shown = EndpointShown.model_validate(await webhooks.show(account, id))
        tag(response, shown)
        return shown

    async def deliveries(self, caller: Calling, id: UUID, query: Annotated[SlicedOf, Query()]) -> Listed[Post]:  # noqa: A002 - as above
        """What became of the events that went to an endpoint, the newest first."""
        account = caller.account(query.account)
        async with self._house.office() as office:
            await office.webhooks.show(account, id)
            rows = await office.webhooks.deliveries(account, id, part(query, UUID))
        items = [Post.model_validate(row) for row in rows[: query.limit]]
        return Listed[Post](items=items, next=following(query, rows, "event"))

    async def rotate(
        self,
        caller: Calling,
        once: OnlyOnce,
        id: UUID,  # noqa: A002 - as above
        query: Annotated[Of, Query()],
        body: Rotation | None = None,
        if_match: IfMatch = None,
    ) -> EndpointMade:
        """Give an endpoint a new secret; for a while the old one signs as well."""
        account, overlap = caller.account(query.account), timedelta(hours=(body or Rotation()).overlap_hours)
        async with self._house.office() as office:
            sealed = await office.webhooks.sealed(id)
        async with once.change(self._house, caller.deed("webhook.rotate", id, account)) as office:
            expect(if_match, EndpointShown.model_validate(await office.webhooks.lock(account, id)))
            return _made(once, await office.webhooks.rotate(account, id, overlap, sealed))

    async def enable(
        self,
        caller: Calling,
        id: UUID,  # noqa: A002 - as above
        query: Annotated[Of, Query()],
        if_match: IfMatch = None,
    ) -> None:
        """Post to an endpoint again; what it has missed can be replayed."""
        await self._turn(caller, id, query, if_match, on=True)

    async def disable(
        self,
        caller: Calling,
        id: UUID,  # noqa: A002 - as above
        query: Annotated[Of, Query()],
        if_match: IfMatch = None,
    ) -> None:
        """Post to an endpoint no more; events are kept and can be replayed to it."""
        await self._turn(caller, id, query, if_match, on=False)

    async def delete(
        self,
        caller: Calling,
        id: UUID,  # noqa: A002 - as above
        query: Annotated[Of, Query()],
        if_match: IfMatch = None,
    ) -> None:
        """Remove an endpoint."""
        account = caller.account(query.account)
        async with self._house.change(caller.deed("webhook.delete", id, account), steady=False) as office:
            expect(if_match, EndpointShown.model_validate(await office.webhooks.lock(account, id)))
            await office.webhooks.delete(account, id)

    async def replay(self, caller: Calling, id: UUID, query: Annotated[Of, Query()], body: Span) -> Counted:  # noqa: A002 - as above
        """Let the account's events of a time go to an endpoint once more."""
        account, until = caller.account(query.account), body.until or now()
        if until <= body.since:
            raise Problem(422, "until is not after since")
        async with self._house.office(caller.deed("webhook.replay", id, account)) as office:
            return Counted(count=await office.webhooks.replay(account, id, body.since, until))

    async def test(self, caller: Calling, id: UUID, query: Annotated[Of, Query()]) -> Sent:  # noqa: A002 - as above
        """Let an event of no message go to an endpoint that is enabled."""
        account = caller.account(query.account)
        async with self._house.office(caller.deed("webhook.test", id, account)) as office:
            return Sent(event=await office.webhooks.test(account, id))

    async def _turn(self, caller: Caller, endpoint: UUID, query: Of, if_match: str | None, *, on: bool) -> None:
        account, action = caller.account(query.account), "webhook.enable" if on else "webhook.disable"
        async with self._house.change(caller.deed(action, endpoint, account), steady=False) as office:
            expect(if_match, EndpointShown.model_validate(await office.webhooks.lock(account, endpoint)))
            await _switch(office.webhooks, caller, account, endpoint, on=on)


async def _switch(webhooks: Endpoints, caller: Caller, account: str, endpoint: UUID, *, on: bool) -> None:
    if on:
        await webhooks.enable(account, endpoint)
    else:
        await webhooks.disable(account, endpoint, f"disabled with the key {caller.key.prefix}")


def _made(once: Once, endpoint: IssuedEndpoint) -> EndpointMade:
    return once.secret(f"a secret of endpoint {endpoint.id}", EndpointMade(id=endpoint.id, secret=endpoint.secret))
