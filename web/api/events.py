"""Calls of providers that tell what became of mail: Mailgun, SendGrid, Postmark. They show no key, but sign."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final
from uuid import UUID

import structlog
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from backing.aftermath import Aftermath
from backing.ids import now
from backing.postgres.callers import EventCaller, EventCallers
from backing.postgres.events import Events
from mail.events import mailgun, postmark, sendgrid, verify
from mail.events.event import BadCall, Fault, Told
from mail.events.verify import Clock
from web.api.operations import ROOT, fault_responses
from web.house import House
from web.problems import Problem

PATH: Final = f"{ROOT}/provider-events/"
# Of the URL that Postmark is told: https://events:KEY@host/...
POSTMARK_USER: Final = "events"
# As RFC 9110, 11.6.1 wants it with each 401; of the three, Postmark alone has a scheme that it names.
_CHALLENGE: Final = 'Basic realm="provider events"'
_UNTRUSTED: Final = "the call does not come from this provider"
# Nothing is wrong with the call, so it is to come again until there is a key: vendors try for hours after 5xx, and then
# end by themselves. After 4xx not all of them do, and what they tell would be lost.
_NO_KEY: Final = "calls of this provider cannot be checked: it has no fit verification key yet; call again later"
_LATER_SECONDS: Final = 600


class ProviderEvents:
    """Takes what providers tell, once what it tells is known to be theirs."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._callers = EventCallers(house.database, house.tools.vault)
        self._events = Events(house.database)
        self._aftermath = Aftermath(house.events, house.cache)
        self._log = structlog.get_logger()

    def add_to(self, app: FastAPI) -> None:
        """Add this operation to the API."""
        app.add_api_route(
            PATH + "{id}",
            self.take,
            methods=["POST"],
            status_code=HTTPStatus.NO_CONTENT,
            summary="Take events of a provider",
            operation_id="providerevents_take",
            tags=["provider events"],
            responses=fault_responses(400, 401, 413, 422, 429, 500, 503),
            openapi_extra={"security": []},
        )

    async def take(self, request: Request, id: UUID) -> Response:  # noqa: A002 - the name in the path
        """For providers to call: `id` is the provider's, and the call carries its signature.

        Scope: none.
        """
        body = await request.body()
        caller = await self._callers.find(id)
        try:
            call, told = _read(caller, dict(request.headers), body)
        except BadCall as bad:
            raise await self._refusal(request, caller, id, bad) from None
        self._aftermath.read(told)
        if told.faults:
            self._log.error("events not understood", provider=str(id), reasons=list(told.faults[:5]))
        await self._aftermath.recorded(await self._events.record(id, told.events, call))
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def _refusal(self, request: Request, caller: EventCaller | None, provider: UUID, bad: BadCall) -> Problem:
        if caller and bad.fault is Fault.OURS:
            self._log.error(
                "events refused for want of a key",
                provider=str(provider),
                name=caller.name,
                kind=caller.kind,
                account=caller.account,
                reason=bad.reason,
                remedy="put it into the provider's secret as event_key",
            )
            return Problem(503, _NO_KEY, {"Retry-After": str(_LATER_SECONDS)})
        self._log.warning("events refused", provider=str(provider), reason=bad.reason)
        if bad.fault is Fault.PROVIDER:
            return Problem(400, "the call is not of the form that this provider describes")
        wait = await self._house.rates.failed(request.client.host if request.client else "unknown")
        if wait is not None:
            return Problem(429, _UNTRUSTED, {"Retry-After": str(wait)})
        return Problem(401, _UNTRUSTED, {"WWW-Authenticate": _CHALLENGE})


def _read(caller: EventCaller | None, headers: Mapping[str, str], body: bytes) -> tuple[str | None, Told]:
    """Check a call and read it; gives the key under which it is known.

    Raises:
        BadCall: there is no such provider, it does not call, or the call is not its own.
    """
    reader = _READERS.get(caller.kind) if caller else None
    if caller is None or reader is None:
        raise BadCall(Fault.CALLER, "no provider that calls has this id")
    return reader(caller, headers, body)


def _mailgun(caller: EventCaller, _: Mapping[str, str], body: bytes) -> tuple[str | None, Told]:
    return verify.mailgun(body, caller.key, Clock(now())), mailgun.parse(body)


def _sendgrid(caller: EventCaller, headers: Mapping[str, str], body: bytes) -> tuple[str | None, Told]:
    return verify.sendgrid(headers, body, caller.key, Clock(now())), sendgrid.parse(body)


def _postmark(caller: EventCaller, headers: Mapping[str, str], body: bytes) -> tuple[str | None, Told]:
    verify.postmark(headers, body, POSTMARK_USER, caller.key)
    return None, postmark.parse(body)


_Reader = Callable[[EventCaller, Mapping[str, str], bytes], tuple[str | None, Told]]
_READERS: Final[Mapping[str, _Reader]] = {"mailgun": _mailgun, "sendgrid": _sendgrid, "postmark": _postmark}
