"""Who looks at the console, and whether a form is one of ours."""

import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from backing.admin.desk import NotFound
from backing.postgres.audit import Deed
from mail.keys import ApiKey, Scope
from web.console.sessions import Session, Sessions
from web.doorkeeper import Doorkeeper
from web.edge import visit_of
from web.problems import Problem

FORM: Final = "application/x-www-form-urlencoded"
_MOST_FIELDS: Final = 20


class SignedOut(Exception):  # noqa: N818 - a fact about a visitor
    """Nobody is signed in; the sign-in page comes next."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who is signed in."""

    key: ApiKey
    session: Session

    def needs(self, scope: Scope) -> None:
        """Refuse a key without a scope.

        Raises:
            Problem: 403.
        """
        if scope not in self.key.scopes:
            raise Problem(403, f"this needs a key with the scope {scope}")

    def account(self, named: str) -> str | None:
        """Give the account that is looked at: a tenant's own, or the one that an operator has chosen, if any.

        Raises:
            NotFound: a tenant names another one.
        """
        if self.key.account is None:
            return named or None
        if named not in {"", self.key.account}:
            raise NotFound(f"there is no account {named!r}")
        return self.key.account

    def deed(self, request: Request, action: str, subject: object) -> Deed:
        """Say what is noted in the audit log."""
        return Deed(
            account=self.key.account,
            actor=self.key.actor,
            action=action,
            subject=str(subject),
            request=visit_of(request.scope).id,
            peer=peer_of(request),
        )


class Visitors:
    """Knows visitors by their cookies.

    Args:
        sessions: reads cookies.
        doorkeeper: knows whether a key is still good.
        secure: whether cookies go over HTTPS only.
    """

    def __init__(self, sessions: Sessions, doorkeeper: Doorkeeper, *, secure: bool) -> None:
        self._sessions = sessions
        self._doorkeeper = doorkeeper
        self._secure = secure
        # A browser takes the first name only with Secure, for the whole site, and from no other host.
        self._name = "__Host-session" if secure else "session"

    async def of(self, request: Request) -> Visitor:
        """Give who is signed in.

        Raises:
            SignedOut: nobody.
        """
        cookie = request.cookies.get(self._name, "")
        session = self._sessions.read(cookie, time.time()) if cookie else None
        key = await self._doorkeeper.of(session.prefix) if session else None
        if session is None or key is None:
            raise SignedOut
        visit_of(request.scope).facts |= {"key": key.prefix, "account": key.account}
        return Visitor(key, session)

    async def form(self, request: Request) -> tuple[Visitor, Mapping[str, str]]:
        """Give who sent a form, and its fields.

        Raises:
            SignedOut: nobody.
            Problem: it comes from another site.
        """
        visitor, fields = await self.of(request), await fields_of(request)
        if not hmac.compare_digest(fields.get("token", "").encode(), visitor.session.token.encode()):
            raise Problem(403, "the form is not of this session; load the page again")
        return visitor, fields

    def sign_in(self, key: ApiKey, response: Response) -> None:
        """Let a response begin a session."""
        _, cookie = self._sessions.begin(key.prefix, time.time())
        response.set_cookie(
            self._name, cookie, self._sessions.seconds, secure=self._secure, httponly=True, samesite="strict"
        )

    def sign_out(self, response: Response) -> None:
        """Let a response end the session."""
        response.delete_cookie(self._name, secure=self._secure, httponly=True, samesite="strict")


async def fields_of(request: Request) -> dict[str, str]:
    """Read the fields of a form.

    Raises:
        Problem: it comes from another site, or is no form.
    """
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise Problem(403, "the form comes from another site")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise Problem(415, f"send {FORM}")
    try:
        body = (await request.body()).decode("ascii")
        return dict(parse_qsl(body, keep_blank_values=True, strict_parsing=bool(body), max_num_fields=_MOST_FIELDS))
    except ValueError:
        raise Problem(422, "the form cannot be read") from None


def peer_of(request: Request) -> str:
    """The address that a request comes from."""
    return request.client.host if request.client else "unknown"
