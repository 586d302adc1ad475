"""What operators look after: dead letters; and the audit log, of which a tenant reads its own part."""

from typing import Annotated
from uuid import UUID

from fastapi import FastAPI, Query
from pydantic import Field

from backing.admin.deadletters import DeadLetter, DeadLetters, Note
from mail.keys import Scope
from web.api.caller import Caller, Calling
from web.api.models import Body, Given, Listed, Of, Taken, Utc
from web.api.operations import Operation, Row, add
from web.house import House
from web.problems import Problem


class DeadLetterShown(Given):
    """A message that the delivery queue has given up."""

    id: str = Field(description="SQS's name for it.")
    message: UUID | None
    account: UUID | None
    reason: str
    queued_at: Utc
    receives: int
    size: int


class Most(Taken):
    """How many are wanted."""

    limit: int = Field(50, ge=1, le=500, description="Most that are shown; there are no pages of them.")


class Chosen(Body):
    """Which letters are meant."""

    ids: list[Annotated[str, Field(max_length=100)]] | None = Field(
        description="Of letters or of their messages; null is all.", min_length=1, max_length=500
    )


class Redriven(Given):
    """What became of a redrive."""

    done: int = Field(description="Letters that are on the delivery queue again.")
    came_back: int = Field(description="Those that were set aside again meanwhile.")


class Change(Given):
    """A change as it was noted."""

    id: UUID
    at: Utc
    account: str | None
    actor: str
    action: str
    subject: str
    request: str
    peer: str


class ChangesAsked(Of):
    """Which changes are wanted."""

    before: UUID | None = Field(None, description="`next` of the page before.")
    limit: int = Field(100, ge=1, le=1000)


class Oversight:
    """Dead letters and the audit log."""

    def __init__(self, house: House) -> None:
        self._house = house

    def add_to(self, app: FastAPI) -> None:
        """Add these operations to the API."""
        read, write, path = Scope.DEADLETTERS_READ, Scope.DEADLETTERS_WRITE, "/dead-letters"
        letters: tuple[Row, ...] = (
            ("GET", path, read, self.letters, "List dead letters", 200, (404,)),
            ("POST", f"{path}/redrive", write, self.redrive, "Bring them back", 200, (404,)),
            ("DELETE", f"{path}/{{id}}", write, self.drop, "Delete one for good", 204, (404,)),
        )
        log: tuple[Row, ...] = (("GET", "/audit-log", Scope.AUDIT_READ, self.log, "List changes", 200, (404,)),)
        add(app, "dead letters", map(Operation.of, letters))
        add(app, "audit log", map(Operation.of, log))

    async def letters(self, caller: Calling, query: Annotated[Most, Query()]) -> Listed[DeadLetterShown]:
        """Some dead letters, those first that were queued first.

        This list has no pages, since SQS has none: `next` is always null, and which letters are shown, if there are
        more than `limit`, is for SQS to say.
        """
        found = await self._dead(caller).some(query.limit)
        return Listed[DeadLetterShown](items=[DeadLetterShown.model_validate(each) for each in found], next=None)

    async def redrive(self, caller: Calling, body: Chosen) -> Redriven:
        """Bring dead letters back to the delivery queue as they are; a job that comes twice is sent once."""
        return Redriven.model_validate(await self._dead(caller).redrive(body.ids, self._noted(caller, "redrive")))

    async def drop(self, caller: Calling, id: str) -> None:  # noqa: A002 - the name in the path
        """Delete a dead letter for good."""
        await self._dead(caller).drop(id, self._noted(caller, "drop"))

    def _noted(self, caller: Caller, what: str) -> Note:
        """Note what is done with each letter, in the audit log of the account whose message it is."""

        async def note(letter: DeadLetter) -> None:
            async with self._house.office() as office:
                await office.audit.note(caller.deed(f"deadletter.{what}", letter.subject), letter.account)

        return note

    async def log(self, caller: Calling, query: Annotated[ChangesAsked, Query()]) -> Listed[Change]:
        """Who changed what, the newest first; an operator's key that names no account reads of all."""
        everyone = caller.key.account is None and query.account is None
        async with self._house.office() as office:
            account = None if everyone else caller.account(query.account)
            found = await office.audit.newest(account, query.before, query.limit)
        items = [Change.model_validate(each) for each in found]
        return Listed[Change](items=items, next=str(items[-1].id) if len(items) == query.limit else None)

    def _dead(self, caller: Caller) -> DeadLetters:
        if caller.key.account is not None:
            raise Problem(403, "this is for operators")
        if self._house.dead is None:
            raise Problem(404, "there is no dead-letter queue: DEAD_LETTER_QUEUE_URL names none")
        return DeadLetters(self._house.dead, self._house.queue)
