"""What is made once however often it is asked for: `Idempotency-Key` on all that makes something.

The answer is kept in the transaction that makes it, for a day; so a call that was cut off can be repeated. An answer
with a secret is not kept: a repeat is told what was made, and not the secret.
"""

import hmac
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final, TypeVar

from fastapi import Depends, Header
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from backing.admin.office import Office
from backing.postgres.audit import Deed
from backing.postgres.requests import Answered, Asked, RequestRunning
from web.api.caller import Caller, Calling
from web.house import House
from web.problems import RETRY_SECONDS, Problem

REPLAYED: Final = "Idempotency-Replayed"
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="A name of your own for this request: repeated within a day, it is carried out once.",
    ),
]
Model = TypeVar("Model", bound=BaseModel)


class Replayed(Exception):  # noqa: N818 - reads as a sentence where it is raised
    """The request was answered before; this is the answer."""

    def __init__(self, before: Answered) -> None:
        super().__init__(before.status)
        place = {"Location": before.place} if before.place else {}
        self.response = Response(before.answer, before.status, {REPLAYED: "true", **place}, "application/json")


class Once:
    """A request that is carried out once, if it has an Idempotency-Key.

    Args:
        caller: whose keys are meant: each account has its own, and operators have theirs.
        operation: method and route.
        status: of success.
        key: what the client calls it.
        asked: all that is asked for.
    """

    def __init__(self, caller: Caller, operation: str, status: int, key: str | None, asked: bytes) -> None:
        self._caller = caller
        self._operation = operation
        self._status = status
        self._key = key
        self._asked = asked
        self._answer: str | None = None
        self._made = ""
        self._place: str | None = None

    @asynccontextmanager
    async def change(self, house: House, deed: Deed) -> AsyncIterator[Office]:
        """Lend all that can be changed for a block that is one transaction, unless the request was answered before.

        The block says with `made` or `secret` what it answers.

        Raises:
            Replayed: it was; this is the answer.
            Problem: 409, it is carried out at this moment, or was and had a secret in its answer; 422, the key stands
                for another request.
        """
        async with house.change(deed, steady=False) as office:
            asked = self._named(house.tools.credential_key)
            if asked:
                await self._begin(office, asked)
            yield office
            if asked:
                if not self._made:
                    raise RuntimeError(f"{self._operation} does not say what it made")
                answered = Answered(asked.fingerprint, self._status, self._answer, self._made, self._place)
                await office.repeats.keep(asked, answered)

    def made(self, shown: Model, place: str | None = None) -> Model:
        """Say what is answered, and where what was made is; a repeat gets the same."""
        self._made, self._answer, self._place = type(shown).__name__, shown.model_dump_json(), place
        return shown

    def secret(self, made: str, shown: Model) -> Model:
        """Say what is answered, and in words what was made; a repeat gets the words, since the answer has a secret."""
        self._made, self._answer = made, None
        return shown

    def _named(self, key: bytes) -> Asked | None:
        if self._key is None:
            return None
        # Keyed, since what is asked for may have a secret that can be guessed.
        fingerprint = hmac.digest(key, b"request\0" + self._asked, "sha256")
        return Asked(account_id=self._caller.owner, operation=self._operation, key=self._key, fingerprint=fingerprint)

    async def _begin(self, office: Office, asked: Asked) -> None:
        try:
            before = await office.repeats.begin(asked)
        except RequestRunning:
            words = "the first call with this Idempotency-Key is still being carried out; repeat it then"
            raise Problem(409, words, {"Retry-After": str(RETRY_SECONDS)}) from None
        if before is None:
            return
        if not hmac.compare_digest(bytes(before.fingerprint), asked.fingerprint):
            raise Problem(422, "this Idempotency-Key stands for another request; take a new one")
        if before.answer is None:
            raise Problem(409, _words(before.made))
        raise Replayed(before)


async def once_of(request: Request, caller: Calling, key: IdempotencyKey = None) -> Once:
    """Give the request as one that is carried out once."""
    route: Any = request.scope["route"]
    line = f"{request.method} {request.url.path}?{request.url.query}\n".encode()
    status = route.status_code or 200
    return Once(caller, f"{request.method} {route.path}", status, key, line + await request.body())


OnlyOnce = Annotated[Once, Depends(once_of)]


def takes(does: Callable[..., Any], *several: object) -> bool:
    """Whether an operation takes one of these: `OnlyOnce`, or an `IdempotencyKey` of which it sees to itself."""
    return any(each.annotation in several for each in inspect.signature(does).parameters.values())


async def replay(_: Request, fault: Exception) -> Response:
    """Answer as before."""
    assert isinstance(fault, Replayed)  # noqa: S101 - it is registered for this alone
    return fault.response


def _words(made: str) -> str:
    return (
        f"the first call with this Idempotency-Key made {made}; its secret was shown in that answer only. If nobody has"
        " it, rotate or revoke what was made"
    )
