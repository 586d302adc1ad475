"""Submitting messages: as JSON, or as they are."""

import hashlib
from typing import Annotated, Any, Final

from fastapi import FastAPI, Query
from pydantic import Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from backing.admin.desk import NotFound
from backing.ids import new_id, now
from backing.postgres.accounts import Accounts
from mail.accounts import Account
from mail.errors import Refused
from mail.keys import Scope
from web.api.bodies import JSON, media_type, read
from web.api.caller import Calling
from web.api.intake import Intake, Submission, envelope, lines_ended
from web.api.letters import Letter, composed
from web.api.made import locate
from web.api.models import Accepted, Of
from web.api.operations import Operation, add
from web.api.repeats import REPLAYED, IdempotencyKey
from web.house import House
from web.problems import Problem, faults_of

_MESSAGE: Final = "message/rfc822"
_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {"schema": {"$ref": f"#/components/schemas/{Letter.__name__}"}},
            _MESSAGE: {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


class Envelope(Of):
    """Who sends and gets a message that is submitted as it is; of JSON, it is made of its fields."""

    sender: str | None = Field(
        None, alias="from", max_length=320, description="Reverse path; empty for the null sender."
    )
    to: list[str] = Field(default=[], max_length=10_000, description="A recipient; repeatable.")


class Submissions:
    """Takes messages for an account."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._accounts = Accounts(house.database)
        self._intake = Intake(house)

    def add_to(self, app: FastAPI) -> None:
        """Add this operation to the API."""
        submit = Operation(
            method="POST",
            path="/messages",
            scope=Scope.MESSAGES_SEND,
            does=self.submit,
            summary="Submit a message",
            status=202,
            faults=(404, 413, 415),
            extra=_BODY,
        )
        add(app, "messages", (submit,))

    async def submit(
        self,
        caller: Calling,
        request: Request,
        query: Annotated[Envelope, Query()],
        response: Response,
        key: IdempotencyKey = None,
    ) -> Accepted:
        """Put a message on the delivery queue: JSON, or `message/rfc822` with its envelope in the query.

        The answer comes when the queue has it. With an `Idempotency-Key`, a call that was cut off can be repeated: the
        message is sent once, and the answer says `replayed`.
        """
        account = await self._account(caller.account(query.account))
        kind = media_type(request)
        body = await request.body()
        message_id, fingerprint = new_id(), hashlib.sha256(f"{kind}\n{request.url.query}\n".encode() + body).digest()
        made: dict[str, Any] = {"id": message_id, "key": key, "fingerprint": fingerprint}
        most = self._house.settings.web_max_recipients
        if kind == JSON:
            if query.sender is not None or query.to:
                raise Problem(422, "the envelope of a message in JSON is made of its fields, not of the query")
            letter = _letter(body)
            mail_from, recipients = envelope(account, letter.from_.address, letter.recipients(), most)
            try:
                content = composed(letter, message_id, now())
            except ValueError as fault:
                raise Problem(422, str(fault)) from None
        elif kind == _MESSAGE:
            if query.sender is None or not query.to:
                raise Problem(422, f"name the envelope of a {_MESSAGE}: ?from=ADDRESS&to=ADDRESS")
            if not body:
                raise Problem(422, "the body is empty; it is to be the message")
            mail_from, recipients = envelope(account, query.sender, query.to, most)
            content = lines_ended(body, repair=account.repair_line_ends)
        else:
            raise Problem(415, f"send {JSON} or {_MESSAGE}", {"Accept": f"{JSON}, {_MESSAGE}"})
        submission = Submission(mail_from=mail_from, recipients=recipients, content=content, **made)
        accepted = await self._take(caller, account, submission)
        if accepted.replayed:
            response.headers[REPLAYED] = "true"
        locate(response, "/messages", accepted.id)
        return accepted

    async def _take(self, caller: Calling, account: Account, submission: Submission) -> Accepted:
        counted = self._house.metrics.submitted
        try:
            accepted = await self._intake.take(caller, account, submission)
        except BaseException as fault:
            counted.labels("refused" if isinstance(fault, Problem | Refused) else "failed").inc()
            raise
        counted.labels("replayed" if accepted.replayed else "accepted").inc()
        return accepted

    async def _account(self, name: str) -> Account:
        account = await self._accounts.named(name)
        if account is None:
            raise NotFound(f"there is no account {name!r} that may send")
        return account


def _letter(body: bytes) -> Letter:
    try:
        return Letter.model_validate(read(body))
    except ValidationError as fault:
        raise Problem(422, "the message is not as it should be", errors=faults_of(fault.errors(), "body")) from None
