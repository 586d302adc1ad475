"""Routing rules: which mail of an account goes out where, and what would be done with a message."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import FastAPI, Query
from pydantic import Field
from starlette.responses import Response

from backing.admin.office import Office
from backing.ids import new_id
from mail.addresses import parse_mailbox
from mail.keys import Scope
from mail.routing.conditions import Question
from mail.routing.documents import MAX_PRIORITY, NAME
from web.api.caller import Calling
from web.api.etags import IfMatch, expect, tag
from web.api.letters import Line, Marker
from web.api.made import locate
from web.api.models import Body, Document, Given, Listed, Of
from web.api.operations import Operation, Row, add
from web.api.pages import SlicedOf, following, part
from web.api.repeats import OnlyOnce
from web.house import House

Priority = Annotated[int, Field(ge=0, le=MAX_PRIORITY)]
Header = Annotated[str, Field(pattern=r"^[!-9;-~]{1,70}$")]
RuleName = Annotated[str, Field(pattern=f"^{NAME.pattern}$", max_length=200, examples=["far away"])]


class RuleNew(Body):
    """A rule to be made, as the page on routing describes it."""

    name: RuleName
    priority: Priority = Field(description="Rules are asked from the lowest on.")
    enabled: bool = True
    match: dict[str, Any] = Field(default={}, examples=[{"all": [{"recipient_domain": "far.example"}]}])
    action: dict[str, Any] = Field(examples=[{"type": "route", "targets": [{"provider": "main"}]}])


class RulePatch(Body):
    """What is to be changed; what is not named stays."""

    name: RuleName | None = None
    priority: Priority | None = None
    enabled: bool | None = None
    match: dict[str, Any] | None = None
    action: dict[str, Any] | None = None


class RuleShown(Given):
    """A rule."""

    id: str
    name: str
    priority: int
    enabled: bool
    match: Document
    action: Document
    version: int


class Imagined(Body):
    """A message that is not sent."""

    recipients: list[Annotated[str, Field(max_length=320)]] = Field(min_length=1, max_length=100)
    mail_from: Annotated[str, Field(max_length=320)] = ""
    size: int = Field(0, ge=0)
    stream: Marker | None = None
    tags: list[Marker] = Field(default=[], max_length=10)
    headers: dict[Header, Line] = Field(default={}, max_length=100)


class Simulated(Given):
    """What would be done with it, and why, recipient by recipient."""

    traces: list[dict[str, Any]]


class Rules:
    """The rules of an account."""

    def __init__(self, house: House) -> None:
        self._house = house

    def add_to(self, app: FastAPI) -> None:
        """Add these operations to the API."""
        read, write, all_, one = Scope.RULES_READ, Scope.RULES_WRITE, "/rules", "/rules/{name:path}"
        table: tuple[Row, ...] = (
            ("GET", all_, read, self.listed, "List rules", 200, (404,)),
            ("POST", all_, write, self.create, "Make a rule", 201, (404, 409)),
            ("POST", "/rules/simulate", read, self.simulate, "Ask what would be done", 200, (404,)),
            ("GET", one, read, self.show, "Show a rule", 200, (404,)),
            ("PATCH", one, write, self.change, "Change a rule", 200, (404, 409, 412)),
            ("DELETE", one, write, self.delete, "Delete a rule", 204, (404, 409, 412)),
        )
        add(app, "rules", map(Operation.of, table))

    async def listed(self, caller: Calling, query: Annotated[SlicedOf, Query()]) -> Listed[RuleShown]:
        """The rules of an account, in the order in which they are asked."""
        async with self._house.office() as office:
            rows = await office.rules.all(caller.account(query.account), part(query, int, UUID))
        items = [RuleShown.model_validate(row) for row in rows[: query.limit]]
        return Listed[RuleShown](items=items, next=following(query, rows, "priority", "id"))

    async def create(
        self, caller: Calling, once: OnlyOnce, query: Annotated[Of, Query()], body: RuleNew, response: Response
    ) -> RuleShown:
        """Make a rule."""
        account = caller.account(query.account)
        async with once.change(self._house, caller.deed("rule.create", body.name, account)) as office:
            await office.rules.create(account, body.model_dump())
            place = locate(response, "/rules", body.name, query.account)
            return once.made(await _shown(office, account, body.name), place)

    async def show(self, caller: Calling, name: str, query: Annotated[Of, Query()], response: Response) -> RuleShown:
        """One rule, by its name or its id."""
        async with self._house.office() as office:
            shown = await _shown(office, caller.account(query.account), name)
        tag(response, shown)
        return shown

    async def change(
        self,
        caller: Calling,
        name: str,
        query: Annotated[Of, Query()],
        body: RulePatch,
        response: Response,
        if_match: IfMatch = None,
    ) -> RuleShown:
        """Change a rule that is meant by its name or its id."""
        account, changes = caller.account(query.account), body.model_dump(exclude_none=True)
        async with self._house.change(caller.deed("rule.change", name, account)) as office:
            found = await _shown(office, account, name)
            expect(if_match, found)
            await office.rules.change(account, name, changes)
            shown = await _shown(office, account, found.id)
        tag(response, shown)
        return shown

    async def delete(self, caller: Calling, name: str, query: Annotated[Of, Query()], if_match: IfMatch = None) -> None:
        """Delete a rule that is meant by its name or its id."""
        account = caller.account(query.account)
        async with self._house.change(caller.deed("rule.delete", name, account)) as office:
            expect(if_match, await _shown(office, account, name))
            await office.rules.delete(account, name)

    async def simulate(self, caller: Calling, query: Annotated[Of, Query()], body: Imagined) -> Simulated:
        """Say what would be done with a message, and why; nothing is."""
        for address in (*body.recipients, *([body.mail_from] if body.mail_from else [])):
            parse_mailbox(address)
        lines = "".join(f"{name}: {text}\r\n" for name, text in body.headers.items()).encode("utf-8", "replace")
        question = Question(
            message_id=new_id(),
            mail_from=body.mail_from,
            size=body.size,
            stream=body.stream or "",
            tags=body.tags,
            header_block=lambda: lines,
        )
        async with self._house.office() as office:
            traces = await office.rules.simulate(caller.account(query.account), question, body.recipients)
        return Simulated(traces=[trace.document() for trace in traces])


async def _shown(office: Office, account: str, name: str) -> RuleShown:
    return RuleShown.model_validate(await office.rules.show(account, name))
