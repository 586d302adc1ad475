"""Who calls, and for which account: a tenant's key says it, an operator names it."""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends
from starlette.requests import Request

from backing.admin.desk import NotFound
from backing.postgres.audit import Deed
from mail.keys import ApiKey
from web.edge import visit_of
from web.problems import Problem


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls.

    Attributes:
        key: what was shown.
        request: correlation id.
        peer: address.
    """

    key: ApiKey
    request: str
    peer: str

    @property
    def owner(self) -> UUID | None:
        """The account that what is asked for by its id has to be of; None for an operator, who sees all."""
        return self.key.account_id

    def account(self, named: str | None) -> str:
        """Give the name of the account that is acted for.

        Args:
            named: the one that is asked for, if any.

        Raises:
            Problem: an operator names none.
            NotFound: a tenant names another one, which looks as one that is not there.
        """
        own = self.key.account
        if own is None:
            if named is None:
                raise Problem(422, "an operator's key acts for all accounts; name one: ?account=NAME")
            return named
        if named not in {None, own}:
            raise NotFound(f"there is no account {named!r}")
        return own

    def deed(self, action: str, subject: object, account: str | None = None) -> Deed:
        """Say what is noted in the audit log."""
        return Deed(
            account=account or self.key.account,
            actor=self.key.actor,
            action=action,
            subject=str(subject),
            request=self.request,
            peer=self.peer,
        )


async def caller_of(request: Request) -> Caller:
    """Give who calls; the gate has checked the key. A coroutine, since FastAPI runs others in a thread each."""
    key: ApiKey = request.scope["state"]["key"]
    return Caller(key, visit_of(request.scope).id, request.client.host if request.client else "unknown")


Calling = Annotated[Caller, Depends(caller_of)]
