"""Sending through an HTTP API: what each provider's own module says, carried out in one way for all.

A provider's module writes requests and reads answers, and does nothing else; when a call is split, when the rest is not
even asked, and what nobody could send, is settled here.
"""

import asyncio
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final, Protocol, TypeVar

from mail.delivery import PROVIDER_TROUBLE, Outcome, RecipientResult
from worker.providers.base import NO_REQUIRETLS, Answer, Capabilities, Envelope, Failed
from worker.providers.means import Means
from worker.providers.reach import reached
from worker.providers.trail import Stage, Trail
from worker.providers.web import Reply, Request, get, post

# Calls of one attempt that are under way at a time.
_AT_ONCE: Final = 10
# An address that an API could take for several, or for a name with an address.
_QUOTED: Final = re.compile(r'[\x00-\x20"(),:;<>\[\]\\\x7f]')
_T = TypeVar("_T")

_MAX_NAME: Final = 255
# As much of a provider's words as may be searched.
_MAX_WORDS: Final = 1_000
OK, BAD_REQUEST, TOO_MANY = 200, 400, 429
_UNAVAILABLE = 503
_BY_STATUS: Final = {
    BAD_REQUEST: Outcome.MESSAGE_PERMANENT,
    413: Outcome.MESSAGE_PERMANENT,
    422: Outcome.MESSAGE_PERMANENT,
    408: Outcome.UNKNOWN,
    TOO_MANY: Outcome.THROTTLED,
    _UNAVAILABLE: Outcome.PROVIDER_DOWN,
}


# Of a question that changes nothing, nothing is unknown, and nothing was wrong with a message.
_UNANSWERED: Final = {
    Outcome.UNKNOWN: Outcome.PROVIDER_DOWN,
    Outcome.MESSAGE_PERMANENT: Outcome.MISCONFIGURED,
}


class Again(Failed):
    """The provider took nothing, and what it refused is mended: the same may be asked once more, at once."""


class Api(Protocol):
    """How one provider is spoken to.

    Attributes:
        capabilities: what it can do.
        per_call: recipients in one request.
    """

    capabilities: Capabilities
    per_call: int

    async def request(self, envelope: Envelope, body: bytes) -> Request | None:
        """Write the request for some of an envelope's recipients; None where they cannot share one.

        Raises:
            Failed: with the answer that stands for the request.
        """
        ...

    def results(self, envelope: Envelope, reply: Reply) -> list[RecipientResult] | None:
        """Say what a reply means for each recipient; None where one among several was refused, so that each is asked.

        For a single recipient it is never None.

        Raises:
            Again: nothing was taken for a reason that is mended.
        """
        ...

    async def check(self, means: Means, trail: Trail) -> None:
        """Ask for something that changes nothing; see `Provider.check`."""
        ...


async def known(means: Means, request: Request, trail: Trail) -> Reply:
    """Ask an API, as part of a check, for something that only those get whom it knows.

    Raises:
        Failed: it refuses us, or is in trouble.
        OSError: it cannot be reached.
    """
    await reached(request.url, means.allowed, means.context, trail)
    with trail.step(Stage.SIGN_IN) as said:
        reply = await get(means.http, request)
        if reply.status != OK:
            answer = by_status(reply, said_in(reply))
            raise Failed(replace(answer, outcome=_UNANSWERED.get(answer.outcome, answer.outcome)))
        said.append("the key is known")
    return reply


def said_in(reply: Reply) -> str:
    """The words of a refusal, wherever an API puts them."""
    document = reply.document
    errors = document.get("errors")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    return said(document.get("message"), document.get("Message"), first.get("message"), reply.text)


class ApiProvider:
    """A provider behind an HTTP API.

    Args:
        means: what carries the requests; stays open.
        api: how the provider is spoken to.
    """

    def __init__(self, means: Means, api: Api) -> None:
        self._means = means
        self._http = means.http
        self._api = api
        self.capabilities: Final = api.capabilities

    async def send(self, envelope: Envelope, body: bytes, deadline: float) -> list[RecipientResult]:
        """Send to every recipient and answer for each; remote faults are answers, never exceptions."""
        results = {result.n: result for result in unfit(self.capabilities, envelope, len(body))}
        fit = tuple(each for each in envelope.recipients if each[0] not in results)
        sent = await self._in_calls(replace(envelope, recipients=fit), body, deadline, self._api.per_call)
        results |= {result.n: result for result in sent}
        return [results[n] for n, _ in envelope.recipients]

    async def check(self, trail: Trail) -> None:
        """Ask the API for something that changes nothing."""
        await self._api.check(self._means, trail)

    async def close(self) -> None:
        """Nothing is kept open that belongs to this provider alone."""

    async def _in_calls(self, envelope: Envelope, body: bytes, deadline: float, size: int) -> list[RecipientResult]:
        """Ask for so many at a time; once the provider is in trouble, the rest have the same answer."""
        results: list[RecipientResult] = []
        calls = [replace(envelope, recipients=part) for part in _parts(envelope.recipients, size)]
        for wave in _parts(calls, _AT_ONCE):
            trouble = next((result for result in results if result.outcome in PROVIDER_TROUBLE), None)
            if trouble:
                results += [replace(trouble, n=n) for call in wave for n, _ in call.recipients]
                continue
            async with asyncio.TaskGroup() as tasks:
                under_way = [tasks.create_task(self._call(call, body, deadline)) for call in wave]
            results += [result for task in under_way for result in task.result()]
        return results

    async def _call(self, envelope: Envelope, body: bytes, deadline: float) -> list[RecipientResult]:
        try:
            try:
                results = await self._asked(envelope, body, deadline)
            except Again:
                results = await self._asked(envelope, body, deadline)
        except Failed as failed:
            return failed.answer.to(numbers(envelope))
        if results is None:
            return await self._in_calls(envelope, body, deadline, 1)
        return results

    async def _asked(self, envelope: Envelope, body: bytes, deadline: float) -> list[RecipientResult] | None:
        request = await _written(self._api, envelope, body, deadline)
        return self._api.results(envelope, await post(self._http, request, deadline)) if request else None


async def _written(api: Api, envelope: Envelope, body: bytes, deadline: float) -> Request | None:
    try:
        async with asyncio.timeout_at(deadline):
            return await api.request(envelope, body)
    except TimeoutError:
        raise Failed(Answer(Outcome.PROVIDER_DOWN, None, None, "writing the request: no time left")) from None


def _parts(items: Sequence[_T], size: int) -> Iterator[tuple[_T, ...]]:
    return (tuple(items[start : start + size]) for start in range(0, len(items), size))


def numbers(envelope: Envelope) -> list[int]:
    """The numbers of an envelope's recipients."""
    return [n for n, _ in envelope.recipients]


def said(*words: object) -> str:
    """The first of several places in an answer where words stand; not all of them, if there are many."""
    found = next((each for each in words if each and isinstance(each, str)), "no reason given")
    return found[:_MAX_WORDS]


def identifier(value: object) -> str | None:
    """How a provider names a message, if that is a name that can be kept."""
    named = isinstance(value, str) and value.isprintable() and 0 < len(value) <= _MAX_NAME
    return str(value) if named else None


def by_status(reply: Reply, words: str) -> Answer:
    """What a reply means by its status alone: what nobody knows better is the provider's trouble, and bounces nothing.

    Source: RFC 9110, section 15.
    """
    server = Outcome.UNKNOWN if reply.status < 300 or reply.status >= 500 else Outcome.MISCONFIGURED  # noqa: PLR2004
    outcome = _BY_STATUS.get(reply.status, server)
    pause = reply.retry_after if outcome in PROVIDER_TROUBLE else None
    return Answer(outcome, None, None, f"HTTP {reply.status}: {words}", pause)


def unfit(capabilities: Capabilities, envelope: Envelope, size: int) -> list[RecipientResult]:
    """Answer for those to whom this provider could not send at all."""
    every = numbers(envelope)
    if envelope.require_tls and not capabilities.requiretls:
        return NO_REQUIRETLS.to(every)
    if capabilities.max_octets is not None and size > capabilities.max_octets:
        text = f"the message has {size} octets; the provider takes {capabilities.max_octets}"
        return _not_here("5.3.4", text).to(every)
    if envelope.smtputf8 and not capabilities.smtputf8:
        return _not_here("5.6.7", "the provider does not take SMTPUTF8, which the message needs").to(every)
    quoted = [n for n, recipient in envelope.recipients if _QUOTED.search(recipient.address)]
    foreign = [n for n, recipient in envelope.recipients if not recipient.address.isascii() and n not in quoted]
    return [
        *_not_here("5.1.3", "the provider takes plain addresses only").to(quoted),
        *([] if capabilities.smtputf8 else _not_here("5.6.7", "the provider takes ASCII addresses only").to(foreign)),
    ]


def _not_here(enhanced: str, text: str) -> Answer:
    return Answer(Outcome.MESSAGE_PERMANENT, None, enhanced, text)
